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
    // A mirror's regions matter to reads only: a write goes to all legs alike.
    let mut run = match set.layout.level {
        Level::Raid1 => len,
        _ => set.layout.locate(x).run.min(len),
    };
    let mut places = List::new();
    for step in 0..set.layout.copies() {
        let copy = set.layout.copy(x, step);
        let place = set.place(copy.slot, copy.offset);
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

    fn parts(&self, set: &Set) -> impl Iterator<Item = Segment> {
        let Self {
            row,
            band,
            range,
            only,
        } = *self;
        let (chunk, len) = (set.layout.chunk.0, band_len(set).0);
        let band_start = row * set.layout.stripe().0 + band * len;
        let chunks = match only {
            Some(index) => index..index + 1,
            None => 0..set.layout.data_slots(),
        };
        chunks.filter_map(move |index| {
            let start = band_start + index * chunk;
            let lo = start.max(range.start.0);
            let hi = (start + len).min(range.end.0);
            (lo < hi).then(|| Segment {
                index,
                lo: Sectors(lo - start),
                hi: Sectors(hi - start),
                from: Sectors(lo - range.start.0),
            })
        })
    }

    fn segments(&self, set: &Set) -> List<Segment, MAX_SLOTS> {
        let mut segments = List::new();
        for part in self.parts(set) {
            segments.push(part);
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
    /// No member is missing: the steady path asks no more.
    is_whole: bool,
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
        is_whole: is_whole(set, alive),
        range,
        row: set.layout.row(range.start),
        band: 0,
        index: 0,
    }
}

/// Whether every member that backs any slot is alive.
fn is_whole(set: &Set, alive: MemberMask) -> bool {
    (set.members() & !alive).is_empty()
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
            let (offset, len) = (piece.offset(self.set), band_len(self.set));
            let is_alive = |slot| slot_alive(self.set, self.alive, SlotId(slot), offset, len);
            if !self.is_whole && !(0..layout.slots).all(is_alive) {
                if self.index == layout.data_slots() {
                    (self.band, self.index) = (self.band + 1, 0);
                    continue;
                }
                piece.only = Some(self.index);
                self.index += 1;
            } else {
                self.band += 1;
            }
            if piece.parts(self.set).next().is_some() {
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
    let row = Row::new(set, alive, piece);
    plan.clear();
    plan.lane = row.hi - row.lo;
    plan.lanes = row.lanes();
    let way = row.way()?;
    let spare = row.spare(&way);
    match way {
        // No parity to keep: the data alone, but by way of lanes, where they can't change between
        // the journal and their places.
        Way::Plain => {
            for s in &row.segments {
                plan.calcs.push(row.copy_in(s));
            }
        }
        Way::Modify => row.modify(plan, spare),
        Way::Reconstruct => row.reconstruct(plan)?,
        Way::RecoverByP(a) => row.recover_by_p(plan, a),
        Way::Recover(a, b) => row.recover(plan, a, b),
    }
    for s in &row.segments {
        if !row.missing.contains(&s.index) {
            let lane = spare.unwrap_or(s.index as u16);
            row.part(&mut plan.writes, (s.index, lane), (s.lo, s.hi));
        }
    }
    row.parities(&mut plan.writes);
    Some(())
}

/// How a piece is written.
enum Way {
    /// The data alone.
    Plain,
    /// What the write touches is read, taken out of the parity, and put in as it is now.
    Modify,
    /// What the write leaves alone is read, and the parity made anew.
    Reconstruct,
    /// All is read that is left but Q, which may say something else than P, the missing chunk
    /// recovered, and the parity made anew.
    RecoverByP(u16),
    /// All is read that is left, two missing chunks recovered, and the parity made anew.
    Recover(u16, u16),
}

/// The band of a row that a piece writes to, as it is with the members alive. All that
/// is read or written of a slot are sectors `lo..hi` of the band, or less.
struct Row<'a> {
    set: &'a Set,
    row: u64,
    /// The band's first sector in every slot.
    offset: Offset,
    segments: List<Segment, MAX_SLOTS>,
    lo: Sectors,
    hi: Sectors,
    /// Data chunks that are missing.
    missing: List<u64, MAX_SLOTS>,
    /// Parity that is there, by its lane.
    alive: List<(u16, SlotId), 2>,
}

impl<'a> Row<'a> {
    fn new(set: &'a Set, alive: MemberMask, piece: &ParityPiece) -> Self {
        let layout = &set.layout;
        let segments = piece.segments(set);
        let (lo, hi) = hull(&segments);
        let mut row = Row {
            set,
            row: piece.row,
            offset: piece.offset(set),
            segments,
            lo,
            hi,
            missing: List::new(),
            alive: List::new(),
        };
        let is_whole = is_whole(set, alive);
        let is_alive = |slot| is_whole || slot_alive(set, alive, slot, row.offset + lo, hi - lo);
        let data = layout.data_slots();
        for index in (0..data).filter(|_| !is_whole) {
            if !is_alive(layout.data_slot(piece.row, index)) {
                row.missing.push(index);
            }
        }
        for (lane, slot) in (data as u16..).zip(layout.parity_slots(piece.row)) {
            if is_alive(slot) {
                row.alive.push((lane, slot));
            }
        }
        row
    }

    /// The data, then the parity.
    fn lanes(&self) -> u16 {
        self.set.layout.data_slots() as u16 + u16::from(self.set.layout.parities())
    }

    fn touched(&self, index: u64) -> Option<&Segment> {
        self.segments.iter().find(|s| s.index == index)
    }

    /// By the fewest transfers, where there is a choice. None: too much is missing.
    fn way(&self) -> Option<Way> {
        let layout = &self.set.layout;
        if self.missing.len() > self.alive.len() {
            return None;
        }
        if self.alive.is_empty() {
            return Some(Way::Plain);
        }
        let start = Logical(self.row * layout.stripe().0);
        let range = Range::new(start, start + layout.stripe());
        let (synced, known) = (self.set.is_synced(range), self.set.is_rebuildable(range));
        // The missing chunk that is written lives on in the parity alone, which is made
        // anew from all others; one that is not has only its share in the parity as it is.
        let untouched = |index: &&u64| self.touched(**index).is_none();
        let untouched = self.missing.iter().filter(untouched).count();
        let spare_parity = self.missing.len() < self.alive.len();
        Some(match untouched {
            0 if !self.missing.is_empty() || !synced => Way::Reconstruct,
            0 if self.modify_reads() <= self.reconstruct_reads() => Way::Modify,
            0 => Way::Reconstruct,
            _ if !known => return None,
            _ if spare_parity && !synced => Way::RecoverByP(self.missing[0] as u16),
            _ if untouched == self.missing.len() => Way::Modify,
            _ => Way::Recover(self.missing[0] as u16, self.missing[1] as u16),
        })
    }

    fn modify_reads(&self) -> usize {
        self.segments.len() + self.alive.len()
    }

    fn reconstruct_reads(&self) -> usize {
        (0..self.set.layout.data_slots())
            .map(|index| match self.touched(index) {
                None => 1,
                Some(s) => usize::from(s.lo > self.lo) + usize::from(s.hi < self.hi),
            })
            .sum()
    }

    /// The lane of a chunk that the plan does not touch, for the new content of the only one that
    /// it does: then old and new go into P in one go. Q's arithmetic knows chunks by their lanes.
    fn spare(&self, way: &Way) -> Option<u16> {
        let layout = &self.set.layout;
        match (way, &self.segments[..]) {
            (Way::Modify, [s]) if layout.parities() == 1 => Some(if s.index == 0 { 1 } else { 0 }),
            _ => None,
        }
    }

    /// Sectors `lo..hi` of a data chunk, by way of a lane.
    fn part(
        &self,
        list: &mut List<Transfer, MAX_TRANSFERS>,
        (index, lane): (u64, u16),
        (lo, hi): (Sectors, Sectors),
    ) {
        let slot = self.set.layout.data_slot(self.row, index);
        let buf = Buf::Lane(lane, lo - self.lo);
        push(list, self.set, (slot, self.offset + lo), hi - lo, buf);
    }

    /// Sectors `lo..hi` of a data chunk, by way of its own lane.
    fn own_part(
        &self,
        list: &mut List<Transfer, MAX_TRANSFERS>,
        index: u64,
        span: (Sectors, Sectors),
    ) {
        self.part(list, (index, index as u16), span);
    }

    /// All of the parity that is there.
    fn parities(&self, list: &mut List<Transfer, MAX_TRANSFERS>) {
        for parity in &self.alive {
            self.parity(list, *parity);
        }
    }

    fn parity(&self, list: &mut List<Transfer, MAX_TRANSFERS>, (lane, slot): (u16, SlotId)) {
        let (from, len) = ((slot, self.offset + self.lo), self.hi - self.lo);
        push(list, self.set, from, len, Buf::Lane(lane, Sectors::ZERO));
    }

    /// Reads all data that are there.
    fn others(&self, plan: &mut Plan) {
        for index in 0..self.set.layout.data_slots() {
            if !self.missing.contains(&index) {
                self.own_part(&mut plan.reads, index, (self.lo, self.hi));
            }
        }
    }

    fn copy_in(&self, s: &Segment) -> Calc {
        self.copy_to(s.index as u16, s)
    }

    fn copy_to(&self, lane: u16, s: &Segment) -> Calc {
        Calc::CopyIn {
            lane,
            at: s.lo - self.lo,
            from: s.from,
            len: s.hi - s.lo,
        }
    }

    fn gen_parity(&self) -> Calc {
        Calc::gen_parity(&self.set.layout, Sectors::ZERO, self.hi - self.lo)
    }

    /// The lanes hold all that the write leaves alone: it comes in, and the parity is made of them.
    fn make_anew(&self, plan: &mut Plan) {
        for s in &self.segments {
            plan.calcs.push(self.copy_in(s));
        }
        plan.calcs.push(self.gen_parity());
    }

    fn modify(&self, plan: &mut Plan, spare: Option<u16>) {
        // A segment's share in the parity: taken out as it was, put in as it is.
        let share = |s: &Segment| {
            let (lane, at, len) = (s.index as u16, s.lo - self.lo, s.hi - s.lo);
            Calc::acc_parity(&self.set.layout, lane, lane, at, len)
        };
        for s in &self.segments {
            self.own_part(&mut plan.reads, s.index, (s.lo, s.hi));
        }
        self.parities(&mut plan.reads);
        if let (Some(spare), [s]) = (spare, &self.segments[..]) {
            plan.calcs.push(self.copy_to(spare, s));
            plan.calcs.push(Calc::Acc {
                lane: self.set.layout.data_slots() as u16,
                lanes: 1 << s.index | 1 << spare,
                at: Sectors::ZERO,
                len: s.hi - s.lo,
            });
            return;
        }
        for s in &self.segments {
            plan.calcs.push(share(s));
            plan.calcs.push(self.copy_in(s));
        }
        for s in &self.segments {
            plan.calcs.push(share(s));
        }
    }

    fn reconstruct(&self, plan: &mut Plan) -> Option<()> {
        for index in 0..self.set.layout.data_slots() {
            let (keep_lo, keep_hi) = match self.touched(index) {
                None => (self.hi, self.hi),
                Some(s) => (s.lo, s.hi),
            };
            // What the write leaves alone: before it and behind it.
            for (from, to) in [(self.lo, keep_lo), (keep_hi, self.hi)] {
                if from < to {
                    if self.missing.contains(&index) {
                        return None;
                    }
                    self.own_part(&mut plan.reads, index, (from, to));
                }
            }
        }
        self.make_anew(plan);
        Some(())
    }

    fn recover_by_p(&self, plan: &mut Plan, a: u16) {
        let (at, len) = (Sectors::ZERO, self.hi - self.lo);
        let p = self.alive[0];
        self.others(plan);
        self.parity(&mut plan.reads, p);
        plan.calcs.push(Calc::Gen {
            lane: a,
            lanes: ((2 << p.0) - 1) & !(1 << a),
            at,
            len,
        });
        self.make_anew(plan);
    }

    fn recover(&self, plan: &mut Plan, a: u16, b: u16) {
        self.others(plan);
        self.parities(&mut plan.reads);
        let (at, len) = (Sectors::ZERO, self.hi - self.lo);
        plan.calcs.push(Calc::Recover2 { a, b, at, len });
        self.make_anew(plan);
    }
}
