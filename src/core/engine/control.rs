// SPDX-License-Identifier: GPL-2.0
//! One durable step at a time (DESIGN I4): drain if the step asks for it, flush
//! every member, write the superblock to every member, publish what now holds,
//! drain again where places are about to be used anew.

mod durable;
mod faults;
mod map;
mod settings;
mod start;
mod superblock;

use core::ops::DerefMut;

pub(super) use map::cursor_of;
pub use map::map_of;

use super::{Engine, Intent, JobState, Who, COMMIT_INTERVAL};
use crate::geometry::{Logical, MemberMask, Sectors};
use crate::ondisk::Superblock;
use crate::placement::Set;
use crate::rules::Rule;
use crate::shape;

/// What a commit is for, where it is more than to write down what changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Step {
    /// A member's fault, `active`, a cursor, a setting.
    #[default]
    Plain,
    /// The first of an assembly: the epoch is raised.
    Epoch,
    /// A migration begins: new members first, old ones last.
    Start,
    /// Members come, go, or take another's place.
    Members,
    /// A rewritten window's stash is retired.
    Retire,
    /// The migration turns round: the set it came from is where it goes.
    Turn,
    /// The target becomes the volume's only set, and members that it does not have leave.
    Finish,
    /// Nothing is being written: the superblock says clean.
    Clean,
    /// The journal or the bitmap is in force from now on, or no more.
    Journal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Idle,
    /// Requests under older maps must end before the flush.
    DrainBefore,
    /// Those too that were admitted while the others ended.
    DrainAgain,
    /// Heads of adopted members are being copied, while no write is under way.
    MoveHeads,
    Flush,
    /// The bitmap is being written, or is about to.
    Bitmap,
    /// Superblocks are being written, to new members while `rest` is not empty.
    Commit {
        rest: MemberMask,
    },
    /// Readers of places that are about to be used anew must end.
    DrainAfter,
    /// Signatures are being written where nobody reads any more.
    Sign,
    /// No superblock can be made durable any more.
    Failed,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Control {
    state: State,
    pub(super) step: Step,
    /// Faults to be made durable.
    faults: MemberMask,
    /// Faults that the volume can't bear: their requests end with EIO.
    pub(super) unbearable: MemberMask,
    /// Members at which writes of the gap could not read at the target.
    gap_unread: MemberMask,
    pub(super) want_active: bool,
    pub(super) quiet: bool,
    /// It stops, and a member that it can't do without takes no flush: so it does as after a cut.
    pub(super) unclean: bool,
    /// The journal wants room.
    pub(super) want_room: bool,
    /// Requests that failed are settled so when the next superblock is durable.
    pub(super) unsettled: Option<MemberMask>,
    /// Records may tell of what never came, or comes otherwise: until they are retired no more
    /// of the parity is called true.
    pub(super) outdated: bool,
    /// The journal's lap that this step retires.
    pub(super) retiring: Option<u64>,
    /// `Engine::before` holds the superblock of a migration that waits to begin.
    pub(super) starting: bool,
    /// The migration is to turn round.
    pub(super) turning: bool,
    /// Members that are in no superblock any more, and are to be wiped when nobody reads there.
    departing: MemberMask,
    /// Members that are being wiped.
    pub(super) wiping: MemberMask,
    /// Those of them that a migration left behind: it is not over before they are free.
    pub(super) left_behind: MemberMask,
    /// A setting changed that is not durable yet.
    pub(super) dirty: bool,
    /// What the superblock on its way says.
    committing: Committing,
    /// What the flush of this step makes durable, as far as a cursor may tell.
    flushed_to: Logical,
    /// Resynced when the last flush began.
    pub(super) flushed_scrub: Logical,
    /// What is to begin is no migration, but a disk adopted with a witness as the member it is.
    settling: bool,
    /// Members whose signatures stand, as far as is known.
    signed: MemberMask,
}

#[derive(Clone, Copy, Debug, Default)]
struct Committing {
    active: bool,
    faults: MemberMask,
    cursor: Option<Logical>,
    scrubbed: Option<Logical>,
    recants: bool,
    /// The sets have changed their roles.
    turned: bool,
    size: Sectors,
    /// They are in no superblock any more.
    leaving: MemberMask,
}

impl Control {
    pub(super) fn alive(&self) -> bool {
        self.state != State::Failed
    }

    /// Takes note of [`Event::GapUnread`](super::Event::GapUnread).
    pub(super) fn gap_unread(&mut self, members: MemberMask) {
        self.gap_unread = self.gap_unread | members;
    }

    /// No fault is known that is not durable.
    pub(super) fn is_settled(&self) -> bool {
        let faults = self.faults | self.committing.faults | self.unbearable;
        faults.is_empty()
    }

    /// Whether the last step of a migration is under way.
    pub(super) fn is_finishing(&self) -> bool {
        self.state != State::Idle && self.step == Step::Finish
    }

    /// Whether a window's stash, or a piece alone, is being retired.
    pub(super) fn is_retiring(&self) -> bool {
        self.state != State::Idle && self.step == Step::Retire
    }

    /// A step is under way.
    pub(super) fn is_at_work(&self) -> bool {
        self.state != State::Idle
    }

    /// Whether the step under way needs background work at rest.
    pub(super) fn exclusive(&self) -> bool {
        self.state != State::Idle
            && matches!(
                self.step,
                Step::Start | Step::Turn | Step::Finish | Step::Clean | Step::Epoch
            )
    }
}

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// Takes the most urgent step that can be taken.
    pub(super) fn pump_control(&mut self) {
        if self.control.state != State::Idle || self.stopped || (!self.started && !self.read_only) {
            return;
        }
        if !self.control.unbearable.is_empty() {
            return self.give_up();
        }
        if !self.control.gap_unread.is_empty() {
            return self.give_gap_back();
        }
        if self.read_only {
            if self.stopping {
                self.stop();
            }
            return;
        }
        if !self.control.faults.is_empty() || self.control.want_active {
            return self.begin(Step::Plain);
        }
        let may_stop = self.stopping && self.control.wiping.is_empty() && self.marks_idle();
        if self.control.unclean && may_stop && self.jobs_at_rest() {
            return self.stop();
        }
        if self.control.want_room {
            return self.begin(Step::Plain);
        }
        if self.apply_change() {
            return self.begin(Step::Members);
        }
        if self.forget_recovery() {
            return self.begin(Step::Plain);
        }
        if self.jobs[0].state == JobState::Retiring && self.blocked.is_none() {
            return self.begin(Step::Retire);
        }
        let idle = self.jobs_idle();
        let at_rest = idle && self.scrub.is_none();
        if self.control.starting && at_rest && self.control.wiping.is_empty() {
            return self.begin(Step::Start);
        }
        let may_step = at_rest && !self.stopping && self.blocked.is_none();
        if may_step && self.control.turning && self.map.target.is_some() {
            return self.begin(Step::Turn);
        }
        if may_step && !self.is_recovering() && self.move_is_complete() {
            // Who leaves must know first that nothing is on it any more, lest it be taken for the truth.
            // And a member that fails under the last step must not be what a gap is only left on.
            let known = !self.has_moved() || self.broken(Rule::Leave);
            return self.begin(if known { Step::Finish } else { Step::Plain });
        }
        if !self.stopping && (self.journal_is_due() || self.bitmap_is_due()) {
            return self.begin(Step::Journal);
        }
        let overdue = self.now >= self.last_commit + COMMIT_INTERVAL;
        if self.control.outdated && overdue {
            self.control.want_room = true;
            return self.begin(Step::Plain);
        }
        if self.has_progress() && (self.need_commit || overdue || (idle && self.at_rest())) {
            return self.begin(Step::Plain);
        }
        if self.control.dirty {
            return self.begin(Step::Plain);
        }
        if may_stop && self.jobs_at_rest() {
            return match self.sb.clean {
                true => self.stop(),
                false => self.begin(Step::Clean),
            };
        }
        if self.control.quiet {
            self.control.quiet = false;
            if idle && !self.sb.clean && self.sb.migration.is_none() && self.scrub.is_none() {
                self.begin(Step::Clean);
            }
        }
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.emit(Intent::Stopped);
    }

    /// Something has moved that the durable superblock does not know.
    fn has_progress(&self) -> bool {
        self.has_moved() || self.scrub.is_some_and(|s| s.has_progress())
    }

    /// No more progress is to come for now, so what there is is worth a commit.
    fn at_rest(&self) -> bool {
        self.stopping
            || self.paused
            || self.blocked.is_some()
            || self.scrub_is_done()
            || (self.is_recovering() && self.scrub.is_none_or(|scrub| self.is_capped(&scrub)))
            || self.mover_is_capped()
    }

    /// Whether the present map and superblock agree that writes may come.
    pub(super) fn sb_active_published(&self) -> bool {
        !self.sb.clean && !self.map.clean
    }

    pub(super) fn begin(&mut self, step: Step) {
        assert_eq!(self.control.state, State::Idle);
        self.control.step = step;
        self.control.retiring = None;
        if step == Step::Turn && self.broken(Rule::Turn) {
            return self.flush();
        }
        match step {
            Step::Start | Step::Turn | Step::Finish | Step::Journal => {
                // Keys of the range lock, or the sets, change their meaning: no write may hold an old one.
                self.map.hold = true;
                self.next_lap();
                self.emit(Intent::Publish);
                self.drain_before();
            }
            Step::Clean => {
                // From here on writes wait for `active`; those under way must end.
                self.map.clean = true;
                self.next_lap();
                self.emit(Intent::Publish);
                self.drain_before();
            }
            // What was copied by now is committed once all that read it at the source has ended:
            // a value such a read has seen of a write under way may be at the source only,
            // and must not be taken back by a cursor that passes it (I6).
            Step::Plain if (self.has_moved() || self.control.want_room) && !self.is_urgent() => {
                let journaled = self.next_lap();
                if journaled || self.takes_over_from_writes() {
                    self.map.gap_waits = self.map.target.is_some();
                    self.emit(Intent::Publish);
                }
                self.drain_before();
            }
            // What was sent while a member was still there has ended before another takes its place.
            Step::Members => {
                let journaled = self.next_lap();
                if journaled || self.takes_over_from_writes() {
                    // Records that are of a set as it was do not count for it as it becomes.
                    self.map.hold = true;
                    self.emit(Intent::Publish);
                }
                self.drain_before();
            }
            _ => self.flush(),
        }
    }

    /// Whether writes of the gap must not be under way when a commit makes the target the truth. One that
    /// has come to the source only by then has changed what both sets share, and the parity of the
    /// target would not follow; or it was read there, where the source has copies, and the target's
    /// may have what was before.
    fn takes_over_from_writes(&self) -> bool {
        let target = self.map.target.as_ref();
        let is_torn = |target: &Set| {
            target.layout.level.has_parity() || self.map.source.layout.level.has_copies()
        };
        self.has_moved() && target.is_some_and(is_torn)
    }

    fn drain_before(&mut self) {
        self.control.flushed_to = self.cursor.copied;
        self.control.state = State::DrainBefore;
        self.emit(Intent::Drain { who: Who::Control });
    }

    /// Pieces were copied that no superblock tells of.
    fn has_moved(&self) -> bool {
        self.map.target.is_some() && self.cursor.copied != self.cursor.durable
    }

    /// Requests wait for this commit: it can't wait for them.
    fn is_urgent(&self) -> bool {
        !self.control.faults.is_empty() || self.control.want_active
    }

    /// Nothing is being written: heads that this step places elsewhere can be copied. Their old
    /// places stay as they are until its commit is durable.
    fn move_heads(&mut self) {
        let (members, back) = match self.control.step {
            Step::Start if self.control.starting => {
                (shape::heads_leaving(&self.sb, &self.before), false)
            }
            Step::Finish => {
                let home = shape::head_coming_home(&self.sb);
                (home.map_or(MemberMask::EMPTY, MemberMask::of), true)
            }
            _ => (MemberMask::EMPTY, false),
        };
        if members.is_empty() {
            return self.flush();
        }
        self.control.state = State::MoveHeads;
        self.emit(Intent::MoveHeads { members, back });
    }

    pub(super) fn heads_moved(&mut self, failed: MemberMask) {
        assert_eq!(self.control.state, State::MoveHeads);
        self.note_faults(failed);
        self.flush();
    }

    /// Members that lack a signature in place of their heads.
    fn unsigned(&self) -> MemberMask {
        let mut members = MemberMask::EMPTY;
        for member in self.sb.live().iter() {
            if self.sb.head_moved(member) && !self.control.signed.has(member) {
                members.insert(member);
            }
        }
        members
    }

    pub(super) fn signed(&mut self, failed: MemberMask) {
        assert_eq!(self.control.state, State::Sign);
        self.control.state = State::Idle;
        self.note_faults(failed);
    }

    fn flush(&mut self) {
        if self.control.state == State::Idle {
            // Nothing was drained.
            self.control.flushed_to = self.cursor.durable;
        }
        self.control.flushed_scrub = self.scrub.map_or(Logical::ZERO, |scrub| scrub.done());
        if self.broken(Rule::I4) {
            return self.bitmap_or_commit();
        }
        self.control.state = State::Flush;
        let members = self.sb.live();
        self.emit(Intent::Flush {
            who: Who::Control,
            members,
        });
    }

    pub(super) fn control_flushed(&mut self, failed: MemberMask) {
        assert_eq!(self.control.state, State::Flush);
        self.note_faults(failed);
        self.bitmap_or_commit();
    }

    fn bitmap_or_commit(&mut self) {
        self.control.state = State::Bitmap;
        let coming = self.coming;
        if !self.write_bitmap_first(coming) {
            self.commit();
        }
    }

    pub(super) fn bitmap_is_written(&mut self) {
        assert_eq!(self.control.state, State::Bitmap);
        self.commit();
    }

    /// Brings the superblock up to date and has it written.
    fn commit(&mut self) {
        if !self.control.unbearable.is_empty() && self.control.step != Step::Plain {
            // A special step can't be carried through on members that fail it.
            if self.abandon_step() {
                return;
            }
        }
        let is_held = matches!(
            self.control.step,
            Step::Start | Step::Turn | Step::Finish | Step::Journal
        );
        let is_unread = !self.control.gap_unread.is_empty();
        if is_held && (is_unread || !self.control.faults.is_empty()) {
            // A write that failed may be at the source only; it is tried again before the target is
            // all there is. And what is to begin does not know of the fault.
            self.control.state = State::Idle;
            self.map.hold = false;
            self.journal_step_failed();
            self.emit(Intent::Publish);
            return;
        }
        self.write_superblock();
    }

    pub(super) fn control_drained(&mut self) {
        match self.control.state {
            State::DrainBefore if matches!(self.control.step, Step::Plain | Step::Members) => {
                // And now the writes that the last of those reads may have seen.
                self.control.state = State::DrainAgain;
                self.emit(Intent::Drain { who: Who::Control });
            }
            State::DrainBefore | State::DrainAgain => self.move_heads(),
            State::DrainAfter => self.after_drain(),
            _ => panic!("a drain that nobody asked for"),
        }
    }

    fn after_drain(&mut self) {
        self.control.state = State::Idle;
        self.safe = self.cursor.durable;
        self.need_commit = false;
        let departing = core::mem::take(&mut self.control.departing);
        self.dismiss(departing);
        if self.window_is_over() {
            self.emit(Intent::Unlock { job: 0 });
            self.jobs[0] = super::Job::default();
        }
        let members = self.unsigned();
        if !members.is_empty() {
            // Tried once: where it fails, that is a fault, and the next assembly tries again.
            self.control.signed = self.control.signed | members;
            self.control.state = State::Sign;
            self.emit(Intent::Sign { members });
        }
    }

    /// A window was rewritten, or has gone back: its range is free when its readers have left.
    fn window_is_over(&self) -> bool {
        self.control.step == Step::Retire || self.jobs[0].state == JobState::Leaving
    }

    /// Members that are out of the superblock, or on their way out of it, and not seen off yet.
    pub(super) fn going(&self) -> MemberMask {
        let control = &self.control;
        self.leaving | control.committing.leaving | control.departing | control.wiping
    }

    /// Lets go of members that no superblock knows any more.
    fn dismiss(&mut self, members: MemberMask) {
        if !members.is_empty() {
            self.control.wiping = self.control.wiping | members;
            self.emit(Intent::Dismiss { members });
        }
    }

    pub(super) fn dismissed(&mut self, members: MemberMask) {
        self.control.wiping = self.control.wiping & !members;
        self.control.left_behind = self.control.left_behind & !members;
        self.emit(Intent::Changed);
    }
}
