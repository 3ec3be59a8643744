// SPDX-License-Identifier: GPL-2.0
//! FLUSH: reaches every member that holds data (DESIGN I6).

use super::{failed_members, fault, finish, Queue, Stage};
use crate::sys::block::bio::Outcome;
use crate::sys::block::mq::OwnedRequest;
use crate::sys::block::Status;
use crate::volume::Volume;

pub(super) fn admit(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    let view = volume.enter(rq.hw_queue());
    if view.map.read_only {
        // Nothing was written since it became so; a volume that failed has lost what it had.
        let status = if volume.is_failed() {
            Status::IOERR
        } else {
            Status::OK
        };
        drop(view);
        return finish(rq, status);
    }
    let io = rq.data_mut();
    io.view = Some(view);
    io.stage = Stage::Flush;
    rq.submit(|_, io, batch| {
        let Some(view) = &io.view else {
            return;
        };
        for id in view.map.flush_members().iter() {
            match view.member(id) {
                Some(member) => batch.flush(member, id.0),
                None => batch.fail(id.0, Status::OFFLINE),
            }
        }
    });
}

pub(super) fn done(rq: OwnedRequest<Queue>, outcome: Outcome) {
    if outcome.is_ok() {
        finish(rq, Status::OK);
    } else {
        fault(rq, failed_members(&outcome));
    }
}
