// SPDX-License-Identifier: GPL-2.0
//! The write-intent bitmap's bytes: which regions of the volume were perhaps being written.
//!
//! The bitmap region is a row of sectors, each whole by itself, so that a torn page is still
//! old and new sectors: magic `rsBM` (4), CRC-32C of the rest from byte 8 on (4), volume uuid
//! (16), epoch (8), index of the sector in the bitmap (2), log2 of a region's sectors (1),
//! a zero (1), bits (476 bytes: the lowest bit of the first byte is the first region's).
//! Bit i of the whole is the region of sectors `i << shift` of the volume and up; the last one
//! there is room for stands for all behind it as well.
//!
//! It is on every member that takes part. A sector counts if its epoch is not below that of the
//! newest superblock: each writable assembly writes all of the bitmap anew before its first
//! commit, so what a member holds from an earlier time is seen as such. What is set on any
//! member counts; where no member has a sector that counts, all its regions are taken as set.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Uuid, BITMAP_LEN};
use crate::geometry::SECTOR_SIZE;

/// Regions that a sector of the bitmap has bits of.
pub const BITMAP_SECTOR_BITS: usize = BITS_LEN * 8;
/// Regions that the whole bitmap has bits of.
pub const BITMAP_BITS: usize = BITMAP_LEN.0 as usize * BITMAP_SECTOR_BITS;

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
    /// Writes the sector into the first 512 bytes of `out`; `bit` says which of its
    /// regions are set. `crc` is CRC-32C.
    ///
    /// # Panics
    /// When `out` is shorter than a sector.
    pub fn encode(&self, bit: impl Fn(usize) -> bool, out: &mut [u8], crc: impl Fn(&[u8]) -> u32) {
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
        for number in (0..BITMAP_SECTOR_BITS).filter(|number| bit(*number)) {
            block.bits[number / 8] |= 1 << (number % 8);
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
        SECTOR.encode(|number| set.contains(&number), &mut bytes, crc);
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
        SECTOR.encode(|number| number % 3 == 0, &mut bytes, crc);
        for at in 0..SECTOR_SIZE * 8 {
            let mut flipped = bytes;
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(BitmapSector::decode(&flipped, crc).is_none(), "bit {at}");
        }
    }
}
