// SPDX-License-Identifier: GPL-2.0
//! Reads of a set: straight from where the data lie, or from what is left of the stripe.

use super::{push, slot_alive, Buf, Calc, Plan, BAND};
use crate::geometry::{Logical, MemberMask, Range, Sectors, SlotId};
use crate::layout::Level;
use crate::placement::{Place, Set};

/// How the first run of a range is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// From one place; `run` is cut to the range.
    Direct(Place),
    /// This many sectors by [`plan_rebuild`], under a lock of their lock range.
    Rebuild(Sectors),
    /// This many sectors can't be read: too many members are missing.
    Lost(Sectors),
}

/// How to read from `x` on, at most `len` sectors.
pub fn read(set: &Set, alive: MemberMask, x: Logical, len: Sectors) -> Read {
    let spot = set.layout.locate(x);
    let place = set.place(spot.slot, spot.offset);
    let run = spot.run.min(place.run).min(len);
    if alive.has(place.member) {
        return Read::Direct(Place { run, ..place });
    }
    match set.layout.level {
        Level::Linear | Level::Raid0 => Read::Lost(run),
        Level::Raid1 => {
            for step in 1..set.layout.slots {
                let slot = set.layout.slot_after(spot.slot, step);
                let other = set.place(slot, spot.offset);
                if alive.has(other.member) {
                    return Read::Direct(Place {
                        run: run.min(other.run),
                        ..other
                    });
                }
            }
            Read::Lost(run)
        }
        Level::Raid5 => {
            // Cut at bands, so that scratch stays small and pieces of one band share its lock.
            let run = run.min(BAND - Sectors(spot.offset.0 % BAND.0));
            let whole = (0..set.layout.slots)
                .map(SlotId)
                .filter(|slot| *slot != spot.slot)
                .all(|slot| slot_alive(set, alive, slot, spot.offset, run));
            // I8: from parity that is not known to be true nothing can be rebuilt.
            if whole && set.is_synced(Range::new(x, x + run)) {
                Read::Rebuild(run)
            } else {
                Read::Lost(run)
            }
        }
    }
}

/// The plan for a run that [`read`] said must be rebuilt; its data go `to` sectors into the request.
pub fn plan_rebuild(set: &Set, x: Logical, len: Sectors, to: Sectors) -> Plan {
    let mut plan = Plan::default();
    plan_rebuild_into(set, x, len, to, &mut plan);
    plan
}

/// [`plan_rebuild`] into a plan that is there already.
pub fn plan_rebuild_into(set: &Set, x: Logical, len: Sectors, to: Sectors, plan: &mut Plan) {
    let spot = set.layout.locate(x);
    assert!(len <= spot.run);
    plan.clear();
    (plan.lane, plan.lanes) = (len, u16::from(set.layout.slots));
    let mut lane = 0;
    for slot in (0..set.layout.slots).map(SlotId) {
        if slot != spot.slot {
            push(
                &mut plan.reads,
                set,
                (slot, spot.offset),
                len,
                Buf::Lane(lane, Sectors::ZERO),
            );
            lane += 1;
        }
    }
    plan.calcs.push(Calc::Gen {
        lane,
        lanes: (1 << lane) - 1,
        at: Sectors::ZERO,
        len,
    });
    plan.calcs.push(Calc::CopyOut {
        lane,
        at: Sectors::ZERO,
        to,
        len,
    });
}
