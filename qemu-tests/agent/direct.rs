//! Direct I/O, past the page cache: what is acknowledged was acknowledged by the device.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use rustix::fs::OFlags;

/// Opens for direct reading and writing.
pub fn open(path: &str) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path)
        .with_context(|| format!("open {path} for direct I/O"))
}

/// Opens for direct reading of what may not take writes.
pub fn open_to_read(path: &str) -> Result<File> {
    File::options()
        .read(true)
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path)
        .with_context(|| format!("open {path} for direct reading"))
}

/// A buffer that starts on a page, as direct I/O wants it.
pub struct Pages {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Pages {
    const PAGE: usize = 4096;

    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + Self::PAGE];
        let start = bytes.as_ptr().align_offset(Self::PAGE);
        Self { bytes, start, len }
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}
