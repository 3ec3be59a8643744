//! Which accelerator QEMU gets. A /dev/kvm that opens proves nothing: what counts is whether a kernel boots.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::qemu::{Life, Machine, QEMU};
use crate::vm::Vm;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    Kvm,
    Tcg,
    /// TCG with a clock that counts instructions: one guest nanosecond is one instruction. One CPU only.
    Counted,
}

/// A kernel that boots under KVM at all is up within two seconds; one that does not costs this once.
const PROBE: Duration = Duration::from_secs(15);

impl Accel {
    pub fn option(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=multi",
            Self::Counted => "tcg,thread=single",
        }
    }

    /// What else QEMU has to be told.
    pub fn more_options(self) -> &'static [&'static str] {
        match self {
            Self::Kvm | Self::Tcg => &[],
            // sleep=off: an idle guest's clock jumps to the next timer instead of waiting for it.
            Self::Counted => &["-icount", "shift=0,sleep=off"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
            Self::Counted => "counted",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Kvm, Self::Tcg]
            .into_iter()
            .find(|a| a.name() == name)
    }

    /// `ACCEL=kvm` or `ACCEL=tcg` if set; else what booted, tried once for this machine's kernel and QEMU.
    pub fn choose(kernel: &Path, initramfs: &Path) -> Result<Self> {
        if let Ok(name) = std::env::var("ACCEL") {
            return Self::named(&name)
                .with_context(|| format!("ACCEL={name} is neither kvm nor tcg"));
        }
        if fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_err()
        {
            return Ok(Self::Tcg);
        }
        let name = cache::key([host()?.as_bytes()]);
        let answer = cache::file("accel", &name, "answer", 8, |file| {
            let found = if kvm_boots(kernel, initramfs)? { Self::Kvm } else { Self::Tcg };
            Ok(fs::write(file, found.name())?)
        })?;
        let known = fs::read_to_string(&answer).with_context(|| format!("read {}", answer.display()))?;
        Self::named(known.trim()).with_context(|| format!("{} says {known:?}; remove it", answer.display()))
    }
}

/// What the answer depends on.
fn host() -> Result<String> {
    let qemu = Command::new(QEMU)
        .arg("--version")
        .output()
        .context("run QEMU")?;
    let kernel = fs::read_to_string("/proc/version").context("read /proc/version")?;
    let cpu = fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
    let model = cpu
        .lines()
        .find(|line| line.starts_with("model name"))
        .unwrap_or_default();
    Ok(format!(
        "{}{kernel}{model}",
        String::from_utf8_lossy(&qemu.stdout)
    ))
}

fn kvm_boots(kernel: &Path, initramfs: &Path) -> Result<bool> {
    let dir = tempfile::tempdir().context("make a folder for the KVM probe")?;
    let machine = Machine {
        accel: Accel::Kvm,
        kernel: kernel.to_owned(),
        initramfs: initramfs.to_owned(),
        module: None,
        disks: Vec::new(),
        memory: 1024,
        cpus: 1,
        leaks: false,
        append: String::new(),
        life: Life::Boots,
    };
    match Vm::boot_within(&machine, &dir.path().join("console.log"), PROBE) {
        Ok(Some(vm)) => Ok(vm.sh("true").is_ok_and(|done| done.status == 0)),
        Ok(None) => Ok(false),
        // QEMU refused, or the kernel fell over at once.
        Err(_) if fs::exists(kernel)? && fs::exists(initramfs)? => Ok(false),
        Err(e) => bail!(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for accel in [Accel::Kvm, Accel::Tcg] {
            assert_eq!(Accel::named(accel.name()), Some(accel));
        }
        assert_eq!(Accel::named("hvf"), None);
    }
}
