// SPDX-License-Identifier: GPL-2.0
//! What becomes of each intent: done at once, or handed to a chore.

use kernel::prelude::*;
use restripe_core::admit::{Cursor, Map};
use restripe_core::engine::{Event, Intent, Who, JOBS};
use restripe_core::geometry::{MemberMask, Physical, Range, Sectors, MAX_MEMBERS};
use restripe_core::ondisk::{Member, RegionKind, Superblock, UNIT};

use super::chore::{Slots, Task, CONTROL, MARKS, SWEEP};
use super::{Drain, Worker};
use crate::queue;
use crate::volume::{KernelEngine, View};

impl Worker {
    /// Carries out one intent. The engine is locked, so nothing here waits for I/O.
    pub(super) fn carry_out(&mut self, engine: &KernelEngine, intent: Intent) {
        let volume = &*self.volume;
        match intent {
            Intent::Lock { job, start, end } => {
                if volume.locks().lock_job((start, end), job) {
                    volume.inbox().grant(job);
                }
            }
            Intent::Unlock { job } => {
                // The window's readers left before this.
                if job == 0 && engine.cursor().window.is_none() {
                    volume.set_window(None);
                }
                let inbox = volume.inbox();
                volume
                    .locks()
                    .unlock_job(job, volume.workers(), |job| inbox.grant(job));
            }
            Intent::Replay { epoch } => {
                if let Some(chore) = volume.chores().lock().at_home(CONTROL) {
                    if let Some(superblock) = &mut chore.superblock {
                        superblock.copy_from(engine.superblock());
                    }
                }
                let window = engine.stash().map(|stash| stash.range);
                self.start(CONTROL, Task::Replay { epoch, window });
            }
            Intent::LoadMarks { bitmap, epoch } => {
                let members = engine.superblock().live();
                self.place(engine, MARKS, members, RegionKind::Bitmap);
                self.start(MARKS, Task::LoadMarks { bitmap, epoch });
            }
            Intent::WriteBitmap {
                bitmap,
                members,
                clears,
                all,
            } => {
                if all {
                    volume.marks().reset(true);
                }
                volume.marks().compose(clears);
                self.place(engine, MARKS, members, RegionKind::Bitmap);
                self.start(MARKS, Task::WriteBitmap { bitmap });
            }
            Intent::Marked { all } => volume.marks().written(all),
            Intent::Sweep {
                bitmap,
                below,
                capacity,
            } => {
                let swept = volume.marks().sweep(&bitmap, below, capacity);
                self.answers.push(Event::Swept(swept));
            }
            Intent::NextMarked { from } => {
                if let Some(bitmap) = &engine.map().bitmap {
                    let run = volume.marks().next_marked(bitmap, from);
                    self.answers.push(Event::MarkedRun { from, run });
                }
            }
            Intent::Load { job, range } => self.job(engine, job, Task::Load { job, range }),
            Intent::Store {
                job,
                which,
                range,
                whole,
            } => {
                let task = Task::Store {
                    job,
                    which,
                    range,
                    whole,
                };
                self.job(engine, job, task)
            }
            Intent::Scrub {
                job,
                which,
                range,
                kind,
                alive,
                onto,
            } => {
                let task = Task::Scrub {
                    job,
                    which,
                    range,
                    kind,
                    members: (alive, onto),
                };
                self.job(engine, job, task);
            }
            Intent::LoadStash {
                job,
                members,
                header,
            } => {
                self.place_stash(engine, job, members);
                self.job(engine, job, Task::LoadStash { job, header });
            }
            Intent::StashData {
                job,
                members,
                range,
            } => {
                self.place_stash(engine, job, members);
                self.job(engine, job, Task::StashData { job, range });
            }
            Intent::StashHeader {
                job,
                members,
                number,
                range,
            } => {
                self.place_stash(engine, job, members);
                let migration = engine.superblock().migration.map(|m| m.uuid);
                let task = Task::StashHeader {
                    job,
                    migration: migration.unwrap_or_default(),
                    number,
                    range,
                };
                self.job(engine, job, task);
            }
            Intent::Flush { who, members } => {
                let index = match who {
                    Who::Control => CONTROL,
                    Who::Job(job) => usize::from(job),
                    Who::Marks => SWEEP,
                };
                self.start(index, Task::Flush { who, members });
            }
            Intent::Commit { members } => self.commit(engine, members),
            Intent::MoveHeads { members, back } => {
                self.place(engine, CONTROL, members, RegionKind::Head);
                self.start(CONTROL, Task::MoveHeads { back });
            }
            Intent::Sign { members } => self.sign(engine, members),
            Intent::Publish => self.publish(engine),
            Intent::Drain { who } => self.drain(engine, who),
            Intent::Settle { retry } => self.settle(retry),
            Intent::Ready => volume.set_ready(),
            Intent::Failed => {
                volume.set_failed();
                // Who was not among those settled before does not wait from now on.
                self.settle(MemberMask::EMPTY);
                volume.changed();
            }
            Intent::Dismiss { members } => self.dismiss(engine, members),
            Intent::Resized { .. } => {
                let mut chores = volume.chores().lock();
                // It may be that of a migration that waits to begin.
                if !engine.is_migrating() {
                    volume.shrink_memory();
                    chores.shrink();
                }
                chores.refit(&self.volume);
            }
            Intent::Changed => volume.changed(),
            Intent::Stopped => self.is_over = true,
        }
    }

    /// Hands a task to a job's chore, with the map as it is now.
    fn job(&self, engine: &KernelEngine, job: u8, task: Task) {
        let index = usize::from(job);
        if let Some(chore) = self.volume.chores().lock().at_home(index) {
            *chore.map = *engine.map();
        }
        self.start(index, task);
    }

    fn start(&self, index: usize, task: Task) {
        self.volume.chores().lock().start(index, task, &self.volume);
    }

    /// Tells a job's chore where the stashes of `members` are.
    fn place_stash(&self, engine: &KernelEngine, job: u8, members: MemberMask) {
        self.place(engine, usize::from(job), members, RegionKind::Stash);
    }

    /// Tells a chore where that region of each of `members` is.
    fn place(&self, engine: &KernelEngine, index: usize, members: MemberMask, kind: RegionKind) {
        let rows = &engine.superblock().members;
        if let Some(chore) = self.volume.chores().lock().at_home(index) {
            chore.places.clear();
            for id in members.iter() {
                if let Some(region) = rows[usize::from(id.0)].region(kind) {
                    chore.places.push((id, region.start));
                }
            }
        }
    }

    /// Has a signature written in place of the head of each member.
    fn sign(&self, engine: &KernelEngine, members: MemberMask) {
        if let Some(chore) = self.volume.chores().lock().at_home(CONTROL) {
            if let Some(superblock) = &mut chore.superblock {
                superblock.copy_from(engine.superblock());
            }
        }
        self.start(CONTROL, Task::Sign { members });
    }

    /// Has the superblock written to each member's other slot.
    fn commit(&self, engine: &KernelEngine, members: MemberMask) {
        let last = *self.volume.slots().lock();
        let mut slots: Slots = [None; MAX_MEMBERS];
        if let Some(chore) = self.volume.chores().lock().at_home(CONTROL) {
            chore.places.clear();
            if let Some(superblock) = &mut chore.superblock {
                superblock.copy_from(engine.superblock());
                superblock.updated = crate::sys::time::real_seconds();
            }
            for id in members.iter() {
                let slot = engine.next_slot(last[usize::from(id.0)]);
                let row = &engine.superblock().members[usize::from(id.0)];
                chore.places.push((id, superblock_place(row, slot)));
                // CAST: There are two slots.
                slots[usize::from(id.0)] = Some(slot as u8);
            }
        }
        self.start(CONTROL, Task::Commit { members, slots });
    }

    /// Lets requests see the engine's map and cursor, and admits those that waited for a map.
    fn publish(&mut self, engine: &KernelEngine) {
        let volume = self.volume.clone();
        let cursor = engine.cursor();
        if let (Some(range), None) = (cursor.window, volume.window()) {
            self.share_window(range);
        }
        if let Some(journal) = &engine.map().journal {
            volume.ring().lock().fit(journal);
        }
        let now = volume.enter(0);
        let map = engine.map();
        let same = now.map == *map && cursor.may_follow(&now.cursor(), map.rules);
        if same {
            self.is_fresh &= now.cursor() == cursor;
            now.set_cursor(cursor);
        }
        drop(now);
        if !same {
            self.replace(engine, cursor);
        }
        for _ in 0..volume.parked().len() {
            if let Some(rq) = volume.parked().take() {
                queue::again(rq, &volume);
            }
        }
    }

    /// The window's memory is shared from now on: it is not written to as long as it is published.
    fn share_window(&self, range: Range) {
        let mut chores = self.volume.chores().lock();
        let window = chores.at_home(0).and_then(|chore| chore.share());
        drop(chores);
        let window = window.filter(|window| window.start == range.start);
        if window.is_none() {
            // Reads wait for it rather than see something else.
            pr_err!("a window is published that is not in memory\n");
        }
        self.volume.set_window(window);
    }

    /// Begins a new epoch.
    fn replace(&mut self, engine: &KernelEngine, cursor: Cursor) {
        let view = self.view(engine.map(), engine.superblock(), cursor);
        self.begin_epoch(view);
    }

    /// A view that nobody has yet, of the devices that there are.
    pub(super) fn view(&mut self, map: &Map, sb: &Superblock, cursor: Cursor) -> Pin<KBox<View>> {
        let members = self.volume.members().lock().clone();
        let Some(mut view) = self.spares.pop() else {
            unreachable!("there is one view more than epochs");
        };
        view.as_mut().refill(map, cursor, &members);
        if map.journal.is_some() {
            view.as_mut().set_journals(sb);
        }
        view
    }

    pub(super) fn begin_epoch(&mut self, view: Pin<KBox<View>>) {
        let (_, old) = self.volume.epochs().publish(view);
        if let Some(old) = old {
            // There is room for all there are.
            let _ = self.spares.push_within_capacity(old);
        }
        self.is_fresh = true;
    }

    /// Requests admitted under an older map or cursor must have ended before the answer.
    fn drain(&mut self, engine: &KernelEngine, who: Who) {
        // Marks change within a map.
        if !self.is_fresh || who == Who::Marks {
            self.replace(engine, engine.cursor());
        }
        let epochs = self.volume.epochs();
        epochs.watch(true);
        self.drains.push(Drain {
            who,
            epoch: epochs.epoch(),
        });
    }

    /// Requests that failed at members go on, or end.
    fn settle(&self, retry: MemberMask) {
        let volume = &*self.volume;
        let stay = volume.enter(0).map.kept() & retry;
        for _ in 0..volume.faulted().len() {
            let Some(mut rq) = volume.faulted().take() else {
                return;
            };
            if queue::is_in_vain(&rq, stay) {
                queue::fail(rq);
            } else if queue::is_settled(&mut rq, retry) {
                queue::again(rq, volume);
            } else if retry.is_empty() || volume.is_failed() {
                queue::fail(rq);
            } else {
                // Another fault than those settled: the engine says more of it later.
                let why = queue::why_it_waits(&rq);
                if let Some(rq) = volume.faulted().put(rq, || true) {
                    queue::fail(rq);
                }
                volume.post(why);
            }
        }
    }
}

/// Where a slot of a member's superblock is.
fn superblock_place(row: &Member, slot: usize) -> Physical {
    let kind = match slot {
        0 => RegionKind::SuperblockA,
        _ => RegionKind::SuperblockB,
    };
    match row.region(kind) {
        Some(region) => region.start,
        None => unreachable!("every member has two superblocks"),
    }
}

/// Where stashed data are, behind their header.
pub(super) fn stash_data(stash: Physical) -> Physical {
    stash + UNIT
}

/// Bytes of so many sectors.
pub(super) fn bytes(len: Sectors) -> usize {
    len.bytes() as usize
}

const _: () = assert!(JOBS <= 8, "one bit of the inbox for each job");
