// SPDX-License-Identifier: GPL-2.0
//! What becomes of a member that can't be read in one place: what it held there is made
//! again from the rest of the set and written back, for most disks then find another place
//! for it. One at which this happens too often is not to be relied on any more.

use crate::geometry::{MemberMask, Range};
use crate::ondisk::UNIT;
use crate::placement::Set;

/// Reads that may fail at a member before it counts as faulty; as many as md allows.
pub const MAX_READ_ERRORS: u64 = 20;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// [`recover_into`](crate::stripe::recover_into) onto those members, and read again.
    Mend,
    /// They are faulty.
    Fault,
    /// Nothing else tells what they hold: the request fails, and they stay.
    Lost,
}

/// What is to be done where a write of a migration's gap can't read at the target what parity needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GapVerdict {
    /// [`GapUnread`](crate::engine::Event::GapUnread): rows there are not the truth yet, nor is
    /// their parity known to be true, but the source has all that they hold (DESIGN I3). It takes
    /// over, and the mover writes them anew.
    GiveBack,
    /// The members are faulty.
    Fault,
}

/// Which; `errors` is how often a read failed at the worst of the members that did.
pub const fn gap_verdict(errors: u64) -> GapVerdict {
    if errors > MAX_READ_ERRORS {
        GapVerdict::Fault
    } else {
        GapVerdict::GiveBack
    }
}

/// What is to be done where reads of `range` failed at the members `failed` of a set of which
/// `alive` are left; `errors` is how often a read failed at the worst of them. Several may have
/// failed in different rows, each of which then tells what it is.
pub fn verdict(
    set: &Set,
    range: Range,
    (alive, failed): (MemberMask, MemberMask),
    errors: u64,
) -> Verdict {
    // I8: from parity that is not known to be true nothing can be rebuilt.
    let is_known = !set.layout.level.has_parity() || set.is_rebuildable(range);
    let is_needed = |member| !set.survives(alive & !MemberMask::of(member));
    if !is_known || failed.iter().any(is_needed) {
        Verdict::Lost
    } else if errors <= MAX_READ_ERRORS {
        Verdict::Mend
    } else if set.survives(alive & !failed) {
        Verdict::Fault
    } else {
        // None of them can be done without, nor be tried for ever.
        Verdict::Lost
    }
}

/// How a read goes on where members can't be read: run by run, for one that fails in one row may be
/// all there is that tells of the next.
pub struct Detour {
    /// Who failed last, wherever that was: asked last.
    hint: MemberMask,
    /// Who failed at this run.
    bad: MemberMask,
    avoided: MemberMask,
    /// Runs are as long as a unit from here on.
    by_unit: bool,
}

impl Detour {
    /// Of a read that failed at those members somewhere, if it was tried before.
    pub const fn new(failed: MemberMask) -> Self {
        Detour {
            hint: failed,
            bad: MemberMask::EMPTY,
            avoided: failed,
            by_unit: false,
        }
    }

    /// The next run begins.
    pub fn begin(&mut self) {
        (self.bad, self.avoided) = (MemberMask::EMPTY, self.hint);
    }

    /// Members that the run is not to be read from.
    pub const fn avoided(&self) -> MemberMask {
        self.avoided
    }

    /// What of `rest` is to be read at once.
    pub fn part(&self, rest: Range) -> Range {
        match self.by_unit {
            true => Range::new(
                rest.start,
                (rest.start + UNIT).round_down(UNIT).min(rest.end),
            ),
            false => rest,
        }
    }

    /// The run of `set` failed at those members, or at none of them, because too many are missing
    /// or avoided. Whether there is another way to read it.
    pub fn goes_on(&mut self, set: &Set, failed: MemberMask) -> bool {
        if !(failed & !self.bad).is_empty() {
            self.bad = self.bad | failed;
            (self.hint, self.avoided) = (self.bad, self.bad);
            return true;
        }
        if self.avoided != self.bad {
            // Those failed elsewhere.
            self.avoided = self.bad;
            return true;
        }
        // Two that fail in a run perhaps do so in different rows of it.
        let is_long = !self.by_unit && !self.bad.is_empty() && set.layout.level.is_redundant();
        if is_long {
            *self = Detour::new(MemberMask::EMPTY);
            self.by_unit = true;
        }
        is_long
    }
}
