//! Built kernels: the two of the cache, and any tree that `KDIR=` names.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cache::{self, Entry};
use crate::child;
use crate::fragment;
use crate::packages;
use crate::progress::Progress;
use crate::source::{self, Source};
use crate::toolchain::{self, Toolchain};

/// Changes when the way a kernel is built changes in what no other part of the key shows.
const RECIPE: &str = "1";

/// Which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Flavour {
    /// For demo and bench: no checks that cost time.
    Lean,
    /// For tests: KASAN, lockdep and whatever else finds bugs.
    Debug,
}

impl Flavour {
    /// Its name in the cache.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lean => "lean",
            Self::Debug => "debug",
        }
    }

    /// About how many lines its build prints: the measure of the progress bar.
    fn steps(self) -> u64 {
        match self {
            Self::Lean => 2030,
            Self::Debug => 2140,
        }
    }
}

/// A built kernel tree: boots, and has all it takes to build modules against it.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The tree.
    pub tree: PathBuf,
    /// The image to boot.
    pub image: PathBuf,
    /// As `uname -r` says.
    pub release: String,
    /// `7.2.13`.
    pub version: String,
    /// A name for this very build: modules belong to it and to no other.
    pub id: String,
    /// The word that chooses its compiler, none for GCC.
    pub llvm: Option<String>,
    /// What it was built with.
    pub toolchain: Toolchain,
}

/// The kernel of a flavour, built if it is not there; with `KDIR=` that tree instead, if it has the options of the flavour.
pub fn ensure(flavour: Flavour) -> Result<Kernel> {
    if let Some(dir) = std::env::var_os("KDIR").filter(|dir| !dir.is_empty()) {
        let kernel = at(Path::new(&dir))?;
        fragment::check(&fragment::text(flavour), &kernel.tree)?;
        if !kernel.image.is_file() {
            bail!(
                "KDIR {} has no {}: run `make bzImage` there.",
                kernel.tree.display(),
                kernel.image.display()
            );
        }
        return Ok(kernel);
    }
    packages::ensure(packages::Set::Build)?;
    let toolchain = Toolchain::ensure()?;
    let source = source::ensure()?;
    let entry = entry(flavour, &source, &toolchain)?;
    let dir = entry.or_fill(|part| build(flavour, &source, &toolchain, &part.join("linux")))?;
    describe(
        dir.join("linux"),
        entry.name(),
        Some(toolchain::llvm()),
        toolchain,
    )
}

/// The cache entry of a flavour: its name tells all that went into it.
fn entry(flavour: Flavour, source: &Source, toolchain: &Toolchain) -> Result<Entry> {
    let key = cache::key(
        [
            RECIPE,
            &source.id,
            &fragment::wishes(&fragment::text(flavour)),
            &toolchain.identity(),
        ]
        .map(str::as_bytes),
    );
    Entry::new(
        "kernel",
        &format!("{}-{}-{key}", flavour.name(), source.version),
    )
}

fn build(flavour: Flavour, source: &Source, toolchain: &Toolchain, tree: &Path) -> Result<()> {
    let mut progress = Progress::new(
        &format!("building the {} kernel {}", flavour.name(), source.version),
        flavour.steps(),
    );
    copy(source, tree)?;
    let llvm = toolchain::llvm();
    let make = || toolchain.make(tree, Some(&llvm));
    child::output(make().args(["-s", "rustavailable"]))
        .context("The kernel finds no usable Rust toolchain.")?;
    fragment::configure(tree, flavour, make)?;
    let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let log = child::log_path(&format!("kernel-{}", flavour.name()))?;
    child::logged(
        make().arg(format!("-j{jobs}")).args(["bzImage", "modules"]),
        &log,
        |_| progress.step(),
    )
    .with_context(|| format!("The {} kernel could not be built.", flavour.name()))?;
    progress.finish();
    Ok(())
}

/// A tree of its own to build in. The files of a cached source never change, so links to them do.
fn copy(source: &Source, tree: &Path) -> Result<()> {
    if source.cached {
        let linked = child::command("cp")
            .arg("-al")
            .args([&source.tree, &tree.to_path_buf()])
            .output()?;
        if linked.status.success() {
            return Ok(());
        }
        cache::remove(tree)?;
    }
    let from = source.tree.join("");
    child::output(
        child::command("rsync")
            .args(["-a", "--exclude=/.git"])
            .arg(from)
            .arg(tree.join("")),
    )
    .context("The kernel source could not be copied.")?;
    Ok(())
}

/// A kernel tree that somebody built: refused, with the reason, if no Rust module can be built against it.
pub fn at(dir: &Path) -> Result<Kernel> {
    let tree = fs::canonicalize(dir)
        .with_context(|| format!("KDIR is {}, which is not there.", dir.display()))?;
    packages::ensure(packages::Set::Build)?;
    let toolchain = Toolchain::ensure()?;
    let config = fs::read_to_string(tree.join(".config")).with_context(|| {
        format!(
            "KDIR {} has no .config: it is not a configured kernel tree.",
            tree.display()
        )
    })?;
    let llvm = usable(&config, &toolchain.rustc)
        .with_context(|| format!("No Rust module can be built against {}.", tree.display()))?;
    let mut stamps = String::new();
    for (file, target) in [
        ("Module.symvers", "modules"),
        ("rust/libkernel.rmeta", "bzImage"),
        ("include/config/kernel.release", "bzImage"),
    ] {
        let meta = fs::metadata(tree.join(file)).map_err(|_| {
            anyhow::anyhow!(
                "KDIR {} has no {file}: run `make {target}` there.",
                tree.display()
            )
        })?;
        stamps += &format!(
            "{} {} {}.{}\n",
            tree.display(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec()
        );
    }
    let id = format!(
        "kdir-{}",
        cache::key([stamps.as_bytes(), config.as_bytes()])
    );
    describe(tree, id, llvm, toolchain)
}

/// The word that chooses the compiler of a configuration, if modules in Rust can be built for it with this rustc.
fn usable(config: &str, rustc: &str) -> Result<Option<String>> {
    for option in ["CONFIG_MODULES=y", "CONFIG_RUST=y"] {
        if !config.lines().any(|line| line == option) {
            bail!("Its configuration lacks {option}.");
        }
    }
    let value = |name: &str| {
        config
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    let built_with = value("CONFIG_RUSTC_VERSION_TEXT")
        .unwrap_or_default()
        .trim_matches('"');
    if built_with != rustc {
        bail!(
            "It was built with `{built_with}` and the compiler here is `{rustc}`: Rust needs the very same for both; build one of them anew."
        );
    }
    if value("CONFIG_CC_IS_CLANG") != Some("y") {
        return Ok(None);
    }
    let clang: u32 = value("CONFIG_CLANG_VERSION")
        .and_then(|version| version.parse().ok())
        .unwrap_or(0);
    Ok(Some(toolchain::llvm_for(clang / 10_000)))
}

fn describe(
    tree: PathBuf,
    id: String,
    llvm: Option<String>,
    toolchain: Toolchain,
) -> Result<Kernel> {
    let file = tree.join("include/config/kernel.release");
    let release = fs::read_to_string(&file)
        .with_context(|| format!("{} is missing: that kernel is not built", file.display()))?
        .trim()
        .to_owned();
    let version = release
        .split(['-', '+'])
        .next()
        .unwrap_or_default()
        .to_owned();
    Ok(Kernel {
        image: tree.join("arch/x86/boot/bzImage"),
        tree,
        release,
        version,
        id,
        llvm,
        toolchain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC: &str = "rustc 1.95.0 (59807616e 2026-04-14)";

    fn config(lines: &[&str]) -> String {
        format!(
            "CONFIG_RUSTC_VERSION_TEXT=\"{RUSTC}\"\n{}\n",
            lines.join("\n")
        )
    }

    #[test]
    fn a_tree_without_rust_is_refused_by_name() {
        let error = usable(&config(&["CONFIG_MODULES=y"]), RUSTC)
            .unwrap_err()
            .to_string();
        assert!(error.contains("CONFIG_RUST=y"), "{error}");
    }

    #[test]
    fn a_tree_of_another_rustc_is_refused_naming_both() {
        let good = config(&["CONFIG_MODULES=y", "CONFIG_RUST=y"]);
        assert_eq!(usable(&good, RUSTC).unwrap(), None, "GCC built it");
        let error = usable(&good, "rustc 1.96.0").unwrap_err().to_string();
        assert!(
            error.contains("1.95.0") && error.contains("1.96.0"),
            "{error}"
        );
    }

    #[test]
    fn a_tree_of_clang_is_built_against_with_clang() {
        let clang = config(&[
            "CONFIG_MODULES=y",
            "CONFIG_RUST=y",
            "CONFIG_CC_IS_CLANG=y",
            "CONFIG_CLANG_VERSION=190107",
        ]);
        assert!(usable(&clang, RUSTC).unwrap().unwrap().starts_with("LLVM="));
    }
}
