// SPDX-License-Identifier: GPL-2.0
//! A volume at work: its engine and worker thread, its members, the disk that users see.
//!
//! The disk, the worker thread and the chores hold the volume, and it holds them: [`Volume::stop`]
//! lets go of all of them, so whoever starts a volume stops it.

mod inbox;
mod limits;
mod locks;
mod marks;
mod meter;
mod parking;
mod reserve;
mod start;
mod status;
mod view;
mod window;

pub(crate) use locks::{Keys, MAX_TAGS};
pub(crate) use marks::VolumeMarks;
pub(crate) use start::{row_scratch, Present, Start};
pub(crate) use status::Status;
pub(crate) use view::{Members, View, NOBODY};
pub(crate) use window::Window;

use kernel::prelude::*;
use kernel::sync::{
    atomic::{Atomic, Relaxed},
    Arc, Mutex,
};
use restripe_core::engine::{Engine, Event};
use restripe_core::geometry::{MemberId, MemberMask, MAX_MEMBERS};
use restripe_core::journal::{Patch, Ring};
use restripe_core::ondisk::Superblock;
use restripe_core::refusal;
use restripe_core::shape::Change;
use restripe_core::text::Refusal;

use crate::queue::{self, Kit, ParityOp, Queue};
use crate::sys::block::bio::BioSet;
use crate::sys::block::{Disk, HolderLink, Member};
use crate::sys::sync::{Entered, Epochs, SpinLockIrq, WaitQueue};
use crate::sys::time::now_ns;
use crate::sys::work::{Kthread, WorkQueue};
use crate::worker::{AllMemory, Chores, JobMemory};

use inbox::Inbox;
use locks::Locks;
use meter::Meter;
use parking::Parking;
use reserve::Reserve;

/// Bytes of scratch of most parity writes.
pub(crate) const SMALL_SCRATCH: u64 = 64 << 10;

/// The engine as it is used here.
pub(crate) type KernelEngine = Engine<KBox<Superblock>>;

/// Who is told when something changes that users see.
pub(crate) trait Observer: Send + Sync {
    /// *Task* context; must not wait.
    fn changed(&self);
}

/// How far a volume is in its life.
mod life {
    pub(crate) const STARTING: u32 = 0;
    pub(crate) const READY: u32 = 1;
    pub(crate) const FAILED: u32 = 2;
    pub(crate) const STOPPED: u32 = 3;
}

struct Errors {
    reads: Atomic<u64>,
    writes: Atomic<u64>,
}

/// A volume.
#[pin_data]
pub(crate) struct Volume {
    epochs: Epochs<View>,
    #[pin]
    locks: Locks,
    /// Room in the journal.
    #[pin]
    ring: SpinLockIrq<Ring>,
    /// What a read-only volume reads in the place of what lies there; sorted.
    patches: KVVec<Patch>,
    /// What of the write-intent bitmap writes go by.
    marks: VolumeMarks,
    /// Writes that wait for another map, or for marks.
    #[pin]
    parked: Parking,
    /// Requests that failed at members and wait for the engine.
    #[pin]
    faulted: Parking,
    #[pin]
    inbox: Inbox,
    #[pin]
    small_ops: Reserve<ParityOp>,
    #[pin]
    large_ops: Reserve<ParityOp>,
    #[pin]
    kits: Reserve<Kit>,
    /// The window that is being rewritten: reads of it are answered from here.
    #[pin]
    window: SpinLockIrq<Option<Arc<Window>>>,
    /// For I/O to its members, whoever comes.
    bios: Arc<BioSet>,
    errors: [Errors; MAX_MEMBERS],
    /// See [`life`].
    life: Atomic<u32>,
    /// The volume takes no writes any more.
    failed: Atomic<bool>,
    #[pin]
    lived: WaitQueue,
    /// Writes since the worker looked last.
    written: Atomic<bool>,
    /// For requests: one per CPU.
    workers: WorkQueue,
    /// For what the engine wants done.
    chore_queue: WorkQueue,
    /// For what of that may wait for requests, or for memory. Where memory is short a queue does one
    /// thing at a time, and what requests wait for must not come behind such.
    late_queue: WorkQueue,
    #[pin]
    chores: Mutex<Chores>,
    /// Memory for the jobs of a migration that is about to begin.
    #[pin]
    memory: Mutex<AllMemory>,
    #[pin]
    members: Mutex<Members>,
    /// Which superblock of each member is its last durable one.
    #[pin]
    slots: Mutex<[Option<usize>; MAX_MEMBERS]>,
    /// None before the worker thread has made it.
    #[pin]
    engine: Mutex<Option<KBox<KernelEngine>>>,
    #[pin]
    meter: Mutex<Meter>,
    #[pin]
    links: Mutex<KVec<HolderLink>>,
    #[pin]
    disk: Mutex<Option<Arc<Disk<Queue>>>>,
    #[pin]
    thread: Mutex<Option<Kthread>>,
    observer: Arc<dyn Observer>,
}

impl Volume {
    /// Takes note of an event. `WantActive`, `WantRoom`, `WantMarks` and `Faulted` in any context, all others
    /// in *task* context, where it may wait a moment for room.
    pub(crate) fn post(&self, event: Event) {
        self.inbox.put(event);
        self.epochs.waiters().wake_all();
    }

    /// Has the engine handle what the user asks for: when this returns, the volume's state says so.
    /// *Task* context.
    pub(crate) fn ask(&self, event: Event) {
        let number = self.inbox.append(event);
        self.epochs.waiters().wake_all();
        self.inbox.wait_handled(number);
    }

    /// Begins a migration to what `next` says, with these new members.
    ///
    /// # Errors
    /// While the volume is busy otherwise, and where there is no memory for it.
    pub(crate) fn migrate(&self, next: &Superblock, new: &[Present]) -> Result<(), Refusal> {
        let memory = JobMemory::for_jobs(next).map_err(|_| {
            refusal!(
                ENOMEM,
                "there is no memory for the migration; free some, or choose a smaller chunk"
            )
        })?;
        match &mut *self.engine.lock() {
            Some(engine) => {
                engine.migrate(now_ms(), next)?;
                // Before the thread, which waits for the engine, sees what follows.
                self.seat(new);
                *self.memory.lock() = memory;
            }
            None => return Err(not_there_yet()),
        }
        self.link(new);
        // Its intents are carried out by the thread.
        self.post(Event::Tick);
        Ok(())
    }

    /// Says whether [`migrate`](Self::migrate) would begin, as far as that can be known before.
    ///
    /// # Errors
    /// What speaks against it.
    pub(crate) fn may_migrate(&self, next: &Superblock) -> Result<(), Refusal> {
        match &*self.engine.lock() {
            Some(engine) => engine.may_migrate(next),
            None => Err(not_there_yet()),
        }
    }

    /// Says the same of [`change_members`](Self::change_members).
    ///
    /// # Errors
    /// What speaks against it.
    pub(crate) fn may_change_members(&self, change: &Change) -> Result<(), Refusal> {
        match &*self.engine.lock() {
            Some(engine) => engine.may_change_members(change),
            None => Err(not_there_yet()),
        }
    }

    /// Has members come, go or take another's place; `new` is who comes.
    ///
    /// # Errors
    /// What speaks against it.
    pub(crate) fn change_members(
        &self,
        change: &Change,
        new: Option<Present>,
    ) -> Result<(), Refusal> {
        match &mut *self.engine.lock() {
            Some(engine) => {
                engine.change_members(now_ms(), change)?;
                // Before the thread, which waits for the engine, sees what follows.
                self.seat(new.as_slice());
            }
            None => return Err(not_there_yet()),
        }
        self.link(new.as_slice());
        // Its intents are carried out by the thread.
        self.post(Event::Tick);
        Ok(())
    }

    /// Puts devices in places that the engine has found to be free.
    fn seat(&self, new: &[Present]) {
        let mut members = self.members.lock();
        let mut slots = self.slots.lock();
        for member in new {
            let index = usize::from(member.id.0);
            members[index] = Some(member.device.clone());
            slots[index] = member.slot;
            // Those were of whoever had its place in the table before.
            self.errors[index].reads.store(0, Relaxed);
            self.errors[index].writes.store(0, Relaxed);
        }
    }

    /// Has a member count as faulty.
    ///
    /// # Errors
    /// Where the volume can't do without it.
    pub(crate) fn fail_member(&self, id: MemberId) -> Result<(), Refusal> {
        let begun = match &mut *self.engine.lock() {
            Some(engine) => engine.fail_member(now_ms(), id),
            None => Err(not_there_yet()),
        };
        self.post(Event::Tick);
        begun
    }

    /// Takes out the devices of members that leave.
    pub(crate) fn take_members(&self, gone: MemberMask) -> Members {
        let mut taken = NOBODY;
        let mut members = self.members.lock();
        for id in gone.iter() {
            let index = usize::from(id.0);
            taken[index] = members[index].take();
        }
        taken
    }

    /// Shows a device under the disk no more. May wait for others who show or open devices, and they
    /// for memory: not in what requests may wait for.
    pub(crate) fn unlink(&self, device: &Member) {
        let mut links = self.links.lock();
        links.retain(|link| link.devt() != device.devt());
    }

    /// Turns the migration round.
    ///
    /// # Errors
    /// Where there is none, or it is too late.
    pub(crate) fn abort(&self, silent: MemberMask) -> Result<(), Refusal> {
        let turned = match &mut *self.engine.lock() {
            Some(engine) => engine.abort(now_ms(), silent),
            None => Err(not_there_yet()),
        };
        // Its intents are carried out by the thread.
        self.post(Event::Tick);
        turned
    }

    /// Sets the size; the disk has it when it is durable.
    ///
    /// # Errors
    /// While the volume is busy otherwise, and for sizes that can't be.
    pub(crate) fn resize(&self, bytes: u64) -> Result<(), Refusal> {
        let begun = match &mut *self.engine.lock() {
            Some(engine) => engine.resize(now_ms(), bytes),
            None => Err(not_there_yet()),
        };
        // Its intents are carried out by the thread.
        self.post(Event::Tick);
        begun
    }

    /// Looks at the engine, for a moment.
    pub(crate) fn engine<R>(&self, look: impl FnOnce(&KernelEngine) -> R) -> R {
        match &*self.engine.lock() {
            Some(engine) => look(engine),
            None => unreachable!("a volume that was started has an engine"),
        }
    }

    /// Looks at the superblock, for a moment.
    pub(crate) fn superblock<R>(&self, look: impl FnOnce(&Superblock) -> R) -> R {
        self.engine(|engine| look(engine.superblock()))
    }

    /// A member's device.
    pub(crate) fn member(&self, id: MemberId) -> Option<Arc<Member>> {
        self.members.lock()[usize::from(id.0)].clone()
    }

    /// Where bios for its members come from: those that come in later are opened with that.
    pub(crate) fn bios(&self) -> &Arc<BioSet> {
        &self.bios
    }

    /// Reads and writes that failed at a member.
    pub(crate) fn errors(&self, id: MemberId) -> (u64, u64) {
        let errors = &self.errors[usize::from(id.0)];
        (errors.reads.load(Relaxed), errors.writes.load(Relaxed))
    }

    /// The disk, as long as there is one. To be let go before [`Volume::stop`].
    pub(crate) fn disk(&self) -> Option<Arc<Disk<Queue>>> {
        self.disk.lock().clone()
    }

    /// Ends in order: makes all durable, takes the disk away. Nobody has it open any more.
    pub(crate) fn stop(&self) {
        self.post(Event::Stop);
        self.wait_for(|life| life == life::STOPPED);
        self.let_go();
    }

    /// Lets go of all that holds the volume. The thread has nothing left to do.
    fn let_go(&self) {
        let links = core::mem::take(&mut *self.links.lock());
        drop(links);
        let disk = self.disk.lock().take();
        drop(disk);
        let thread = self.thread.lock().take();
        drop(thread);
        // A chore may be followed by another, and may have the disk until it ends, which in turn
        // has requests as long as it is there.
        self.late_queue.drain();
        self.chore_queue.drain();
        self.workers.drain();
    }

    fn wait_for(&self, is_it: impl Fn(u32) -> bool) -> u32 {
        self.lived.wait_idle(|| is_it(self.life.load(Relaxed)));
        self.life.load(Relaxed)
    }

    /// Links members under the disk, as far as there is one.
    fn link(&self, present: &[Present]) {
        let Some(disk) = self.disk() else {
            return;
        };
        for member in present {
            let link = HolderLink::new(member.device.clone(), &disk);
            let kept = link.and_then(|link| Ok(self.links.lock().push(link, GFP_KERNEL)?));
            if kept.is_err() {
                pr_warn!("{} is not shown under its volume\n", member.device.name());
            }
        }
    }
}

/// For requests.
impl Volume {
    /// Takes hold of the map. Any context.
    pub(crate) fn enter(&self, slot: usize) -> Entered<View> {
        self.epochs.enter(slot)
    }

    pub(crate) fn workers(&self) -> &WorkQueue {
        &self.workers
    }

    pub(crate) fn locks(&self) -> &Locks {
        &self.locks
    }

    pub(crate) fn ring(&self) -> &SpinLockIrq<Ring> {
        &self.ring
    }

    pub(crate) fn patches(&self) -> &[Patch] {
        &self.patches
    }

    pub(crate) fn marks(&self) -> &VolumeMarks {
        &self.marks
    }

    pub(crate) fn parked(&self) -> &Parking {
        &self.parked
    }

    pub(crate) fn faulted(&self) -> &Parking {
        &self.faulted
    }

    pub(crate) fn parity_ops(&self, large: bool) -> &Reserve<ParityOp> {
        if large {
            &self.large_ops
        } else {
            &self.small_ops
        }
    }

    /// Any context.
    pub(crate) fn put_parity(&self, mut op: KBox<ParityOp>) {
        op.forget();
        if let Some((op, rq)) = self.parity_ops(op.large).put(op) {
            queue::resume(rq, op, &self.workers);
        }
    }

    pub(crate) fn kits(&self) -> &Reserve<Kit> {
        &self.kits
    }

    pub(crate) fn put_kit(&self, kit: KBox<Kit>) {
        let waiting = self.kits.put(kit);
        debug_assert!(waiting.is_none(), "only workers want kits, and they wait");
    }

    /// Gives back what request `id` holds of the range lock. Any context.
    pub(crate) fn unlock(&self, id: u64) {
        let mut granted = false;
        self.locks.unlock(id, &self.workers, |job| {
            self.inbox.grant(job);
            granted = true;
        });
        if granted {
            self.epochs.waiters().wake_all();
        }
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    pub(crate) fn window(&self) -> Option<Arc<Window>> {
        self.window.lock().clone()
    }

    /// Says how many it is.
    pub(crate) fn count_read_error(&self, id: MemberId) -> u64 {
        self.errors[usize::from(id.0)].reads.fetch_add(1, Relaxed) + 1
    }

    /// The same for several; of the worst of them.
    pub(crate) fn count_read_errors(&self, members: MemberMask) -> u64 {
        let counts = members.iter().map(|id| self.count_read_error(id));
        counts.max().unwrap_or(0)
    }

    pub(crate) fn count_write_error(&self, id: MemberId) {
        self.errors[usize::from(id.0)].writes.fetch_add(1, Relaxed);
    }

    /// A write came: the volume is not quiet. Any context.
    pub(crate) fn note_write(&self) {
        if !self.written.load(Relaxed) {
            self.written.store(true, Relaxed);
        }
    }
}

/// For the worker.
impl Volume {
    pub(crate) fn epochs(&self) -> &Epochs<View> {
        &self.epochs
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub(crate) fn chore_queue(&self) -> &WorkQueue {
        &self.chore_queue
    }

    pub(crate) fn late_queue(&self) -> &WorkQueue {
        &self.late_queue
    }

    pub(crate) fn chores(&self) -> &Mutex<Chores> {
        &self.chores
    }

    /// Memory for a job, if some was made ready.
    pub(crate) fn take_memory(&self, job: usize) -> Option<JobMemory> {
        self.memory.lock().get_mut(job)?.take()
    }

    /// Gives back memory that only a migration needs.
    pub(crate) fn shrink_memory(&self) {
        for memory in self.memory.lock().iter_mut().flatten() {
            memory.shrink();
        }
    }

    pub(crate) fn members(&self) -> &Mutex<Members> {
        &self.members
    }

    pub(crate) fn slots(&self) -> &Mutex<[Option<usize>; MAX_MEMBERS]> {
        &self.slots
    }

    pub(crate) fn engine_place(&self) -> &Mutex<Option<KBox<KernelEngine>>> {
        &self.engine
    }

    pub(crate) fn meter(&self) -> &Mutex<Meter> {
        &self.meter
    }

    /// Sets the memory of the window that is being rewritten.
    pub(crate) fn set_window(&self, window: Option<Arc<Window>>) {
        let old = core::mem::replace(&mut *self.window.lock(), window);
        drop(old);
    }

    /// Whether there were writes since this was asked last.
    pub(crate) fn take_written(&self) -> bool {
        self.written.xchg(false, Relaxed)
    }

    pub(crate) fn set_ready(&self) {
        self.set_life(life::READY);
    }

    /// No more writes; and if it was not ready yet, it never will be.
    pub(crate) fn set_failed(&self) {
        self.failed.store(true, Relaxed);
        if self.life.load(Relaxed) == life::STARTING {
            self.set_life(life::FAILED);
        }
    }

    pub(crate) fn set_stopped(&self) {
        self.set_life(life::STOPPED);
    }

    fn set_life(&self, life: u32) {
        self.life.store(life, Relaxed);
        self.lived.wake_all();
    }

    /// Tells who shows the volume to users. *Task* context.
    pub(crate) fn changed(&self) {
        self.observer.changed();
    }
}

fn not_there_yet() -> Refusal {
    refusal!(EBUSY, "the volume is not there yet; wait for it")
}

/// Milliseconds since some point in the past.
pub(crate) fn now_ms() -> u64 {
    now_ns() / 1_000_000
}
