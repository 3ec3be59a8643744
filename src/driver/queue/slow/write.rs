// SPDX-License-Identifier: GPL-2.0
//! Writes step by step, from a copy of their data: it feeds two places, and must not change
//! under way (DESIGN I3).

use restripe_core::admit::Route;
use restripe_core::geometry::{Range, Sectors};
use restripe_core::placement::Set;
use restripe_core::stripe::{self, parity_pieces, plan_parity_into};

use super::super::transfer::{send_reads, send_writes, BufferData, Cutter, KernelParity, Source};
use super::super::write::enter_slow;
use super::super::{failed_members, fault, finish, range_of, Queue};
use super::{Failure, Kit, BOUNCE};
use crate::sys::block::bio::{self, Outcome};
use crate::sys::block::mq::{OwnedRequest, Request};
use crate::sys::block::{Flags, Op, Status};
use crate::volume::{View, Volume};

/// Writes the request, by a worker.
pub(in crate::queue) fn write(volume: &Volume, rq: OwnedRequest<Queue>) {
    let Some((rq, view)) = enter_slow(volume, rq) else {
        return;
    };
    let mut kit = volume.kits().take();
    let result = write_all(&view, &rq, &mut kit);
    volume.put_kit(kit);
    drop(view);
    match result {
        Ok(()) => finish(rq, Status::OK),
        Err(Failure::Members(members)) => fault(rq, members),
        Err(Failure::Lost | Failure::Stale) => finish(rq, Status::IOERR),
    }
}

fn write_all(view: &View, rq: &Request<Queue>, kit: &mut Kit) -> Result<(), Failure> {
    let range = range_of(rq);
    let flags = rq.flags().for_member().without(Flags::NOUNMAP);
    let mut x = range.start;
    while x < range.end {
        let (route, end) = if view.at_rest {
            (Route::Source, range.end)
        } else {
            // The range is ours: the cursor does not move through it, but may come past it.
            view.map.route_write(&view.cursor(), x)
        };
        let len = (end.min(range.end) - x).min(Sectors::from_bytes(BOUNCE as u64));
        let part = Range::new(x, x + len);
        fill(rq, part, kit);
        match route {
            Route::Both => {
                // In this order: a read sees the target, and what it saw is at the source too.
                write_set(view, &view.map.source, part, kit, flags)?;
                write_set(view, view.set(Route::Target), part, kit, flags)?;
            }
            // The mover holds the range of a window, so no write gets there.
            Route::Window => return Err(Failure::Lost),
            one => write_set(view, view.set(one), part, kit, flags)?,
        }
        x += len;
    }
    Ok(())
}

/// Copies a part of the request's data to the start of the bounce buffer.
fn fill(rq: &Request<Queue>, part: Range, kit: &mut Kit) {
    let to = &mut kit.bounce.as_mut_slice()[..part.len().bytes() as usize];
    if rq.op() == Op::Write {
        // CAST: A request is shorter than 4 GiB.
        rq.copy_out((part.start - range_of(rq).start).bytes() as u32, to);
    } else {
        to.fill(0);
    }
}

fn write_set(
    view: &View,
    set: &Set,
    part: Range,
    kit: &mut Kit,
    flags: Flags,
) -> Result<(), Failure> {
    if set.layout.level.has_parity() {
        return write_parity(view, set, part, kit, flags);
    }
    let mut lost = false;
    let outcome = bio::scope(|batch| {
        let data = Source::Buffer(&kit.bounce);
        let mut x = part.start;
        while x < part.end {
            let (places, run) = stripe::copies(set, view.alive(x), x, part.end - x);
            lost |= places.is_empty();
            for place in &places {
                let tag = place.member.0;
                match view.member(place.member) {
                    Some(member) => {
                        let from = (x - part.start, place.run);
                        data.send(batch, from, (member, place.at.0), flags, tag);
                    }
                    None => batch.fail(tag, Status::OFFLINE),
                }
            }
            x += run;
        }
    });
    if lost {
        return Err(Failure::Lost);
    }
    check(&outcome)
}

fn check(outcome: &Outcome) -> Result<(), Failure> {
    if outcome.is_ok() {
        Ok(())
    } else {
        Err(Failure::Members(failed_members(outcome)))
    }
}

fn write_parity(
    view: &View,
    set: &Set,
    part: Range,
    kit: &mut Kit,
    flags: Flags,
) -> Result<(), Failure> {
    let alive = view.alive(part.start);
    let Kit {
        plan,
        scratch,
        bounce,
    } = kit;
    for piece in parity_pieces(set, alive, part) {
        plan_parity_into(set, alive, &piece, plan).ok_or(Failure::Lost)?;
        if !plan.reads.is_empty() {
            let outcome = bio::scope(|batch| {
                let mut cutter = Cutter::new(scratch);
                send_reads(plan, 0, &mut cutter, |id| view.member(id), batch);
            });
            let failed = failed_members(&outcome);
            if !outcome.is_ok() && !set.survives(alive & !failed) {
                // Nothing of the piece was written: its row is as it was.
                return Err(Failure::Lost);
            }
            check(&outcome)?;
        }
        let mut data = BufferData(bounce.as_slice());
        stripe::calculate(plan, scratch.as_mut_slice(), &mut data, &KernelParity);
        let outcome = bio::scope(|batch| {
            let data = Source::Buffer(bounce);
            send_writes(plan, (scratch, 0), data, flags, |id| view.member(id), batch);
        });
        check(&outcome)?;
    }
    Ok(())
}
