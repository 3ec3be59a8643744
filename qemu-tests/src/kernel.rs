//! The kernels that scenarios boot.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Quick: for the demo and for figures.
    Lean,
    /// With KASAN, lockdep, kmemleak and the like: for scenarios.
    Debug,
}

#[derive(Debug, Clone)]
pub struct Kernel {
    pub image: PathBuf,
    pub module: Option<PathBuf>,
}

impl Flavour {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lean => "lean",
            Self::Debug => "debug",
        }
    }

    /// `FLAVOUR=lean` for a quick look at scenarios; they count only under the debug kernel, which is what they get otherwise.
    pub fn for_scenarios() -> Result<Self> {
        match std::env::var("FLAVOUR") {
            Err(_) => Ok(Self::Debug),
            Ok(name) => [Self::Lean, Self::Debug]
                .into_iter()
                .find(|flavour| flavour.name() == name)
                .with_context(|| format!("FLAVOUR={name} is neither lean nor debug")),
        }
    }

    /// MiB of memory that a guest needs: the shadow of KASAN and the records of kmemleak take their part.
    pub fn memory(self) -> u32 {
        match self {
            Self::Lean => 1024,
            Self::Debug => 2048,
        }
    }

    /// The kernel of this flavour.
    pub fn kernel(self) -> Result<Kernel> {
        let named = |what: &str| {
            let name = format!("RESTRIPE_{what}_{}", self.name().to_uppercase());
            std::env::var_os(name).map(PathBuf::from)
        };
        let image = named("KERNEL")
            .context("no kernel: set RESTRIPE_KERNEL_LEAN or RESTRIPE_KERNEL_DEBUG")?;
        let image = if image.is_dir() {
            image.join("arch/x86/boot/bzImage")
        } else {
            image
        };
        ensure!(
            image.is_file(),
            "the kernel {} does not exist",
            image.display()
        );
        Ok(Kernel {
            image,
            module: named("MODULE"),
        })
    }
}
