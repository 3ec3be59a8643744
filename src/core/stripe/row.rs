// SPDX-License-Identifier: GPL-2.0
//! The mover's writes of a parity level: whole rows of the target, from data that lie in
//! memory in logical order. Levels without parity are written place by place, see
//! [`footprint::for_each_write`](crate::footprint::for_each_write).

use super::{push, slot_alive, Buf, Calc, Plan};
use crate::geometry::{Logical, MemberMask, Offset, Sectors, SlotId};
use crate::placement::Set;

/// The plan that writes row `row` of a parity set from scratch: lane `i` (a chunk
/// long) holds data chunk `i` of the row, and those behind take P and Q. Chunks that
/// `in_place` names (they lie in their place already), by their first sector, or None of parity,
/// and their place, and missing members are left out.
pub fn plan_row(
    set: &Set,
    alive: MemberMask,
    row: u64,
    in_place: impl Fn(Option<Logical>, (SlotId, Offset)) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    plan_row_into(set, alive, row, in_place, &mut plan);
    plan
}

/// [`plan_row`] into a plan that is there already.
pub fn plan_row_into(
    set: &Set,
    alive: MemberMask,
    row: u64,
    in_place: impl Fn(Option<Logical>, (SlotId, Offset)) -> bool,
    plan: &mut Plan,
) {
    let layout = &set.layout;
    assert!(layout.level.has_parity());
    let (chunk, data) = (layout.chunk, layout.data_slots() as u16);
    let start = Logical(row * layout.stripe().0);
    let (offset, at) = (layout.row_offset(start), Sectors::ZERO);
    plan.clear();
    plan.lane = chunk;
    plan.lanes = data + u16::from(layout.parities());
    for index in 0..data {
        let slot = layout.data_slot(row, u64::from(index));
        let x = start + Sectors(u64::from(index) * chunk.0);
        if !in_place(Some(x), (slot, offset)) && slot_alive(set, alive, slot, offset, chunk) {
            let buf = Buf::Lane(index, at);
            push(&mut plan.writes, set, (slot, offset), chunk, buf);
        }
    }
    let mut is_needed = false;
    for (lane, slot) in (data..).zip(layout.parity_slots(row)) {
        if !in_place(None, (slot, offset)) && slot_alive(set, alive, slot, offset, chunk) {
            let buf = Buf::Lane(lane, at);
            push(&mut plan.writes, set, (slot, offset), chunk, buf);
            is_needed = true;
        }
    }
    if is_needed {
        plan.calcs.push(Calc::gen_parity(layout, at, chunk));
    }
}
