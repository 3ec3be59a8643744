// SPDX-License-Identifier: GPL-2.0
//! What a volume does besides serving requests: commits, the mover, resync and check.
//!
//! Events in, [`Intent`]s out. One engine serves one volume and is driven by one
//! thread of the executor (a kernel worker, or the simulator): it calls
//! [`Engine::handle`] with what has happened and then carries out every intent
//! of [`Engine::take`], each of which is answered by the event its text names.
//!
//! * `control` takes one durable step at a time (DESIGN I4): flush, superblocks, publish, drain.
//! * `mover` copies pieces from source to target, through the stash where it must (I1 to I3).
//! * `rebuild` has members fail, come, go, and writes those anew that lack what is theirs.
//! * `bitmap` has regions marked before they are written to, and unmarked later.
//! * `scrub` makes copies and parity true, or compares them (I8).

mod bitmap;
mod control;
mod journal;
mod mover;
mod rebuild;
mod scrub;
mod status;

use core::ops::DerefMut;

use crate::admit::{Cursor, Map};
use crate::bitmap::{Bitmap, Swept};
use crate::geometry::{Logical, MemberId, MemberMask, Range, Sectors};
use crate::list::List;
use crate::ondisk::{BitmapMode, FoundStash, JournalMode, Member, StashHeader, Superblock};
use crate::pace::Pace;
use crate::rules::{Rule, Rules};
use crate::shape::Change;
use crate::text::{Refusal, Text};

pub use crate::shape::PIECE;
pub use control::{map_of, Step};
pub use scrub::{Scrub, ScrubKind};
pub use status::SyncAction;

/// Pieces in flight at once, each with a buffer of its own.
pub const JOBS: usize = 4;
/// Longest time between two commits of a moving cursor, in milliseconds (DESIGN I4).
pub const COMMIT_INTERVAL: u64 = 10_000;

/// Which of a migrating volume's two sets; a volume at rest has a source only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Which {
    #[default]
    Source,
    Target,
}

/// Who asked for something, so that the answer finds its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    Control,
    Job(u8),
    /// A sweep of the bitmap.
    Marks,
}

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Event {
    /// Time has passed.
    #[default]
    Tick,
    /// Answers `Lock`.
    Locked {
        job: u8,
    },
    /// Answers `Load` and `LoadStash`; `failed`: members that could not be read.
    Loaded {
        job: u8,
        failed: MemberMask,
    },
    /// Answers `Load` too: these members, which work, can't be read for what they hold of `at`, and
    /// nothing else tells what it is.
    Unreadable {
        job: u8,
        members: MemberMask,
        at: Logical,
    },
    /// Answers `StashData` and `StashHeader`.
    Stashed {
        job: u8,
        failed: MemberMask,
    },
    /// Answers `Store`.
    Stored {
        job: u8,
        failed: MemberMask,
    },
    /// Answers `Scrub`.
    Scrubbed {
        job: u8,
        failed: MemberMask,
    },
    /// A check found copies or parity that differ in this range; before the `Scrubbed` of its piece.
    Mismatch {
        range: Range,
    },
    /// Answers `Flush`.
    Flushed {
        who: Who,
        failed: MemberMask,
    },
    /// Answers `Commit`.
    Committed {
        failed: MemberMask,
    },
    /// Answers `Dismiss`.
    Dismissed {
        members: MemberMask,
    },
    /// Answers `MoveHeads`.
    HeadsMoved {
        failed: MemberMask,
    },
    /// Answers `Sign`.
    Signed {
        failed: MemberMask,
    },
    /// Answers `Drain`.
    Drained {
        who: Who,
    },
    /// A write met a map that is clean.
    WantActive,
    /// The journal has no room for a write, or soon has none.
    WantRoom,
    /// Answers `Replay`.
    Replayed {
        failed: MemberMask,
    },
    /// A write wants marks.
    WantMarks,
    /// Answers `LoadMarks`.
    MarksLoaded,
    /// Answers `WriteBitmap`.
    BitmapWritten {
        failed: MemberMask,
    },
    /// Answers `Sweep`.
    Swept(Swept),
    /// Answers `NextMarked`.
    MarkedRun {
        from: Logical,
        run: Range,
    },
    /// The user's `bitmap`.
    Bitmap(BitmapMode),
    /// The user's `journal`.
    Journal(JournalMode),
    /// A request failed at these members; it waits for a `Settle`. Said before the
    /// request leaves its map, so that no drain ends without its being known.
    Faulted {
        members: MemberMask,
    },
    /// A write of the gap can't read at the target what parity needs, because of these members, which
    /// work; it waits for a `Settle`. Said when `Faulted` would be.
    GapUnread {
        members: MemberMask,
    },
    /// No write for a while: the superblock may say clean.
    Quiet,
    /// The user's `pause` and `resume`.
    Pause,
    Resume,
    /// The user's cap in KiB a second; 0 is none.
    SpeedMax(u32),
    /// The user's sector of the volume at which a migration stops; None is its end.
    SyncMax(Option<Logical>),
    /// The user's `check`, `repair` and `idle`.
    Check,
    Repair,
    Idle,
    /// Nobody uses the volume any more: end in order.
    Stop,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Intent {
    /// Take the range (keys of the volume's range lock) for a job.
    Lock { job: u8, start: u64, end: u64 },
    /// Give it back. No answer.
    Unlock { job: u8 },
    /// Write once more what the records say that [`counts`](crate::journal::counts) for
    /// `epoch` and [`replays`](crate::journal::replays) take, in the order of their numbers.
    Replay { epoch: u64 },
    /// Have the [`Marks`](crate::bitmap::Marks) say what the bitmaps of the members that take part
    /// say: reset to none, and each [merged](crate::bitmap::Marks::merge).
    LoadMarks { bitmap: Bitmap, epoch: u64 },
    /// Reset the marks to all of them if `all` says so, compose them, and write them to these
    /// members' bitmaps, durably (FUA).
    WriteBitmap {
        bitmap: Bitmap,
        members: MemberMask,
        clears: bool,
        all: bool,
    },
    /// What was written last [counts](crate::bitmap::Marks::written). No answer.
    Marked { all: bool },
    /// [Sweep](crate::bitmap::Marks::sweep) the marks.
    Sweep {
        bitmap: Bitmap,
        below: Logical,
        capacity: Sectors,
    },
    /// Say what the [next marked](crate::bitmap::Marks::next_marked) regions are.
    NextMarked { from: Logical },
    /// Read `range` at the source into the job's buffer, zeroes behind the volume's end. What a
    /// member can't be read for is made of the rest and written back, as [`mend`](crate::mend) says.
    Load { job: u8, range: Range },
    /// Read a stashed window into the job's buffer: from the first of `members` whose data crc is right.
    LoadStash {
        job: u8,
        members: MemberMask,
        header: StashHeader,
    },
    /// Write the buffer to the stash of each of `members`.
    StashData {
        job: u8,
        members: MemberMask,
        range: Range,
    },
    /// Write the header to the stash of each of `members`; the executor adds the data's crc.
    StashHeader {
        job: u8,
        members: MemberMask,
        number: u64,
        range: Range,
    },
    /// Write the buffer to a set in whole rows, parity too, but, unless it is to be `whole`, not
    /// what [`footprint::is_in_place`](crate::footprint::is_in_place) says lies in its place already.
    Store {
        job: u8,
        which: Which,
        range: Range,
        whole: bool,
    },
    /// Resync, check or repair `range` (whole rows) of a set, with only `alive`; or write
    /// there what the members `onto` are to hold.
    Scrub {
        job: u8,
        which: Which,
        range: Range,
        kind: ScrubKind,
        alive: MemberMask,
        onto: MemberMask,
    },
    /// Flush these members' caches.
    Flush { who: Who, members: MemberMask },
    /// Write [`Engine::superblock`] to each of these members, into the slot that
    /// [`Engine::next_slot`] names, durably (FUA).
    Commit { members: MemberMask },
    /// Copy the first 128 KiB of these members to the head region of their reserve, or back.
    MoveHeads { members: MemberMask, back: bool },
    /// Write a signature over the first 4096 bytes of these members and zeroes over the
    /// rest of their first 128 KiB, durably (FUA).
    Sign { members: MemberMask },
    /// These are no members any more: wipe both superblocks of each, the older one first, each
    /// durably, and its signature, and let go of it. What fails there is of no matter.
    Dismiss { members: MemberMask },
    /// From now on admit requests under [`Engine::map`] and [`Engine::cursor`];
    /// writes that waited for a map are admitted anew. No answer.
    #[default]
    Publish,
    /// Answer when all requests admitted before now have ended.
    Drain { who: Who },
    /// Requests that failed are admitted anew if all members they failed at are
    /// among `retry`. If that is empty they end with EIO, and of any others
    /// `Faulted` is said again. No answer.
    Settle { retry: MemberMask },
    /// The superblock is durable and the map is true: the volume can be used. No answer.
    Ready,
    /// The volume takes no more writes, and before `Ready` it can't be used at all. No answer.
    Failed,
    /// The volume has this many sectors now. No answer.
    Resized { size: Sectors },
    /// Something that users poll has changed. No answer.
    Changed,
    /// All is durable and at rest; the engine ends. No answer.
    Stopped,
}

/// Most intents that one event can lead to.
pub const MAX_INTENTS: usize = 48;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Kind {
    #[default]
    Move,
    /// Rewritten in place of what the source still holds, out of the stash.
    Window,
    /// Like a window, but over free places: nothing else runs, and writes wait until
    /// it is committed. For a parity target short of a member, in whose gap writes
    /// could not be kept true at both sets.
    Alone,
    Scrub,
}

impl Kind {
    /// Whether no other piece runs beside it, and a commit of its own ends it.
    fn is_alone(self) -> bool {
        matches!(self, Kind::Window | Kind::Alone)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum JobState {
    #[default]
    Idle,
    Locking,
    Loading,
    StashData,
    StashDataFlush,
    StashHeader,
    StashHeaderFlush,
    /// The window is published; readers of the source are still about.
    WindowDrain,
    Storing,
    Scrubbing,
    /// Failed at members; goes on when that is settled.
    Failed,
    /// Done, and waiting for its turn in order.
    Done,
    /// The window is rewritten; the next commit retires its stash.
    Retiring,
    /// A window whose target is lost is being written to the source again.
    GivingBack,
    /// It is there, and being flushed.
    GivenBack,
    /// Durably. Its stash is retired together with the journal's lap, which may tell of its rows as they
    /// were.
    Returned,
    /// Not to count at the target, which a superblock has to say: its range is let go when the number
    /// of its stash is durably retired, or it goes back to the source before that.
    Recanting,
    /// Not in the window's memory any more, but its readers are still about.
    Leaving,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Job {
    kind: Kind,
    state: JobState,
    range: Range,
    /// Members that were alive when its transfers were last asked for.
    alive: MemberMask,
    /// Nothing of it is taken to be in its place.
    whole: bool,
}

/// The state of a volume's background work. `S` is where a superblock lives: a box.
pub struct Engine<S: DerefMut<Target = Superblock>> {
    /// As it will be, or is, committed.
    sb: S,
    /// What `sb` was before a migration began, until that is durable.
    before: S,
    /// What a piece of the mover aims at.
    piece: Sectors,
    /// As published.
    map: Map,
    cursor: Cursor,
    /// Below this, nothing admitted while it was source is under way any more.
    safe: Logical,
    now: u64,
    out: List<Intent, MAX_INTENTS>,
    control: control::Control,
    marks: bitmap::Marks,
    jobs: [Job; JOBS],
    /// End of the last piece started.
    next: Logical,
    /// The next piece would overwrite what only a commit frees.
    need_commit: bool,
    last_commit: u64,
    pace: Pace,
    paused: bool,
    blocked: Option<Text<160>>,
    /// Pieces under way when the migration was blocked end for nothing.
    giving_up: bool,
    /// A resync failed at members that can't be done without; it is tried again when the user says so.
    scrub_blocked: bool,
    stash: Option<StashHeader>,
    /// Members that hold it.
    stash_on: MemberMask,
    /// The epoch whose journal is to be replayed first.
    replay: Option<u64>,
    /// Of the records that are written now.
    lap: u64,
    /// `stash` was found at assembly, on these members, and not all that are to have it do yet.
    restash: Option<MemberMask>,
    scrub: Option<Scrub>,
    /// Of members, not in the superblock yet.
    change: Option<Change>,
    /// New in the superblock that is not durable yet.
    coming: MemberMask,
    /// Removed from the superblock that is not durable yet.
    leaving: MemberMask,
    /// What members can't be rebuilt for; it is tried again when the user says so.
    recover_blocked: Option<Text<160>>,
    /// Where the user wants a rebuild to stop.
    sync_max: Option<Logical>,
    stopping: bool,
    stopped: bool,
    read_only: bool,
    started: bool,
    rules: Rules,
}

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// An engine for the volume of `sb`, which the first commit makes durable
    /// (unless `read_only`). `before` is a place of the engine's own, its content is
    /// of no matter. `stash` is the valid stash found, if any. Present and
    /// in-sync members are those that `sb` says are in sync.
    pub fn new(mut sb: S, before: S, stash: Option<FoundStash>, read_only: bool, now: u64) -> Self {
        if let Some(stash) = &stash {
            rebuild::make_window(&mut sb, stash.header.range);
        }
        let map = control::map_of(&sb, read_only);
        let cursor = control::cursor_of(&sb);
        let migration = sb.migration;
        Engine {
            piece: PIECE,
            map,
            cursor,
            safe: cursor.durable,
            now,
            out: List::new(),
            control: control::Control::default(),
            marks: bitmap::Marks::default(),
            jobs: [Job::default(); JOBS],
            next: cursor.copied,
            need_commit: false,
            last_commit: now,
            pace: Pace::new(migration.map_or(0, |m| m.speed_max)),
            paused: migration.is_some_and(|m| m.paused),
            blocked: None,
            giving_up: false,
            restash: stash.map(|stash| stash.members),
            scrub_blocked: false,
            stash: stash.map(|stash| stash.header),
            stash_on: MemberMask::EMPTY,
            replay: None,
            lap: sb.journal.retired + 1,
            scrub: None,
            change: None,
            coming: MemberMask::EMPTY,
            leaving: MemberMask::EMPTY,
            recover_blocked: None,
            sync_max: None,
            stopping: false,
            stopped: false,
            read_only,
            started: false,
            rules: Rules::default(),
            sb,
            before,
        }
    }

    /// Breaks a rule on purpose, to show that the simulator notices. Only a build with
    /// `broken-rules` can make [`Rules`] in which any is broken.
    pub fn break_rules(&mut self, rules: Rules) {
        self.rules = rules;
        self.map.rules = rules;
    }

    /// Sets how long a piece of the mover aims to be, where the executor's memory
    /// asks for another length than [`PIECE`]. Before [`start`](Self::start).
    pub fn set_piece(&mut self, piece: Sectors) {
        self.piece = piece;
    }

    /// Begins: replays the journal, loads the bitmap and the stash, where there is any, makes the superblock
    /// durable, says `Ready`.
    pub fn start(&mut self) {
        if let Some(epoch) = self.replay.filter(|_| !self.read_only) {
            return self.emit(Intent::Replay { epoch });
        }
        self.load_found();
    }

    fn load_found(&mut self) {
        if !self.load_marks() {
            self.load_found_stash();
        }
    }

    fn load_found_stash(&mut self) {
        if let Some(header) = self.stash {
            let members = self.map.flush_members();
            let range = header.range;
            self.jobs[0] = Job {
                kind: Kind::Window,
                state: JobState::Loading,
                range,
                alive: members,
                whole: true,
            };
            self.emit(Intent::LoadStash {
                job: 0,
                members,
                header,
            });
            return;
        }
        self.start_control();
    }

    fn start_control(&mut self) {
        if self.read_only {
            self.started = true;
            self.emit(Intent::Publish);
            self.emit(Intent::Ready);
            return;
        }
        self.begin(Step::Epoch);
    }

    /// Takes note of an event; what follows from it is in [`take`](Self::take).
    pub fn handle(&mut self, now: u64, event: Event) {
        self.now = now;
        match event {
            Event::Tick => {}
            Event::Locked { job } => self.locked(job),
            Event::Loaded { job, failed } => self.loaded(job, failed),
            Event::Unreadable { job, members, at } => self.unreadable(job, members, at),
            Event::Stashed { job, failed } => self.stashed(job, failed),
            Event::Stored { job, failed } => self.stored(job, failed),
            Event::Scrubbed { job, failed } => self.scrubbed(job, failed),
            Event::Mismatch { range } => self.mismatch(range),
            Event::Flushed {
                who: Who::Control,
                failed,
            } => self.control_flushed(failed),
            Event::Flushed {
                who: Who::Job(job),
                failed,
            } => self.stash_flushed(job, failed),
            Event::Flushed {
                who: Who::Marks,
                failed,
            } => self.marks_flushed(failed),
            Event::Committed { failed } => self.committed(failed),
            Event::HeadsMoved { failed } => self.heads_moved(failed),
            Event::Signed { failed } => self.signed(failed),
            Event::Dismissed { members } => self.dismissed(members),
            Event::Drained { who: Who::Control } => self.control_drained(),
            Event::Drained { who: Who::Job(job) } => self.window_drained(job),
            Event::Drained { who: Who::Marks } => self.marks_drained(),
            Event::WantMarks => self.want_marks(),
            Event::MarksLoaded => self.load_found_stash(),
            Event::BitmapWritten { failed } => self.bitmap_written(failed),
            Event::Swept(swept) => self.swept(swept),
            Event::MarkedRun { from, run } => self.marked_run(from, run),
            Event::Bitmap(mode) => self.set_bitmap(mode),
            Event::WantActive if self.sb_active_published() => self.emit(Intent::Publish),
            Event::WantActive => self.control.want_active = true,
            Event::WantRoom => self.control.want_room |= self.map.journal.is_some(),
            Event::Replayed { failed } => self.replayed(failed),
            Event::Journal(mode) => self.set_journal(mode),
            Event::Faulted { members } => self.faulted(members),
            Event::GapUnread { members } => self.control.gap_unread(members),
            Event::Quiet => self.control.quiet = true,
            Event::Pause => self.set_paused(true),
            Event::Resume => self.set_paused(false),
            Event::SpeedMax(speed) => self.set_speed(speed),
            Event::SyncMax(at) => self.set_sync_max(at),
            Event::Check => self.ask_scrub(ScrubKind::Check),
            Event::Repair => self.ask_scrub(ScrubKind::Repair),
            Event::Idle => {
                self.end_scrub();
                (self.scrub_blocked, self.recover_blocked) = (false, None);
            }
            Event::Stop => self.stopping = true,
        }
        self.pump();
    }

    /// The next thing to be done.
    pub fn take(&mut self) -> Option<Intent> {
        (!self.out.is_empty()).then(|| self.out.remove(0))
    }

    /// Begins a migration: `next` is what [`shape`](crate::shape) made of [`superblock`](Self::superblock).
    ///
    /// # Errors
    /// `EBUSY` while another migration, or a stop, is under way.
    pub fn migrate(&mut self, now: u64, next: &Superblock) -> Result<(), Refusal> {
        self.may_migrate(next)?;
        self.now = now;
        self.before.copy_from(next);
        if let Some(migration) = &next.migration {
            self.paused = migration.paused;
            self.pace.set(migration.speed_max);
        }
        self.control.starting = true;
        self.pump();
        Ok(())
    }

    /// Says whether [`migrate`](Self::migrate) could begin now: to be asked before the devices that come in are written to.
    ///
    /// # Errors
    /// The same.
    pub fn may_migrate(&self, next: &Superblock) -> Result<(), Refusal> {
        if self.migrate_state() != "none" {
            return Err(crate::refusal!(
                EBUSY,
                "a migration is running already; wait until migrate_state says none"
            ));
        }
        if self.stopping || self.read_only {
            return Err(crate::refusal!(
                EBUSY,
                "the volume is stopping or read-only; assemble it writable first"
            ));
        }
        let known = |(id, row): (MemberId, &Member)| {
            let there = next.members.get(usize::from(id.0));
            there.is_some_and(|there| there.uuid == row.uuid && there.state == row.state)
        };
        // Whoever comes in the place in the table of one that is still being seen off would be
        // taken for that one.
        let going = self.going();
        let is_free = |id: MemberId| self.sb.rows().all(|(known, _)| known != id);
        let meets = next.rows().any(|(id, _)| going.has(id) && is_free(id));
        if self.change.is_some() || meets || !self.sb.rows().all(known) {
            return Err(crate::refusal!(
                EBUSY,
                "members come or go just now; write the line again"
            ));
        }
        if next.volume_sectors != self.sb.volume_sectors {
            return Err(crate::refusal!(
                EBUSY,
                "the volume's size has changed meanwhile; write the line again"
            ));
        }
        Ok(())
    }

    /// Turns the migration round: back to the set that it came from, or, where it goes back
    /// already, forward again. `silent` are members that were found to answer nothing.
    ///
    /// # Errors
    /// `ENODATA` where there is no migration, `EBUSY` where it is too late or the volume is stopping,
    /// `EIO` where members are gone that the way back needs.
    pub fn abort(&mut self, now: u64, silent: MemberMask) -> Result<(), Refusal> {
        self.may_turn(silent)?;
        self.now = now;
        self.control.turning = !self.control.turning;
        self.set_paused(false);
        self.emit(Intent::Changed);
        self.pump();
        Ok(())
    }

    /// Sets the size to `bytes`; `Resized` says when it is durable.
    ///
    /// # Errors
    /// While a migration or a stop is under way, and for sizes that can't be.
    pub fn resize(&mut self, now: u64, bytes: u64) -> Result<(), Refusal> {
        if self.stopping || self.read_only || self.control.starting || !self.control.alive() {
            return Err(crate::refusal!(
                EBUSY,
                "the volume is busy or read-only; wait, or assemble it writable first"
            ));
        }
        crate::shape::resize(&mut self.sb, bytes)?;
        self.now = now;
        self.control.dirty = true;
        self.pump();
        Ok(())
    }

    fn emit(&mut self, intent: Intent) {
        self.out.push(intent);
    }

    /// Does all that can be done now.
    fn pump(&mut self) {
        // What one part does may let the other go on.
        while !self.stopped {
            // That a commit is needed is all that the mover may have to say.
            let before = (self.out.len(), self.need_commit);
            if self.control.alive() {
                self.pump_control();
                if self.started && !self.read_only {
                    self.pump_marks();
                }
                self.pump_jobs();
            } else if self.stopping && self.jobs_at_rest() {
                self.stop();
            }
            if (self.out.len(), self.need_commit) == before {
                return;
            }
        }
    }

    fn pump_jobs(&mut self) {
        if !self.started || self.read_only || self.stopping || self.control.exclusive() {
            return;
        }
        self.pump_scrub();
        if self.scrub.is_none() {
            self.pump_mover();
        }
    }

    fn jobs_idle(&self) -> bool {
        self.jobs.iter().all(|job| job.state == JobState::Idle)
    }

    /// No job has I/O under way, nor any that could begin: a window that is
    /// blocked stays as it is, its stash holds it. Where no superblock can be made durable any
    /// more, what waits for one, or for another piece, waits for ever.
    fn jobs_at_rest(&self) -> bool {
        let failed = !self.control.alive() || self.control.unclean;
        self.jobs.iter().all(|job| match job.state {
            JobState::Idle | JobState::Failed => true,
            JobState::Retiring => failed || self.blocked.is_some(),
            JobState::Done | JobState::Returned | JobState::Recanting | JobState::Leaving => failed,
            _ => false,
        })
    }

    fn idle_job(&self) -> Option<u8> {
        self.jobs
            .iter()
            .position(|job| job.state == JobState::Idle)
            .map(|index| index as u8)
    }

    fn job(&mut self, job: u8) -> &mut Job {
        &mut self.jobs[usize::from(job)]
    }

    fn broken(&self, rule: Rule) -> bool {
        self.rules.broken(rule)
    }

    /// The volume's last sector plus one.
    fn end(&self) -> Logical {
        Logical(self.map.size.0)
    }

    fn lock(&mut self, job: u8, range: Range) {
        match self.map.lock_range(range) {
            Some((start, end)) => self.emit(Intent::Lock { job, start, end }),
            None => unreachable!("jobs work on sets that have locks"),
        }
    }

    fn locked(&mut self, job: u8) {
        let Job { kind, state, .. } = *self.job(job);
        assert_eq!(state, JobState::Locking);
        if self.is_given_up(job) {
            return;
        }
        match kind {
            // Its data are in memory already, and no longer at the source: they come from the stash.
            Kind::Window if self.cursor.window.is_some() => self.rewrite(job),
            Kind::Move | Kind::Window | Kind::Alone => self.load(job),
            Kind::Scrub => self.scrub_piece(job),
        }
    }
}
