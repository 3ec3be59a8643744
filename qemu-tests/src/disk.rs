//! A VM's disk, which outlives the VM: a sparse raw file, or an export of a server that logs what comes to it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

#[derive(Debug, Clone)]
enum Backing {
    File(PathBuf),
    Nbd { socket: PathBuf, export: String },
}

#[derive(Debug, Clone)]
pub struct Disk {
    backing: Backing,
    /// What the guest sees as the disk's serial number, at most 20 characters.
    pub serial: String,
    /// Bytes.
    pub logical_block: u32,
    /// Bytes per second, 0 for no limit.
    pub bps: u64,
    /// Operations per second, 0 for no limit.
    pub iops: u64,
    /// Whether the disk takes discards and write-zeroes.
    pub discard: bool,
}

impl Disk {
    /// A blank disk of `size` bytes.
    pub fn blank(image: &Path, size: u64) -> Result<Self> {
        let file = File::create(image).with_context(|| format!("make {}", image.display()))?;
        file.set_len(size)
            .with_context(|| format!("make {} {size} bytes long", image.display()))?;
        Ok(Self::file(image))
    }

    /// A disk that starts as a copy of `content`, and is `size` bytes long.
    pub fn copy_of(content: &Path, image: &Path, size: u64) -> Result<Self> {
        let status = Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .args([content, image])
            .status()
            .context("run cp")?;
        ensure!(
            status.success(),
            "could not copy {} to {}",
            content.display(),
            image.display()
        );
        let file = File::options()
            .write(true)
            .open(image)
            .with_context(|| format!("open {}", image.display()))?;
        file.set_len(size)
            .with_context(|| format!("make {} {size} bytes long", image.display()))?;
        Ok(Self::file(image))
    }

    /// A disk that an NBD server offers at a Unix socket.
    pub fn served(socket: &Path, export: &str) -> Self {
        let backing = Backing::Nbd {
            socket: socket.to_owned(),
            export: export.to_owned(),
        };
        Self::of(backing, format!("nbd{export}"))
    }

    fn file(image: &Path) -> Self {
        let serial = image.file_stem().map_or_else(String::new, |stem| {
            stem.to_string_lossy().chars().take(20).collect()
        });
        Self::of(Backing::File(image.to_owned()), serial)
    }

    fn of(backing: Backing, serial: String) -> Self {
        Self {
            backing,
            serial,
            logical_block: 512,
            bps: 0,
            iops: 0,
            discard: true,
        }
    }

    #[must_use]
    pub fn throttled(mut self, bps: u64, iops: u64) -> Self {
        (self.bps, self.iops) = (bps, iops);
        self
    }

    #[must_use]
    pub fn logical_block(mut self, bytes: u32) -> Self {
        self.logical_block = bytes;
        self
    }

    #[must_use]
    pub fn without_discard(mut self) -> Self {
        self.discard = false;
        self
    }

    fn image(&self) -> Result<&Path> {
        match &self.backing {
            Backing::File(image) => Ok(image),
            Backing::Nbd { .. } => bail!("the disk {} is served and is no file", self.serial),
        }
    }

    /// The whole content, to be compared; for small disks.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let image = self.image()?;
        fs::read(image).with_context(|| format!("read {}", image.display()))
    }

    /// Bytes in the disk.
    pub fn size(&self) -> Result<u64> {
        let image = self.image()?;
        Ok(fs::metadata(image)
            .with_context(|| format!("look at {}", image.display()))?
            .len())
    }

    /// Overwrites a part, as only a broken disk does. The VM must be off.
    pub fn corrupt(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let image = self.image()?;
        let file = File::options()
            .write(true)
            .open(image)
            .with_context(|| format!("open {}", image.display()))?;
        file.write_all_at(bytes, at)
            .with_context(|| format!("write {} at byte {at}", image.display()))
    }

    /// QEMU's words for it. The content of a file is in the host's page cache, which survives a killed QEMU, so the host's
    /// disk need not be waited for. To a server goes every request as the guest's driver issued it, flushes too.
    pub fn options(&self, index: usize) -> Result<[String; 4]> {
        let unmap = if self.discard { "unmap" } else { "ignore" };
        let mut drive = format!("if=none,id=disk{index},format=raw,discard={unmap},");
        drive += &match &self.backing {
            Backing::File(image) => format!("cache=unsafe,file={}", plain(image)?),
            Backing::Nbd { socket, export } => format!(
                "cache=none,file.driver=nbd,file.server.type=unix,file.server.path={},file.export={export}",
                plain(socket)?
            ),
        };
        if self.bps > 0 {
            drive += &format!(",throttling.bps-total={}", self.bps);
        }
        if self.iops > 0 {
            drive += &format!(",throttling.iops-total={}", self.iops);
        }
        let (block, onoff) = (self.logical_block, if self.discard { "on" } else { "off" });
        let merging = match self.backing {
            Backing::File(_) => "on",
            Backing::Nbd { .. } => "off",
        };
        let device = format!(
            "virtio-blk-pci,drive=disk{index},serial={},logical_block_size={block},physical_block_size={},\
             discard={onoff},write-zeroes={onoff},request-merging={merging}",
            self.serial,
            block.max(4096)
        );
        Ok(["-drive".into(), drive, "-device".into(), device])
    }
}

/// A checksum of the whole content of each, to see whether anything changes.
pub fn sums(disks: &[Disk]) -> Result<Vec<u32>> {
    let sum = |disk: &Disk| Ok(crc32c::crc32c(&disk.bytes()?));
    disks.iter().map(sum).collect()
}

/// A path that QEMU's options can hold.
fn plain(path: &Path) -> Result<&str> {
    let text = path.to_str().context("a disk's path is no UTF-8")?;
    ensure!(
        !text.contains(','),
        "QEMU takes no comma in a disk's path: {text}"
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_the_content_and_takes_the_size() {
        let dir = tempfile::tempdir().unwrap();
        let content = dir.path().join("content");
        fs::write(&content, b"content").unwrap();
        let disk = Disk::copy_of(&content, &dir.path().join("a.img"), 1 << 20).unwrap();
        assert_eq!(disk.size().unwrap(), 1 << 20);
        disk.corrupt(3, b"!").unwrap();
        assert_eq!(&disk.bytes().unwrap()[..8], b"con!ent\0");
        assert_eq!(fs::read(&content).unwrap(), b"content");
    }

    #[test]
    fn qemu_is_told_of_limits() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::blank(&dir.path().join("slow.img"), 4096).unwrap();
        let words = disk.options(0).unwrap().join(" ");
        assert!(
            words.contains("serial=slow,") && !words.contains("throttling"),
            "{words}"
        );
        let words = disk
            .throttled(1000, 10)
            .logical_block(4096)
            .options(1)
            .unwrap()
            .join(" ");
        assert!(
            words.contains("throttling.bps-total=1000,throttling.iops-total=10"),
            "{words}"
        );
        assert!(words.contains("logical_block_size=4096"), "{words}");
    }

    #[test]
    fn a_served_disk_is_attached_and_is_no_file() {
        let disk = Disk::served(Path::new("/run/socket"), "3");
        let words = disk.options(3).unwrap().join(" ");
        assert!(
            words.contains("file.server.path=/run/socket,file.export=3")
                && words.contains("request-merging=off"),
            "{words}"
        );
        assert!(disk.bytes().is_err() && disk.corrupt(0, b"!").is_err());
    }
}
