// SPDX-License-Identifier: GPL-2.0
//! Writes step by step, from a copy of their data: it feeds two places, and must not change
//! under way (DESIGN I3).

use restripe_core::admit::Route;
use restripe_core::geometry::{MemberMask, Range, Sectors};
use restripe_core::mend::{gap_verdict, verdict, GapVerdict, Verdict};
use restripe_core::stripe::{self, parity_pieces, plan_parity_into};

use super::super::journal::{self, Record, JOURNALED_PART};
use super::super::mend::{mend, Mended};
use super::super::transfer::{send_reads, send_writes, BufferData, Cutter, KernelParity, Source};
use super::super::write::enter_slow;
use super::super::{
    failed_members, fault, finish, give_gap_back, range_of, wait_for_map, Queue, Stage,
};
use super::{Failure, Kit, BOUNCE};
use crate::sys::block::bio::{self, Outcome};
use crate::sys::block::mq::{OwnedRequest, Request};
use crate::sys::block::{Flags, Op, Status};
use crate::volume::{View, Volume};

/// Writes the request, by a worker.
pub(in crate::queue) fn write(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    // One that began in another way goes on under its map.
    let entered = match rq.data_mut().view.take() {
        Some(view) => Some((rq, view)),
        None => enter_slow(volume, rq),
    };
    let Some((mut rq, view)) = entered else {
        return;
    };
    let mut done = rq.data().done;
    let mut kit = volume.kits().take();
    let result = write_all(volume, &view, &rq, &mut kit, &mut done);
    volume.put_kit(kit);
    if let Err(Failure::Wait { for_room }) = result {
        rq.data_mut().done = done;
        return wait_for_map(volume, rq, view, for_room);
    }
    if matches!(result, Err(Failure::Lost)) && volume.enter(rq.hw_queue()).map != view.map {
        // By a newer map more may be known to be true, and what could not be read may be made of that.
        let io = rq.data_mut();
        (io.stage, io.done) = (Stage::Admit, Sectors::ZERO);
        drop(view);
        return rq.enqueue(volume.workers());
    }
    rq.data_mut().view = Some(view);
    match result {
        Ok(()) => finish(rq, Status::OK),
        Err(Failure::Members(members)) => fault(rq, members),
        Err(Failure::Gap(members)) => give_gap_back(volume, rq, members),
        Err(Failure::Lost | Failure::Stale | Failure::Unlocked | Failure::Wait { .. }) => {
            finish(rq, Status::IOERR)
        }
    }
}

/// Carries on behind what is `done`.
fn write_all(
    volume: &Volume,
    view: &View,
    rq: &Request<Queue>,
    kit: &mut Kit,
    done: &mut Sectors,
) -> Result<(), Failure> {
    let range = range_of(rq);
    let flags = rq.flags().for_member().without(Flags::NOUNMAP);
    let most = match view.map.journal {
        Some(_) => JOURNALED_PART,
        None => Sectors::from_bytes(BOUNCE as u64),
    };
    while range.start + *done < range.end {
        let x = range.start + *done;
        let (route, end) = if view.at_rest {
            (Route::Source, range.end)
        } else {
            // The range is ours: the cursor does not move through it, but may come past it.
            view.map.route_write(&view.cursor(), x)
        };
        let len = (end.min(range.end) - x).min(most);
        let part = Range::new(x, x + len);
        fill(rq, part, kit);
        let in_gap = route == Route::Both;
        let routes: &[Route] = match route {
            Route::Both if view.map.gap_waits => return Err(Failure::Wait { for_room: false }),
            // In this order: what a read sees at the target is at the source too.
            Route::Both => &[Route::Source, Route::Target],
            Route::Source => &[Route::Source],
            Route::Target => &[Route::Target],
            // The mover holds the range of a window, so no write gets there.
            Route::Window => return Err(Failure::Lost),
        };
        for &route in routes {
            let to = To {
                volume,
                view,
                route,
                in_gap,
            };
            to.write_set(part, kit, flags)?;
        }
        *done = *done + len;
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

fn check(outcome: &Outcome) -> Result<(), Failure> {
    if outcome.is_ok() {
        Ok(())
    } else {
        Err(Failure::Members(failed_members(outcome)))
    }
}

/// Where a part is written to.
struct To<'a> {
    volume: &'a Volume,
    view: &'a View,
    /// Its set.
    route: Route,
    /// It is one of the two of a gap.
    in_gap: bool,
}

impl To<'_> {
    fn write_set(&self, part: Range, kit: &mut Kit, flags: Flags) -> Result<(), Failure> {
        let (view, set) = (self.view, self.view.set(self.route));
        if set.layout.level.has_parity() {
            return self.write_parity(part, kit, flags);
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

    fn write_parity(&self, part: Range, kit: &mut Kit, flags: Flags) -> Result<(), Failure> {
        let (view, set) = (self.view, self.view.set(self.route));
        let alive = view.alive(part.start);
        for piece in parity_pieces(set, alive, part) {
            loop {
                plan_parity_into(set, alive, &piece, &mut kit.plan).ok_or(Failure::Lost)?;
                let Kit { plan, scratch, .. } = &mut *kit;
                let outcome = bio::scope(|batch| {
                    let mut cutter = Cutter::new(scratch);
                    send_reads(plan, 0, &mut cutter, |id| view.member(id), batch);
                });
                if outcome.is_ok() {
                    break;
                }
                self.unread(part, failed_members(&outcome), kit)?;
            }
            self.write_piece(kit, flags)?;
        }
        Ok(())
    }

    /// What is to be done where those members can't be read: once more, when they can be.
    fn unread(&self, part: Range, failed: MemberMask, kit: &mut Kit) -> Result<(), Failure> {
        let (volume, view, route) = (self.volume, self.view, self.route);
        if failed.is_empty() {
            return Err(Failure::Members(failed));
        }
        let errors = volume.count_read_errors(failed);
        if self.in_gap && route == Route::Target {
            return Err(match gap_verdict(errors) {
                GapVerdict::GiveBack => Failure::Gap(failed),
                GapVerdict::Fault => Failure::Members(failed),
            });
        }
        let mended = match verdict(
            view.set(route),
            part,
            (view.alive(part.start), failed),
            errors,
        ) {
            Verdict::Mend => mend(volume, view, route, part, failed, kit),
            Verdict::Fault => Mended::Failed(failed),
            Verdict::Lost => Mended::Lost,
        };
        match mended {
            Mended::Done => Ok(()),
            Mended::Failed(members) => Err(Failure::Members(members)),
            // Other pieces of it may be at the source already, in places that the target shares.
            Mended::Lost if self.in_gap => Err(Failure::Gap(failed)),
            // Nothing of the piece was written: its row is as it was.
            Mended::Lost => Err(Failure::Lost),
        }
    }

    /// What had to be read for the kit's plan is there: makes the new contents, and writes them.
    fn write_piece(&self, kit: &mut Kit, flags: Flags) -> Result<(), Failure> {
        let view = self.view;
        let Kit {
            plan,
            scratch,
            bounce,
            header,
        } = kit;
        let mut data = BufferData(bounce.as_slice());
        stripe::calculate(plan, scratch.as_mut_slice(), &mut data, &KernelParity);
        let mut unrecorded = MemberMask::EMPTY;
        let is_target = self.route == Route::Target;
        // What is in the gap is not the truth at the target yet.
        if view.map.journal.is_some() && !(self.in_gap && is_target) {
            let mut new = Record::new(header);
            new.add(plan, scratch, 0);
            let record = new
                .seal(self.volume, &view.map, is_target)
                .ok_or(Failure::Wait { for_room: true })?;
            let outcome = bio::scope(|batch| {
                journal::send(&record, (header, scratch), view, batch, |each| {
                    each(plan, 0)
                });
            });
            unrecorded = failed_members(&outcome);
            if (record.members & !unrecorded).is_empty() {
                check(&outcome)?;
            }
        }
        let outcome = bio::scope(|batch| {
            let data = Source::Buffer(bounce);
            send_writes(plan, (scratch, 0), data, flags, |id| view.member(id), batch);
        });
        // A record that is not on all counts all the same, so what it says had to come to be first.
        match outcome.is_ok() && unrecorded.is_empty() {
            true => Ok(()),
            false => Err(Failure::Members(failed_members(&outcome) | unrecorded)),
        }
    }
}
