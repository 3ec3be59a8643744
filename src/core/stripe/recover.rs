// SPDX-License-Identifier: GPL-2.0
//! Writes what members that lack it are to hold, from what is left of the set: the
//! rebuild of a member that came in, and the mending of one that can't be read somewhere.

use super::{copy_run, push, slot_alive, Buf, Calc, Plan, BAND};
use crate::geometry::{div, rem, Logical, MemberMask, Offset, Range, Sectors, SlotId, MAX_SLOTS};
use crate::layout::Layout;
use crate::list::List;
use crate::placement::Set;

/// What becomes of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recover {
    /// Carry out the plan.
    Planned,
    /// Nothing of it lies on those members.
    Nothing,
    /// What is left does not tell what they held.
    Lost,
}

/// What is to be gone over for `range`, step by step: offsets of slots where there is parity,
/// else sectors of the volume. No more than a request of that range has locked, or `whole` rows.
pub fn recover_span(set: &Set, range: Range, whole: bool) -> (u64, u64) {
    let layout = &set.layout;
    if !layout.level.has_parity() {
        // Copies have whole rows too: what lies behind the volume's end was zeroed in all.
        let end = match whole {
            true => range.end.round_up(layout.stripe()),
            false => range.end,
        };
        return (range.start.0, end.0);
    }
    let first = layout.locate(range.start);
    if !whole && range.len() <= first.run {
        return (first.offset.0, first.offset.0 + range.len().0);
    }
    (
        layout.row_offset(range.start).0,
        layout.used_below(range.end).0,
    )
}

/// The step from `at` on of a span that ends at `end`: fills `plan` to write what `onto` is to
/// hold, and says how long it is. `onto` and `alive` have no member in common.
pub fn recover_into(
    set: &Set,
    members: (MemberMask, MemberMask),
    at: u64,
    end: u64,
    plan: &mut Plan,
) -> (Sectors, Recover) {
    let (layout, most) = (&set.layout, BAND.min(Sectors(end - at)));
    if !layout.level.is_redundant() {
        return (most, Recover::Nothing);
    }
    if layout.level.has_parity() {
        let in_band = Sectors(BAND.0 - rem(at, BAND.0));
        let in_chunk = Sectors(layout.chunk.0 - rem(at, layout.chunk.0));
        let len = recover_run(set, Offset(at), most.min(in_band).min(in_chunk));
        return (
            len,
            recover_parity_into(set, members, Offset(at), len, plan),
        );
    }
    let len = copy_run(set, Logical(at), most);
    (
        len,
        recover_mirror_into(set, members, Logical(at), len, plan),
    )
}

/// Sectors from `offset` on, at most `len`, that lie in one place of every slot; where
/// there are copies, ask [`copy_run`](super::copy_run).
fn recover_run(set: &Set, offset: Offset, len: Sectors) -> Sectors {
    let runs = (0..set.layout.slots).map(|slot| set.place(SlotId(slot), offset).run);
    runs.fold(len, Sectors::min)
}

/// Of a parity set: fills `plan` to write the slots of `onto` from the others, for `len`
/// sectors (at most [`BAND`], within one row, see [`recover_run`]) from `offset` of every
/// slot.
fn recover_parity_into(
    set: &Set,
    (alive, onto): (MemberMask, MemberMask),
    offset: Offset,
    len: Sectors,
    plan: &mut Plan,
) -> Recover {
    let layout = &set.layout;
    assert!(len <= BAND && rem(offset.0, layout.chunk.0) + len.0 <= layout.chunk.0);
    let row = div(offset.0, layout.chunk.0);
    let is_wanted = |slot| slot_alive(set, onto, slot, offset, len);
    if !(0..layout.slots).any(|slot| is_wanted(SlotId(slot))) {
        plan.clear();
        return Recover::Nothing;
    }
    let lane = (row, offset, len);
    if complete_row(set, alive, lane, is_wanted, plan).is_none() {
        return Recover::Lost;
    }
    for (lane, slot) in row_slots(layout, row) {
        if is_wanted(slot) {
            let from = Buf::Lane(lane, Sectors::ZERO);
            push(&mut plan.writes, set, (slot, offset), len, from);
        }
    }
    Recover::Planned
}

/// The slots of a row in the order of their lanes: the data, then the parity.
fn row_slots(layout: &Layout, row: u64) -> impl Iterator<Item = (u16, SlotId)> + '_ {
    let data = (0..layout.data_slots()).map(move |index| layout.data_slot(row, index));
    (0..).zip(data.chain(layout.parity_slots(row)))
}

/// Fills `plan` with the reads and the arithmetic after which the lanes hold what those
/// slots of row `row` do that `is_wanted` names and that are not on `alive`: `len` sectors
/// from `offset` of every slot. None: too much is missing.
pub(super) fn complete_row(
    set: &Set,
    alive: MemberMask,
    (row, offset, len): (u64, Offset, Sectors),
    is_wanted: impl Fn(SlotId) -> bool,
    plan: &mut Plan,
) -> Option<()> {
    let layout = &set.layout;
    assert!(layout.level.has_parity());
    let data = layout.data_slots() as u16;
    let (parity, syndrome) = (data, data + 1);
    let mut missing = List::<u16, MAX_SLOTS>::new();
    let mut wants_parity = false;
    for (lane, slot) in row_slots(layout, row) {
        if !slot_alive(set, alive, slot, offset, len) {
            missing.push(lane);
            wants_parity |= lane >= data && is_wanted(slot);
        }
    }
    if missing.len() > usize::from(layout.parities()) {
        return None;
    }
    // Data come before parity, so these are the first.
    let lost = missing.iter().filter(|lane| **lane < data).count();
    let by_xor = lost < 2 && !missing.contains(&parity);
    plan.clear();
    plan.lane = len;
    plan.lanes = data + u16::from(layout.parities());
    let at = Sectors::ZERO;
    for (lane, slot) in row_slots(layout, row) {
        let needed = match lane {
            _ if missing.contains(&lane) => false,
            lane if lane == parity => lost > 0,
            lane if lane == syndrome => lost > 0 && !by_xor,
            _ => true,
        };
        if needed {
            push(
                &mut plan.reads,
                set,
                (slot, offset),
                len,
                Buf::Lane(lane, at),
            );
        }
    }
    match (lost, by_xor) {
        (0, _) => {}
        (1, true) => plan.calcs.push(Calc::Gen {
            lane: missing[0],
            lanes: ((2 << parity) - 1) & !(1 << missing[0]),
            at,
            len,
        }),
        (1, false) => {
            let a = missing[0];
            plan.calcs.push(Calc::RecoverP { a, at, len });
        }
        _ => {
            let (a, b) = (missing[0], missing[1]);
            plan.calcs.push(Calc::Recover2 { a, b, at, len });
        }
    }
    // Where P is recovered together with data, Q was read.
    if wants_parity && (lost == 0 || by_xor) {
        plan.calcs.push(Calc::gen_parity(layout, at, len));
    }
    Some(())
}

/// Of a mirror: fills `plan` to write the legs of `onto` from the leg that reads choose,
/// for `len` sectors from `x` on (see [`copy_run`](super::copy_run)).
fn recover_mirror_into(
    set: &Set,
    (alive, onto): (MemberMask, MemberMask),
    x: Logical,
    len: Sectors,
    plan: &mut Plan,
) -> Recover {
    let layout = &set.layout;
    assert!(len <= layout.locate(x).run);
    plan.clear();
    (plan.lane, plan.lanes) = (len, 1);
    let data = Buf::Lane(0, Sectors::ZERO);
    for step in 0..layout.copies() {
        let copy = layout.copy(x, step);
        let (slot, offset) = (copy.slot, copy.offset);
        if slot_alive(set, onto, slot, offset, len) {
            push(&mut plan.writes, set, (slot, offset), len, data);
        } else if plan.reads.is_empty() && slot_alive(set, alive, slot, offset, len) {
            push(&mut plan.reads, set, (slot, offset), len, data);
        }
    }
    if plan.writes.is_empty() {
        return Recover::Nothing;
    }
    if plan.reads.is_empty() {
        return Recover::Lost;
    }
    Recover::Planned
}
