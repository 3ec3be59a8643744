// SPDX-License-Identifier: GPL-2.0
//! The mover's writes: whole rows of the target, from data that lie in memory in logical order.

use super::{push, slot_alive, Buf, Calc, Plan};
use crate::geometry::{Logical, MemberMask, Sectors, SlotId};
use crate::layout::Level;
use crate::placement::Set;

/// The plan that writes row `row` of a striped set from scratch: lane `i` (a
/// chunk long) holds data chunk `i` of the row, and lane `parity_lane` takes the
/// parity. Chunks that `in_place` names (they lie in their place already) and
/// missing members are left out.
pub fn plan_row(
    set: &Set,
    alive: MemberMask,
    row: u64,
    parity_lane: u16,
    in_place: impl Fn(Logical, SlotId) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    plan_row_into(set, alive, row, parity_lane, in_place, &mut plan);
    plan
}

/// [`plan_row`] into a plan that is there already.
pub fn plan_row_into(
    set: &Set,
    alive: MemberMask,
    row: u64,
    parity_lane: u16,
    in_place: impl Fn(Logical, SlotId) -> bool,
    plan: &mut Plan,
) {
    let layout = &set.layout;
    assert!(layout.level.is_striped());
    let (chunk, data) = (layout.chunk, layout.data_slots());
    let start = Logical(row * layout.stripe().0);
    let offset = layout.row_offset(start);
    plan.clear();
    (plan.lane, plan.lanes) = (chunk, parity_lane + 1);
    for index in 0..data {
        let slot = layout.data_slot(row, index);
        let x = start + Sectors(index * chunk.0);
        if !in_place(x, slot) && slot_alive(set, alive, slot, offset, chunk) {
            push(
                &mut plan.writes,
                set,
                (slot, offset),
                chunk,
                Buf::Lane(index as u16, Sectors::ZERO),
            );
        }
    }
    if layout.level == Level::Raid5 {
        let slot = layout.parity_slot(row).expect("raid5 has parity");
        if slot_alive(set, alive, slot, offset, chunk) {
            plan.calcs.push(Calc::Gen {
                lane: parity_lane,
                lanes: (1 << data) - 1,
                at: Sectors::ZERO,
                len: chunk,
            });
            push(
                &mut plan.writes,
                set,
                (slot, offset),
                chunk,
                Buf::Lane(parity_lane, Sectors::ZERO),
            );
        }
    }
}
