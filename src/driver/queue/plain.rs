// SPDX-License-Identifier: GPL-2.0
//! Writes of levels without parity: clones to all copies, in the submitter's context.

use restripe_core::geometry::Sectors;
use restripe_core::placement::Place;
use restripe_core::stripe::{self, Read};

use super::{failed_members, fault, finish, range_of, Io, Queue, Stage};
use crate::sys::block::bio::{Batch, Outcome};
use crate::sys::block::mq::{OwnedRequest, Request};
use crate::sys::block::{Op, Status};
use crate::volume::Volume;

pub(super) fn start(mut rq: OwnedRequest<Queue>) {
    rq.data_mut().stage = Stage::Plain;
    rq.submit(send);
}

/// Discards and zeroings that members do by themselves.
pub(super) fn dataless(mut rq: OwnedRequest<Queue>) {
    rq.data_mut().stage = Stage::Dataless;
    rq.submit(send);
}

fn send<'s>(rq: &'s Request<Queue>, io: &'s mut Io, batch: &Batch<'s>) {
    let Some(view) = &io.view else {
        return;
    };
    let range = range_of(rq);
    let set = view.set(io.route);
    let clone = |place: &Place, at: Sectors| match view.member(place.member) {
        Some(member) => batch.clone_request(
            rq,
            // CAST: A request is shorter than 4 GiB.
            at.bytes() as u32,
            place.run.bytes() as u32,
            member,
            place.at.0,
            place.member.0,
        ),
        None => batch.fail(place.member.0, Status::OFFLINE),
    };
    let mut x = range.start;
    while x < range.end {
        let left = range.end - x;
        if set.layout.level.is_redundant() {
            let (places, run) = stripe::copies(set, view.alive(x), x, left);
            for place in &places {
                clone(place, x - range.start);
            }
            if places.is_empty() {
                batch.fail(NOBODY, Status::IOERR);
            }
            x += run;
        } else {
            // Where it is read from is the one place there is.
            match stripe::read(set, view.alive(x), x, left) {
                Read::Direct(place) => {
                    clone(&place, x - range.start);
                    x += place.run;
                }
                Read::Rebuild(run) | Read::Lost(run) => {
                    batch.fail(NOBODY, Status::IOERR);
                    x += run;
                }
            }
        }
    }
}

/// The tag of what no member is to blame for: none has that number.
const NOBODY: u8 = 63;

pub(super) fn done(rq: OwnedRequest<Queue>, outcome: Outcome) {
    if outcome.is_ok() {
        finish(rq, Status::OK);
    } else {
        fault(rq, failed_members(&outcome));
    }
}

pub(super) fn dataless_done(mut rq: OwnedRequest<Queue>, outcome: Outcome) {
    if outcome.is_ok() || rq.op() == Op::Discard {
        // A discard need not do anything.
        return finish(rq, Status::OK);
    }
    // Then by writing them, with the map and the range kept, for copies may differ by now. Whatever
    // the error says: disks tell in many ways that they can't, and of one that does not work the
    // writes will tell.
    let io = rq.data_mut();
    (io.stage, io.done) = (Stage::SlowWrite, Sectors::ZERO);
    rq.enqueue_by(Volume::workers);
}
