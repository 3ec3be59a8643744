// SPDX-License-Identifier: GPL-2.0
//! The write-intent bitmap: bounds what an unclean stop has resynced.
//!
//! A bit stands for a region of the volume's set. Before the first write to a region is sent to any
//! member, its bit is durable on all members that take part: it is marked. Writes of a marked region
//! look at one bit in memory. So after an unclean stop copies and parity are true wherever no
//! member's bitmap has a mark, and a resync goes over the marked regions only. What is not
//! marked is believed when the resync's cursor has come past it, not before: until then all
//! behind the cursor is read on one leg and never read-modify-written (I6, I8).
//!
//! **Clearing.** Now and then a sweep takes from memory the marks of regions that were not written to
//! since the sweep before: who comes from now on waits for a mark. When all requests that may have
//! seen the old ones have ended, and their members are flushed, the bitmap is written without them.
//! Only regions below the durable resync cursor are cleared, so what was never synced stays marked.
//!
//! **When it counts.** The superblock's `marked` says that it is in force. It comes into force by a
//! step that no write is under way in, all regions marked, and the first sweeps clear what is
//! synced. Each sector carries the epoch, and each assembly writes all of it anew before its first
//! commit: what an earlier one left is not believed. A migrating volume has none, nor has parity
//! while the journal keeps it true: that is asked for when the migration or the journal is over.
//!
//! **Regions.** One 64th of the set's capacity, rounded up to a power of two, at least 1 MiB and
//! at most 64 MiB (md's); longer only where there would be more than [`REGIONS`] of them.

use core::ops::Deref;

use crate::geometry::{Logical, Range, Sectors, SECTOR_SIZE};
use crate::journal;
use crate::ondisk::{
    BitmapMode, BitmapSector, Member, RegionKind, Superblock, Uuid, BITMAP_SECTOR_BITS, UNIT,
};

/// Most regions there are bits for: as many as fit the sectors of [`UNIT`].
pub const REGIONS: usize = UNIT.0 as usize * BITMAP_SECTOR_BITS;
/// Rows of [`Marks`].
pub const ROWS: usize = REGIONS / BITS;
/// Bytes that a member's bitmap takes, from the start of its region on.
pub const BITMAP_BYTES: usize = UNIT.bytes() as usize;
/// log2 of the least region's sectors (1 MiB).
pub const LEAST_SHIFT: u8 = 11;

/// log2 of the sectors that a region has at most for its own sake (64 MiB).
const MOST_SHIFT: u8 = 17;
/// Regions that a volume is to have at least.
const LEAST_REGIONS: u64 = 64;
/// Regions in a row.
const BITS: usize = 32;
const ROWS_OF_SECTOR: usize = BITMAP_SECTOR_BITS / BITS;

/// Whether the volume as it is wants a bitmap.
pub fn is_wanted(sb: &Superblock) -> bool {
    let set = sb.sets.get(usize::from(sb.present_set()));
    let has_room = |row: &Member| {
        let region = row.region(RegionKind::Bitmap);
        !row.state.is_live() || region.is_some_and(|region| region.len >= UNIT)
    };
    sb.bitmap == BitmapMode::Internal
        && sb.migration.is_none()
        // In their reserves are data still.
        && sb.unmarked().is_empty()
        && sb.rows().all(|(_, row)| has_room(row))
        && set.is_some_and(|set| {
            let level = set.layout.level;
            level.is_redundant() && !(level.has_parity() && journal::is_wanted(sb))
        })
}

/// The bitmap that is in force under a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bitmap {
    pub volume: Uuid,
    pub epoch: u64,
    /// log2 of a region's sectors.
    pub shift: u8,
    /// How many there are.
    regions: u32,
}

impl Bitmap {
    /// That of the volume as it is, which does not migrate. `least`: log2 of the least region's sectors.
    pub fn of(sb: &Superblock, least: u8) -> Bitmap {
        let set = sb.sets.get(usize::from(sb.present_set()));
        let capacity = set.map_or(0, |set| set.layout.capacity().0).max(1);
        let share = (capacity / LEAST_REGIONS).max(1).next_power_of_two();
        let mut shift = (share.trailing_zeros() as u8).clamp(least, MOST_SHIFT.max(least));
        while (capacity - 1) >> shift >= REGIONS as u64 {
            shift += 1;
        }
        Bitmap {
            volume: sb.uuid,
            epoch: sb.epoch,
            shift,
            regions: ((capacity - 1) >> shift) as u32 + 1,
        }
    }

    /// What one bit stands for.
    pub fn chunk(&self) -> Sectors {
        Sectors(1 << self.shift)
    }

    /// The first and the last region of a range.
    fn span(&self, range: Range) -> (usize, usize) {
        let region = |x: u64| ((x >> self.shift) as usize).min(self.regions as usize - 1);
        (region(range.start.0), region(range.end.0.max(1) - 1))
    }

    /// The sectors of the regions from `first` to the one before `end`.
    fn range(&self, first: usize, end: usize) -> Range {
        let at = |region: usize| Logical((region as u64) << self.shift);
        let end = if end < self.regions as usize {
            at(end)
        } else {
            Logical(u64::MAX)
        };
        Range::new(at(first), end)
    }

    /// Regions that end at or before `below`, of a set that ends at `capacity`.
    fn regions_below(&self, below: Logical, capacity: Sectors) -> usize {
        if below.0 >= capacity.0 {
            return self.regions as usize;
        }
        (below.0 >> self.shift) as usize
    }

    /// Bits of a row that stand for regions before `end`.
    fn mask(row: usize, end: usize) -> u32 {
        match end.saturating_sub(row * BITS) {
            0 => 0,
            left if left >= BITS => u32::MAX,
            left => (1 << left) - 1,
        }
    }

    fn sectors(&self) -> usize {
        (self.regions as usize).div_ceil(BITMAP_SECTOR_BITS)
    }
}

/// 32 bits that several may change at once.
pub trait Word {
    fn get(&self) -> u32;
    fn set(&self, bits: u32);
    fn clear(&self, bits: u32);
}

/// The bits of some regions.
#[derive(Default, Debug)]
pub struct Row<W> {
    /// Durable: writes go ahead.
    marked: W,
    /// Written to since the last sweep.
    recent: W,
    /// Writes wait for the mark.
    wanted: W,
    /// On its way to the members.
    pending: W,
    /// What members hold, or will when that is there: at least what is marked.
    disk: W,
}

/// What a sweep found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Swept {
    /// There are marks to clear.
    pub any: bool,
    /// There are others that may be cleared later.
    pub left: bool,
}

/// The marks of a volume: [`ROWS`] rows. Writes use [`is_marked`](Self::is_marked) and
/// [`want`](Self::want) at any time; all else is done by one at a time, as the engine says.
#[derive(Debug)]
pub struct Marks<B>(B);

impl<B, W> Marks<B>
where
    B: Deref<Target = [Row<W>]>,
    W: Word,
{
    /// # Panics
    /// When there are not [`ROWS`] rows.
    pub fn new(rows: B) -> Self {
        assert_eq!(rows.len(), ROWS);
        Marks(rows)
    }

    fn each(range: (usize, usize), mut f: impl FnMut(usize, u32) -> bool) -> bool {
        (range.0..=range.1).all(|region| f(region / BITS, 1 << (region % BITS)))
    }

    /// Whether a write of `range` may go ahead. It holds a map since before it asked.
    #[inline]
    pub fn is_marked(&self, bitmap: &Bitmap, range: Range) -> bool {
        Self::each(bitmap.span(range), |row, bit| {
            let row = &self.0[row];
            if row.recent.get() & bit == 0 {
                row.recent.set(bit);
            }
            row.marked.get() & bit != 0
        })
    }

    /// Asks for the marks of `range`, before `WantMarks` is said.
    pub fn want(&self, bitmap: &Bitmap, range: Range) {
        Self::each(bitmap.span(range), |row, bit| {
            let row = &self.0[row];
            if row.marked.get() & bit == 0 {
                row.wanted.set(bit);
            }
            true
        });
    }

    /// No region is marked; or all are to be.
    pub fn reset(&self, all: bool) {
        for row in self.0.iter() {
            for word in [
                &row.marked,
                &row.recent,
                &row.wanted,
                &row.pending,
                &row.disk,
            ] {
                word.clear(u32::MAX);
            }
            if all {
                row.disk.set(u32::MAX);
            }
        }
    }

    /// Adds what a member's bitmap says that belongs to `epoch` or a later one; `bytes`: what
    /// the member holds, if it could be read. Where that does not count, all is marked.
    pub fn merge(
        &self,
        bitmap: &Bitmap,
        epoch: u64,
        bytes: Option<&[u8]>,
        crc: impl Fn(&[u8]) -> u32,
    ) {
        for index in 0..bitmap.sectors() {
            let sector = bytes.and_then(|bytes| bytes.get(index * SECTOR_SIZE..));
            let found = sector.and_then(|sector| BitmapSector::decode(sector, &crc));
            let found = found.filter(|(sector, _)| {
                sector.volume == bitmap.volume
                    && sector.epoch >= epoch
                    && usize::from(sector.index) == index
                    && sector.shift == bitmap.shift
            });
            for row in 0..ROWS_OF_SECTOR {
                let bits = found.map_or(u32::MAX, |(_, bits)| {
                    let mut word = [0; 4];
                    word.copy_from_slice(&bits[row * 4..row * 4 + 4]);
                    u32::from_le_bytes(word)
                });
                self.0[index * ROWS_OF_SECTOR + row].disk.set(bits);
            }
        }
    }

    /// Settles what is written next: what is wanted comes in, and with `clears` what a sweep took
    /// goes. Before [`encode`](Self::encode).
    pub fn compose(&self, clears: bool) {
        for row in self.0.iter() {
            let wanted = row.wanted.get();
            if wanted != 0 {
                row.wanted.clear(wanted);
                row.pending.set(wanted);
                row.disk.set(wanted);
            }
            if clears {
                row.disk.clear(!(row.marked.get() | row.pending.get()));
            }
        }
    }

    /// What members are to hold, into [`BITMAP_BYTES`].
    pub fn encode(&self, bitmap: &Bitmap, out: &mut [u8], crc: impl Fn(&[u8]) -> u32) {
        for (index, out) in out.chunks_exact_mut(SECTOR_SIZE).enumerate() {
            if index >= bitmap.sectors() {
                out.fill(0);
                continue;
            }
            let sector = BitmapSector {
                volume: bitmap.volume,
                epoch: bitmap.epoch,
                index: index as u16,
                shift: bitmap.shift,
            };
            let row = |row: usize| self.0[index * ROWS_OF_SECTOR + row].disk.get();
            sector.encode(row, out, &crc);
        }
    }

    /// What was written is durable. `all`: no sweep is under way, so whatever members hold counts.
    pub fn written(&self, all: bool) {
        for row in self.0.iter() {
            let pending = row.pending.get();
            row.pending.clear(pending);
            row.marked.set(if all { row.disk.get() } else { pending });
        }
    }

    /// Takes the marks from memory of regions that were not written to lately and end before `below`,
    /// of a set that ends at `capacity`.
    pub fn sweep(&self, bitmap: &Bitmap, below: Logical, capacity: Sectors) -> Swept {
        let end = bitmap.regions_below(below, capacity);
        let mut swept = Swept::default();
        for (index, row) in self.0.iter().enumerate() {
            let may = row.marked.get() & Bitmap::mask(index, end);
            let recent = row.recent.get();
            row.recent.clear(recent);
            let old = may & !recent;
            row.marked.clear(old);
            swept.any |= old != 0;
            swept.left |= may & recent != 0;
        }
        swept
    }

    /// The next marked regions, all that follow each other, of those that end behind `from`.
    pub fn next_marked(&self, bitmap: &Bitmap, from: Logical) -> Range {
        let regions = bitmap.regions as usize;
        let is_set = |region: &usize| self.0[region / BITS].disk.get() & 1 << (region % BITS) != 0;
        let first = (from.0 >> bitmap.shift) as usize;
        let Some(start) = (first..regions).find(is_set) else {
            return Range::new(Logical(u64::MAX), Logical(u64::MAX));
        };
        let end = (start..regions).find(|region| !is_set(region));
        bitmap.range(start, end.unwrap_or(regions))
    }

    /// How many regions members hold marks of.
    pub fn count(&self, bitmap: &Bitmap) -> u32 {
        let regions = bitmap.regions as usize;
        let bits = |(index, row): (usize, &Row<W>)| row.disk.get() & Bitmap::mask(index, regions);
        self.0
            .iter()
            .enumerate()
            .map(|row| bits(row).count_ones())
            .sum()
    }

    /// Whether some of `range` is marked, or perhaps is.
    pub fn touches(&self, bitmap: &Bitmap, range: Range) -> bool {
        !Self::each(bitmap.span(range), |row, bit| {
            self.0[row].disk.get() & bit == 0
        })
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use core::cell::Cell;
    use std::vec;
    use std::vec::Vec;

    impl Word for Cell<u32> {
        fn get(&self) -> u32 {
            Cell::get(self)
        }

        fn set(&self, bits: u32) {
            Cell::set(self, Cell::get(self) | bits);
        }

        fn clear(&self, bits: u32) {
            Cell::set(self, Cell::get(self) & !bits);
        }
    }

    const BITMAP: Bitmap = Bitmap {
        volume: Uuid([7; 16]),
        epoch: 5,
        shift: 4,
        regions: 40,
    };
    const CAPACITY: Sectors = Sectors(40 << 4);

    fn marks() -> Marks<Vec<Row<Cell<u32>>>> {
        Marks::new((0..ROWS).map(|_| Row::default()).collect())
    }

    fn crc(bytes: &[u8]) -> u32 {
        let step = |sum: u32, byte: &u8| sum.rotate_left(5) ^ u32::from(*byte);
        bytes.iter().fold(7, step)
    }

    fn range(start: u64, end: u64) -> Range {
        Range::new(Logical(start), Logical(end))
    }

    fn bytes(marks: &Marks<Vec<Row<Cell<u32>>>>, bitmap: &Bitmap) -> Vec<u8> {
        let mut bytes = vec![0; BITMAP_BYTES];
        marks.encode(bitmap, &mut bytes, crc);
        bytes
    }

    #[test]
    fn a_mark_is_there_when_it_was_written() {
        let marks = marks();
        marks.reset(false);
        assert!(!marks.is_marked(&BITMAP, range(15, 17)));
        marks.want(&BITMAP, range(15, 17));
        marks.compose(false);
        assert!(!marks.is_marked(&BITMAP, range(15, 17)), "on its way");
        marks.written(true);
        assert!(marks.is_marked(&BITMAP, range(15, 17)));
        assert!(!marks.is_marked(&BITMAP, range(31, 33)));
        assert_eq!(marks.next_marked(&BITMAP, Logical(0)), range(0, 32));
        assert_eq!(marks.count(&BITMAP), 2);
        marks.reset(true);
        assert_eq!(marks.count(&BITMAP), BITMAP.regions);
    }

    #[test]
    fn a_sweep_takes_what_is_old_and_synced() {
        let marks = marks();
        marks.reset(true);
        marks.written(true);
        assert!(marks.is_marked(&BITMAP, range(0, 1)));
        // 100 lies within region 6, so that is not synced.
        let swept = marks.sweep(&BITMAP, Logical(100), CAPACITY);
        assert_eq!(
            swept,
            Swept {
                any: true,
                left: true
            }
        );
        assert!(marks.is_marked(&BITMAP, range(0, 16)));
        assert!(!marks.is_marked(&BITMAP, range(16, 17)));
        assert!(marks.is_marked(&BITMAP, range(96, 97)));
        // Until it is written members hold them all.
        assert_eq!(marks.next_marked(&BITMAP, Logical(16)).start, Logical(16));
        marks.compose(true);
        assert_eq!(marks.next_marked(&BITMAP, Logical(16)).start, Logical(96));
    }

    #[test]
    fn a_sweep_that_is_given_up_leaves_all_as_it_was() {
        let marks = marks();
        marks.reset(true);
        marks.written(true);
        marks.sweep(&BITMAP, Logical(u64::MAX), CAPACITY);
        assert!(!marks.is_marked(&BITMAP, range(0, 1)));
        marks.written(true);
        assert!(marks.is_marked(&BITMAP, range(0, 640)));
    }

    #[test]
    fn who_comes_while_a_sweep_is_written_waits() {
        let marks = marks();
        marks.reset(true);
        marks.written(true);
        marks.sweep(&BITMAP, Logical(u64::MAX), CAPACITY);
        marks.compose(true);
        marks.want(&BITMAP, range(0, 1));
        marks.written(true);
        assert!(!marks.is_marked(&BITMAP, range(0, 1)));
        marks.compose(false);
        marks.written(true);
        assert!(marks.is_marked(&BITMAP, range(0, 1)));
    }

    #[test]
    fn what_does_not_count_marks_all() {
        let marks = marks();
        marks.reset(false);
        marks.want(&BITMAP, range(64, 65));
        marks.compose(false);
        let good = bytes(&marks, &BITMAP);
        let read = |bytes: Option<&[u8]>, epoch| {
            let marks = self::marks();
            marks.reset(false);
            marks.merge(&BITMAP, epoch, bytes, crc);
            marks.next_marked(&BITMAP, Logical(0))
        };
        let all = range(0, u64::MAX);
        assert_eq!(read(Some(&good), 5), range(64, 80));
        assert_eq!(read(Some(&good), 4), range(64, 80));
        assert_eq!(read(Some(&good), 6), all, "of an earlier assembly");
        assert_eq!(read(None, 5), all);
        let mut torn = good.clone();
        torn[40] ^= 1;
        assert_eq!(read(Some(&torn), 5), all);
        for other in [
            Bitmap {
                volume: Uuid([8; 16]),
                ..BITMAP
            },
            Bitmap { shift: 5, ..BITMAP },
        ] {
            assert_eq!(read(Some(&bytes(&marks, &other)), 5), all);
        }
    }
}
