// SPDX-License-Identifier: GPL-2.0
//! The thread that drives a volume's engine: events in, intents carried out. It never waits for
//! members: what takes I/O is a chore of a work queue, and drains are looked after on the side.

mod bitmap;
mod chore;
mod commit;
mod dismiss;
mod head;
mod intents;
mod memory;
mod mover;
mod replay;
mod scrub;

pub(crate) use chore::Chores;
pub(crate) use memory::{AllMemory, JobMemory};
pub(crate) use replay::read_through;

use kernel::prelude::*;
use kernel::sync::Arc;
use restripe_core::admit::Cursor;
use restripe_core::engine::{Engine, Event, Who, JOBS};
use restripe_core::list::List;
use restripe_core::ondisk::{FoundStash, Superblock};

use crate::sys::sync::EPOCHS;
use crate::sys::work::{Kthread, KthreadControl};
use crate::volume::{now_ms, KernelEngine, Members, View, Volume};

/// Milliseconds without a write after which the volume may be called clean.
const QUIET: u64 = 2000;

/// Views that nobody has.
pub(crate) type Views = KVec<Pin<KBox<View>>>;

/// What an engine is made from.
pub(crate) struct Birth {
    pub(crate) superblock: KBox<Superblock>,
    pub(crate) before: KBox<Superblock>,
    pub(crate) stash: Option<FoundStash>,
    /// The epoch whose journal is to be replayed.
    pub(crate) replay: Option<u64>,
    pub(crate) read_only: bool,
    /// As many as there are epochs.
    pub(crate) spares: Views,
}

/// Starts the thread.
pub(crate) fn spawn(volume: &Arc<Volume>, name: &CStr, birth: Birth) -> Result<Kthread> {
    let volume = volume.clone();
    Kthread::spawn(name, move |control| run(&volume, birth, control))
}

/// The views of a volume: the first, of which nothing is true yet and that nobody enters before the
/// first `Publish`, and the spare ones.
pub(crate) fn views(
    superblock: &Superblock,
    read_only: bool,
    members: &Members,
) -> Result<(Pin<KBox<View>>, Views)> {
    let map = restripe_core::engine::map_of(superblock, read_only);
    let make = || View::new(&map, Cursor::default(), members);
    let mut spares = KVec::with_capacity(EPOCHS + 1, GFP_KERNEL)?;
    for _ in 0..EPOCHS {
        spares.push(make()?, GFP_KERNEL)?;
    }
    Ok((make()?, spares))
}

/// What the thread itself keeps.
struct Worker {
    volume: Arc<Volume>,
    /// Drains that are not over, with the first epoch that they don't wait for.
    drains: List<Drain, { JOBS + 2 }>,
    /// Answers to intents that were carried out at once.
    answers: List<Event, 4>,
    /// Views that nobody has: with those that the epochs hold there is always one left.
    spares: Views,
    /// The present epoch had the present cursor from its start, and no drain has ended in it.
    is_fresh: bool,
    /// When the volume was last seen with writes under way, or clean.
    busy: u64,
    is_over: bool,
}

#[derive(Clone, Copy)]
struct Drain {
    who: Who,
    epoch: u32,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            who: Who::Control,
            epoch: 0,
        }
    }
}

/// Makes the engine: in a frame of its own, for it is large, and at the bottom of this thread's
/// stack, where there is room for it.
#[inline(never)]
fn make_engine(
    superblock: KBox<Superblock>,
    before: KBox<Superblock>,
    stash: Option<FoundStash>,
    read_only: bool,
) -> Result<KBox<KernelEngine>> {
    let engine = Engine::new(superblock, before, stash, read_only, now_ms());
    Ok(KBox::new(engine, GFP_KERNEL)?)
}

fn run(volume: &Arc<Volume>, birth: Birth, _control: &KthreadControl) {
    let made = make_engine(birth.superblock, birth.before, birth.stash, birth.read_only);
    let Ok(mut engine) = made else {
        volume.set_failed();
        volume.set_stopped();
        return;
    };
    engine.set_replay(birth.replay);
    let mut worker = Worker {
        volume: volume.clone(),
        drains: List::new(),
        answers: List::new(),
        spares: birth.spares,
        is_fresh: false,
        busy: now_ms(),
        is_over: false,
    };
    *volume.engine_place().lock() = Some(engine);
    worker.with_engine(KernelEngine::start);
    while !worker.is_over {
        worker.wait();
        worker.end_drains();
        while let Some(event) = volume.inbox().take() {
            worker.with_engine(|engine| engine.handle(now_ms(), event));
            volume.inbox().note_handled();
        }
        worker.keep_time();
    }
    volume.set_stopped();
}

impl Worker {
    /// Does something to the engine, and carries out what follows.
    fn with_engine(&mut self, f: impl FnOnce(&mut KernelEngine)) {
        let volume = self.volume.clone();
        let mut place = volume.engine_place().lock();
        let Some(engine) = &mut *place else {
            return;
        };
        f(engine);
        loop {
            while let Some(intent) = engine.take() {
                self.carry_out(engine, intent);
            }
            if self.answers.is_empty() {
                return;
            }
            let event = self.answers.remove(0);
            engine.handle(now_ms(), event);
        }
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self) {
        let volume = &self.volume;
        let now = now_ms();
        let (wake_at, active, moving) = match &*volume.engine_place().lock() {
            Some(engine) => (
                engine.wake_at(),
                !engine.superblock().clean,
                engine.sync_completed().is_some(),
            ),
            None => (None, false, false),
        };
        let mut wait = wake_at.map(|at| at.saturating_sub(now));
        if active || moving {
            wait = Some(wait.unwrap_or(QUIET).min(QUIET / 2));
        }
        let drains = &self.drains;
        let is_due = || {
            let epochs = volume.epochs();
            volume.inbox().is_waiting() || drains.iter().any(|d| epochs.is_drained(d.epoch))
        };
        match wait {
            // CAST: At most some seconds.
            Some(ms) => {
                volume
                    .epochs()
                    .waiters()
                    .wait_timeout(ms.clamp(1, 1 << 20) as u32, is_due);
            }
            None => volume.epochs().waiters().wait_idle(is_due),
        }
    }

    /// Answers the drains that are over.
    fn end_drains(&mut self) {
        while let Some(at) = self
            .drains
            .iter()
            .position(|d| self.volume.epochs().is_drained(d.epoch))
        {
            let drain = self.drains.remove(at);
            if self.drains.is_empty() {
                self.volume.epochs().watch(false);
            }
            // The next one is about those too that were admitted while this one lasted.
            self.is_fresh = false;
            // Who failed said so before it left.
            while let Some(fault) = self.volume.inbox().take_fault() {
                self.with_engine(|engine| engine.handle(now_ms(), fault));
            }
            self.with_engine(|engine| engine.handle(now_ms(), Event::Drained { who: drain.who }));
        }
    }

    /// Ticks that are due, quiet, the meter.
    fn keep_time(&mut self) {
        let now = now_ms();
        let (due, active, done) = match &*self.volume.engine_place().lock() {
            Some(engine) => (
                engine.wake_at().is_some_and(|at| at <= now),
                !engine.superblock().clean,
                engine.sync_completed().map(|(done, _)| done),
            ),
            None => return,
        };
        self.volume.meter().lock().sample(now, done);
        if due {
            self.with_engine(|engine| engine.handle(now, Event::Tick));
        }
        if !active {
            self.busy = now;
        } else if now >= self.busy + QUIET {
            self.busy = now;
            if !self.volume.take_written() {
                self.with_engine(|engine| engine.handle(now, Event::Quiet));
            }
        }
    }
}
