// SPDX-License-Identifier: GPL-2.0
//! The start of a volume: memory, thread, first commit, and then its disk.

use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::{atomic::Atomic, new_mutex, Arc};
use restripe_core::geometry::{MemberId, MAX_MEMBERS};
use restripe_core::journal::{Patch, Ring};
use restripe_core::ondisk::{FoundStash, Superblock};
use restripe_core::placement::Set;
use restripe_core::refusal;
use restripe_core::stripe::BAND;
use restripe_core::text::{Refusal, Text};

use super::limits::{devices, limits};
use super::locks::Locks;
use super::marks::no_marks;
use super::{life, Errors, Inbox, Members, Meter, Observer, Parking, Reserve, Volume, NOBODY};
use super::{MAX_TAGS, SMALL_SCRATCH};
use crate::queue::{Kit, ParityOp, Queue};
use crate::superblock;
use crate::sys::block::mq::{TagSet, TagSetConfig};
use crate::sys::block::{Disk, Member};
use crate::sys::mem::MAX_BUFFER;
use crate::sys::sync::{new_spinlock_irq, Epochs, WaitQueue};
use crate::sys::work::{cpus, WorkQueue, WorkQueueKind};
use crate::worker::{self, Birth, Chores, JobMemory};

/// A member that is there.
pub(crate) struct Present {
    pub(crate) id: MemberId,
    pub(crate) device: Arc<Member>,
    /// Which of its superblocks is its last durable one, if it has one.
    pub(crate) slot: Option<usize>,
}

impl Present {
    /// The devices of all these, by their rows in the table.
    pub(crate) fn devices(present: &[Present]) -> Members {
        let mut members = NOBODY;
        for member in present {
            members[usize::from(member.id.0)] = Some(member.device.clone());
        }
        members
    }
}

/// What a volume is started from.
pub(crate) struct Start {
    /// As found, or made; the first commit makes it durable. It says which members are missing.
    pub(crate) superblock: KBox<Superblock>,
    pub(crate) members: KVec<Present>,
    /// The valid stash that was found.
    pub(crate) stash: Option<FoundStash>,
    /// The epoch whose journal is to be replayed, if the volume was not stopped in order.
    pub(crate) replay: Option<u64>,
    /// What is read in the place of what lies there, because nothing is replayed.
    pub(crate) patches: KVVec<Patch>,
    pub(crate) read_only: bool,
    pub(crate) observer: Arc<dyn Observer>,
}

/// Requests in flight in each hardware queue.
const DEPTH: u32 = 128;
/// Parity writes at once: small ones, and such that need more scratch.
const SMALL_OPS: usize = 64;
const LARGE_OPS: usize = 8;
/// Requests at once that a worker carries out step by step.
const KITS: usize = 4;

impl Volume {
    /// Starts a volume: when this returns, its disk is there.
    ///
    /// # Errors
    /// Where there is no memory, and where members fail that it can't do without.
    pub(crate) fn start(start: Start) -> Result<Arc<Volume>, Refusal> {
        let no_memory = |_: Error| {
            refusal!(
                ENOMEM,
                "there is no memory to start the volume; free some and try again"
            )
        };
        let tags = tag_set().map_err(no_memory)?;
        let name =
            CString::try_from_fmt(fmt!("{}", start.superblock.name.as_str())).map_err(no_memory)?;
        let (volume, birth, present) = make(start, tags.hw_queues()).map_err(no_memory)?;
        match worker::spawn(&volume, &name, birth) {
            Ok(thread) => *volume.thread.lock() = Some(thread),
            Err(e) => return Err(no_memory(e)),
        }
        let life = volume.wait_for(|life| life != life::STARTING);
        let shown = if life == life::READY {
            volume.show(&name, tags, &present)
        } else {
            Err(volume.why_not())
        };
        if let Err(refusal) = shown {
            volume.stop();
            return Err(refusal);
        }
        Ok(volume)
    }

    fn why_not(&self) -> Refusal {
        let Some(blocked) = self
            .engine
            .lock()
            .as_ref()
            .map(|engine| engine.blocked().map(Text::<160>::from))
        else {
            return refusal!(
                ENOMEM,
                "there is no memory to start the volume; free some and try again"
            );
        };
        let why = blocked.unwrap_or_else(|| Text::from("a member takes no superblock"));
        refusal!(
            EIO,
            "the volume can't be started: {}; see the kernel log for the device that fails",
            why
        )
    }

    /// Makes the disk, and everything that shows its members.
    #[inline(never)]
    fn show(
        self: &Arc<Self>,
        name: &CStr,
        tags: Arc<TagSet<Queue>>,
        present: &[Present],
    ) -> Result<(), Refusal> {
        let no_disk = |e: Error| {
            refusal!(
                EIO,
                "the kernel does not take the volume's disk (error {}); see the kernel log",
                e.to_errno()
            )
        };
        let (layout, logical_block, size, read_only) = self.engine(|engine| {
            let map = engine.map();
            let sb = engine.superblock();
            (map.source.layout, sb.logical_block, map.size, map.read_only)
        });
        let members = self.members.lock().clone();
        let disk = Disk::new(
            name.to_str().map_err(|e| no_disk(e.into()))?,
            tags,
            self.clone(),
            &limits(&layout, logical_block, &members),
            devices(&members),
            size.0,
        )
        .map_err(no_disk)?;
        disk.set_read_only(read_only);
        let disk = Arc::new(disk, GFP_KERNEL).map_err(|e| no_disk(e.into()))?;
        *self.disk.lock() = Some(disk.clone());
        disk.add().map_err(no_disk)?;
        // A partition scan may have been the first use of a device that fails now.
        self.link(present);
        Ok(())
    }

    /// Fits the disk to the volume as it is now. *Task* context; waits for requests under way, so
    /// not in the thread that they may wait for.
    pub(crate) fn refit(&self) {
        let Some(disk) = self.disk() else {
            return;
        };
        let (layout, logical_block, size) = self.engine(|engine| {
            let sb = engine.superblock();
            (engine.map().source.layout, sb.logical_block, engine.size())
        });
        let members = self.members.lock().clone();
        let limits = limits(&layout, logical_block, &members);
        if disk.set_limits(&limits, devices(&members)).is_err() {
            pr_warn!("the disk keeps its old queue limits\n");
        }
        disk.set_capacity(size.0);
        self.changed();
    }
}

fn tag_set() -> Result<Arc<TagSet<Queue>>> {
    // CAST: At most 2048.
    let most = MAX_TAGS as u32 / (2 * DEPTH);
    TagSet::new(TagSetConfig {
        queues: cpus().clamp(1, most),
        depth: DEPTH,
    })
}

/// Bytes of scratch that a row of any of the sets needs, band by band.
pub(crate) fn row_scratch(sets: &[Set]) -> usize {
    let slots = sets.iter().map(|set| usize::from(set.layout.slots)).max();
    let bytes = slots.unwrap_or(1) * BAND.bytes() as usize;
    bytes.clamp(MAX_BUFFER / 4, MAX_BUFFER)
}

type Made = (Arc<Volume>, Birth, KVec<Present>);

/// In a frame of its own: it is large.
#[inline(never)]
fn make(start: Start, hw_queues: usize) -> Result<Made> {
    let members = Present::devices(&start.members);
    let mut slots = [None; MAX_MEMBERS];
    for member in &start.members {
        slots[usize::from(member.id.0)] = member.slot;
    }
    let first = start.members.first().ok_or(EINVAL)?;
    let bios = first.device.bios().clone();
    let memory = JobMemory::for_jobs(&start.superblock)?;
    let (view, spares) = worker::views(&start.superblock, start.read_only, &members)?;
    let epochs = Epochs::new(hw_queues, view)?;
    // What a migration may come to need: any number of slots.
    let scratch = MAX_BUFFER;
    let (locks, parked, faulted) = (Locks::new()?, Parking::new()?, Parking::new()?);
    let inbox = Inbox::new()?;
    let marks = no_marks()?;
    // CAST: 64 KiB.
    let small_ops = Reserve::new(SMALL_OPS, || ParityOp::new(SMALL_SCRATCH as usize, false))?;
    let large_ops = Reserve::new(LARGE_OPS, || ParityOp::new(scratch, true))?;
    let kits = Reserve::new(KITS, || Kit::new(scratch))?;
    let (observer, read_only) = (start.observer, start.read_only);
    let patches = start.patches;
    let chores = Chores::new()?;
    let workers = WorkQueue::new(c"restripe_io", WorkQueueKind::PerCpu)?;
    let chore_queue = WorkQueue::new(c"restripe_chores", WorkQueueKind::Unbound)?;
    let late_queue = WorkQueue::new(c"restripe_late", WorkQueueKind::Unbound)?;
    let volume = Arc::pin_init(
        pin_init!(Volume {
            epochs,
            locks <- locks,
            ring <- new_spinlock_irq!(Ring::default()),
            patches,
            marks,
            parked <- parked,
            faulted <- faulted,
            inbox <- inbox,
            small_ops <- small_ops,
            large_ops <- large_ops,
            kits <- kits,
            window <- new_spinlock_irq!(None),
            bios,
            errors: [const { Errors::new() }; MAX_MEMBERS],
            life: Atomic::new(life::STARTING),
            failed: Atomic::new(false),
            lived <- WaitQueue::new(),
            written: Atomic::new(false),
            workers,
            chore_queue,
            late_queue,
            chores <- new_mutex!(chores),
            memory <- new_mutex!(memory),
            members <- new_mutex!(members),
            slots <- new_mutex!(slots),
            engine <- new_mutex!(None),
            meter <- new_mutex!(Meter::default()),
            links <- new_mutex!(KVec::new()),
            disk <- new_mutex!(None),
            thread <- new_mutex!(None),
            observer,
        }),
        GFP_KERNEL,
    )?;
    let birth = Birth {
        superblock: start.superblock,
        before: superblock::empty()?,
        stash: start.stash,
        replay: start.replay,
        read_only,
        spares,
    };
    Ok((volume, birth, start.members))
}

impl Errors {
    const fn new() -> Self {
        Errors {
            reads: Atomic::new(0),
            writes: Atomic::new(0),
        }
    }
}
