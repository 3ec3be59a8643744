// SPDX-License-Identifier: GPL-2.0
//! Admission of writes, discards and zeroings: by the map, by the marks of the write-intent bitmap,
//! and for their range.

use restripe_core::admit::Route;
use restripe_core::engine::Event;
use restripe_core::geometry::Sectors;

use super::{finish, parity, plain, range_of, Queue, Stage};
use crate::sys::block::mq::OwnedRequest;
use crate::sys::block::{Op, Status};
use crate::sys::sync::Entered;
use crate::volume::{View, Volume};

pub(super) fn admit(volume: &Volume, rq: OwnedRequest<Queue>) {
    if let Some((rq, view)) = enter(volume, rq) {
        start(volume, rq, view);
    }
}

/// Has the request enter the map with its range locked as that map wants; or it waits, and
/// comes again.
fn enter(
    volume: &Volume,
    mut rq: OwnedRequest<Queue>,
) -> Option<(OwnedRequest<Queue>, Entered<View>)> {
    let range = range_of(&rq);
    loop {
        let view = volume.enter(rq.hw_queue());
        let beyond = !view.map.holds(range);
        if !view.writable || beyond {
            unlock(volume, &mut rq);
            if view.map.read_only || beyond {
                drop(view);
                finish(rq, Status::IOERR);
                return None;
            }
            let clean = view.map.clean;
            // Parked only as long as nobody published: who does takes them out afterwards.
            let parked = volume.parked().put(rq, || view.is_current());
            drop(view);
            match parked {
                Some(back) => rq = back,
                None => {
                    if clean {
                        volume.post(Event::WantActive);
                    }
                    return None;
                }
            }
            continue;
        }
        if let Some(bitmap) = &view.map.bitmap {
            let marks = volume.marks();
            // Marks that are seen while the map is held are cleared only when it is let go.
            if !marks.is_marked(bitmap, range) {
                marks.want(bitmap, range);
                let parked = volume
                    .parked()
                    .put(rq, || view.is_current() && !marks.is_marked(bitmap, range));
                drop(view);
                match parked {
                    Some(back) => rq = back,
                    None => {
                        volume.post(Event::WantMarks);
                        return None;
                    }
                }
                continue;
            }
        }
        let wanted = view.map.lock_range(range);
        match (rq.data().locked, wanted) {
            (None, None) => return Some((rq, view)),
            // Held since before the map was entered.
            (Some(held), Some(wanted)) if held == wanted => return Some((rq, view)),
            (Some(_), _) => unlock(volume, &mut rq),
            (None, Some(keys)) => {
                let id = rq.data().id;
                rq.data_mut().stage = Stage::Admit;
                rq = volume.locks().lock(keys, id, rq)?;
                // With a newer map comes a newer cursor, and perhaps other keys.
                if view.is_current() {
                    return Some((rq, view));
                }
            }
        }
    }
}

/// Gives back the range, and with it the memory that it may have: who holds the range that it will
/// want may be waiting for that. What it has done counts no more, for others write there now.
fn unlock(volume: &Volume, rq: &mut OwnedRequest<Queue>) {
    let io = rq.data_mut();
    io.done = Sectors::ZERO;
    if io.locked.take().is_some() {
        volume.unlock(io.id);
    }
    if let Some(op) = io.parity.take() {
        volume.put_parity(op);
    }
}

/// Sends an admitted request on its way.
fn start(volume: &Volume, mut rq: OwnedRequest<Queue>, view: Entered<View>) {
    volume.note_write();
    let range = range_of(&rq);
    let op = rq.op();
    let (route, end) = if view.at_rest {
        (Route::Source, range.end)
    } else {
        view.map.route_write(&view.cursor(), range.start)
    };
    let whole = end >= range.end && matches!(route, Route::Source | Route::Target);
    let parity = view.set(route).layout.level.has_parity();
    let plain = view.at_rest && !parity;
    let io = rq.data_mut();
    io.view = Some(view);
    io.route = route;
    match op {
        Op::Discard if plain => plain::dataless(rq),
        // Allowed to do nothing, and what it did would have to be known to parity and both sets.
        Op::Discard => finish(rq, Status::OK),
        Op::WriteZeroes if plain => plain::dataless(rq),
        Op::Write if whole && parity => parity::start(volume, rq),
        Op::Write if whole => plain::start(rq),
        _ => {
            io.view = None;
            io.stage = Stage::SlowWrite;
            rq.enqueue(volume.workers());
        }
    }
}

/// As [`enter`], for a worker that goes on with the request by itself.
pub(super) fn enter_slow(
    volume: &Volume,
    rq: OwnedRequest<Queue>,
) -> Option<(OwnedRequest<Queue>, Entered<View>)> {
    enter(volume, rq)
}
