//! The kernels that scenarios boot, and the module for each.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use restripe_scripts::kernel::{self, Flavour};
use restripe_scripts::module;

#[derive(Debug, Clone)]
pub struct Kernel {
    pub image: PathBuf,
    pub module: Option<PathBuf>,
}

/// `FLAVOUR=lean` for a quick look at scenarios; they count only under the debug kernel, which is what they get otherwise.
pub fn for_scenarios() -> Result<Flavour> {
    match env::var("FLAVOUR") {
        Err(_) => Ok(Flavour::Debug),
        Ok(name) => [Flavour::Lean, Flavour::Debug]
            .into_iter()
            .find(|flavour| flavour.name() == name)
            .with_context(|| format!("FLAVOUR={name} is neither lean nor debug")),
    }
}

/// MiB of memory that a guest needs: the shadow of KASAN and the records of kmemleak take their part.
pub fn memory(flavour: Flavour) -> u32 {
    match flavour {
        Flavour::Lean => 1024,
        Flavour::Debug => 2048,
    }
}

/// The kernel of a flavour and the module for it, built where they are missing. `RESTRIPE_KERNEL` and `RESTRIPE_MODULE`
/// name files to take as they are instead.
pub fn of(flavour: Flavour) -> Result<Kernel> {
    let named = |name| env::var_os(name).map(PathBuf::from);
    if let Some(image) = named("RESTRIPE_KERNEL") {
        let image = if image.is_dir() { image.join("arch/x86/boot/bzImage") } else { image };
        ensure!(image.is_file(), "RESTRIPE_KERNEL: {} does not exist", image.display());
        return Ok(Kernel { image, module: named("RESTRIPE_MODULE") });
    }
    let kernel = kernel::ensure(flavour)?;
    let module = match named("RESTRIPE_MODULE") {
        Some(module) => module,
        None => module::build(&kernel)?,
    };
    Ok(Kernel { image: kernel.image, module: Some(module) })
}
