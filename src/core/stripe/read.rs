// SPDX-License-Identifier: GPL-2.0
//! Reads of a set: straight from where the data lie, or from what is left of the stripe.

use super::recover::complete_row;
use super::{slot_alive, Calc, Plan, BAND};
use crate::geometry::{div, Logical, MemberMask, Range, Sectors, SlotId};
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
        Level::Raid1 | Level::Raid10 { .. } => {
            for step in 1..set.layout.copies() {
                let copy = set.layout.copy(x, step);
                let other = set.place(copy.slot, copy.offset);
                if alive.has(other.member) {
                    return Read::Direct(Place {
                        run: run.min(other.run),
                        ..other
                    });
                }
            }
            Read::Lost(run)
        }
        Level::Raid5 | Level::Raid6 => {
            // Cut at bands, so that scratch stays small and pieces of one band share its lock.
            let run = run.min(BAND - Sectors(spot.offset.0 % BAND.0));
            let missing = (0..set.layout.slots)
                .filter(|slot| !slot_alive(set, alive, SlotId(*slot), spot.offset, run))
                .count();
            // I8: from parity that is not known to be true nothing can be rebuilt.
            let known = set.is_rebuildable(Range::new(x, x + run));
            if missing <= usize::from(set.layout.parities()) && known {
                Read::Rebuild(run)
            } else {
                Read::Lost(run)
            }
        }
    }
}

/// The plan for a run that [`read`] said must be rebuilt, with the same members alive;
/// its data go `to` sectors into the request.
pub fn plan_rebuild(set: &Set, alive: MemberMask, x: Logical, len: Sectors, to: Sectors) -> Plan {
    let mut plan = Plan::default();
    plan_rebuild_into(set, alive, x, len, to, &mut plan);
    plan
}

/// [`plan_rebuild`] into a plan that is there already.
pub fn plan_rebuild_into(
    set: &Set,
    alive: MemberMask,
    x: Logical,
    len: Sectors,
    to: Sectors,
    plan: &mut Plan,
) {
    let layout = &set.layout;
    let spot = layout.locate(x);
    assert!(len <= spot.run);
    let row = layout.row(x);
    let index = div(x.0 - row * layout.stripe().0, layout.chunk.0);
    let is_wanted = |slot| slot == spot.slot;
    complete_row(set, alive, (row, spot.offset, len), is_wanted, plan)
        .expect("what read() calls to be rebuilt can be");
    plan.calcs.push(Calc::CopyOut {
        lane: index as u16,
        at: Sectors::ZERO,
        to,
        len,
    });
}
