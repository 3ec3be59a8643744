// SPDX-License-Identifier: GPL-2.0
//! Resync, check and repair of a piece of a set: all copies alike, parity true.

use super::{push, slot_alive, Buf, Calc, Plan, BAND};
use crate::geometry::{div, rem, Logical, MemberMask, Offset, Sectors, SlotId};
use crate::placement::Set;

/// What a pass over a set does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScrubMode {
    /// Read the data, write the copies and the parity anew.
    Resync,
    /// Read everything and count the sectors that differ.
    Check,
}

/// Lanes that end all zero in check mode where copies are alike, or parity is true.
pub fn difference_lanes(set: &Set, plan: &Plan) -> core::ops::Range<u16> {
    let first = match set.layout.level.has_parity() {
        true => set.layout.data_slots() as u16,
        false => 1,
    };
    first..plan.lanes
}

/// Scrubs `len` sectors (at most [`BAND`], within one row) from `offset` of every
/// slot of a parity set.
/// None: a slot is missing, so there is nothing to compare or to write.
pub fn parity_plan(
    set: &Set,
    alive: MemberMask,
    offset: Offset,
    len: Sectors,
    mode: ScrubMode,
) -> Option<Plan> {
    let mut plan = Plan::default();
    parity_plan_into(set, alive, offset, len, mode, &mut plan).map(|()| plan)
}

/// [`parity_plan`] into a plan that is there already.
pub fn parity_plan_into(
    set: &Set,
    alive: MemberMask,
    offset: Offset,
    len: Sectors,
    mode: ScrubMode,
    plan: &mut Plan,
) -> Option<()> {
    let layout = &set.layout;
    assert!(len <= BAND && rem(offset.0, layout.chunk.0) + len.0 <= layout.chunk.0);
    assert!(layout.level.has_parity());
    let row = div(offset.0, layout.chunk.0);
    let data = layout.data_slots() as u16;
    if !(0..layout.slots).all(|slot| slot_alive(set, alive, SlotId(slot), offset, len)) {
        return None;
    }
    plan.clear();
    plan.lane = len;
    plan.lanes = data + u16::from(layout.parities());
    let at = Sectors::ZERO;
    for lane in 0..data {
        let slot = layout.data_slot(row, u64::from(lane));
        let buf = Buf::Lane(lane, at);
        push(&mut plan.reads, set, (slot, offset), len, buf);
    }
    let list = match mode {
        ScrubMode::Check => &mut plan.reads,
        ScrubMode::Resync => &mut plan.writes,
    };
    for (lane, slot) in (data..).zip(layout.parity_slots(row)) {
        push(list, set, (slot, offset), len, Buf::Lane(lane, at));
    }
    plan.calcs.push(match mode {
        ScrubMode::Check => Calc::acc_parity(layout, 0, data - 1, at, len),
        ScrubMode::Resync => Calc::gen_parity(layout, at, len),
    });
    Some(())
}

/// Sectors from `x` on, at most `len`, that reads take from one copy and that lie in one
/// place of every copy.
pub fn copy_run(set: &Set, x: Logical, len: Sectors) -> Sectors {
    let layout = &set.layout;
    let copies = (0..layout.copies()).map(|step| layout.copy(x, step));
    let runs = copies.map(|copy| set.place(copy.slot, copy.offset).run);
    runs.fold(layout.locate(x).run.min(len), Sectors::min)
}

/// Scrubs `len` sectors of a set of copies from `x` on, within one run of
/// [`Layout::locate`](crate::layout::Layout::locate): the copy that reads choose is the
/// one that is right. In check mode lane 0 holds it, and every further lane another.
/// None: fewer than two copies are left.
pub fn mirror_plan(
    set: &Set,
    alive: MemberMask,
    x: Logical,
    len: Sectors,
    mode: ScrubMode,
) -> Option<Plan> {
    let mut plan = Plan::default();
    mirror_plan_into(set, alive, x, len, mode, &mut plan).map(|()| plan)
}

/// [`mirror_plan`] into a plan that is there already.
pub fn mirror_plan_into(
    set: &Set,
    alive: MemberMask,
    x: Logical,
    len: Sectors,
    mode: ScrubMode,
    plan: &mut Plan,
) -> Option<()> {
    let layout = &set.layout;
    assert!(len <= layout.locate(x).run);
    plan.clear();
    plan.lane = len;
    let at = Sectors::ZERO;
    for step in 0..layout.copies() {
        let copy = layout.copy(x, step);
        let from = (copy.slot, copy.offset);
        if !slot_alive(set, alive, copy.slot, copy.offset, len) {
            continue;
        }
        let lane = plan.lanes;
        match mode {
            ScrubMode::Resync if lane > 0 => {
                push(&mut plan.writes, set, from, len, Buf::Lane(0, at));
            }
            _ => push(&mut plan.reads, set, from, len, Buf::Lane(lane, at)),
        }
        if lane > 0 && mode == ScrubMode::Check {
            plan.calcs.push(Calc::Acc {
                lane,
                lanes: 1,
                at,
                len,
            });
        }
        plan.lanes += 1;
    }
    if plan.lanes < 2 {
        return None;
    }
    if mode == ScrubMode::Resync {
        plan.lanes = 1;
    }
    Some(())
}
