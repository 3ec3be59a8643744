//! The Debian packages that restripe is built and tested with.
//!
//! They are the only thing that needs root, and only when one is missing.

use std::process::Command;

use anyhow::{Result, bail};

use crate::child;
use crate::progress::Progress;

/// What building the kernel and the module takes.
const BUILD: &[&str] = &[
    "make",
    "gcc",
    "libc6-dev",
    "clang-19",
    "lld-19",
    "llvm-19",
    "libclang-19-dev",
    "flex",
    "bison",
    "bc",
    "libelf-dev",
    "libssl-dev",
    "cpio",
    "kmod",
    "rsync",
    "xz-utils",
    "zstd",
    "python3",
    "perl",
    "util-linux",
];

/// What the virtual machines take, beside that: QEMU itself, and programs that are packed into the guest or look at its disks.
const VM: &[&str] = &[
    "qemu-system-x86",
    "busybox-static",
    "fio",
    "e2fsprogs",
    "xfsprogs",
    "mdadm",
    "dmsetup",
    "fdisk",
    "gdisk",
    // The probe's host tests look at what these make.
    "btrfs-progs",
    "cryptsetup-bin",
    "dosfstools",
];

/// Which job packages are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Building kernel and module.
    Build,
    /// Running virtual machines, and building what runs in them.
    Vm,
}

impl Set {
    fn names(self) -> Vec<&'static str> {
        match self {
            Self::Build => BUILD.to_vec(),
            Self::Vm => BUILD.iter().chain(VM).copied().collect(),
        }
    }
}

/// Installs what is missing, as root or through sudo, or says what to type.
pub fn ensure(set: Set) -> Result<()> {
    let names = set.names();
    if !child::found("dpkg-query") || !child::found("apt-get") {
        return elsewhere(&names);
    }
    let missing = missing(&names, &installed(&names)?);
    if missing.is_empty() {
        return Ok(());
    }
    let mut apt = apt_get(&missing)?;
    let progress = Progress::new(
        &format!("installing Debian packages: {}", missing.join(" ")),
        0,
    );
    refresh_lists(&missing)?;
    child::logged(apt.args(&missing), &child::log_path("packages")?, |_| ()).map_err(|error| {
        error.context(format!(
            "The Debian packages {} could not be installed.",
            missing.join(" ")
        ))
    })?;
    progress.finish();
    Ok(())
}

/// What dpkg says of each name it knows, as `name status` lines.
fn installed(names: &[&str]) -> Result<String> {
    // It exits with 1 when it does not know one of them, which is no failure here.
    let output = child::command("dpkg-query")
        .args(["-W", "-f=${Package} ${db:Status-Status}\n"])
        .args(names)
        .output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Those of `names` that are not installed.
fn missing<'a>(names: &[&'a str], installed: &str) -> Vec<&'a str> {
    let have = |name: &str| {
        installed
            .lines()
            .any(|line| line.split_once(' ') == Some((name, "installed")))
    };
    names.iter().copied().filter(|name| !have(name)).collect()
}

/// `apt-get install` with whatever makes it root.
fn apt_get(missing: &[&str]) -> Result<Command> {
    let mut command = as_root().ok_or_else(|| anyhow::anyhow!(sentence(missing)))?;
    command.args([
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=600",
        "install",
        "-y",
    ]);
    command.arg("--no-install-recommends");
    Ok(command)
}

/// A new machine may have no package lists yet, or ones so old that what they name is gone.
fn refresh_lists(missing: &[&str]) -> Result<()> {
    let Some(mut command) = as_root() else {
        bail!(sentence(missing));
    };
    // A mirror of some other project may fail here without harm; what matters is whether the installation after it works.
    command
        .args(["env", "apt-get", "-o", "DPkg::Lock::Timeout=600", "update"])
        .output()?;
    Ok(())
}

/// A command line's first words that make the rest run as root; none if that is not to be had.
fn as_root() -> Option<Command> {
    if child::output(child::command("id").arg("-u")).is_ok_and(|id| id.trim() == "0") {
        return Some(child::command("env"));
    }
    let asks_nothing = child::command("sudo")
        .args(["-n", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    asks_nothing.then(|| {
        let mut sudo = child::command("sudo");
        sudo.arg("-n");
        sudo
    })
}

fn sentence(missing: &[&str]) -> String {
    let names = missing.join(" ");
    format!(
        "These Debian packages are missing and neither root nor a sudo that asks nothing is at hand: install them with `sudo apt-get install {names}`."
    )
}

/// Not a Debian: the programs themselves decide.
fn elsewhere(names: &[&str]) -> Result<()> {
    let programs = ["make", "clang", "ld.lld", "flex", "bison", "bc"];
    let missing: Vec<_> = programs
        .into_iter()
        .filter(|program| !child::found(program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "The programs {} are missing, and this is not a Debian on which apt could get them: install what Debian calls {}.",
        missing.join(", "),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_packages_count() {
        let said = "flex installed\nbison config-files\nbc not-installed\n";
        assert_eq!(
            missing(&["flex", "bison", "bc", "kmod"], said),
            ["bison", "bc", "kmod"]
        );
    }

    #[test]
    fn sentence_names_packages_and_command() {
        let said = sentence(&["flex", "bison"]);
        assert!(said.contains("`sudo apt-get install flex bison`"), "{said}");
    }
}
