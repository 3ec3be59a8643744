// SPDX-License-Identifier: GPL-2.0
//! Writes anew what members can't be read for, from the rest of the set, under the range's lock.

use restripe_core::admit::Route;
use restripe_core::geometry::{MemberMask, Range};
use restripe_core::stripe::{self, recover_into, recover_span, Recover};

use super::failed_members;
use super::slow::Kit;
use super::transfer::{send_reads, send_writes, BufferData, Cutter, KernelParity, Source};
use crate::sys::block::{bio, Flags};
use crate::volume::{View, Volume};

/// Writes what `members` are to hold of `range`, which the caller has locked and which lies on
/// the one set of `route`.
///
/// # Errors
/// Members that failed, those that can't be helped among them. *Task* context.
pub(super) fn mend(
    volume: &Volume,
    view: &View,
    route: Route,
    range: Range,
    members: MemberMask,
) -> Result<(), MemberMask> {
    let mut kit = volume.kits().take();
    let result = steps(view, route, range, members, &mut kit);
    volume.put_kit(kit);
    result
}

fn steps(
    view: &View,
    route: Route,
    range: Range,
    members: MemberMask,
    kit: &mut Kit,
) -> Result<(), MemberMask> {
    let set = view.set(route);
    let alive = view.alive(range.start) & !members;
    let (mut at, end) = recover_span(set, range, view.map.target.is_some());
    while at < end {
        let (len, found) = recover_into(set, (alive, members), at, end, &mut kit.plan);
        match found {
            Recover::Planned => write(view, kit)?,
            Recover::Nothing => {}
            Recover::Lost => return Err(members),
        }
        at += len.0;
    }
    Ok(())
}

/// Carries out the plan.
fn write(view: &View, kit: &mut Kit) -> Result<(), MemberMask> {
    let Kit { plan, scratch, .. } = kit;
    let outcome = bio::scope(|batch| {
        let mut cutter = Cutter::new(scratch);
        send_reads(plan, 0, &mut cutter, |id| view.member(id), batch);
    });
    if !outcome.is_ok() {
        return Err(failed_members(&outcome));
    }
    let mut nothing = BufferData(&[]);
    stripe::calculate(plan, scratch.as_mut_slice(), &mut nothing, &KernelParity);
    let scratch = &*scratch;
    let outcome = bio::scope(|batch| {
        let none = Source::Buffer(scratch);
        let member = |id| view.member(id);
        send_writes(plan, (scratch, 0), none, Flags::NONE, member, batch);
    });
    match failed_members(&outcome) {
        failed if failed.is_empty() => Ok(()),
        failed => Err(failed),
    }
}
