//! The compilers and what they take along: rustc's library source, bindgen, clang.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::{Apt, Package};
use crate::cache::{self, Entry};
use crate::child;
use crate::progress::Progress;

/// The clang that builds the kernels: KASAN and Rust together need one, and Debian 12 and 13 both have this one.
pub const CLANG: u32 = 19;

/// The bindgen that builds the kernel's bindings and ours.
const BINDGEN: &str = "0.73.2";

/// The oldest rustc that the kernel takes.
const OLDEST_RUSTC: (u32, u32) = (1, 85);

/// All that a kernel or module build is given beside the sources.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// `rustc --version`, as the kernel's configuration keeps it.
    pub rustc: String,
    /// The library source that matches rustc, for RUST_LIB_SRC.
    pub library: PathBuf,
    /// The bindgen program.
    pub bindgen: PathBuf,
    /// The first line of clang's version.
    pub clang: String,
}

impl Toolchain {
    /// Finds it, fetching what is missing. The Debian packages have to be there.
    pub fn ensure() -> Result<Self> {
        let rustc = child::output(child::command("rustc").arg("--version"))
            .context("There is no Rust compiler: install rustup, or the Debian packages rustc-web and cargo-web.")?;
        let rustc = rustc.trim().to_owned();
        let release = release(&rustc)?;
        let clang =
            child::output(child::command(clang_program()).arg("--version")).with_context(|| {
                format!("clang is missing: install the Debian package clang-{CLANG}.")
            })?;
        Ok(Self {
            library: library(&release)?,
            bindgen: bindgen()?,
            clang: clang.lines().next().unwrap_or_default().to_owned(),
            rustc,
        })
    }

    /// What distinguishes builds by one toolchain from builds by another.
    pub fn identity(&self) -> String {
        format!("{}\n{}\nbindgen {BINDGEN}\n", self.rustc, self.clang)
    }

    /// `make` in a kernel tree, with the compiler that the argument names (`LLVM=..`), or GCC.
    pub fn make(&self, tree: &Path, llvm: Option<&str>) -> Command {
        let mut make = child::command("make");
        make.arg("-C")
            .arg(tree)
            .args(llvm)
            .arg(format!("BINDGEN={}", self.bindgen.display()));
        make.env("RUST_LIB_SRC", &self.library);
        // The same sources give the same image, whoever builds it and when.
        make.env("KBUILD_BUILD_USER", "restripe")
            .env("KBUILD_BUILD_HOST", "restripe")
            .env("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 2026");
        let libclang = PathBuf::from(format!("/usr/lib/llvm-{CLANG}/lib"));
        if std::env::var_os("LIBCLANG_PATH").is_none() && libclang.is_dir() {
            make.env("LIBCLANG_PATH", libclang);
        }
        make
    }
}

/// The word that makes the kernel's build use our clang.
pub fn llvm() -> String {
    llvm_for(CLANG)
}

/// The word that makes the kernel's build use the clang of a major version: Debian's by its suffix, else the one of no suffix.
pub fn llvm_for(major: u32) -> String {
    if child::found(&format!("clang-{major}")) {
        format!("LLVM=-{major}")
    } else {
        "LLVM=1".to_owned()
    }
}

fn clang_program() -> String {
    let debian = format!("clang-{CLANG}");
    if child::found(&debian) {
        debian
    } else {
        "clang".to_owned()
    }
}

/// `1.95.0` of `rustc 1.95.0 (59807616e 2026-04-14)`.
fn release(version: &str) -> Result<String> {
    let release = version
        .split_whitespace()
        .nth(1)
        .with_context(|| format!("`rustc --version` printed `{version}`, which is no version."))?;
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|word| word.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < OLDEST_RUSTC {
        bail!(
            "rustc {release} is too old for the kernel, which takes {}.{} and later: run `rustup update`, or install the Debian packages rustc-web and cargo-web.",
            OLDEST_RUSTC.0,
            OLDEST_RUSTC.1
        );
    }
    Ok(release.to_owned())
}

/// The source of rustc's own library, of exactly this version.
fn library(release: &str) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("RUST_LIB_SRC").filter(|given| !given.is_empty()) {
        let given = PathBuf::from(given);
        if given.join("core/src/lib.rs").is_file() {
            return Ok(given);
        }
        bail!(
            "RUST_LIB_SRC is {}, which is not the `library` folder of a Rust source tree.",
            given.display()
        );
    }
    let sysroot = child::output(child::command("rustc").args(["--print", "sysroot"]))?;
    let own = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    let debian = PathBuf::from(format!("/usr/src/rustc-{release}/library"));
    if let Some(found) = [own, debian]
        .into_iter()
        .find(|path| path.join("core/src/lib.rs").is_file())
    {
        return Ok(found);
    }
    let entry = Entry::new("rust-src", release)?;
    let dir = entry.or_fill(|part| fetch_library(release, part))?;
    Ok(dir.join("library"))
}

fn fetch_library(release: &str, part: &Path) -> Result<()> {
    let progress = Progress::new(&format!("fetching the Rust library source {release}"), 0);
    let apt = Apt::new().with_context(|| no_library(release))?;
    // The second name is that of the toolchain which Debian keeps current for its browsers.
    let mut offered = apt.versions("rust-src")?;
    offered.extend(apt.versions("rust-web-src")?);
    let Some(package) = matching(release, &offered) else {
        bail!(no_library(release));
    };
    let unpacked = part.join("package");
    apt.unpack(package, &unpacked)?;
    std::fs::rename(
        unpacked.join(format!("usr/src/rustc-{release}/library")),
        part.join("library"),
    )
    .with_context(|| {
        format!(
            "The package {} {} does not hold the library source.",
            package.name, package.version
        )
    })?;
    cache::remove(&unpacked)?;
    progress.finish();
    Ok(())
}

/// The first package whose upstream version is exactly rustc's.
fn matching<'a>(release: &str, offered: &'a [Package]) -> Option<&'a Package> {
    offered
        .iter()
        .find(|package| package.version.split(['+', '-', '~']).next() == Some(release))
}

fn no_library(release: &str) -> String {
    format!(
        "The library source of rustc {release} is missing and Debian offers none of this version: run `rustup component add rust-src`, or give RUST_LIB_SRC=."
    )
}

/// The bindgen program, built by cargo once.
fn bindgen() -> Result<PathBuf> {
    let entry = Entry::new("tools", &format!("bindgen-{BINDGEN}"))?;
    let dir = entry.or_fill(|part| {
        let mut progress = Progress::new(&format!("building bindgen {BINDGEN}"), 0);
        let target = part.join("target");
        let mut cargo = child::command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args([
                "install",
                "--locked",
                "--version",
                BINDGEN,
                "bindgen-cli",
                "--root",
            ])
            .arg(part);
        // It runs a few times for each kernel: time spent on optimising it is not won back.
        cargo
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("CARGO_BUILD_TARGET");
        child::logged(&mut cargo, &child::log_path("bindgen")?, |_| {
            progress.step()
        })
        .context("bindgen could not be built from the Rust registry; is the registry reachable?")?;
        progress.finish();
        cache::remove(&target)
    })?;
    Ok(dir.join("bin/bindgen"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(version: &str) -> Package {
        Package {
            name: "rust-src".to_owned(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn rustc_of_a_release_and_older_ones_refused() {
        assert_eq!(
            release("rustc 1.95.0 (59807616e 2026-04-14)").unwrap(),
            "1.95.0"
        );
        assert_eq!(release("rustc 1.85.0").unwrap(), "1.85.0");
        let error = release("rustc 1.63.0 (4b91a6ea7 2022-08-08)")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("too old") && error.contains("rustup update"),
            "{error}"
        );
        assert!(release("").is_err());
    }

    #[test]
    fn library_source_has_to_match_exactly() {
        let offered = [
            package("1.97.1+dfsg1-1"),
            package("1.95.0+dfsg1-2~bpo13+1"),
            package("1.9.5-1"),
        ];
        assert_eq!(matching("1.95.0", &offered), Some(&offered[1]));
        assert_eq!(matching("1.95.1", &offered), None);
        assert_eq!(matching("1.9", &offered), None);
        assert!(no_library("1.95.1").contains("`rustup component add rust-src`"));
    }
}
