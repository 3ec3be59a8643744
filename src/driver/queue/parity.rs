// SPDX-License-Identifier: GPL-2.0
//! Writes of parity levels, under their range's lock, in rounds: as many pieces at once as the
//! scratch memory holds. Reads are sent by the submitter; arithmetic and writes follow in a worker
//! when they are done, or at once where nothing had to be read.

use kernel::prelude::*;
use restripe_core::admit::Route;
use restripe_core::geometry::{Logical, MemberMask, Range};
use restripe_core::mend::{verdict, Verdict};
use restripe_core::ondisk::{JournalHeader, JOURNAL_HEADER_SIZE, MAX_JOURNAL_ENTRIES};
use restripe_core::placement::Set;
use restripe_core::stripe::{self, parity_pieces, plan_parity_into, Plan};

use super::journal::{self, Record};
use super::mend::Mended;
use super::transfer::{
    empty_plan, send_reads, send_writes, Cutter, KernelParity, RequestData, Source,
};
use super::{failed_members, fault, finish, range_of, wait_for_map, Io, Queue, Stage};
use crate::sys::block::bio::Outcome;
use crate::sys::block::mq::OwnedRequest;
use crate::sys::block::Status;
use crate::sys::mem::Buffer;
use crate::volume::{View, Volume};

/// What a parity write works with.
pub(crate) struct ParityOp {
    /// Whether it is of those with much scratch.
    pub(crate) large: bool,
    scratch: Buffer,
    /// Of the round's record in the journal, and where that is.
    header: Buffer,
    record: JournalHeader,
    work: Work,
}

/// How far it is.
struct Work {
    /// The round's plan, if it has only one piece; else room to make each plan again.
    plan: KBox<Plan>,
    is_kept: bool,
    /// Pieces done in earlier rounds.
    done: usize,
    /// Pieces of this round.
    pieces: usize,
    is_last: bool,
    /// What `done` pieces were planned under, where the write had to wait after them.
    under: Option<(u64, MemberMask)>,
}

impl ParityOp {
    /// With so many bytes of scratch.
    pub(crate) fn new(bytes: usize, large: bool) -> Result<Self> {
        Ok(ParityOp {
            large,
            scratch: Buffer::new(bytes)?,
            header: Buffer::new(JOURNAL_HEADER_SIZE)?,
            record: JournalHeader::default(),
            work: Work {
                plan: empty_plan()?,
                is_kept: false,
                done: 0,
                pieces: 0,
                is_last: false,
                under: None,
            },
        })
    }

    /// What it did was for a request that has no more to do with it.
    pub(crate) fn forget(&mut self) {
        self.work.under = None;
    }
}

impl Work {
    /// Sees what the next round takes. Says whether it has to read; None: too much is missing.
    fn plan(&mut self, set: &Set, alive: MemberMask, range: Range, room: usize) -> Option<bool> {
        let (mut used, mut reads, mut before, mut places) = (0, false, None, 0);
        (self.pieces, self.is_last) = (0, true);
        for piece in parity_pieces(set, alive, range).skip(self.done) {
            plan_parity_into(set, alive, &piece, &mut self.plan)?;
            let need = self.plan.scratch().bytes() as usize;
            // Pieces of one band read what those before them wrote.
            let place = Some((piece.row, piece.band));
            let depends = place == before && self.plan.lanes > 0;
            places += self.plan.writes.len();
            let is_full = used + need > room || places > MAX_JOURNAL_ENTRIES;
            if self.pieces > 0 && (depends || is_full) {
                self.is_last = false;
                break;
            }
            before = place;
            used += need;
            self.pieces += 1;
            reads |= !self.plan.reads.is_empty();
        }
        self.is_kept = self.pieces == 1 && self.is_last;
        Some(reads)
    }

    /// Calls `f` with every plan of the round and where its scratch begins.
    fn for_each(
        &mut self,
        set: &Set,
        alive: MemberMask,
        range: Range,
        mut f: impl FnMut(&Plan, usize),
    ) {
        if self.is_kept {
            return f(&self.plan, 0);
        }
        let mut base = 0;
        let pieces = parity_pieces(set, alive, range);
        for piece in pieces.skip(self.done).take(self.pieces) {
            // It was made before, under the same map.
            if plan_parity_into(set, alive, &piece, &mut self.plan).is_some() {
                f(&self.plan, base);
                base += self.plan.scratch().bytes() as usize;
            }
        }
    }
}

/// Begins an admitted write.
pub(super) fn start(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    let range = range_of(&rq);
    let io = rq.data_mut();
    io.stage = Stage::Admit;
    // Without a hold on the map while it waits for scratch.
    let Some(view) = io.view.take() else {
        return finish(rq, Status::IOERR);
    };
    let layout = &view.set(io.route).layout;
    let lanes = layout.data_slots() + u64::from(layout.parities());
    let small = range.len() <= layout.locate(range.start).run
        && range.len().bytes() * lanes <= super::super::volume::SMALL_SCRATCH;
    // One that had to wait, for it or for room in the journal, has its memory already; but perhaps
    // a set with more slots takes more by now.
    let kept = match io.parity.take() {
        Some(op) if small || op.large => Some(op),
        Some(op) => {
            volume.put_parity(op);
            None
        }
        None => None,
    };
    let (mut op, mut rq) = match kept {
        Some(op) => (op, rq),
        None => match volume.parity_ops(!small).take_for(rq) {
            Some(taken) => taken,
            None => return,
        },
    };
    let under = op.work.under.take();
    if under.is_none() || under != journaled_under(&view, rq.data().route, range.start) {
        op.work.done = 0;
    }
    let io = rq.data_mut();
    io.parity = Some(op);
    io.view = Some(view);
    round(volume, rq);
}

/// Begins a round. *Task* or *queue* context.
pub(super) fn round(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    let range = range_of(&rq);
    let Io {
        view: Some(view),
        parity: Some(op),
        route,
        stage,
        ..
    } = rq.data_mut()
    else {
        return finish(rq, Status::IOERR);
    };
    let mut room = op.scratch.len();
    if let Some(journal) = &view.map.journal {
        // A round is one record, and some more shall find room beside it.
        room = room.min((journal.len.bytes() / 4) as usize);
    }
    *stage = Stage::ParityReads;
    match op
        .work
        .plan(view.set(*route), view.alive(range.start), range, room)
    {
        None => finish(rq, Status::IOERR),
        Some(false) => calculate(volume, rq),
        Some(true) => rq.submit(|_, io, batch| {
            let Io {
                view: Some(view),
                parity: Some(op),
                route,
                ..
            } = io
            else {
                return;
            };
            let view = &**view;
            let ParityOp { scratch, work, .. } = &mut **op;
            let mut cutter = Cutter::new(scratch);
            work.for_each(
                view.set(*route),
                view.alive(range.start),
                range,
                |plan, base| {
                    send_reads(plan, base, &mut cutter, |id| view.member(id), batch);
                },
            );
        }),
    }
}

pub(super) fn reads_done(mut rq: OwnedRequest<Queue>, outcome: Outcome) {
    if outcome.is_ok() {
        return rq.enqueue_by(Volume::workers);
    }
    let members = failed_members(&outcome);
    let errors = rq.queue_data().count_read_errors(members);
    let (range, io) = (range_of(&rq), rq.data_mut());
    let Some(view) = &io.view else {
        return finish(rq, Status::IOERR);
    };
    let alive = view.alive(range.start);
    match verdict(view.set(io.route), range, (alive, members), errors) {
        Verdict::Mend => {
            io.failed = members;
            io.stage = Stage::ParityMend;
            rq.enqueue_by(Volume::workers);
        }
        Verdict::Fault => fault(rq, members),
        // By now more of the parity may be known to be true.
        Verdict::Lost if !view.is_current() => {
            (io.view, io.stage) = (None, Stage::Admit);
            let op = io.parity.take();
            if let Some(op) = op {
                rq.queue_data().put_parity(op);
            }
            rq.enqueue_by(Volume::workers);
        }
        // Nothing was written yet that the rest of the row does not know of.
        Verdict::Lost => finish(rq, Status::IOERR),
    }
}

/// Has written anew what could not be read, and reads again.
pub(super) fn mend(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    let (range, io) = (range_of(&rq), rq.data_mut());
    let members = core::mem::replace(&mut io.failed, MemberMask::EMPTY);
    let Some(view) = &io.view else {
        return finish(rq, Status::IOERR);
    };
    let mut kit = volume.kits().take();
    let mended = super::mend::mend(volume, view, io.route, range, members, &mut kit);
    volume.put_kit(kit);
    match mended {
        Mended::Done => round(volume, rq),
        Mended::Failed(members) => fault(rq, members),
        // Nothing was written yet that the rest of the row does not know of.
        Mended::Lost => finish(rq, Status::IOERR),
    }
}

/// What had to be read is there: makes the new contents, and sends them. *Task* or *queue* context.
pub(super) fn calculate(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    let range = range_of(&rq);
    let Some(mut op) = rq.data_mut().parity.take() else {
        return finish(rq, Status::IOERR);
    };
    if let Some(view) = &rq.data().view {
        let ParityOp { scratch, work, .. } = &mut *op;
        let set = view.set(rq.data().route);
        work.for_each(set, view.alive(range.start), range, |plan, base| {
            let scratch = &mut scratch.as_mut_slice()[base..];
            stripe::calculate(plan, scratch, &mut RequestData(&rq), &KernelParity);
        });
    }
    rq.data_mut().parity = Some(op);
    let view = rq.data().view.as_ref();
    if view.is_some_and(|view| view.map.journal.is_some()) {
        to_journal(volume, rq);
    } else {
        write(rq);
    }
}

/// What pieces of a set depend on, where their writes are journaled.
fn journaled_under(view: &View, route: Route, x: Logical) -> Option<(u64, MemberMask)> {
    let journal = view.map.journal.as_ref()?;
    let is_target = route == Route::Target;
    Some((journal.sets[usize::from(is_target)], view.alive(x)))
}

/// Puts what the round is about to write in the journal first.
fn to_journal(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    let range = range_of(&rq);
    let io = rq.data_mut();
    let (Some(view), Some(mut op)) = (io.view.take(), io.parity.take()) else {
        return finish(rq, Status::IOERR);
    };
    let route = io.route;
    let ParityOp {
        scratch,
        header,
        record,
        work,
        ..
    } = &mut *op;
    let mut new = Record::new(header);
    work.for_each(
        view.set(route),
        view.alive(range.start),
        range,
        |plan, base| new.add(plan, scratch, base),
    );
    let Some(sealed) = new.seal(volume, &view.map, route == Route::Target) else {
        work.under = journaled_under(&view, route, range.start);
        io.parity = Some(op);
        return wait_for_map(volume, rq, view, true);
    };
    *record = sealed;
    io.parity = Some(op);
    io.view = Some(view);
    io.stage = Stage::ParityJournal;
    rq.submit(|_, io, batch| {
        let Io {
            view: Some(view),
            parity: Some(op),
            route,
            ..
        } = io
        else {
            return;
        };
        let view = &**view;
        let ParityOp {
            scratch,
            header,
            record,
            work,
            ..
        } = &mut **op;
        let alive = view.alive(range.start);
        let (header, scratch): (&Buffer, &Buffer) = (header, scratch);
        journal::send(record, (header, scratch), view, batch, |each| {
            work.for_each(view.set(*route), alive, range, each);
        });
    });
}

/// The round's record is durable, or failed.
pub(super) fn journal_done(mut rq: OwnedRequest<Queue>, outcome: Outcome) {
    let failed = failed_members(&outcome);
    let io = rq.data_mut();
    let counts = |op: &KBox<ParityOp>| !(op.record.members & !failed).is_empty();
    if io.parity.as_ref().is_some_and(counts) {
        // It counts, so what it says must come to be; who failed is told of then.
        io.failed = failed;
        rq.enqueue_by(Volume::workers);
    } else {
        fault(rq, failed);
    }
}

/// Sends what the round made to its places. *Task* or *queue* context.
pub(super) fn write(mut rq: OwnedRequest<Queue>) {
    let range = range_of(&rq);
    rq.data_mut().stage = Stage::ParityWrites;
    rq.submit(|rq, io, batch| {
        let Io {
            view: Some(view),
            parity: Some(op),
            route,
            ..
        } = io
        else {
            return;
        };
        let view = &**view;
        let ParityOp { scratch, work, .. } = &mut **op;
        let (scratch, flags) = (&*scratch, rq.flags().for_member());
        let data = Source::Request(rq);
        work.for_each(
            view.set(*route),
            view.alive(range.start),
            range,
            |plan, base| {
                send_writes(
                    plan,
                    (scratch, base),
                    data,
                    flags,
                    |id| view.member(id),
                    batch,
                );
            },
        );
    });
}

pub(super) fn writes_done(mut rq: OwnedRequest<Queue>, outcome: Outcome) {
    let failed = failed_members(&outcome) | rq.data().failed;
    if !outcome.is_ok() || !failed.is_empty() {
        return fault(rq, failed);
    }
    let Some(op) = &mut rq.data_mut().parity else {
        return finish(rq, Status::IOERR);
    };
    op.work.done += op.work.pieces;
    if op.work.is_last {
        return finish(rq, Status::OK);
    }
    rq.enqueue_by(Volume::workers);
}
