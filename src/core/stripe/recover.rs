// SPDX-License-Identifier: GPL-2.0
//! Writes what members that lack it are to hold, from what is left of the set: the
//! rebuild of a member that came in, and the mending of one that can't be read somewhere.

use super::{push, slot_alive, Buf, Calc, Plan, BAND};
use crate::geometry::{div, rem, Logical, MemberMask, Offset, Sectors, SlotId};
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

/// Sectors from `offset` on, at most `len`, that lie in one place of every slot.
pub fn recover_run(set: &Set, offset: Offset, len: Sectors) -> Sectors {
    let runs = (0..set.layout.slots).map(|slot| set.place(SlotId(slot), offset).run);
    runs.fold(len, Sectors::min)
}

/// Of a parity set: fills `plan` to write the slots of `onto` from the others, for `len`
/// sectors (at most [`BAND`], within one row, see [`recover_run`]) from `offset` of every
/// slot. `onto` and `alive` have no member in common.
pub fn recover_parity_into(
    set: &Set,
    (alive, onto): (MemberMask, MemberMask),
    offset: Offset,
    len: Sectors,
    plan: &mut Plan,
) -> Recover {
    let layout = &set.layout;
    assert!(len <= BAND && rem(offset.0, layout.chunk.0) + len.0 <= layout.chunk.0);
    assert!(layout.parity_slot(div(offset.0, layout.chunk.0)).is_some());
    plan.clear();
    let (mut lane, mut wanted, mut lost) = (0, None, 0);
    for slot in (0..layout.slots).map(SlotId) {
        if slot_alive(set, alive, slot, offset, len) {
            let to = Buf::Lane(lane, Sectors::ZERO);
            push(&mut plan.reads, set, (slot, offset), len, to);
            lane += 1;
            continue;
        }
        lost += 1;
        if slot_alive(set, onto, slot, offset, len) {
            wanted = Some(slot);
        }
    }
    let Some(wanted) = wanted else {
        return Recover::Nothing;
    };
    if lost > 1 {
        return Recover::Lost;
    }
    // Each of them is the XOR of all others, the parity too.
    (plan.lane, plan.lanes) = (len, lane + 1);
    let at = Sectors::ZERO;
    plan.calcs.push(Calc::Gen {
        lane,
        lanes: (1 << lane) - 1,
        at,
        len,
    });
    let from = Buf::Lane(lane, at);
    push(&mut plan.writes, set, (wanted, offset), len, from);
    Recover::Planned
}

/// Of a mirror: fills `plan` to write the legs of `onto` from the leg that reads choose,
/// for `len` sectors from `x` on, within one read region (see [`recover_run`]).
pub fn recover_mirror_into(
    set: &Set,
    (alive, onto): (MemberMask, MemberMask),
    x: Logical,
    len: Sectors,
    plan: &mut Plan,
) -> Recover {
    let layout = &set.layout;
    let spot = layout.locate(x);
    assert!(len <= spot.run);
    plan.clear();
    (plan.lane, plan.lanes) = (len, 1);
    let data = Buf::Lane(0, Sectors::ZERO);
    for step in 0..layout.slots {
        let slot = layout.slot_after(spot.slot, step);
        let place = (slot, spot.offset);
        if slot_alive(set, onto, slot, spot.offset, len) {
            push(&mut plan.writes, set, place, len, data);
        } else if plan.reads.is_empty() && slot_alive(set, alive, slot, spot.offset, len) {
            push(&mut plan.reads, set, place, len, data);
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
