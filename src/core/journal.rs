// SPDX-License-Identifier: GPL-2.0
//! The stripe journal: closes the write hole of parity sets.
//!
//! A write of a parity set changes data and parity at several places, and a crash may leave some
//! of them old. As long as all members are there that is mended by a resync. Short of a member it
//! is not: what that member held lives in the rest of the row alone, so half a write takes with it
//! data that nobody was writing. So before the first place of a row is changed, the new content of
//! all of them is made durable as one record, on as many members of the row's set as may still be
//! lost of it and one more.
//! At assembly all records that count are written once more, in the order of their numbers: every
//! write is then done in full or not at all. A record that is not on all its members (the crash
//! came while it was being written, and nothing of its row was) is put there first, for a second
//! crash may take the one that has it. An assembly that may write nothing reads through them instead:
//! see `journal/overlay.rs`. (Partial parity, md's PPL, is of no use here: it is
//! XORed with the old data of a member that is missing already.)
//!
//! **Room.** Records lie in a ring. Each carries the lap of the map that its write was admitted
//! under. A step of the engine that drains publishes the next lap first, so when it has drained
//! and flushed, all that the lap before it tells of is durable in its place; its commit retires
//! that lap, and only the map published then gives the room back. A record that was overwritten
//! half counts no more in any case, so nothing older can come up in place of something newer.
//!
//! **Faults.** A record that is on any of its members counts, so once one is, the write goes on to
//! its places, and says only then at whom it failed. A request that ends with an error for want of
//! members keeps its rows until it is durable that their parity is not to be trusted.
//!
//! **What else writes.** Resync and rebuild write what the row says already. The mover writes
//! places that are free: what records still tell of them is of rows that the map has on the other
//! set by then, and [`replays`] leaves those out. The journal is turned off only by a step that
//! holds all writes, drains and retires everything.

mod overlay;

pub use overlay::{patches, runs, sort, Patch};

use crate::geometry::{div, rem, Logical, MemberMask, Range, Sectors, MAX_MEMBERS};
use crate::list::List;
use crate::ondisk::{JournalEntry, JournalHeader, JournalMode, RegionKind, Superblock, Uuid, UNIT};
use crate::placement::Set;
use crate::stripe::BAND;

/// How writes of parity sets are journaled under a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Journal {
    pub volume: Uuid,
    pub epoch: u64,
    /// Of records written under this map.
    pub lap: u64,
    /// Records of this lap and those before count no more: their room is free.
    pub retired: u64,
    /// Length of the ring.
    pub len: Sectors,
    /// Members that each record is written to.
    pub copies: u8,
    /// What identifies the source set, and the target set.
    pub sets: [u64; 2],
}

impl Journal {
    /// The journal of the volume as it is, for records of `lap`.
    pub fn of(sb: &Superblock, lap: u64) -> Journal {
        let id = |index: u8| sb.sets.get(usize::from(index)).map_or(0, set_id);
        let target = sb.migration.map_or(0, |m| id(m.target));
        Journal {
            volume: sb.uuid,
            epoch: sb.epoch,
            lap,
            retired: sb.journal.retired,
            len: ring_len(sb),
            copies: copies(sb),
            sets: [id(sb.present_set()), target],
        }
    }

    /// Members that record `sequence` is written to, of those that are alive: in turns, so that
    /// no member has more of them than others.
    fn members(&self, alive: MemberMask, sequence: u64) -> MemberMask {
        let mut left = u64::from(self.copies).min(u64::from(alive.count()));
        let mut skip = rem(sequence, u64::from(alive.count()).max(1));
        let mut members = MemberMask::EMPTY;
        for member in alive.iter().chain(alive.iter()) {
            if skip > 0 {
                skip -= 1;
            } else if left > 0 {
                members.insert(member);
                left -= 1;
            }
        }
        members
    }

    /// The header of a record, but for its payload's CRC.
    pub fn header(
        &self,
        is_target: bool,
        alive: MemberMask,
        payload: Sectors,
        room: Room,
    ) -> JournalHeader {
        JournalHeader {
            volume: self.volume,
            epoch: self.epoch,
            lap: self.lap,
            sequence: room.sequence,
            at: room.at,
            payload,
            payload_crc: 0,
            set: self.sets[usize::from(is_target)],
            members: self.members(alive, room.sequence),
        }
    }
}

/// Sectors of a record with so much payload.
pub fn record_len(payload: Sectors) -> Sectors {
    UNIT + payload.round_up(UNIT)
}

/// Whether the volume as it is wants its parity writes journaled.
pub fn is_wanted(sb: &Superblock) -> bool {
    let alive = sb.in_sync();
    let mut parity = used_sets(sb).filter(|set| set.layout.level.has_parity());
    let asked = match sb.journal.mode {
        JournalMode::Off => false,
        JournalMode::Always => parity.next().is_some(),
        JournalMode::Auto => {
            let migrating = sb.migration.is_some();
            parity.any(|set| migrating || set.missing(alive) > 0)
        }
    };
    asked && fits(sb)
}

/// Whether the largest record there can be fits the ring: of a volume of many members, one of
/// which is very small, it does not, and then nothing is journaled.
pub fn fits(sb: &Superblock) -> bool {
    let largest = used_sets(sb)
        .filter(|set| set.layout.level.has_parity())
        .map(|set| u64::from(set.layout.slots) * set.layout.chunk.min(BAND).0)
        .max();
    record_len(Sectors(largest.unwrap_or(0))) <= ring_len(sb)
}

fn used_sets(sb: &Superblock) -> impl Iterator<Item = &Set> {
    sb.sets
        .iter()
        .enumerate()
        .filter(|(index, _)| sb.uses_set(*index as u8))
        .map(|(_, set)| set)
}

/// The least journal region among the members that take part.
fn ring_len(sb: &Superblock) -> Sectors {
    let live = sb.live();
    let regions = sb.rows().filter(|(id, _)| live.has(*id)).map(|(_, row)| {
        row.region(RegionKind::Journal)
            .map_or(Sectors::ZERO, |r| r.len)
    });
    regions.min().unwrap_or_default().round_down(UNIT)
}

/// One more than may still be lost, those counted that are being rebuilt: they may be the ones
/// that are there while these records still count.
fn copies(sb: &Superblock) -> u8 {
    let alive = sb.live();
    let spare = used_sets(sb)
        .filter(|set| set.layout.level.has_parity())
        .map(|set| set.layout.max_missing().saturating_sub(set.missing(alive)))
        .max();
    spare.unwrap_or(0) + 1
}

/// A number for a set's layout and places: other ones have another.
pub fn set_id(set: &Set) -> u64 {
    // FNV-1a over whole numbers.
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut mix = |value: u64| {
        hash = (hash ^ value)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(29)
    };
    let layout = &set.layout;
    for byte in layout.level.name().bytes() {
        mix(u64::from(byte));
    }
    mix(layout.chunk.0);
    mix(u64::from(layout.slots));
    mix(layout.slot_len.0);
    for extent in &set.extents {
        mix(u64::from(extent.slot.0) << 8 | u64::from(extent.member.0));
        mix(extent.start.0);
        mix(extent.len.0);
    }
    hash
}

/// Room for a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Offset in the journal region.
    pub at: Sectors,
    pub sequence: u64,
    /// So much is used that it is time to retire some: say `WantRoom` (once in a lap).
    pub is_short: bool,
}

/// Laps that can have records at once: the present one, the one being retired, and one whose
/// retirement failed.
const LAPS: usize = 4;

/// Where records go. Positions count on and on; a place is what is left of them over the length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ring {
    len: u64,
    head: u64,
    tail: u64,
    sequence: u64,
    /// The lap in which it was last said that room is short.
    asked: u64,
    /// Laps that have records, and where the first of them is.
    laps: List<(u64, u64), LAPS>,
}

impl Ring {
    /// Gives back what `journal` says is retired, and takes its length when nothing is left.
    pub fn fit(&mut self, journal: &Journal) {
        let mut tail = self.head;
        let mut index = 0;
        while index < self.laps.len() {
            let (lap, start) = self.laps[index];
            if lap <= journal.retired {
                self.laps.remove(index);
            } else {
                tail = tail.min(start);
                index += 1;
            }
        }
        self.tail = tail;
        if self.tail == self.head && self.len != journal.len.0 {
            (self.len, self.head, self.tail) = (journal.len.0, 0, 0);
        }
    }

    /// Room for a record of `len` sectors under `journal`; None: none until more is retired.
    pub fn take(&mut self, journal: &Journal, len: Sectors) -> Option<Room> {
        if self.len == 0 || self.len > journal.len.0 {
            // A member with a smaller region came in, and older records are still about.
            return None;
        }
        let mut start = self.head;
        let behind = rem(start, self.len) + len.0;
        if behind > self.len {
            // No record goes over the end.
            start += self.len - rem(start, self.len);
        }
        if start + len.0 - self.tail > self.len {
            return None;
        }
        if !self.laps.iter().any(|(lap, _)| *lap == journal.lap)
            && !self.laps.try_push((journal.lap, start))
        {
            return None;
        }
        self.head = start + len.0;
        self.sequence += 1;
        let is_short = (self.head - self.tail) * 2 > self.len && self.asked != journal.lap;
        if is_short {
            self.asked = journal.lap;
        }
        Some(Room {
            at: Sectors(rem(start, self.len)),
            sequence: self.sequence,
            is_short,
        })
    }
}

/// Whether a record found `at` an offset of a member's journal counts: `sb` is the superblock found,
/// `epoch` the epoch it was of.
pub fn counts(sb: &Superblock, epoch: u64, header: &JournalHeader, at: Sectors) -> bool {
    header.volume == sb.uuid
        && header.epoch == epoch
        && header.lap > sb.journal.retired
        && header.at == at
}

/// Whether an entry of a record that counts is written once more: its row is on that set by now,
/// and not in a stashed window, which wins (DESIGN I1).
pub fn replays(
    sb: &Superblock,
    window: Option<Range>,
    header: &JournalHeader,
    entry: &JournalEntry,
) -> bool {
    if usize::from(entry.member.0) >= MAX_MEMBERS || !sb.live().has(entry.member) {
        return false;
    }
    // Two sets may be alike in all, and then either may hold the row.
    sb.ranges.iter().any(|range| {
        let set = sb.sets.get(usize::from(range.set));
        let row = set
            .filter(|set| set_id(set) == header.set)
            .and_then(|set| row_of(set, entry));
        row.is_some_and(|row| {
            range.start <= row.start
                && row.start < range.end
                && window.is_none_or(|window| !window.overlaps(&row))
        })
    })
}

/// The row of the set that an entry is in.
fn row_of(set: &Set, entry: &JournalEntry) -> Option<Range> {
    let (mut slot, mut before) = (None, 0);
    for extent in &set.extents {
        if slot != Some(extent.slot) {
            (slot, before) = (Some(extent.slot), 0);
        }
        let start = extent.start.0;
        if extent.member == entry.member
            && start <= entry.at.0
            && entry.at.0 + entry.len.0 <= start + extent.len.0
        {
            let offset = before + entry.at.0 - start;
            let row = div(offset, set.layout.chunk.0);
            let stripe = set.layout.stripe();
            let start = Logical(row * stripe.0);
            return Some(Range::new(start, start + stripe));
        }
        before += extent.len.0;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(lap: u64, retired: u64, len: u64) -> Journal {
        Journal {
            volume: Uuid::NIL,
            epoch: 1,
            lap,
            retired,
            len: Sectors(len),
            copies: 1,
            sets: [0; 2],
        }
    }

    #[test]
    fn room_comes_back_with_its_lap() {
        let mut ring = Ring::default();
        let first = journal(1, 0, 64);
        ring.fit(&first);
        let at = |room: Option<Room>| room.map(|room| room.at.0);
        assert_eq!(at(ring.take(&first, Sectors(24))), Some(0));
        assert_eq!(at(ring.take(&first, Sectors(24))), Some(24));
        // 16 are left at the end, and a record is never cut.
        assert_eq!(at(ring.take(&first, Sectors(24))), None);
        assert_eq!(at(ring.take(&first, Sectors(16))), Some(48));
        assert_eq!(at(ring.take(&first, Sectors(8))), None);
        let second = journal(2, 1, 64);
        ring.fit(&second);
        assert_eq!(at(ring.take(&second, Sectors(64))), Some(0));
    }

    #[test]
    fn a_record_that_came_late_does_not_give_away_newer_ones() {
        let mut ring = Ring::default();
        let (first, second) = (journal(1, 0, 64), journal(2, 0, 64));
        ring.fit(&first);
        let old = ring.take(&first, Sectors(16)).expect("all is free");
        let new = ring.take(&second, Sectors(16)).expect("much is free");
        // Admitted under the first map, and only now so far.
        let late = ring.take(&first, Sectors(16)).expect("much is free");
        assert!(old.sequence < new.sequence && new.sequence < late.sequence);
        ring.fit(&journal(2, 1, 64));
        // Only the first is free: 16 at the end and 16 at the start.
        let second = journal(2, 1, 64);
        assert_eq!(ring.take(&second, Sectors(16)).map(|r| r.at.0), Some(48));
        assert_eq!(ring.take(&second, Sectors(16)).map(|r| r.at.0), Some(0));
        assert_eq!(ring.take(&second, Sectors(8)), None);
    }

    #[test]
    fn a_shorter_ring_is_taken_when_the_longer_is_empty() {
        let mut ring = Ring::default();
        ring.fit(&journal(1, 0, 64));
        assert!(ring.take(&journal(1, 0, 64), Sectors(16)).is_some());
        let shorter = journal(2, 0, 32);
        ring.fit(&shorter);
        assert_eq!(
            ring.take(&shorter, Sectors(8)),
            None,
            "the old one is in use"
        );
        let empty = journal(2, 1, 32);
        ring.fit(&empty);
        assert_eq!(ring.take(&empty, Sectors(32)).map(|r| r.at.0), Some(0));
    }
}
