// SPDX-License-Identifier: GPL-2.0
//! Reads from wherever the data still can be had: another copy, the rest of the stripe, the
//! source in a gap, the memory of a window, the journal of a volume that may write nothing.

use restripe_core::admit::Route;
use restripe_core::geometry::{Logical, MemberMask, Range, Sectors};
use restripe_core::journal::runs;
use restripe_core::mend::Detour;
use restripe_core::placement::{Place, Set};
use restripe_core::stripe::{self, plan_rebuild_into, Read};

use super::super::transfer::{send_reads_through, Cutter, KernelParity, RequestData};
use super::super::{failed_members, finish, range_of, Queue, Stage};
use super::{Failure, Kit};
use crate::sys::block::bio;
use crate::sys::block::mq::OwnedRequest;
use crate::sys::block::Status;
use crate::sys::sync::Entered;
use crate::volume::{View, Volume};

/// Reads the request, by a worker.
pub(in crate::queue) fn read(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    let mut is_rebuilt = false;
    loop {
        let Some((back, view)) = enter(volume, rq, is_rebuilt) else {
            return;
        };
        let result = read_all(volume, &view, &back);
        let is_current = view.is_current();
        drop(view);
        match result {
            Ok(()) => return finish(back, Status::OK),
            Err(Failure::Stale) => {}
            // By now more of the parity may be known to be true.
            Err(Failure::Lost) if !is_current => {}
            Err(Failure::Unlocked) => is_rebuilt = true,
            Err(_) => return finish(back, Status::IOERR),
        }
        rq = back;
    }
}

/// Enters the map, with the range locked if some of it has to be rebuilt: a stripe must not be
/// seen half written. `known`: it is known to have to be. Or the request waits, and comes again.
fn enter(
    volume: &Volume,
    mut rq: OwnedRequest<Queue>,
    known: bool,
) -> Option<(OwnedRequest<Queue>, Entered<View>)> {
    let range = range_of(&rq);
    loop {
        let view = volume.enter(rq.hw_queue());
        if !view.map.holds(range) {
            drop(view);
            finish(rq, Status::IOERR);
            return None;
        }
        let io = rq.data_mut();
        io.stage = Stage::SlowRead;
        // Once it holds the range it keeps it, as long as that means the same.
        let wanted = known || io.locked.is_some() || is_rebuilt(&view, range, io.failed);
        let keys = view.map.lock_range(range).filter(|_| wanted);
        if keys.is_some() && view.map.hold {
            // Locks are about to change their meaning: a stripe half written could be seen.
            if io.locked.take().is_some() {
                volume.unlock(io.id);
            }
            let parked = volume.parked().put(rq, || view.is_current());
            drop(view);
            rq = parked?;
            continue;
        }
        match (io.locked, keys) {
            (None, None) => return Some((rq, view)),
            (Some(held), Some(keys)) if held == keys => return Some((rq, view)),
            (Some(_), _) => {
                io.locked = None;
                volume.unlock(io.id);
            }
            (None, Some(keys)) => {
                let id = io.id;
                rq = volume.locks().lock(keys, id, rq)?;
                if view.is_current() {
                    return Some((rq, view));
                }
            }
        }
    }
}

/// Whether any of the range has to be rebuilt from the rest of its stripe.
fn is_rebuilt(view: &View, range: Range, avoid: MemberMask) -> bool {
    let mut x = range.start;
    while x < range.end {
        let (route, alive, end) = view.way(x);
        let end = end.min(range.end);
        if route == Route::Window {
            x = end;
            continue;
        }
        match stripe::read(view.set(route), alive & !avoid, x, end - x) {
            Read::Rebuild(_) => return true,
            Read::Direct(place) => x += place.run,
            Read::Lost(run) => x += run,
        }
    }
    false
}

fn read_all(volume: &Volume, view: &View, rq: &OwnedRequest<Queue>) -> Result<(), Failure> {
    let range = range_of(rq);
    let mut detour = Detour::new(rq.data().failed);
    let mut x = range.start;
    while x < range.end {
        let cursor = view.cursor();
        let (route, alive, end) = view.way_by(&cursor, x);
        let mut end = end.min(range.end);
        if route == Route::Window {
            x = from_window(volume, rq, Range::new(x, end))?;
            continue;
        }
        let gap = cursor.gap();
        let in_gap = gap.contains(x);
        if in_gap {
            end = end.min(gap.end);
        } else if x < gap.start {
            end = end.min(gap.start);
        }
        let (part, set) = (Range::new(x, end), view.set(route));
        let run = match from_set(volume, view, (set, alive), rq, part, &mut detour) {
            Err(Failure::Unlocked) => return Err(Failure::Unlocked),
            // I3: what one set does not give, the other has too.
            Err(_) if in_gap => {
                let other = match route {
                    Route::Target => Route::Source,
                    _ => Route::Target,
                };
                let other = (view.set(other), alive);
                from_set(volume, view, other, rq, part, &mut detour)?
            }
            result => result?,
        };
        x += run;
    }
    Ok(())
}

/// Answers a range from the memory of the window that is being rewritten.
fn from_window(
    volume: &Volume,
    rq: &OwnedRequest<Queue>,
    range: Range,
) -> Result<Logical, Failure> {
    // If it is no more, then a newer cursor says where its data are now.
    let window = volume.window().ok_or(Failure::Stale)?;
    let start = range_of(rq).start;
    window.for_each_run(range, |x, len| {
        // CAST: A request is shorter than 4 GiB.
        rq.copy_in((x - start).bytes() as u32, window.bytes(x, len));
    });
    Ok(range.end)
}

/// Reads the first run of `part`, from wherever it can be.
fn from_set(
    volume: &Volume,
    view: &View,
    (set, alive): (&Set, MemberMask),
    rq: &OwnedRequest<Queue>,
    part: Range,
    detour: &mut Detour,
) -> Result<Sectors, Failure> {
    let x = part.start;
    let to = x - range_of(rq).start;
    detour.begin();
    loop {
        let left = alive & !detour.avoided();
        let result = match stripe::read(set, left, x, detour.part(part).len()) {
            Read::Direct(place) => direct(view, rq, place, to),
            Read::Rebuild(run) => rebuild(volume, view, (set, left), rq, (x, run, to)),
            Read::Lost(_) => Err(Failure::Lost),
        };
        let failed = match &result {
            Err(Failure::Members(failed)) => *failed,
            Err(Failure::Lost) => MemberMask::EMPTY,
            _ => return result,
        };
        for member in failed.iter() {
            volume.count_read_error(member);
        }
        if !detour.goes_on(set, failed) {
            return result;
        }
    }
}

fn direct(
    view: &View,
    rq: &OwnedRequest<Queue>,
    place: Place,
    to: Sectors,
) -> Result<Sectors, Failure> {
    let id = place.member;
    if view.member(id).is_none() {
        return Err(Failure::Lost);
    }
    let volume = rq.queue_data();
    let outcome = bio::scope(|batch| {
        let mut to = to;
        for run in runs(volume.patches(), place) {
            // CAST: A request is shorter than 4 GiB.
            let (at, len) = (to.bytes() as u32, run.run.bytes() as u32);
            match view.member(run.member) {
                Some(member) => batch.clone_request(rq, at, len, member, run.at.0, id.0),
                None => batch.fail(id.0, Status::OFFLINE),
            }
            to = to + run.run;
        }
    });
    if outcome.is_ok() {
        Ok(place.run)
    } else {
        Err(Failure::Members(failed_members(&outcome)))
    }
}

fn rebuild(
    volume: &Volume,
    view: &View,
    (set, alive): (&Set, MemberMask),
    rq: &OwnedRequest<Queue>,
    (x, run, to): (Logical, Sectors, Sectors),
) -> Result<Sectors, Failure> {
    if rq.data().locked.is_none() {
        // It did not have to be a moment ago: the cursor moved on, or only the source is left.
        return Err(Failure::Unlocked);
    }
    let mut kit = volume.kits().take();
    let Kit { plan, scratch, .. } = &mut *kit;
    plan_rebuild_into(set, alive, x, run, to, plan);
    let outcome = bio::scope(|batch| {
        let mut cutter = Cutter::new(scratch);
        let patches = volume.patches();
        send_reads_through(patches, plan, 0, &mut cutter, |id| view.member(id), batch);
    });
    let result = if outcome.is_ok() {
        let scratch = scratch.as_mut_slice();
        stripe::calculate(plan, scratch, &mut RequestData(rq), &KernelParity);
        Ok(run)
    } else {
        Err(Failure::Members(failed_members(&outcome)))
    };
    volume.put_kit(kit);
    result
}
