// SPDX-License-Identifier: GPL-2.0
//! What becomes of a member that can't be read in one place: what it held there is made
//! again from the rest of the set and written back, for most disks then find another place
//! for it. One at which this happens too often is not to be relied on any more.

use crate::geometry::{MemberMask, Range};
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
/// `alive` are left; `errors` is how often a read failed at the worst of them.
pub fn verdict(
    set: &Set,
    range: Range,
    (alive, failed): (MemberMask, MemberMask),
    errors: u64,
) -> Verdict {
    // I8: from parity that is not known to be true nothing can be rebuilt.
    let is_known = !set.layout.level.has_parity() || set.is_rebuildable(range);
    if !is_known || !set.survives(alive & !failed) {
        Verdict::Lost
    } else if errors > MAX_READ_ERRORS {
        Verdict::Fault
    } else {
        Verdict::Mend
    }
}
