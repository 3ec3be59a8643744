//! What an init does first and last.

use std::fs::{self, File};

use anyhow::{Context, Result, bail};
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

/// Opens the virtio-serial port that bears our name.
pub fn open_port() -> Result<(File, File)> {
    for entry in fs::read_dir("/sys/class/virtio-ports")
        .context("list virtio ports (CONFIG_VIRTIO_CONSOLE)")?
    {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == PORT) {
            let path = format!("/dev/{}", entry.file_name().to_string_lossy());
            let file = File::options()
                .read(true)
                .write(true)
                .open(&path)
                .with_context(|| format!("open {path}"))?;
            return Ok((file.try_clone()?, file));
        }
    }
    bail!("no virtio-serial port is named {PORT}");
}

/// QEMU runs with -no-reboot, so a restart ends it, on kernels without ACPI too.
pub fn power_off() -> Result<()> {
    rustix::fs::sync();
    reboot(RebootCommand::Restart).context("restart")
}
