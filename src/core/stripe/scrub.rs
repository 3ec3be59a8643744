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

/// Scrubs `len` sectors (at most [`BAND`], within one row) from `offset` of every
/// slot of a parity set. In check mode the last lane ends all zero where parity is true.
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
    let row = div(offset.0, layout.chunk.0);
    let (data, parity_slot) = (layout.data_slots(), layout.parity_slot(row)?);
    if !(0..layout.slots).all(|slot| slot_alive(set, alive, SlotId(slot), offset, len)) {
        return None;
    }
    let parity = data as u16;
    plan.clear();
    (plan.lane, plan.lanes) = (len, parity + 1);
    for index in 0..data {
        let slot = layout.data_slot(row, index);
        push(
            &mut plan.reads,
            set,
            (slot, offset),
            len,
            Buf::Lane(index as u16, Sectors::ZERO),
        );
    }
    let (lanes, at) = ((1 << data) - 1, Sectors::ZERO);
    match mode {
        ScrubMode::Check => {
            push(
                &mut plan.reads,
                set,
                (parity_slot, offset),
                len,
                Buf::Lane(parity, at),
            );
            plan.calcs.push(Calc::Acc {
                lane: parity,
                lanes,
                at,
                len,
            });
        }
        ScrubMode::Resync => {
            plan.calcs.push(Calc::Gen {
                lane: parity,
                lanes,
                at,
                len,
            });
            push(
                &mut plan.writes,
                set,
                (parity_slot, offset),
                len,
                Buf::Lane(parity, at),
            );
        }
    }
    Some(())
}

/// Scrubs `len` sectors of a mirror from `x` on, within one read region: the leg
/// that reads choose is the one that is right. In check mode lane 0 holds that
/// leg and every further lane ends all zero where its leg is alike.
/// None: fewer than two legs are left.
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
    let spot = layout.locate(x);
    assert!(len <= spot.run);
    plan.clear();
    plan.lane = len;
    let order = (0..layout.slots).map(|step| layout.slot_after(spot.slot, step));
    for slot in order {
        if !slot_alive(set, alive, slot, spot.offset, len) {
            continue;
        }
        let (lane, at) = (plan.lanes, Sectors::ZERO);
        match mode {
            ScrubMode::Check => {
                push(
                    &mut plan.reads,
                    set,
                    (slot, spot.offset),
                    len,
                    Buf::Lane(lane, at),
                );
                if lane > 0 {
                    plan.calcs.push(Calc::Acc {
                        lane,
                        lanes: 1,
                        at,
                        len,
                    });
                }
            }
            ScrubMode::Resync if lane == 0 => {
                push(
                    &mut plan.reads,
                    set,
                    (slot, spot.offset),
                    len,
                    Buf::Lane(0, at),
                );
            }
            ScrubMode::Resync => {
                push(
                    &mut plan.writes,
                    set,
                    (slot, spot.offset),
                    len,
                    Buf::Lane(0, at),
                );
            }
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
