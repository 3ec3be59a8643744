//! The command line that the Makefile calls.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use restripe_scripts::kernel::{self, Flavour, Kernel};
use restripe_scripts::{cache, checkout, child, module, packages, suite};

/// Sets up what restripe is built and tested with.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Everything that demo and test need: Debian packages, both kernels, the module for each
    Setup,
    /// The Debian packages that virtual machines and builds take
    Packages,
    /// A built kernel; prints the path of its tree
    Kernel {
        /// Which one
        #[arg(value_enum, default_value = "lean")]
        flavour: Flavour,
    },
    /// restripe.ko at the top of the checkout, for KDIR or the lean kernel
    Module {
        /// A built kernel tree to build against
        #[arg(long, env = "KDIR")]
        kdir: Option<PathBuf>,
    },
    /// rustfmt and clippy over core and driver, with the kernel's own settings
    Lint,
    /// All tests; the last line is the sum
    Test,
    /// An unpacked kernel source tree; prints its path
    Source,
}

fn main() -> ExitCode {
    match run(Arguments::parse().job) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// What failed, and after a colon why, down to the first cause.
fn sentence(error: &anyhow::Error) -> String {
    let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
    let inner = causes.len() - 1;
    let trimmed = |(at, cause): (usize, &String)| match at < inner {
        true => cause.trim_end_matches('.').to_owned(),
        false => cause.clone(),
    };
    causes
        .iter()
        .enumerate()
        .map(trimmed)
        .collect::<Vec<_>>()
        .join(": ")
}

fn run(job: Job) -> Result<ExitCode> {
    match job {
        Job::Setup => setup()?,
        Job::Packages => packages::ensure(packages::Set::Vm)?,
        Job::Kernel { flavour } => println!("{}", kernel::ensure(flavour)?.tree.display()),
        Job::Module { kdir } => {
            let kernel = match kdir.filter(|dir| !dir.as_os_str().is_empty()) {
                Some(dir) => kernel::at(&dir)?,
                None => kernel::ensure(Flavour::Lean)?,
            };
            put_module(&kernel)?;
        }
        Job::Lint => lint()?,
        Job::Test => {
            let begun = Instant::now();
            packages::ensure(packages::Set::Vm)?;
            if suite::run(begun.elapsed())?.failed > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
        Job::Source => println!("{}", restripe_scripts::source_tree()?.display()),
    }
    Ok(ExitCode::SUCCESS)
}

fn setup() -> Result<()> {
    packages::ensure(packages::Set::Vm)?;
    for flavour in [Flavour::Lean, Flavour::Debug] {
        let kernel = kernel::ensure(flavour)?;
        module::build(&kernel)?;
        eprintln!("{} kernel {}: ready", flavour.name(), kernel.release);
    }
    eprintln!("cache: {}", cache::root()?.display());
    Ok(())
}

/// Builds the module and puts it at the top of the checkout, whole or not at all.
fn put_module(kernel: &Kernel) -> Result<()> {
    let built = module::build(kernel)?;
    eprint!("{}", module::warnings(&built)?);
    let place = checkout().join("restripe.ko");
    let beside = checkout().join("restripe.ko.part");
    std::fs::copy(&built, &beside).context("cannot write restripe.ko into the checkout")?;
    std::fs::rename(&beside, &place)?;
    println!("restripe.ko for {}", kernel.release);
    Ok(())
}

fn lint() -> Result<()> {
    let kernel = kernel::ensure(Flavour::Lean)?;
    let roots = ["src/core/restripe_core.rs", "src/driver/restripe_main.rs"]
        .map(|root| checkout().join(root));
    let mut rustfmt = child::command("rustfmt");
    rustfmt
        .args(["--check", "--edition", "2021", "--config-path"])
        .arg(kernel.tree.join(".rustfmt.toml"))
        .args(roots);
    rustfmt.stdout(std::process::Stdio::inherit());
    let formatted = child::output(&mut rustfmt)
        .context("core or driver are not formatted: run rustfmt with the kernel's .rustfmt.toml");
    // Both are said: somebody who cleans up wants to see all of it.
    module::lint(&kernel)?;
    formatted.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_in_one_sentence() {
        let error = anyhow::anyhow!("no such file").context("KDIR has no .config.");
        assert_eq!(sentence(&error), "KDIR has no .config: no such file");
        assert_eq!(sentence(&anyhow::anyhow!("One sentence.")), "One sentence.");
    }
}
