// SPDX-License-Identifier: GPL-2.0
//! Requests of a volume: admitted under its map, sent to members, answered.
//!
//! Reads, and writes of levels without parity, are cloned to their members in the submitter's
//! context. What needs arithmetic goes on in a worker when its reads are done ([`parity`]); what
//! is rare (gaps of a migration, errors, missing members) is done by a worker from start to end
//! ([`slow`]). Whoever waits holds no map, so that a new one can always be published and drained.

mod flush;
mod journal;
mod mend;
mod parity;
mod plain;
mod read;
mod slow;
mod transfer;
mod write;

pub(crate) use mend::{carry_out, mend_rows, Mended};
pub(crate) use parity::ParityOp;
pub(crate) use slow::Kit;
pub(crate) use transfer::{empty_plan, send_reads, Cutter, KernelParity};

use kernel::prelude::*;
use kernel::sync::{
    atomic::{Atomic, Relaxed},
    Arc, ArcBorrow,
};
use restripe_core::admit::Route;
use restripe_core::engine::Event;
use restripe_core::geometry::{Logical, MemberMask, Range, Sectors};

use crate::sys::block::bio::Outcome;
use crate::sys::block::mq::{Operations, OwnedRequest, Request};
use crate::sys::block::{Op, Status};
use crate::sys::sync::Entered;
use crate::sys::work::WorkQueue;
use crate::volume::{Keys, View, Volume};

/// The volumes' operations.
pub(crate) struct Queue;

/// Where a request is on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// To be admitted: new, or anew after waiting.
    Admit,
    /// A read by clones.
    Read,
    /// A write by clones.
    Plain,
    /// A discard or zeroing by members.
    Dataless,
    Flush,
    /// Reads of a round of parity pieces; then its arithmetic.
    ParityReads,
    /// What could not be read for it is written anew, by a worker.
    ParityMend,
    /// A round's record in the journal.
    ParityJournal,
    ParityWrites,
    /// It failed at members, and the engine has to know.
    Faulted,
    /// To be read by a worker, from wherever it can be.
    SlowRead,
    /// To be written by a worker, step by step.
    SlowWrite,
}

/// What belongs to a request; one for each tag.
pub(crate) struct Io {
    /// Its name in the range lock.
    id: u64,
    view: Option<Entered<View>>,
    /// What it holds, or waits for, of the range lock.
    pub(crate) locked: Option<Keys>,
    stage: Stage,
    /// The one set that it goes to.
    route: Route,
    /// Members at which it failed.
    pub(crate) failed: MemberMask,
    /// They work, but could not be read for the gap at the target.
    in_gap: bool,
    parity: Option<KBox<ParityOp>>,
    /// Of a write that a worker carries out: done before it had to wait for another map.
    done: Sectors,
}

static IDS: Atomic<u64> = Atomic::new(0);

impl Operations for Queue {
    type QueueData = Volume;
    type RequestData = Io;

    fn new_request_data() -> Result<Io> {
        Ok(Io {
            id: IDS.fetch_add(1, Relaxed),
            view: None,
            locked: None,
            stage: Stage::Admit,
            route: Route::Source,
            failed: MemberMask::EMPTY,
            in_gap: false,
            parity: None,
            done: Sectors::ZERO,
        })
    }

    fn queue_rq(volume: ArcBorrow<'_, Volume>, rq: OwnedRequest<Queue>) {
        admit(&volume, rq);
    }

    fn io_done(rq: OwnedRequest<Queue>, outcome: Outcome) {
        match rq.data().stage {
            Stage::Read => read::done(rq, outcome),
            Stage::Plain => plain::done(rq, outcome),
            Stage::Dataless => plain::dataless_done(rq, outcome),
            Stage::Flush => flush::done(rq, outcome),
            Stage::ParityReads => parity::reads_done(rq, outcome),
            Stage::ParityJournal => parity::journal_done(rq, outcome),
            Stage::ParityWrites => parity::writes_done(rq, outcome),
            // These do their I/O by themselves.
            Stage::Admit
            | Stage::Faulted
            | Stage::ParityMend
            | Stage::SlowRead
            | Stage::SlowWrite => finish(rq, Status::IOERR),
        }
    }

    fn work(rq: OwnedRequest<Queue>) {
        let volume: Arc<Volume> = rq.queue_data().into();
        match rq.data().stage {
            Stage::Faulted => park_faulted(&volume, rq),
            Stage::SlowRead => slow::read(&volume, rq),
            Stage::SlowWrite => slow::write(&volume, rq),
            Stage::ParityReads => parity::calculate(&volume, rq),
            Stage::ParityMend => parity::mend(&volume, rq),
            Stage::ParityJournal => parity::write(rq),
            Stage::ParityWrites => parity::round(&volume, rq),
            _ => admit(&volume, rq),
        }
    }
}

/// Begins with a request, or begins anew.
fn admit(volume: &Volume, rq: OwnedRequest<Queue>) {
    match rq.op() {
        Op::Read => read::admit(volume, rq),
        Op::Write | Op::Discard | Op::WriteZeroes => write::admit(volume, rq),
        Op::Flush => flush::admit(volume, rq),
        Op::Other => rq.end(Status::NOTSUPP),
    }
}

/// The sectors of the volume that a request is about.
fn range_of(rq: &Request<Queue>) -> Range {
    let start = Logical(rq.sector());
    Range {
        start,
        end: start + Sectors(u64::from(rq.sectors())),
    }
}

/// Members among the tags that failed.
fn failed_members(outcome: &Outcome) -> MemberMask {
    // CAST: Tags are members' numbers, of which there are 32.
    MemberMask(outcome.failed as u32)
}

/// Lets go of all that a request has, and answers it. Any context.
fn finish(mut rq: OwnedRequest<Queue>, status: Status) {
    let io = rq.data_mut();
    io.stage = Stage::Admit;
    io.failed = MemberMask::EMPTY;
    io.in_gap = false;
    io.view = None;
    io.done = Sectors::ZERO;
    let (id, locked, parity) = (io.id, io.locked.take(), io.parity.take());
    if locked.is_some() || parity.is_some() {
        let volume = rq.queue_data();
        if locked.is_some() {
            volume.unlock(id);
        }
        if let Some(op) = parity {
            volume.put_parity(op);
        }
    }
    rq.end(status);
}

/// A write or flush failed at `members`: it keeps its range and waits until the engine says what
/// becomes of them. Until the engine knows it also keeps its map: what ends with a drain is not to
/// be made durable as if the write had been done. Any context.
fn fault(mut rq: OwnedRequest<Queue>, members: MemberMask) {
    if members.is_empty() {
        // No member's fault.
        return finish(rq, Status::IOERR);
    }
    let io = rq.data_mut();
    io.stage = Stage::Faulted;
    io.failed = members;
    io.done = Sectors::ZERO;
    let parity = io.parity.take();
    let volume = rq.queue_data();
    if let Some(op) = parity {
        volume.put_parity(op);
    }
    for member in members.iter() {
        volume.count_write_error(member);
    }
    rq.enqueue_by(Volume::workers);
}

/// A write can't go on under its map: it keeps its range, and what it has done, and begins anew under
/// the next one. `for_room`: because the journal has none left. Any context but that of a lock.
fn wait_for_map(volume: &Volume, mut rq: OwnedRequest<Queue>, view: Entered<View>, for_room: bool) {
    let io = rq.data_mut();
    io.stage = Stage::Admit;
    let parked = volume.parked().put(rq, || view.is_current());
    drop(view);
    match parked {
        Some(rq) => rq.enqueue(volume.workers()),
        // First it waits, then the engine is told: its answer comes to all who wait.
        None if for_room => volume.post(Event::WantRoom),
        None => {}
    }
}

/// A write of the gap can't read at the target, because of those members: it waits until the source
/// has taken over. What is said of [`fault`] is true of it too. *Task* context.
fn give_gap_back(volume: &Volume, mut rq: OwnedRequest<Queue>, members: MemberMask) {
    let io = rq.data_mut();
    (io.failed, io.in_gap) = (members, true);
    io.done = Sectors::ZERO;
    park_faulted(volume, rq);
}

/// Whether it is no use to try a request again that failed at members of which those `stay`: a disk
/// that failed a flush may have dropped what it had, and the next one succeeds all the same.
pub(crate) fn is_in_vain(rq: &OwnedRequest<Queue>, stay: MemberMask) -> bool {
    rq.op() == Op::Flush && !(rq.data().failed & stay).is_empty()
}

/// Of the members at which a request failed those are settled: whether all are by now. It waits for
/// the others alone, for each is settled just once.
pub(crate) fn is_settled(rq: &mut OwnedRequest<Queue>, members: MemberMask) -> bool {
    let io = rq.data_mut();
    io.failed = io.failed & !members;
    io.failed.is_empty()
}

/// What the engine is to know of a request that waits for it.
pub(crate) fn why_it_waits(rq: &OwnedRequest<Queue>) -> Event {
    let members = rq.data().failed;
    match rq.data().in_gap {
        true => Event::GapUnread { members },
        false => Event::Faulted { members },
    }
}

/// Tells the engine, and waits for it.
fn park_faulted(volume: &Volume, mut rq: OwnedRequest<Queue>) {
    let why = why_it_waits(&rq);
    let io = rq.data_mut();
    io.stage = Stage::Admit;
    let view = io.view.take();
    // First it waits, then the engine is told: its answer comes to all who wait.
    if let Some(rq) = volume.faulted().put(rq, || !volume.is_failed()) {
        drop(view);
        return finish(rq, Status::IOERR);
    }
    volume.post(why);
    drop(view);
}

/// What a parity write waited for is its now.
pub(crate) fn resume(mut rq: OwnedRequest<Queue>, op: KBox<ParityOp>, workers: &WorkQueue) {
    rq.data_mut().parity = Some(op);
    rq.enqueue(workers);
}

/// Answers a request that waited for the engine with an error.
pub(crate) fn fail(rq: OwnedRequest<Queue>) {
    finish(rq, Status::IOERR);
}

/// The map changed, or a member's fault is settled: begins anew.
pub(crate) fn again(mut rq: OwnedRequest<Queue>, volume: &Volume) {
    let io = rq.data_mut();
    (io.failed, io.in_gap) = (MemberMask::EMPTY, false);
    rq.enqueue(volume.workers());
}
