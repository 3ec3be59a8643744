// SPDX-License-Identifier: GPL-2.0
//! The superblock's bytes, version 1.
//!
//! Version 1 is frozen: what is described here keeps its place and meaning, and every later build
//! assembles what was written by it (`tests/golden` holds such disks). What comes new takes bytes
//! that are unused here and read as zero by then, with a feature bit where an older build must not
//! write, or not even read, past it; what can't be done so is a version 2.
//!
//! A block of 16 KiB, twice on every member (`ondisk/place.rs`). All numbers are
//! little-endian, all sectors are 512 bytes, texts are UTF-8 padded with zero
//! bytes, unused bytes are zero when written and not looked at when read. The
//! CRC-32C (Castagnoli, initial value and final XOR ~0) is over all bytes behind
//! it; the magic before it is compared byte for byte, so any changed bit shows.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic, `restrpSB` |
//! | 8 | 4 | CRC-32C of bytes 12 to the end |
//! | 12 | 2 | version |
//! | 14 | 1 | the member this copy is on: row of the member table |
//! | 15 | 1 | flags: 1 clean, 2 the bitmap is in force, 4 the journal is in force |
//! | 16 | 24 | feature bits: compatible, read-only compatible, incompatible |
//! | 40 | 16 | volume uuid |
//! | 56 | 32 | volume name |
//! | 88 | 32 | who wrote it |
//! | 120 | 16 | created, updated (seconds since 1970) |
//! | 136 | 16 | epoch, generation |
//! | 152 | 8 | sectors of the volume |
//! | 160 | 4 | logical block, bytes |
//! | 164 | 4 | rows used: sets, ranges, members, mismatches |
//! | 168 | 8 | sectors that differ |
//! | 176 | 80 | migration |
//! | 256 | 4 * 800 | sets |
//! | 3456 | 4 * 24 | ranges |
//! | 3552 | 32 * 16 | mismatches |
//! | 4064 | 8 | last lap of the journal that is retired |
//! | 4072 | 1 | journal: 0 auto, 1 always, 2 off |
//! | 4073 | 1 | bitmap: 0 internal, 1 none |
//! | 4096 | 32 * 320 | members |
//! | 14336 | 2048 | unused |

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::layout::Level;

/// Bytes of a superblock.
pub const SUPERBLOCK_SIZE: usize = 16384;
/// The version written, and the only one read.
pub const VERSION: u16 = 1;
/// Incompatible features known here.
pub const INCOMPAT_KNOWN: u64 = 0;
/// Read-only compatible features known here.
pub const RO_COMPAT_KNOWN: u64 = 0;

pub(super) const MAGIC: [u8; 8] = *b"restrpSB";
/// The CRC covers what comes after it.
pub(super) const CRC_FROM: usize = 12;

/// Rows there is room for on disk.
pub(super) const DISK_MEMBERS: usize = 32;

pub(super) const FLAG_CLEAN: u8 = 1;
pub(super) const FLAG_MARKED: u8 = 2;
pub(super) const FLAG_JOURNALED: u8 = 4;

pub(super) const MIGRATION_RUNS: u32 = 1;
pub(super) const MIGRATION_DESCENDING: u32 = 2;
pub(super) const MIGRATION_PAUSED: u32 = 4;
pub(super) const MIGRATION_ABORTING: u32 = 8;
pub(super) const MIGRATION_HAS_MAX: u32 = 16;

/// What was written beyond `resync` can be rebuilt from its parity.
pub(super) const SET_FRESH: u8 = 1;

pub(super) const MEMBER_ADOPTED: u8 = 1;
/// It is being adopted, and perhaps holds no superblock yet.
pub(super) const MEMBER_UNMARKED: u8 = 2;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DiskMigration {
    pub(super) uuid: [u8; 16],
    pub(super) flags: U32,
    pub(super) source: u8,
    pub(super) target: u8,
    unused: [u8; 2],
    pub(super) cursor: U64,
    pub(super) retired_stash: U64,
    pub(super) sync_max: U64,
    /// KiB/s.
    pub(super) speed_max: U32,
    unused_end: [u8; 28],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DiskExtent {
    pub(super) slot: u8,
    pub(super) member: u8,
    unused: [u8; 6],
    pub(super) start: U64,
    pub(super) len: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DiskSet {
    /// See [`level_code`].
    pub(super) level: U16,
    /// md's layout number, see [`algorithm_code`].
    pub(super) algorithm: U16,
    pub(super) slots: u8,
    pub(super) extent_count: u8,
    pub(super) flags: u8,
    unused: u8,
    /// Sectors; 1 where the level is not striped.
    pub(super) chunk: U32,
    unused_too: [u8; 4],
    pub(super) slot_len: U64,
    pub(super) resync: U64,
    pub(super) extents: [DiskExtent; 32],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DiskMapRange {
    pub(super) start: U64,
    pub(super) end: U64,
    pub(super) set: u8,
    unused: [u8; 7],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DiskMismatch {
    pub(super) start: U64,
    pub(super) end: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DiskRegion {
    pub(super) kind: U16,
    unused: [u8; 6],
    pub(super) start: U64,
    pub(super) len: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct DiskMember {
    pub(super) uuid: [u8; 16],
    pub(super) serial: [u8; 40],
    pub(super) device_sectors: U64,
    pub(super) recovery: U64,
    pub(super) left_epoch: U64,
    pub(super) state: u8,
    pub(super) flags: u8,
    pub(super) region_count: u8,
    unused: [u8; 5],
    pub(super) regions: [DiskRegion; 8],
    /// CRC-32C of what it is known by, where it is unmarked.
    pub(super) known_crc: U32,
    unused_end: [u8; 36],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Block {
    pub(super) magic: [u8; 8],
    pub(super) crc: U32,
    pub(super) version: U16,
    pub(super) this_member: u8,
    pub(super) flags: u8,
    pub(super) compat: U64,
    pub(super) ro_compat: U64,
    pub(super) incompat: U64,
    pub(super) uuid: [u8; 16],
    pub(super) name: [u8; 32],
    pub(super) writer: [u8; 32],
    pub(super) created: U64,
    pub(super) updated: U64,
    pub(super) epoch: U64,
    pub(super) generation: U64,
    pub(super) volume_sectors: U64,
    pub(super) logical_block: U32,
    pub(super) set_count: u8,
    pub(super) range_count: u8,
    pub(super) member_count: u8,
    pub(super) mismatch_count: u8,
    pub(super) mismatch_cnt: U64,
    pub(super) migration: DiskMigration,
    pub(super) sets: [DiskSet; 4],
    pub(super) ranges: [DiskMapRange; 4],
    pub(super) mismatches: [DiskMismatch; 32],
    pub(super) retired_lap: U64,
    pub(super) journal_mode: u8,
    pub(super) bitmap_mode: u8,
    unused: [u8; 22],
    pub(super) members: [DiskMember; DISK_MEMBERS],
    unused_end: [u8; 2048],
}

const _: () = assert!(size_of::<Block>() == SUPERBLOCK_SIZE);

/// md's numbers; linear is md's -1.
pub(super) const fn level_code(level: Level) -> u16 {
    match level {
        Level::Linear => 0xffff,
        Level::Raid0 => 0,
        Level::Raid1 => 1,
        Level::Raid5 => 5,
        Level::Raid6 => 6,
        Level::Raid10 { .. } => 10,
    }
}

/// md's number of how the level is laid out: left-symmetric, or on raid10 one far copy
/// (in the second byte) and so many near ones (in the first).
pub(super) const fn algorithm_code(level: Level) -> u16 {
    match level {
        Level::Raid5 | Level::Raid6 => 2,
        Level::Raid10 { copies } => 0x100 | copies as u16,
        _ => 0,
    }
}

/// The level of these two numbers.
pub(super) fn level_from_codes(code: u16, algorithm: u16) -> Option<Level> {
    let copies = (algorithm & 0xff) as u8;
    let (others, raid10) = (Level::ALL, Level::Raid10 { copies });
    let mut all = others.into_iter().chain([raid10]);
    all.find(|level| level_code(*level) == code && algorithm_code(*level) == algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn offsets_are_the_documented_ones() {
        let offsets = [
            offset_of!(Block, crc),
            offset_of!(Block, version),
            offset_of!(Block, this_member),
            offset_of!(Block, flags),
            offset_of!(Block, compat),
            offset_of!(Block, uuid),
            offset_of!(Block, name),
            offset_of!(Block, writer),
            offset_of!(Block, created),
            offset_of!(Block, epoch),
            offset_of!(Block, volume_sectors),
            offset_of!(Block, logical_block),
            offset_of!(Block, set_count),
            offset_of!(Block, mismatch_cnt),
            offset_of!(Block, migration),
            offset_of!(Block, sets),
            offset_of!(Block, ranges),
            offset_of!(Block, mismatches),
            offset_of!(Block, retired_lap),
            offset_of!(Block, journal_mode),
            offset_of!(Block, bitmap_mode),
            offset_of!(Block, members),
            offset_of!(Block, unused_end),
        ];
        assert_eq!(
            offsets,
            [
                8, 12, 14, 15, 16, 40, 56, 88, 120, 136, 152, 160, 164, 168, 176, 256, 3456, 3552,
                4064, 4072, 4073, 4096, 14336
            ]
        );
        assert_eq!(size_of::<DiskMigration>(), 80);
        assert_eq!(size_of::<DiskSet>(), 800);
        assert_eq!(size_of::<DiskExtent>(), 24);
        assert_eq!(size_of::<DiskMapRange>(), 24);
        assert_eq!(size_of::<DiskMember>(), 320);
        assert_eq!(size_of::<DiskRegion>(), 24);
    }

    #[test]
    fn level_codes_are_mds() {
        for (level, code, algorithm) in [
            (Level::Linear, 0xffff, 0),
            (Level::Raid0, 0, 0),
            (Level::Raid1, 1, 0),
            (Level::Raid5, 5, 2),
            (Level::Raid6, 6, 2),
            (Level::Raid10 { copies: 2 }, 10, 0x102),
            (Level::Raid10 { copies: 5 }, 10, 0x105),
        ] {
            assert_eq!(
                (level_code(level), algorithm_code(level)),
                (code, algorithm)
            );
            assert_eq!(level_from_codes(code, algorithm), Some(level));
        }
        // raid4, raid5 left-asymmetric, raid10 far.
        for (code, algorithm) in [(4, 0), (5, 0), (10, 0x201), (10, 2)] {
            assert_eq!(level_from_codes(code, algorithm), None);
        }
    }
}
