// SPDX-License-Identifier: GPL-2.0
//! Reads straight from members: no lock, no allocation, any number of runs at once.

use restripe_core::admit::Route;
use restripe_core::geometry::{Logical, Range, Sectors};
use restripe_core::placement::Place;
use restripe_core::stripe::{self, Read};

use super::{failed_members, finish, range_of, Queue, Stage};
use crate::sys::block::bio::Outcome;
use crate::sys::block::mq::OwnedRequest;
use crate::sys::block::Status;
use crate::volume::{View, Volume};

pub(super) fn admit(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    if !volume.patches().is_empty() {
        return hand_over(volume, rq);
    }
    let view = volume.enter(rq.hw_queue());
    let range = range_of(&rq);
    if !view.map.holds(range) {
        drop(view);
        return finish(rq, Status::IOERR);
    }
    // Most requests have one run.
    let (first, run) = next(&view, range.start, range.len());
    let Some(first) = first.filter(|_| run == range.len() || is_direct(&view, range)) else {
        drop(view);
        return hand_over(volume, rq);
    };
    let io = rq.data_mut();
    io.view = Some(view);
    io.stage = Stage::Read;
    rq.submit(|rq, io, batch| {
        let Some(view) = &io.view else {
            return;
        };
        let (mut x, mut place) = (range.start, first);
        loop {
            // CAST: A request is shorter than 4 GiB.
            let (at, len) = ((x - range.start).bytes() as u32, place.run.bytes() as u32);
            match view.member(place.member) {
                Some(member) => {
                    batch.clone_request(rq, at, len, member, place.at.0, place.member.0);
                }
                None => batch.fail(place.member.0, Status::OFFLINE),
            }
            x += place.run;
            if x >= range.end {
                return;
            }
            match next(view, x, range.end - x).0 {
                Some(more) => place = more,
                // The cursor moved: what could be read straight a moment ago now can't.
                None => return batch.fail(0, Status::AGAIN),
            }
        }
    });
}

/// Where the first run from `x` on is read straight from, if it can be; and how long it is.
fn next(view: &View, x: Logical, len: Sectors) -> (Option<Place>, Sectors) {
    let (route, alive, end) = view.way(x);
    if route == Route::Window {
        return (None, Sectors::ZERO);
    }
    match stripe::read(view.set(route), alive, x, len.min(end - x)) {
        Read::Direct(place) => (Some(place), place.run),
        Read::Rebuild(run) | Read::Lost(run) => (None, run),
    }
}

fn is_direct(view: &View, range: Range) -> bool {
    let mut x = range.start;
    while x < range.end {
        match next(view, x, range.end - x) {
            (Some(_), run) => x += run,
            (None, _) => return false,
        }
    }
    true
}

/// To a worker, who can wait.
fn hand_over(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    rq.data_mut().stage = Stage::SlowRead;
    rq.enqueue(volume.workers());
}

pub(super) fn done(mut rq: OwnedRequest<Queue>, outcome: Outcome) {
    if outcome.is_ok() {
        // Nothing but the view is held.
        rq.data_mut().view = None;
        rq.end(Status::OK);
        return;
    }
    let io = rq.data_mut();
    io.view = None;
    io.stage = Stage::SlowRead;
    if outcome.status != Status::AGAIN {
        io.failed = failed_members(&outcome);
    }
    rq.enqueue_by(Volume::workers);
}
