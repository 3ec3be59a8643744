// SPDX-License-Identifier: GPL-2.0
//! Writes anew what members can't be read for, from the rest of the set, under the range's lock.

use restripe_core::admit::Route;
use restripe_core::geometry::{MemberId, MemberMask, Range};
use restripe_core::mend::MAX_READ_ERRORS;
use restripe_core::ondisk::UNIT;
use restripe_core::placement::Set;
use restripe_core::stripe::{self, recover_into, recover_span, Plan, Recover};

use super::failed_members;
use super::slow::Kit;
use super::transfer::{send_reads, send_writes, BufferData, Cutter, KernelParity, Source};
use crate::sys::block::bio;
use crate::sys::block::{Flags, Member};
use crate::sys::mem::Buffer;
use crate::volume::{View, Volume};

/// What came of members that could not be read somewhere.
#[derive(PartialEq, Eq)]
pub(crate) enum Mended {
    /// They can be.
    Done,
    /// These don't work.
    Failed(MemberMask),
    /// Nothing else tells what they hold.
    Lost,
}

/// Writes what `members` are to hold of `range`, which the caller has locked and which lies on
/// the one set of `route`, where they can't be read. *Task* context.
pub(super) fn mend(
    volume: &Volume,
    view: &View,
    route: Route,
    range: Range,
    members: MemberMask,
    kit: &mut Kit,
) -> Mended {
    let set = view.set(route);
    let span = recover_span(set, range, false);
    let alive = view.alive(range.start);
    let Kit { plan, scratch, .. } = kit;
    mend_rows(volume, set, (alive, members), span, plan, |plan| {
        carry_out(plan, scratch, |id| view.member(id))
    })
}

/// Writes anew what `failed` can't be read for of a span of [`recover_span`], a unit at a time, and
/// nothing else: legs of a mirror may differ where they are not synced. `carry_out` does what a plan
/// says, and returns the members that failed. *Task* context.
pub(crate) fn mend_rows(
    volume: &Volume,
    set: &Set,
    (alive, failed): (MemberMask, MemberMask),
    (mut at, end): (u64, u64),
    plan: &mut Plan,
    mut carry_out: impl FnMut(&Plan) -> MemberMask,
) -> Mended {
    while at < end {
        let (mut step, mut unread) = (end.min(at + UNIT.0), MemberMask::EMPTY);
        for member in failed.iter() {
            // By itself: others of them may be bad in other rows, and needed here.
            let one = MemberMask::of(member);
            let (len, found) = recover_into(set, (alive & !one, one), at, step, plan);
            step = at + len.0;
            match found {
                Recover::Planned => plan.only_probe(),
                Recover::Nothing => continue,
                Recover::Lost => return Mended::Lost,
            }
            if !carry_out(plan).is_empty() {
                unread.insert(member);
            }
        }
        let mut is_bad = !unread.is_empty();
        while is_bad {
            let members = (alive & !unread, unread);
            let (_, found) = recover_into(set, members, at, step, plan);
            if found != Recover::Planned {
                return Mended::Lost;
            }
            let others = carry_out(plan);
            if !(others & members.1).is_empty() {
                // It was read from the others, and could not be written.
                return Mended::Failed(others & members.1);
            }
            is_bad = !others.is_empty();
            if is_bad {
                // What one more can't be read for is made with it, where enough is left.
                let errors = volume.count_read_errors(others);
                unread = unread | others;
                if errors > MAX_READ_ERRORS || !set.survives(alive & !unread) {
                    return Mended::Lost;
                }
            }
        }
        at = step;
    }
    Mended::Done
}

/// Carries out a plan that is about no request's data; members that failed.
#[expect(
    clippy::redundant_closure,
    reason = "the closures lend a member for the time of a batch only"
)]
pub(crate) fn carry_out<'s>(
    plan: &Plan,
    scratch: &mut Buffer,
    member: impl Fn(MemberId) -> Option<&'s Member>,
) -> MemberMask {
    let outcome = bio::scope(|batch| {
        let mut cutter = Cutter::new(scratch);
        send_reads(plan, 0, &mut cutter, |id| member(id), batch);
    });
    if !outcome.is_ok() {
        return failed_members(&outcome);
    }
    let mut nothing = BufferData(&[]);
    stripe::calculate(plan, scratch.as_mut_slice(), &mut nothing, &KernelParity);
    let scratch = &*scratch;
    let outcome = bio::scope(|batch| {
        let none = Source::Buffer(scratch);
        send_writes(
            plan,
            (scratch, 0),
            none,
            Flags::NONE,
            |id| member(id),
            batch,
        );
    });
    failed_members(&outcome)
}
