// SPDX-License-Identifier: GPL-2.0
//! The write-intent bitmap's bytes: which regions of the volume were perhaps being written.
//!
//! The bitmap region is a row of sectors, each whole by itself, so that a torn page is still
//! old and new sectors: magic `rsBM` (4), CRC-32C of the rest from byte 8 on (4), volume uuid
//! (16), epoch (8), index of the sector in the bitmap (2), log2 of a region's sectors (1),
//! a zero (1), bits (476 bytes: the lowest bit of the first byte is the first region's).
//! Bit i of the whole is the region of sectors `i << shift` of the volume and up; the last one
//! there is room for stands for all behind it as well. Of the region's sectors version 1 uses the
//! first eight, as many of them as there are bits for; the others are zeroes. What a region's
//! length is, and what a bit means, is in `bitmap.rs` of the core.
//!
//! It is on every member that takes part. A sector counts if its epoch is not below that of the
//! newest superblock: each writable assembly writes all of the bitmap anew before its first
//! commit, so what a member holds from an earlier time is seen as such. What is set on any
//! member counts; where one has a sector that does not count, all its regions are taken as set.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Uuid;
use crate::geometry::SECTOR_SIZE;

/// Regions that a sector of the bitmap has bits of.
pub const BITMAP_SECTOR_BITS: usize = BITS_LEN * 8;

const MAGIC: [u8; 4] = *b"rsBM";
const CRC_FROM: usize = 8;
const BITS_LEN: usize = 476;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Block {
    magic: [u8; 4],
    crc: U32,
    volume: [u8; 16],
    epoch: U64,
    index: U16,
    shift: u8,
    unused: u8,
    bits: [u8; BITS_LEN],
}

const _: () = assert!(size_of::<Block>() == SECTOR_SIZE);

/// Whether a volume has a bitmap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BitmapMode {
    /// Wherever copies or parity can come to differ.
    #[default]
    Internal,
    None,
}

impl BitmapMode {
    const ALL: [BitmapMode; 2] = [BitmapMode::Internal, BitmapMode::None];

    /// The number on disk.
    pub(super) fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn from_code(code: u8) -> Option<BitmapMode> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The word users read and write for it: md's.
    pub const fn name(self) -> &'static str {
        match self {
            BitmapMode::Internal => "internal",
            BitmapMode::None => "none",
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<BitmapMode> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// What a sector of the bitmap is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BitmapSector {
    pub volume: Uuid,
    pub epoch: u64,
    pub index: u16,
    /// log2 of a region's sectors.
    pub shift: u8,
}

impl BitmapSector {
    /// Writes the sector into the first 512 bytes of `out`; `word` has the bits of 32 regions,
    /// those from 32 times its argument on. `crc` is CRC-32C.
    ///
    /// # Panics
    /// When `out` is shorter than a sector.
    pub fn encode(&self, word: impl Fn(usize) -> u32, out: &mut [u8], crc: impl Fn(&[u8]) -> u32) {
        let bytes = &mut out[..SECTOR_SIZE];
        // A block is all bytes of any value, of that size: this can't fail.
        let Ok(block) = Block::mut_from_bytes(bytes) else {
            unreachable!("a sector is {SECTOR_SIZE} bytes");
        };
        block.zero();
        block.magic = MAGIC;
        block.volume = self.volume.0;
        block.epoch.set(self.epoch);
        block.index.set(self.index);
        block.shift = self.shift;
        for (number, bits) in block.bits.chunks_exact_mut(4).enumerate() {
            bits.copy_from_slice(&word(number).to_le_bytes());
        }
        let sum = crc(&bytes[CRC_FROM..]);
        bytes[MAGIC.len()..CRC_FROM].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads a sector, if one is there and whole: what it is about, and its bits. `crc` is
    /// CRC-32C.
    pub fn decode(bytes: &[u8], crc: impl Fn(&[u8]) -> u32) -> Option<(BitmapSector, &[u8])> {
        let (block, _) = Block::ref_from_prefix(bytes).ok()?;
        if block.magic != MAGIC || block.shift >= 64 {
            return None;
        }
        if crc(&bytes[CRC_FROM..SECTOR_SIZE]) != block.crc.get() {
            return None;
        }
        let sector = BitmapSector {
            volume: Uuid(block.volume),
            epoch: block.epoch.get(),
            index: block.index.get(),
            shift: block.shift,
        };
        Some((sector, &block.bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u32 {
        bytes
            .iter()
            .fold(7, |sum: u32, byte| sum.rotate_left(5) ^ u32::from(*byte))
    }

    /// Words of which those bits are set.
    fn words(bit: impl Fn(usize) -> bool) -> impl Fn(usize) -> u32 {
        move |word| (0..32).fold(0, |bits, i| bits | u32::from(bit(word * 32 + i)) << i)
    }

    const SECTOR: BitmapSector = BitmapSector {
        volume: Uuid([3; 16]),
        epoch: 9,
        index: 127,
        shift: 17,
    };

    #[test]
    fn what_goes_in_comes_out() {
        let set = [0, 7, 8, BITMAP_SECTOR_BITS - 1];
        let mut bytes = [0xa5; SECTOR_SIZE];
        SECTOR.encode(words(|number| set.contains(&number)), &mut bytes, crc);
        let (sector, bits) = BitmapSector::decode(&bytes, crc).expect("it is whole");
        assert_eq!(sector, SECTOR);
        for number in 0..BITMAP_SECTOR_BITS {
            let is = bits[number / 8] & 1 << (number % 8) != 0;
            assert_eq!(is, set.contains(&number), "region {number}");
        }
        assert_eq!(&bytes[..4], b"rsBM");
        assert_eq!(bytes[36], 0x81);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let mut bytes = [0; SECTOR_SIZE];
        SECTOR.encode(words(|number| number % 3 == 0), &mut bytes, crc);
        for at in 0..SECTOR_SIZE * 8 {
            let mut flipped = bytes;
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(BitmapSector::decode(&flipped, crc).is_none(), "bit {at}");
        }
    }
}
