// SPDX-License-Identifier: GPL-2.0
//! Chores: what the engine wants done that takes I/O. There is one for each job, one for commits
//! and one for the disk; each is away in a work queue while it has something to do.

use kernel::prelude::*;
use kernel::sync::Arc;
use restripe_core::admit::Map;
use restripe_core::bitmap::Bitmap;
use restripe_core::engine::{Event, ScrubKind, Which, Who, JOBS};
use restripe_core::geometry::{MemberId, MemberMask, Physical, Range, MAX_MEMBERS};
use restripe_core::list::List;
use restripe_core::ondisk::{StashHeader, Superblock, Uuid, SUPERBLOCK_SIZE};
use restripe_core::placement::Set;
use restripe_core::rules::Rules;
use restripe_core::stripe::Plan;

use super::memory::JobMemory;
use crate::queue::empty_plan;
use crate::superblock;
use crate::sys::block::bio::{IoBox, IoContext, Outcome};
use crate::sys::block::Member;
use crate::sys::mem::Buffer;
use crate::volume::{Members, Volume, Window, NOBODY};

/// The chore of the engine's control.
pub(super) const CONTROL: usize = JOBS;
/// The chore that changes the disk's limits and size.
pub(super) const DISK: usize = JOBS + 1;
/// The chore that sees members off.
const LEAVE: usize = JOBS + 2;
/// The chore that reads and writes bitmaps.
pub(super) const MARKS: usize = JOBS + 3;
/// The chore that flushes members before marks are cleared.
pub(super) const SWEEP: usize = JOBS + 4;
const CHORES: usize = JOBS + 5;

/// What a chore has to do.
#[derive(Clone, Copy)]
pub(super) enum Task {
    Load {
        job: u8,
        range: Range,
    },
    Store {
        job: u8,
        which: Which,
        range: Range,
        whole: bool,
    },
    /// The journal of that epoch, but for rows in the stashed window.
    Replay {
        epoch: u64,
        window: Option<Range>,
    },
    /// Of the members at `places`.
    LoadMarks {
        bitmap: Bitmap,
        epoch: u64,
    },
    /// To the members at `places`.
    WriteBitmap {
        bitmap: Bitmap,
    },
    LoadStash {
        job: u8,
        header: StashHeader,
    },
    StashData {
        job: u8,
        range: Range,
    },
    StashHeader {
        job: u8,
        migration: Uuid,
        number: u64,
        range: Range,
    },
    Scrub {
        job: u8,
        which: Which,
        range: Range,
        kind: ScrubKind,
        /// Who is alive, and who is being rebuilt.
        members: (MemberMask, MemberMask),
    },
    /// It has their devices.
    Dismiss {
        members: MemberMask,
    },
    Flush {
        who: Who,
        members: MemberMask,
    },
    Commit {
        members: MemberMask,
        slots: Slots,
    },
    /// Heads of the members at `places`, each with its place in the reserve.
    MoveHeads {
        back: bool,
    },
    /// In place of the heads of these members.
    Sign {
        members: MemberMask,
    },
    Refit,
}

/// The superblock slot (0 or 1) that each member's commit goes to.
pub(super) type Slots = [Option<u8>; MAX_MEMBERS];

/// What does it, and what it works with.
pub(super) struct Chore {
    index: usize,
    task: Option<Task>,
    /// There while it is away.
    volume: Option<Arc<Volume>>,
    pub(super) devices: Members,
    pub(super) map: KBox<Map>,
    pub(super) plan: KBox<Plan>,
    /// Places on members that the task is about: stashes, superblocks, bitmaps, heads.
    pub(super) places: List<(MemberId, Physical), MAX_MEMBERS>,
    pub(super) memory: JobMemory,
    /// What a commit writes, or a replay goes by.
    pub(super) superblock: Option<KBox<Superblock>>,
    /// Superblocks, a stash's header, a bitmap, or a head.
    pub(super) bytes: Buffer,
}

impl Chore {
    /// An open member.
    pub(super) fn device(devices: &Members, id: MemberId) -> Option<&Member> {
        devices[usize::from(id.0)].as_deref()
    }

    /// One of the map's sets.
    pub(super) fn set(map: &Map, which: Which) -> &Set {
        match (which, &map.target) {
            (Which::Target, Some(target)) => target,
            _ => &map.source,
        }
    }

    /// Shares the data of its piece.
    pub(super) fn share(&mut self) -> Option<Arc<Window>> {
        self.memory.share()
    }

    /// Does it; the answer for the engine, if there is one.
    fn carry_out(&mut self, volume: &Volume, task: Task) -> Option<Event> {
        Some(match task {
            Task::Load { job, range } => self.load(volume, job, range),
            Task::Store {
                job,
                which,
                range,
                whole,
            } => Event::Stored {
                job,
                failed: self.store(which, range, whole),
            },
            Task::Replay { epoch, window } => Event::Replayed {
                failed: self.replay(epoch, window),
            },
            Task::LoadMarks { bitmap, epoch } => {
                self.load_marks(volume.marks(), &bitmap, epoch);
                Event::MarksLoaded
            }
            Task::WriteBitmap { bitmap } => Event::BitmapWritten {
                failed: self.write_bitmap(volume.marks(), &bitmap),
            },
            Task::LoadStash { job, header } => Event::Loaded {
                job,
                failed: self.load_stash(&header),
            },
            Task::StashData { job, range } => Event::Stashed {
                job,
                failed: self.stash_data(range),
            },
            Task::StashHeader {
                job,
                migration,
                number,
                range,
            } => Event::Stashed {
                job,
                failed: self.stash_header(migration, number, range),
            },
            Task::Scrub {
                job,
                which,
                range,
                kind,
                members,
            } => Event::Scrubbed {
                job,
                failed: self.scrub(volume, (which, range, kind), members),
            },
            Task::Dismiss { members } => {
                self.dismiss(volume);
                Event::Dismissed { members }
            }
            Task::Flush { who, members } => Event::Flushed {
                who,
                failed: self.flush(members),
            },
            Task::Commit { members, slots } => Event::Committed {
                failed: self.commit(volume, members, slots),
            },
            Task::MoveHeads { back } => Event::HeadsMoved {
                failed: self.move_heads(back),
            },
            Task::Sign { members } => Event::Signed {
                failed: self.sign(members),
            },
            Task::Refit => {
                volume.refit();
                return None;
            }
        })
    }
}

impl IoContext for Chore {
    fn io_done(_io: IoBox<Chore>, _outcome: Outcome) {
        unreachable!("chores wait for their I/O");
    }

    fn work(mut io: IoBox<Chore>) {
        let (Some(volume), Some(task)) = (io.volume.take(), io.task.take()) else {
            return;
        };
        if let Some(memory) = volume.take_memory(io.index) {
            io.memory = memory;
        }
        let answer = io.carry_out(&volume, task);
        for device in &mut io.devices {
            *device = None;
        }
        // Home first: the answer may lead to its next task.
        volume.chores().lock().come_home(io, &volume);
        if let Some(event) = answer {
            volume.post(event);
        }
    }
}

/// The chores that are at home.
pub(crate) struct Chores {
    home: [Option<IoBox<Chore>>; CHORES],
    /// The disk's chore has to go again.
    refit: bool,
    /// Members that are to be seen off next, and the devices of those that are there.
    leaving: MemberMask,
    leavers: Members,
}

impl Chores {
    pub(crate) fn new() -> Result<Chores> {
        let mut home = [const { None }; CHORES];
        for (index, place) in home.iter_mut().enumerate() {
            let is_control = index == CONTROL;
            let len = match index {
                CONTROL => MAX_MEMBERS * SUPERBLOCK_SIZE,
                LEAVE => SUPERBLOCK_SIZE,
                _ => kernel::page::PAGE_SIZE,
            };
            let superblock = if is_control {
                Some(superblock::empty()?)
            } else {
                None
            };
            let chore = Chore {
                index,
                task: None,
                volume: None,
                devices: NOBODY,
                map: KBox::new(nothing(), GFP_KERNEL)?,
                plan: empty_plan()?,
                places: List::new(),
                memory: JobMemory::default(),
                superblock,
                bytes: Buffer::new(len)?,
            };
            *place = Some(IoBox::new(chore, GFP_KERNEL)?);
        }
        Ok(Chores {
            home,
            refit: false,
            leaving: MemberMask::EMPTY,
            leavers: NOBODY,
        })
    }

    pub(super) fn at_home(&mut self, index: usize) -> Option<&mut Chore> {
        self.home[index].as_deref_mut()
    }

    /// Sends a chore to its task. The engine gives it no other before it has the answer.
    pub(super) fn start(&mut self, index: usize, task: Task, volume: &Arc<Volume>) {
        let Some(mut chore) = self.home[index].take() else {
            pr_err!("a chore was asked for twice\n");
            return;
        };
        chore.task = Some(task);
        chore.devices = match index {
            LEAVE => core::mem::replace(&mut self.leavers, NOBODY),
            _ => volume.members().lock().clone(),
        };
        chore.volume = Some(volume.clone());
        let queue = match index {
            LEAVE | DISK => volume.late_queue(),
            _ => volume.chore_queue(),
        };
        chore.enqueue(queue);
    }

    /// Has the disk fitted to the volume, now or when that is done that is being done.
    pub(super) fn refit(&mut self, volume: &Arc<Volume>) {
        if self.home[DISK].is_some() {
            self.start(DISK, Task::Refit, volume);
        } else {
            self.refit = true;
        }
    }

    /// Has members seen off, now or when those are that left before.
    pub(super) fn dismiss(&mut self, members: MemberMask, devices: Members, volume: &Arc<Volume>) {
        self.leaving = self.leaving | members;
        for (place, device) in self.leavers.iter_mut().zip(devices) {
            *place = place.take().or(device);
        }
        self.leave(volume);
    }

    fn leave(&mut self, volume: &Arc<Volume>) {
        if self.home[LEAVE].is_some() && !self.leaving.is_empty() {
            let members = core::mem::replace(&mut self.leaving, MemberMask::EMPTY);
            self.start(LEAVE, Task::Dismiss { members }, volume);
        }
    }

    fn come_home(&mut self, chore: IoBox<Chore>, volume: &Arc<Volume>) {
        let index = chore.index;
        self.home[index] = Some(chore);
        if index == LEAVE {
            self.leave(volume);
        }
        if index == DISK && core::mem::take(&mut self.refit) {
            self.start(DISK, Task::Refit, volume);
        }
    }

    /// Gives back memory that only a migration needs.
    pub(super) fn shrink(&mut self) {
        for chore in self.home.iter_mut().flatten() {
            chore.memory.shrink();
        }
    }
}

/// The map of a chore that was never used.
fn nothing() -> Map {
    Map {
        size: Default::default(),
        source: Set::default(),
        target: None,
        alive: MemberMask::EMPTY,
        rebuilding: MemberMask::EMPTY,
        clean: true,
        hold: true,
        journal: None,
        bitmap: None,
        gap_waits: false,
        read_only: true,
        rules: Rules::default(),
    }
}
