// SPDX-License-Identifier: GPL-2.0
//! The stripe journal's bytes: what a parity write is about to change, in full.
//!
//! A record is a header of 4096 bytes and, right behind it, the new content of every place that
//! the write changes, data and parity, in the order of its entries. It lies at a multiple of 4096
//! bytes of the journal region, at the same offset on each member that has it. Header: magic
//! `restrpJR` (8), CRC-32C of the rest of the header from byte 12 on (4), CRC-32C of the payload
//! (4), volume uuid (16), epoch (8), lap (8), sequence number (8), offset in the journal region,
//! in sectors (8), payload in sectors (4), entries (2), zeroes (2), what identifies the set (8),
//! members that the record was written to, one bit each (4), zeroes, entries from byte 96 on:
//! member (1), zeroes (3), sectors (4), first sector on the member (8).
//!
//! A record counts if it is whole, of the volume, of the epoch of the newest superblock, at the
//! offset it says, and its lap is above the one that superblock calls retired. Those that count
//! are written to their places once more, in the order of their numbers: see `journal.rs`.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::FromBytes;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Uuid;
use crate::geometry::{MemberId, MemberMask, Physical, Sectors};

/// Bytes of a record's header.
pub const JOURNAL_HEADER_SIZE: usize = 4096;
/// Most places that a record changes.
pub const MAX_JOURNAL_ENTRIES: usize = 250;

const MAGIC: [u8; 8] = *b"restrpJR";
const CRC_FROM: usize = 12;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
struct DiskEntry {
    member: u8,
    unused: [u8; 3],
    len: U32,
    at: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Block {
    magic: [u8; 8],
    crc: U32,
    payload_crc: U32,
    volume: [u8; 16],
    epoch: U64,
    lap: U64,
    sequence: U64,
    at: U64,
    payload: U32,
    entry_count: U16,
    unused: [u8; 2],
    set: U64,
    members: U32,
    unused_too: [u8; 12],
    entries: [DiskEntry; MAX_JOURNAL_ENTRIES],
}

const _: () = assert!(size_of::<Block>() == JOURNAL_HEADER_SIZE);

/// When parity writes are journaled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum JournalMode {
    /// While a parity set is short of a member, and while one migrates.
    #[default]
    Auto,
    /// Whenever there is parity.
    Always,
    Off,
}

impl JournalMode {
    const ALL: [JournalMode; 3] = [JournalMode::Auto, JournalMode::Always, JournalMode::Off];

    /// The number on disk.
    pub(super) fn code(self) -> u8 {
        Self::ALL.iter().position(|m| *m == self).unwrap_or(0) as u8
    }

    pub(super) fn from_code(code: u8) -> Option<JournalMode> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The word users read and write for it.
    pub const fn name(self) -> &'static str {
        match self {
            JournalMode::Auto => "auto",
            JournalMode::Always => "always",
            JournalMode::Off => "off",
        }
    }

    /// The mode of that name.
    pub fn from_name(name: &str) -> Option<JournalMode> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// What a superblock says of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JournalState {
    pub mode: JournalMode,
    /// Every parity write that may be half done is in the journal.
    pub in_force: bool,
    /// Records of this lap and of those before count no more.
    pub retired: u64,
}

/// A place that a record changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JournalEntry {
    pub member: MemberId,
    pub at: Physical,
    pub len: Sectors,
}

/// What a record is, besides its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JournalHeader {
    pub volume: Uuid,
    pub epoch: u64,
    pub lap: u64,
    /// Never used again within an epoch.
    pub sequence: u64,
    /// Offset of the record in the journal region.
    pub at: Sectors,
    /// What comes behind the header.
    pub payload: Sectors,
    pub payload_crc: u32,
    /// Which set its rows are of.
    pub set: u64,
    /// Members that it was written to: only when it was on all of them did its write go on.
    pub members: MemberMask,
}

impl JournalHeader {
    /// Writes the header into the first 4096 bytes of `out`. `crc` is CRC-32C.
    ///
    /// # Panics
    /// When `out` is shorter, or the entries are more than [`MAX_JOURNAL_ENTRIES`].
    pub fn encode(
        &self,
        entries: impl Iterator<Item = JournalEntry>,
        out: &mut [u8],
        crc: impl Fn(&[u8]) -> u32,
    ) {
        let mut writer = JournalWriter::new(out);
        entries.for_each(|entry| writer.push(entry));
        writer.seal(self, crc);
    }

    /// Reads a header, if one is there and whole. `crc` is CRC-32C.
    pub fn decode(bytes: &[u8], crc: impl Fn(&[u8]) -> u32) -> Option<JournalHeader> {
        let (block, _) = Block::ref_from_prefix(bytes).ok()?;
        if block.magic != MAGIC || crc(&bytes[CRC_FROM..JOURNAL_HEADER_SIZE]) != block.crc.get() {
            return None;
        }
        let header = JournalHeader {
            volume: Uuid(block.volume),
            epoch: block.epoch.get(),
            lap: block.lap.get(),
            sequence: block.sequence.get(),
            at: Sectors(block.at.get()),
            payload: Sectors(u64::from(block.payload.get())),
            payload_crc: block.payload_crc.get(),
            set: block.set.get(),
            members: MemberMask(block.members.get()),
        };
        let sum: u64 = Self::entries(bytes).map(|entry| entry.len.0).sum();
        let whole =
            usize::from(block.entry_count.get()) <= MAX_JOURNAL_ENTRIES && sum == header.payload.0;
        whole.then_some(header)
    }

    /// The entries of a header that [`decode`](Self::decode) took.
    pub fn entries(bytes: &[u8]) -> impl Iterator<Item = JournalEntry> + '_ {
        let block = Block::ref_from_prefix(bytes).ok().map(|(block, _)| block);
        let count = block.map_or(0, |block| usize::from(block.entry_count.get()));
        block
            .into_iter()
            .flat_map(|block| &block.entries)
            .take(count)
            .map(|disk| JournalEntry {
                member: MemberId(disk.member),
                at: Physical(disk.at.get()),
                len: Sectors(u64::from(disk.len.get())),
            })
    }
}

/// Makes a header bit by bit.
pub struct JournalWriter<'a> {
    bytes: &'a mut [u8],
    entries: usize,
    payload: Sectors,
}

impl<'a> JournalWriter<'a> {
    /// In the first 4096 bytes of `out`.
    ///
    /// # Panics
    /// When `out` is shorter.
    pub fn new(out: &'a mut [u8]) -> Self {
        let bytes = &mut out[..JOURNAL_HEADER_SIZE];
        bytes.fill(0);
        JournalWriter {
            bytes,
            entries: 0,
            payload: Sectors::ZERO,
        }
    }

    fn block(&mut self) -> &mut Block {
        // A block is all bytes of any value, of that size: this can't fail.
        let Ok(block) = Block::mut_from_bytes(self.bytes) else {
            unreachable!("a header is {JOURNAL_HEADER_SIZE} bytes");
        };
        block
    }

    /// Adds a place.
    ///
    /// # Panics
    /// When there are [`MAX_JOURNAL_ENTRIES`] already.
    pub fn push(&mut self, entry: JournalEntry) {
        let index = self.entries;
        assert!(index < MAX_JOURNAL_ENTRIES, "a record of too many places");
        let disk = &mut self.block().entries[index];
        disk.member = entry.member.0;
        // CAST: A transfer is shorter than 2 TiB.
        disk.len.set(entry.len.0 as u32);
        disk.at.set(entry.at.0);
        self.entries += 1;
        self.payload = self.payload + entry.len;
    }

    /// Sectors of all places so far.
    pub fn payload(&self) -> Sectors {
        self.payload
    }

    /// Completes it. `crc` is CRC-32C.
    pub fn seal(mut self, header: &JournalHeader, crc: impl Fn(&[u8]) -> u32) {
        let count = self.entries as u16;
        let block = self.block();
        block.magic = MAGIC;
        block.payload_crc.set(header.payload_crc);
        block.volume = header.volume.0;
        block.epoch.set(header.epoch);
        block.lap.set(header.lap);
        block.sequence.set(header.sequence);
        block.at.set(header.at.0);
        // CAST: A record is shorter than 2 TiB.
        block.payload.set(header.payload.0 as u32);
        block.set.set(header.set);
        block.members.set(header.members.0);
        block.entry_count.set(count);
        let sum = crc(&self.bytes[CRC_FROM..]);
        self.bytes[MAGIC.len()..CRC_FROM].copy_from_slice(&sum.to_le_bytes());
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

    fn sample() -> (JournalHeader, [JournalEntry; 2]) {
        let entry = |member, at, len| JournalEntry {
            member: MemberId(member),
            at: Physical(at),
            len: Sectors(len),
        };
        let header = JournalHeader {
            volume: Uuid([3; 16]),
            epoch: 9,
            lap: 4,
            sequence: 77,
            at: Sectors(16),
            payload: Sectors(24),
            payload_crc: 0x1234_5678,
            set: 0x1122_3344_5566,
            members: MemberMask(0b101),
        };
        (header, [entry(1, 4096, 8), entry(2, 8192, 16)])
    }

    #[test]
    fn what_goes_in_comes_out() {
        let (header, entries) = sample();
        let mut bytes = [0xa5; JOURNAL_HEADER_SIZE];
        header.encode(entries.into_iter(), &mut bytes, crc);
        assert_eq!(JournalHeader::decode(&bytes, crc), Some(header));
        assert!(JournalHeader::entries(&bytes).eq(entries));
        assert_eq!(&bytes[..8], b"restrpJR");
        assert_eq!(bytes[96], 1);
        assert_eq!(bytes[104..112], 4096u64.to_le_bytes());
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (header, entries) = sample();
        let mut bytes = [0; JOURNAL_HEADER_SIZE];
        header.encode(entries.into_iter(), &mut bytes, crc);
        for at in 0..JOURNAL_HEADER_SIZE * 8 {
            let mut flipped = bytes;
            flipped[at / 8] ^= 1 << (at % 8);
            assert_eq!(JournalHeader::decode(&flipped, crc), None, "bit {at}");
        }
    }

    #[test]
    fn entries_that_are_not_the_payload_are_refused() {
        let (header, entries) = sample();
        let mut bytes = [0; JOURNAL_HEADER_SIZE];
        header.encode(entries.into_iter().take(1), &mut bytes, crc);
        assert_eq!(JournalHeader::decode(&bytes, crc), None);
    }
}
