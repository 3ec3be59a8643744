//! restripe.ko, built outside the checkout and kept by content.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache::{self, Entry};
use crate::checkout;
use crate::child;
use crate::kernel::Kernel;
use crate::progress::Progress;

/// How many modules of earlier contents are kept.
const KEPT: usize = 12;

/// The module for a kernel, built if the sources changed since it was built last.
pub fn build(kernel: &Kernel) -> Result<PathBuf> {
    let key = cache::key([kernel.id.as_bytes(), sources(checkout())?.as_bytes()]);
    let entry = Entry::new("module", &format!("{}-{key}", kernel.release))?;
    let dir = entry.or_fill(|part| {
        let progress = Progress::new(&format!("building restripe.ko for {}", kernel.release), 0);
        let work = Work::open(kernel, "module")?;
        let log = work.run(kernel, &[], &[])?;
        fs::copy(work.dir.join("restripe.ko"), part.join("restripe.ko"))
            .context("The build left no restripe.ko.")?;
        fs::copy(&log, part.join("log"))?;
        work.close()?;
        progress.finish();
        Ok(())
    })?;
    forget_oldest()?;
    Ok(dir.join("restripe.ko"))
}

/// What the compiler warned of when the module was built: empty if nothing.
pub fn warnings(module: &Path) -> Result<String> {
    let log = fs::read_to_string(module.with_file_name("log"))?;
    Ok(if log.contains("warning") {
        log
    } else {
        String::new()
    })
}

/// The module under clippy and the C compiler, every warning an error.
pub fn lint(kernel: &Kernel) -> Result<()> {
    let progress = Progress::new("clippy over the module", 0);
    let work = Work::open(kernel, "lint")?;
    work.run(
        kernel,
        &["CLIPPY=1", "W=e"],
        &[("KRUSTFLAGS", "-Dwarnings")],
    )?;
    work.close()?;
    progress.finish();
    Ok(())
}

/// A folder that builds for one kernel and checkout go on in, so that only what changed is compiled.
struct Work {
    dir: PathBuf,
    /// Keeps a second run out of the folder.
    _lock: fs::File,
}

impl Work {
    fn open(kernel: &Kernel, job: &str) -> Result<Self> {
        let place = cache::key([
            kernel.id.as_bytes(),
            checkout().as_os_str().as_encoded_bytes(),
            job.as_bytes(),
        ]);
        let entry = Entry::new("work", &format!("{job}-{place}"))?;
        let lock = entry.lock()?;
        let dir = cache::root()?.join("work").join(entry.name());
        // A build that was killed may have left a file half written, with a time that says it is new.
        if Self::marker(&dir).exists() {
            cache::remove(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        fs::write(Self::marker(&dir), "")?;
        Ok(Self { dir, _lock: lock })
    }

    /// There while a build is under way.
    fn marker(dir: &Path) -> PathBuf {
        dir.join("under-way")
    }

    fn run(&self, kernel: &Kernel, words: &[&str], variables: &[(&str, &str)]) -> Result<PathBuf> {
        let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let mut make: Command = kernel.toolchain.make(&kernel.tree, kernel.llvm.as_deref());
        make.arg(format!("M={}", checkout().display()))
            .arg(format!("MO={}", self.dir.display()));
        make.arg(format!("-j{jobs}"))
            .args(words)
            .envs(variables.iter().copied())
            .arg("modules");
        let log = self.dir.with_extension("log");
        child::logged(&mut make, &log, |_| ()).context("The module could not be built.")?;
        Ok(log)
    }

    fn close(self) -> Result<()> {
        fs::remove_file(Self::marker(&self.dir)).context("cannot remove the build's marker")
    }
}

/// All that the module is made of, as one text.
fn sources(top: &Path) -> Result<String> {
    let mut files = vec![top.join("Kbuild")];
    for dir in ["src/core", "src/driver"] {
        collect(&top.join(dir), &mut files)?;
    }
    files.sort();
    let mut all = String::new();
    for file in files {
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        all += &format!(
            "{} {}\n",
            file.strip_prefix(top).unwrap_or(&file).display(),
            cache::key([content.as_slice()])
        );
    }
    Ok(all)
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for item in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = item?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Drops the modules that were built longest ago.
fn forget_oldest() -> Result<()> {
    let mut modules: Vec<_> = Entry::all("module")?
        .into_iter()
        .filter_map(|entry| {
            let dir = entry.whole()?;
            Some((
                fs::metadata(dir.join("restripe.ko"))
                    .ok()?
                    .modified()
                    .ok()?,
                dir,
            ))
        })
        .collect();
    modules.sort();
    let surplus = modules.len().saturating_sub(KEPT);
    modules[..surplus]
        .iter()
        .try_for_each(|(_, dir)| cache::remove(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_below_core_or_driver_is_seen_and_one_elsewhere_is_not() {
        let top = tempfile::tempdir().unwrap();
        for file in [
            "Kbuild",
            "src/core/layout/raid5.rs",
            "src/driver/main.rs",
            "README.md",
        ] {
            let path = top.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "one").unwrap();
        }
        let before = sources(top.path()).unwrap();
        fs::write(top.path().join("README.md"), "two").unwrap();
        assert_eq!(sources(top.path()).unwrap(), before);
        for file in ["Kbuild", "src/core/layout/raid5.rs", "src/driver/main.rs"] {
            let before = sources(top.path()).unwrap();
            fs::write(top.path().join(file), "two").unwrap();
            assert_ne!(sources(top.path()).unwrap(), before, "{file}");
        }
    }
}
