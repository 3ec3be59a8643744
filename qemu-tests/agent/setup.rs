//! What an init does first and last.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use qemu_tests::wire::PORT;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};

/// (file system, where, whether a kernel may be without it)
const MOUNTS: [(&str, &str, bool); 8] = [
    ("proc", "/proc", false),
    ("sysfs", "/sys", false),
    ("devtmpfs", "/dev", false),
    ("tmpfs", "/dev/shm", false),
    ("tmpfs", "/run", false),
    ("tmpfs", "/tmp", false),
    ("configfs", "/sys/kernel/config", true),
    ("debugfs", "/sys/kernel/debug", true),
];

pub fn mount_all() -> Result<()> {
    for (kind, at, optional) in MOUNTS {
        if fs::create_dir_all(at).is_err() && optional {
            continue;
        }
        match mount(kind, at, kind, MountFlags::empty(), None) {
            Ok(()) => {}
            // The kernel may have mounted devtmpfs by itself.
            Err(rustix::io::Errno::BUSY) => {}
            Err(_) if optional => {}
            Err(e) => return Err(e).with_context(|| format!("mount {kind} on {at}")),
        }
    }
    fs::create_dir_all("/mnt").context("make /mnt")
}

const CPUS: &str = "/sys/devices/system/cpu";
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// What the kernel keeps time by until it knows how fast the CPU's own counter is. That it goes over to another is the last
/// of what makes it patch its code by itself.
const EARLY_CLOCK: &str = "tsc-early";

/// Between two looks at what nobody tells.
const LOOK: Duration = Duration::from_millis(10);

/// Starts the CPUs that the kernel has left alone while it booted (the host's `ALONE` says why).
pub fn start_cpus() -> Result<()> {
    let waiting = waiting_cpus()?;
    while !waiting.is_empty() && read(Path::new(CLOCK))? == EARLY_CLOCK {
        thread::sleep(LOOK);
    }
    for online in waiting {
        fs::write(&online, "1").with_context(|| format!("write to {}", online.display()))?;
    }
    Ok(())
}

/// The files by which CPUs start that have not. The first CPU has none.
fn waiting_cpus() -> Result<Vec<PathBuf>> {
    let mut waiting = Vec::new();
    for entry in fs::read_dir(CPUS).with_context(|| format!("list {CPUS}"))? {
        let online = entry?.path().join("online");
        if online.exists() && read(&online)? == "0" {
            waiting.push(online);
        }
    }
    Ok(waiting)
}

fn read(file: &Path) -> Result<String> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// Opens the virtio-serial port that bears our name. The host says the name to a worker of the kernel, which may come to it later
/// than we do.
pub fn open_port() -> Result<(File, File)> {
    let path = loop {
        match port()? {
            Some(path) => break path,
            None => thread::sleep(LOOK),
        }
    };
    let file = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("open {path}"))?;
    Ok((file.try_clone()?, file))
}

/// The port's device, where it has its name by now.
fn port() -> Result<Option<String>> {
    for entry in fs::read_dir("/sys/class/virtio-ports")
        .context("list virtio ports (CONFIG_VIRTIO_CONSOLE)")?
    {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT) {
            return Ok(Some(format!(
                "/dev/{}",
                entry.file_name().to_string_lossy()
            )));
        }
    }
    Ok(None)
}

/// QEMU runs with -no-reboot, so a restart ends it, on kernels without ACPI too.
pub fn power_off() -> Result<()> {
    rustix::fs::sync();
    reboot(RebootCommand::Restart).context("restart")
}
