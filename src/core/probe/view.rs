// SPDX-License-Identifier: GPL-2.0
//! A disk as numbers at byte offsets, read 4096 bytes at a time.

use crate::geometry::{Physical, Sectors, SECTOR_SIZE};
use crate::text::Errno;

/// Bytes read at once: every logical block size divides it, or the disk is no member.
pub const UNIT_SIZE: usize = 4096;

/// A disk to look at.
pub trait Blocks {
    /// Its size.
    fn sectors(&self) -> Sectors;

    /// Reads whole sectors. `at` is a multiple of 4096 bytes; `buf` is 4096
    /// bytes, or less at the disk's end.
    ///
    /// # Errors
    /// When they can't be read.
    fn read(&mut self, at: Physical, buf: &mut [u8]) -> Result<(), Errno>;
}

/// A disk with the unit read last kept.
pub(super) struct View<'a, B: Blocks> {
    blocks: &'a mut B,
    buf: &'a mut [u8; UNIT_SIZE],
    /// Byte offset of what `buf` holds.
    held: Option<u64>,
}

impl<'a, B: Blocks> View<'a, B> {
    pub(super) fn new(blocks: &'a mut B, buf: &'a mut [u8; UNIT_SIZE]) -> Self {
        View {
            blocks,
            buf,
            held: None,
        }
    }

    pub(super) fn sectors(&self) -> Sectors {
        self.blocks.sectors()
    }

    /// The disk's size in bytes.
    pub(super) fn end(&self) -> u64 {
        self.sectors().bytes()
    }

    /// The unit that byte `at` is in; zeroes behind the disk's end.
    pub(super) fn unit(&mut self, at: u64) -> Result<&[u8; UNIT_SIZE], Errno> {
        let start = at - at % UNIT_SIZE as u64;
        if self.held != Some(start) {
            self.held = None;
            let left = self.end().saturating_sub(start);
            let len = left.min(UNIT_SIZE as u64) as usize / SECTOR_SIZE * SECTOR_SIZE;
            self.buf.fill(0);
            if len > 0 {
                let at = Physical(Sectors::from_bytes(start).0);
                self.blocks.read(at, &mut self.buf[..len])?;
            }
            self.held = Some(start);
        }
        Ok(self.buf)
    }

    /// The `N` bytes from byte `at` on.
    pub(super) fn bytes<const N: usize>(&mut self, at: u64) -> Result<[u8; N], Errno> {
        let mut out = [0; N];
        let mut done = 0;
        while done < N {
            let Some(from) = at.checked_add(done as u64) else {
                return Ok(out);
            };
            let within = (from % UNIT_SIZE as u64) as usize;
            let len = (N - done).min(UNIT_SIZE - within);
            let unit = self.unit(from)?;
            out[done..done + len].copy_from_slice(&unit[within..within + len]);
            done += len;
        }
        Ok(out)
    }

    /// Whether `magic` is at byte `at`.
    pub(super) fn has<const N: usize>(&mut self, at: u64, magic: &[u8; N]) -> Result<bool, Errno> {
        Ok(self.bytes::<N>(at)? == *magic)
    }

    pub(super) fn u8(&mut self, at: u64) -> Result<u8, Errno> {
        Ok(self.bytes::<1>(at)?[0])
    }

    pub(super) fn le16(&mut self, at: u64) -> Result<u16, Errno> {
        Ok(u16::from_le_bytes(self.bytes(at)?))
    }

    pub(super) fn le32(&mut self, at: u64) -> Result<u32, Errno> {
        Ok(u32::from_le_bytes(self.bytes(at)?))
    }

    pub(super) fn le64(&mut self, at: u64) -> Result<u64, Errno> {
        Ok(u64::from_le_bytes(self.bytes(at)?))
    }

    pub(super) fn be32(&mut self, at: u64) -> Result<u32, Errno> {
        Ok(u32::from_be_bytes(self.bytes(at)?))
    }

    pub(super) fn be64(&mut self, at: u64) -> Result<u64, Errno> {
        Ok(u64::from_be_bytes(self.bytes(at)?))
    }
}

/// `count` pieces of `size` bytes as sectors, rounded up; nothing where no disk is that large.
pub(super) fn sectors_of(count: u64, size: u64) -> Option<Sectors> {
    let bytes = count.checked_mul(size)?;
    (bytes <= 1 << 62).then(|| Sectors(bytes.div_ceil(SECTOR_SIZE as u64)))
}
