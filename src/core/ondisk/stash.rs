// SPDX-License-Identifier: GPL-2.0
//! The stash header: what makes a stashed window the truth (DESIGN I1).
//!
//! 4096 bytes at the start of the stash region: magic `restrpST` (8), CRC-32C of
//! the rest from byte 12 on (4), CRC-32C of the data (4), migration uuid (16),
//! number (8), first and end sector of the window in the volume (8, 8), first
//! sector of the data on this member (8), sectors of data (8), zeroes.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Migration, Uuid};
use crate::geometry::{Logical, MemberId, MemberMask, Physical, Range, Sectors};

/// Bytes of a stash header.
pub const STASH_HEADER_SIZE: usize = 4096;

const MAGIC: [u8; 8] = *b"restrpST";
const CRC_FROM: usize = 12;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Block {
    magic: [u8; 8],
    crc: U32,
    data_crc: U32,
    migration: [u8; 16],
    number: U64,
    start: U64,
    end: U64,
    data_at: U64,
    data_len: U64,
    unused: [u8; 4024],
}

const _: () = assert!(size_of::<Block>() == STASH_HEADER_SIZE);

/// A stashed window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StashHeader {
    pub migration: Uuid,
    /// Never used again within the migration.
    pub number: u64,
    /// The window.
    pub range: Range,
    /// Where on this member the window's data are.
    pub data_at: Physical,
    pub data_len: Sectors,
    /// CRC-32C of those data.
    pub data_crc: u32,
}

impl StashHeader {
    /// Writes the header into the first 4096 bytes of `out`. `crc` is CRC-32C.
    ///
    /// # Panics
    /// When `out` is shorter than [`STASH_HEADER_SIZE`].
    pub fn encode(&self, out: &mut [u8], crc: impl Fn(&[u8]) -> u32) {
        let bytes = &mut out[..STASH_HEADER_SIZE];
        // A block is all bytes of any value, of that size: this can't fail.
        let Ok(block) = Block::mut_from_bytes(bytes) else {
            unreachable!("a stash header is {STASH_HEADER_SIZE} bytes");
        };
        block.zero();
        block.magic = MAGIC;
        block.data_crc.set(self.data_crc);
        block.migration = self.migration.0;
        block.number.set(self.number);
        block.start.set(self.range.start.0);
        block.end.set(self.range.end.0);
        block.data_at.set(self.data_at.0);
        block.data_len.set(self.data_len.0);
        let sum = crc(&bytes[CRC_FROM..]);
        bytes[MAGIC.len()..CRC_FROM].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads a header, if one is there and whole. `crc` is CRC-32C.
    pub fn decode(bytes: &[u8], crc: impl Fn(&[u8]) -> u32) -> Option<StashHeader> {
        let (block, _) = Block::ref_from_prefix(bytes).ok()?;
        if block.magic != MAGIC {
            return None;
        }
        if crc(&bytes[CRC_FROM..STASH_HEADER_SIZE]) != block.crc.get() {
            return None;
        }
        let header = StashHeader {
            migration: Uuid(block.migration),
            number: block.number.get(),
            range: Range {
                start: Logical(block.start.get()),
                end: Logical(block.end.get()),
            },
            data_at: Physical(block.data_at.get()),
            data_len: Sectors(block.data_len.get()),
            data_crc: block.data_crc.get(),
        };
        (header.range.start <= header.range.end).then_some(header)
    }

    /// Whether it belongs to `migration` and is not retired yet. It counts only
    /// if its data have [`StashHeader::data_crc`] as well.
    pub fn is_current(&self, migration: &Migration) -> bool {
        self.migration == migration.uuid && self.number > migration.retired_stash
    }

    /// Whether it is the truth for its window: current, and its data, of which
    /// `data_crc` is the CRC-32C, are whole.
    pub fn valid(&self, migration: &Migration, data_crc: u32) -> bool {
        self.is_current(migration) && self.data_crc == data_crc
    }

    /// Whether another member's is of the same window with the same data.
    fn is_same(&self, other: &StashHeader) -> bool {
        let of = |header: &StashHeader| (header.number, header.range, header.data_crc);
        of(self) == of(other)
    }
}

/// What is the truth for its window, of all stashes that were found (DESIGN I1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundStash {
    pub header: StashHeader,
    /// Members that hold it, header and data.
    pub members: MemberMask,
}

impl FoundStash {
    /// With one more, a [valid](StashHeader::valid) one on `member`: the newest counts.
    pub fn or_newer(
        found: Option<FoundStash>,
        member: MemberId,
        header: StashHeader,
    ) -> Option<FoundStash> {
        let mut members = MemberMask::of(member);
        match found {
            Some(found) if found.header.number > header.number => return Some(found),
            Some(found) if found.header.is_same(&header) => members = members | found.members,
            _ => {}
        }
        Some(FoundStash { header, members })
    }
}
