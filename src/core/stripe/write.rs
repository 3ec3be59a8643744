// SPDX-License-Identifier: GPL-2.0
//! Foreground writes of a set: plain copies, or a parity row band by band.

use super::{push, slot_alive, Buf, Calc, Plan, Transfer, BAND, MAX_TRANSFERS};
use crate::geometry::{Logical, MemberMask, Offset, Range, Sectors, SlotId, MAX_SLOTS};
use crate::layout::Level;
use crate::list::List;
use crate::placement::{Place, Set};

/// The places on living members that hold the first run of `len` sectors from
/// `x` on, each cut to the same run, for levels without parity. None: they are lost.
pub fn copies(
    set: &Set,
    alive: MemberMask,
    x: Logical,
    len: Sectors,
) -> (List<Place, MAX_SLOTS>, Sectors) {
    assert!(!set.layout.level.has_parity());
    let spot = set.layout.locate(x);
    let slots = if set.layout.level == Level::Raid1 {
        0..set.layout.slots
    } else {
        spot.slot.0..spot.slot.0 + 1
    };
    // A mirror's regions matter to reads only: a write goes to all legs alike.
    let mut run = if set.layout.level == Level::Raid1 {
        len
    } else {
        spot.run.min(len)
    };
    let mut places = List::new();
    for slot in slots.map(SlotId) {
        let place = set.place(slot, spot.offset);
        run = run.min(place.run);
        if alive.has(place.member) {
            places.push(place);
        }
    }
    for place in places.iter_mut() {
        place.run = run;
    }
    (places, run)
}

/// The part of a write that falls into one band of one row of a parity level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParityPiece {
    pub row: u64,
    /// The band, counted from the row's start.
    pub band: u64,
    /// The write.
    pub range: Range,
    /// Only the data chunk of this index: where a slot of the row is missing,
    /// chunks are written one by one.
    pub only: Option<u64>,
}

/// A data chunk's part of a piece: sectors `lo..hi` of the band.
#[derive(Clone, Copy, Default)]
struct Segment {
    index: u64,
    lo: Sectors,
    hi: Sectors,
    /// Sectors into the request.
    from: Sectors,
}

fn band_len(set: &Set) -> Sectors {
    set.layout.chunk.min(BAND)
}

impl ParityPiece {
    /// The first sector of the piece's band in every slot.
    fn offset(&self, set: &Set) -> Offset {
        Offset(self.row * set.layout.chunk.0 + self.band * band_len(set).0)
    }

    fn segments(&self, set: &Set) -> List<Segment, MAX_SLOTS> {
        let (chunk, band) = (set.layout.chunk.0, band_len(set));
        let row_start = self.row * set.layout.stripe().0;
        let mut segments = List::new();
        for index in 0..set.layout.data_slots() {
            if self.only.is_some_and(|only| only != index) {
                continue;
            }
            let start = row_start + index * chunk + self.band * band.0;
            let lo = start.max(self.range.start.0);
            let hi = (start + band.0).min(self.range.end.0);
            if lo < hi {
                segments.push(Segment {
                    index,
                    lo: Sectors(lo - start),
                    hi: Sectors(hi - start),
                    from: Sectors(lo - self.range.start.0),
                });
            }
        }
        segments
    }

    /// The sectors of every slot that the piece reads or writes: what it must
    /// hold alone while it runs. Counted in slot offsets.
    pub fn lock(&self, set: &Set) -> (Offset, Offset) {
        let (lo, hi) = hull(&self.segments(set));
        let offset = self.offset(set);
        (offset + lo, offset + hi)
    }
}

fn hull(segments: &[Segment]) -> (Sectors, Sectors) {
    let lo = segments.iter().map(|s| s.lo).min();
    let hi = segments.iter().map(|s| s.hi).max();
    (lo.unwrap_or_default(), hi.unwrap_or_default())
}

/// The pieces of a write, in order.
pub struct ParityPieces<'a> {
    set: &'a Set,
    alive: MemberMask,
    range: Range,
    row: u64,
    band: u64,
    index: u64,
}

/// Cuts a write of a parity level into pieces, each to be locked and planned by itself.
pub fn parity_pieces(set: &Set, alive: MemberMask, range: Range) -> ParityPieces<'_> {
    assert!(set.layout.level.has_parity());
    ParityPieces {
        set,
        alive,
        range,
        row: set.layout.row(range.start),
        band: 0,
        index: 0,
    }
}

impl Iterator for ParityPieces<'_> {
    type Item = ParityPiece;

    fn next(&mut self) -> Option<ParityPiece> {
        let layout = &self.set.layout;
        let bands = layout.chunk.0.div_ceil(BAND.0);
        loop {
            if self.row * layout.stripe().0 >= self.range.end.0 {
                return None;
            }
            if self.band == bands {
                (self.row, self.band) = (self.row + 1, 0);
                continue;
            }
            let mut piece = ParityPiece {
                row: self.row,
                band: self.band,
                range: self.range,
                only: None,
            };
            let offset = piece.offset(self.set);
            let whole = (0..layout.slots).all(|slot| {
                slot_alive(
                    self.set,
                    self.alive,
                    SlotId(slot),
                    offset,
                    band_len(self.set),
                )
            });
            if !whole {
                if self.index == layout.data_slots() {
                    (self.band, self.index) = (self.band + 1, 0);
                    continue;
                }
                piece.only = Some(self.index);
                self.index += 1;
            } else {
                self.band += 1;
            }
            if !piece.segments(self.set).is_empty() {
                return Some(piece);
            }
        }
    }
}

/// The plan for one piece: full stripe, reconstruct or read-modify-write, by the
/// fewest transfers; never read-modify-write where parity is not known to be
/// true (DESIGN I8). None: too many members are missing to write it.
pub fn plan_parity(set: &Set, alive: MemberMask, piece: &ParityPiece) -> Option<Plan> {
    let mut plan = Plan::default();
    plan_parity_into(set, alive, piece, &mut plan).map(|()| plan)
}

/// [`plan_parity`] into a plan that is there already: it is large, and the steady path makes many.
pub fn plan_parity_into(
    set: &Set,
    alive: MemberMask,
    piece: &ParityPiece,
    plan: &mut Plan,
) -> Option<()> {
    let layout = &set.layout;
    let segments = piece.segments(set);
    let (lo, hi) = hull(&segments);
    let offset = piece.offset(set);
    let data = layout.data_slots();
    let parity_slot = layout.parity_slot(piece.row)?;
    let is_alive =
        |slot, lo: Sectors, hi: Sectors| slot_alive(set, alive, slot, offset + lo, hi - lo);

    plan.clear();
    plan.lane = hi - lo;
    plan.lanes = data as u16 + 1;
    if !is_alive(parity_slot, lo, hi) {
        // No parity to keep: the data alone, straight from the request.
        for s in &segments {
            let slot = layout.data_slot(piece.row, s.index);
            if !is_alive(slot, s.lo, s.hi) {
                return None;
            }
            push(
                &mut plan.writes,
                set,
                (slot, offset + s.lo),
                s.hi - s.lo,
                Buf::Data(s.from),
            );
        }
        plan.lanes = 0;
        return Some(());
    }

    let touched = |index: u64| segments.iter().find(|s| s.index == index).copied();
    let mut missing = None;
    for index in 0..data {
        if !is_alive(layout.data_slot(piece.row, index), lo, hi) {
            if missing.is_some() {
                return None;
            }
            missing = Some(index);
        }
    }
    let row_start = Logical(piece.row * layout.stripe().0);
    let synced = set.is_synced(Range::new(row_start, row_start + layout.stripe()));
    // Transfers that each way must read.
    let modify = segments.len() + 1;
    let reconstruct: usize = (0..data)
        .map(|index| match touched(index) {
            None => 1,
            Some(s) => usize::from(s.lo > lo) + usize::from(s.hi < hi),
        })
        .sum();
    let use_modify = match missing.map(touched) {
        None => synced && modify <= reconstruct,
        // The lost chunk is not written: only its share in the parity knows it.
        Some(None) => {
            if !synced {
                return None;
            }
            true
        }
        // The lost chunk is written: its new content lives on in the parity alone.
        Some(Some(_)) => false,
    };

    let parity = data as u16;
    let lane = |index: u64| index as u16;
    // What the write touches of a chunk, and all of the parity, each by way of its lane.
    let chunk_part = |list: &mut List<Transfer, MAX_TRANSFERS>, s: &Segment| {
        let slot = layout.data_slot(piece.row, s.index);
        let buf = Buf::Lane(lane(s.index), s.lo - lo);
        push(list, set, (slot, offset + s.lo), s.hi - s.lo, buf);
    };
    let whole_parity = |list: &mut List<Transfer, MAX_TRANSFERS>| {
        let buf = Buf::Lane(parity, Sectors::ZERO);
        push(list, set, (parity_slot, offset + lo), hi - lo, buf);
    };
    // A segment's share in the parity: taken out as it was, put in as it is.
    let share = |s: &Segment| Calc::Acc {
        lane: parity,
        lanes: 1 << s.index,
        at: s.lo - lo,
        len: s.hi - s.lo,
    };
    let copy_in = |s: &Segment| Calc::CopyIn {
        lane: lane(s.index),
        at: s.lo - lo,
        from: s.from,
        len: s.hi - s.lo,
    };
    if use_modify {
        for s in &segments {
            chunk_part(&mut plan.reads, s);
        }
        whole_parity(&mut plan.reads);
        for s in &segments {
            plan.calcs.push(share(s));
            plan.calcs.push(copy_in(s));
        }
        for s in &segments {
            plan.calcs.push(share(s));
        }
    } else {
        for index in 0..data {
            let slot = layout.data_slot(piece.row, index);
            let (keep_lo, keep_hi) = match touched(index) {
                None => (hi, hi),
                Some(s) => (s.lo, s.hi),
            };
            // What the write leaves alone: before it and behind it.
            for (from, to) in [(lo, keep_lo), (keep_hi, hi)] {
                if from < to {
                    if missing == Some(index) {
                        return None;
                    }
                    push(
                        &mut plan.reads,
                        set,
                        (slot, offset + from),
                        to - from,
                        Buf::Lane(lane(index), from - lo),
                    );
                }
            }
        }
        for s in &segments {
            plan.calcs.push(copy_in(s));
        }
        plan.calcs.push(Calc::Gen {
            lane: parity,
            lanes: (1 << data) - 1,
            at: Sectors::ZERO,
            len: hi - lo,
        });
    }
    for s in &segments {
        if missing != Some(s.index) {
            chunk_part(&mut plan.writes, s);
        }
    }
    whole_parity(&mut plan.writes);
    Some(())
}
