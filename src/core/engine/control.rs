// SPDX-License-Identifier: GPL-2.0
//! One durable step at a time (DESIGN I4): drain if the step asks for it, flush
//! every member, write the superblock to every member, publish what now holds,
//! drain again where places are about to be used anew.

use core::ops::DerefMut;

use super::{Engine, Intent, JobState, Who, COMMIT_INTERVAL};
use crate::admit::{Cursor, Map};
use crate::geometry::{Logical, MemberMask, Range, Sectors};
use crate::ondisk::{MemberState, Superblock};
use crate::placement::Set;
use crate::rules::{Rule, Rules};
use crate::shape;
use crate::text::Text;
use crate::way::Way;

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

/// Whether a set that holds the sectors of `held` keeps them all with only `alive` left:
/// from parity that is not known to be true nothing can be rebuilt (I8).
fn bears(set: &Set, alive: MemberMask, held: Range) -> bool {
    let whole = set.missing(alive) == 0;
    let known = !set.layout.level.has_parity() || set.tells_up_to(held.end);
    held.is_empty() || (set.survives(alive) && (whole || known))
}

/// The map that a superblock describes.
pub fn map_of(sb: &Superblock, read_only: bool) -> Map {
    let source = sb.sets[usize::from(sb.present_set())];
    let target = sb.migration.map(|m| {
        let set = sb.sets[usize::from(m.target)];
        let true_from = match Way::of(m.descending) {
            Way::Up => Logical::ZERO,
            Way::Down => m.cursor,
        };
        Set { true_from, ..set }
    });
    Map {
        size: sb.volume_sectors,
        source,
        target,
        alive: sb.in_sync(),
        rebuilding: sb.rebuilding(),
        clean: sb.clean && !read_only,
        hold: false,
        journal: None,
        bitmap: None,
        gap_waits: false,
        read_only,
        rules: Rules::default(),
    }
}

/// The cursor that a superblock describes.
pub(super) fn cursor_of(sb: &Superblock) -> Cursor {
    let durable = sb.migration.map_or(Logical::ZERO, |m| m.cursor);
    Cursor {
        way: sb.migration.map_or(Way::Up, |m| Way::of(m.descending)),
        durable,
        copied: durable,
        window: None,
        recovered: sb.recovered(),
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
                self.stopped = true;
                self.emit(Intent::Stopped);
            }
            return;
        }
        if !self.control.faults.is_empty() || self.control.want_active {
            return self.begin(Step::Plain);
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
        let at_rest = self.jobs_at_rest() && self.marks_idle();
        if self.stopping && at_rest && self.control.wiping.is_empty() {
            if self.sb.clean {
                self.stopped = true;
                self.emit(Intent::Stopped);
            } else {
                self.begin(Step::Clean);
            }
            return;
        }
        if self.control.quiet {
            self.control.quiet = false;
            if idle && !self.sb.clean && self.sb.migration.is_none() && self.scrub.is_none() {
                self.begin(Step::Clean);
            }
        }
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

    /// Has the superblock written as the step wants it, with what failed until now.
    fn write_superblock(&mut self) {
        let faults = core::mem::take(&mut self.control.faults);
        let epoch = self.sb.epoch;
        for member in faults.iter() {
            let row = &mut self.sb.members[usize::from(member.0)];
            row.state = MemberState::Faulty;
            row.left_epoch = epoch;
        }
        self.control.committing.faults = self.control.committing.faults | faults;
        if self.control.step == Step::Retire && self.target_is_lost() {
            self.recant_piece();
            self.control.step = Step::Plain;
        }
        self.update_superblock();
        self.sb.generation += 1;
        if self.broken(Rule::Leave) {
            let leaving = self.control.committing.leaving;
            self.dismiss(leaving);
        }
        let live = self.sb.live();
        // I4: the superblocks of members that a migration brings in come first.
        let new = match self.control.step {
            Step::Start => live & !self.map.source.members(),
            Step::Members => live & core::mem::take(&mut self.coming),
            // What lies where a full disk's superblocks go is durable elsewhere, but only others say so.
            Step::Epoch if !self.sb.unmarked().is_empty() => live & !self.sb.unmarked(),
            _ => MemberMask::EMPTY,
        };
        if new.is_empty() {
            self.control.state = State::Commit {
                rest: MemberMask::EMPTY,
            };
            self.emit(Intent::Commit { members: live });
        } else {
            self.control.state = State::Commit { rest: live & !new };
            self.emit(Intent::Commit { members: new });
        }
    }

    fn update_superblock(&mut self) {
        if self.broken(Rule::I8) {
            // What an unclean stop left is taken for true.
            for set in self.sb.sets.iter_mut() {
                set.resync = Logical(set.layout.capacity().0);
            }
        }
        // I4: where a flush failed at a member that is still needed, nothing moves.
        let flushed = self.control.unbearable.is_empty();
        match self.control.step {
            Step::Start if self.control.starting => {
                // `before` holds the wanted superblock; keep the old one there instead.
                let (epoch, generation) = self.sb.age();
                let (clean, journal) = (self.sb.clean, self.sb.journal);
                core::mem::swap(&mut *self.sb, &mut *self.before);
                self.sb.epoch = epoch;
                self.sb.generation = generation;
                self.sb.clean = clean;
                self.sb.journal = journal;
                self.keep_trust();
                self.control.starting = false;
            }
            Step::Finish if self.sb.migration.is_some() => {
                let synced = self.target_is_synced();
                let leaving = shape::finish_migration(&mut self.sb);
                self.control.left_behind = self.control.left_behind | leaving;
                self.leaving = self.leaving | leaving;
                let set = usize::from(self.sb.present_set());
                let set = &mut self.sb.sets[set];
                match synced {
                    // Nobody has written yet what comes behind the rows that were moved.
                    true => set.is_fresh = set.layout.level.has_parity(),
                    false => set.resync = Logical::ZERO,
                }
            }
            Step::Turn if self.control.turning => {
                self.control.turning = false;
                self.control.committing.turned = true;
                shape::turn_migration(&mut self.sb);
            }
            // Clean only if all that was written is flushed.
            Step::Clean => self.sb.clean = !self.control.want_active && flushed,
            _ => {}
        }
        if self.control.want_active {
            self.control.want_active = false;
            self.sb.clean = false;
            self.control.committing.active = true;
        }
        let turned = self.control.committing.turned;
        let synced = !turned && self.target_is_synced();
        if let Some(migration) = &mut self.sb.migration {
            migration.paused = self.paused;
            if self.map.target.is_some() && flushed {
                migration.speed_max = self.pace.speed_max;
                if self.control.step == Step::Retire && !self.rules.broken(Rule::I1) {
                    if let Some(stash) = self.stash {
                        migration.retired_stash = stash.number;
                    }
                }
                let target = usize::from(migration.target);
                let way = self.cursor.way;
                // A write that failed in the gap, or could not read there, may be at the source only.
                let is_gap_torn =
                    !(self.control.committing.faults | self.control.gap_unread).is_empty();
                let cursor = match self.control.step {
                    Step::Retire => way.last(self.jobs[0].range),
                    // What was copied since is still at the set that takes over.
                    _ if turned => self.cursor.durable,
                    _ if is_gap_torn => self.cursor.durable,
                    // What was copied after the flush began may not be durable; and a gap
                    // that was given up since is not copied any more.
                    _ => way.sooner(self.control.flushed_to, self.cursor.copied),
                };
                migration.cursor = cursor;
                // Going down, all from the cursor on is true, and nobody looks at what is below.
                if synced && way == Way::Up {
                    let stripe = self.sb.sets[target].layout.stripe();
                    self.sb.sets[target].resync = cursor.round_up(stripe);
                }
                self.control.committing.cursor = Some(cursor);
                self.sb.map_from_cursor();
            }
        }
        if flushed {
            let to = self.control.flushed_scrub;
            self.update_scrub(to);
            self.control.committing.scrubbed = self.scrub.map(|_| to);
        }
        self.update_journal(flushed);
        self.update_bitmap(flushed);
        self.control.committing.size = self.sb.volume_sectors;
        self.control.committing.leaving =
            self.control.committing.leaving | core::mem::take(&mut self.leaving);
        self.control.committing.recants = self.jobs[0].state == JobState::Recanting;
        self.control.dirty = false;
    }

    /// What is known of the set by now counts, not what was when the migration was planned.
    fn keep_trust(&mut self) {
        let Some(source) = self.sb.migration.map(|m| usize::from(m.source)) else {
            return;
        };
        let now = &self.before.sets[usize::from(self.before.present_set())];
        self.sb.sets[source].trust_as(now);
    }

    /// Whether all rows that the mover wrote so far are known to be true.
    pub(super) fn target_is_synced(&self) -> bool {
        match (&self.sb.migration, &self.map.target) {
            (Some(m), Some(_)) => {
                self.sb.sets[usize::from(m.target)].resync >= self.cursor.settled(self.end()).end
            }
            _ => false,
        }
    }

    pub(super) fn committed(&mut self, failed: MemberMask) {
        let State::Commit { rest } = self.control.state else {
            panic!("a commit that nobody asked for");
        };
        if !failed.is_empty() {
            if self.control.settling && self.control.step == Step::Start {
                // The superblocks of the epoch are durable: the next assembly goes on.
                return self.fail();
            }
            if self.control.step == Step::Start && self.map.target.is_none() {
                return self.take_back_start(failed);
            }
            self.note_faults(failed);
            if failed & self.control.faults != failed {
                // The volume can't do without a member that takes no superblock.
                return self.fail();
            }
            return self.write_superblock();
        }
        if !rest.is_empty() {
            self.control.state = State::Commit {
                rest: MemberMask::EMPTY,
            };
            self.emit(Intent::Commit { members: rest });
            return;
        }
        let cursor = self.control.committing.cursor;
        let takes_over = cursor.is_some_and(|cursor| cursor != self.cursor.durable);
        if takes_over && !self.control.faults.is_empty() && self.target_is_lost() {
            // Lost while that was written: the source still holds all that it says the target does.
            return self.write_superblock();
        }
        self.last_commit = self.now;
        self.durable();
    }

    /// The superblock that a migration would begin with was made before a member failed.
    fn cancel_start(&mut self) {
        if core::mem::take(&mut self.control.starting) {
            self.control.turning = false;
            if self.control.settling {
                return self.fail();
            }
            self.turn_away();
            self.blocked = Some(Text::from(
                "the migration did not begin, because a member failed; replace it or leave it out, and write migrate again",
            ));
        }
    }

    /// Members that were to come in with a migration, which `before` tells of, don't.
    fn turn_away(&mut self) {
        for (id, row) in self.before.rows() {
            if self.sb.member_by_uuid(row.uuid).is_none() {
                self.leaving.insert(id);
            }
        }
        self.control.dirty = true;
    }

    /// A new member failed before the migration began: back to what was.
    fn take_back_start(&mut self, failed: MemberMask) {
        let (epoch, generation) = self.sb.age();
        let journal = self.sb.journal;
        core::mem::swap(&mut *self.sb, &mut *self.before);
        self.sb.epoch = epoch;
        self.sb.generation = generation;
        self.turn_away();
        self.sb.journal = journal;
        self.journal_step_failed();
        self.control.step = Step::Plain;
        self.control.turning = false;
        self.paused = false;
        let mut why = Text::new();
        let _ = core::fmt::Write::write_fmt(
            &mut why,
            format_args!(
                "the migration did not begin: member mask {:#x} took no superblock",
                failed.0
            ),
        );
        self.blocked = Some(why);
        if self.sb.live() & failed != MemberMask::EMPTY {
            self.note_faults(failed & self.sb.live());
            if !self.control.unbearable.is_empty() {
                return self.fail();
            }
        }
        self.commit();
    }

    /// The superblock is durable: make true what it says.
    fn durable(&mut self) {
        let done = core::mem::take(&mut self.control.committing);
        let step = self.control.step;
        let settled = done.faults;
        let had_target = self.map.target.is_some();
        let had_journal = self.map.journal.is_some();
        let read_only = self.map.read_only;
        let keep_clean = self.map.clean;
        let old_size = self.map.size;
        let rebuilt_before = self.map.rebuilding;
        self.map = map_of(&self.sb, read_only);
        self.follow_rebuilding(rebuilt_before);
        // What was asked for since is not durable yet.
        self.map.size = done.size;
        self.map.rules = self.rules;
        // A map that has sent writers away stays so until `active` is durable.
        self.map.journal = self.journal_after(step, had_journal);
        self.map.bitmap = self.bitmap_after();
        self.map.clean = self.sb.clean || (keep_clean && !done.active && step != Step::Epoch);
        if let Some(to) = done.scrubbed {
            self.scrub_committed(to);
        }
        match step {
            Step::Epoch => {
                self.started = true;
                if let Some(job) = self.window_job() {
                    // A stash was found: its rewriting begins. The range is taken
                    // before anybody can write to it.
                    let range = self.jobs[usize::from(job)].range;
                    self.job(job).state = JobState::Locking;
                    self.lock(job, range);
                }
                self.emit(Intent::Publish);
                if self.sb.unmarked().is_empty() {
                    self.emit(Intent::Ready);
                } else {
                    // All members hold superblocks now: the volume is used when that is durable too.
                    self.before.copy_from(&self.sb);
                    shape::settle(&mut self.before);
                    self.control.starting = true;
                    self.control.settling = true;
                }
            }
            Step::Start => {
                if core::mem::take(&mut self.control.settling) {
                    self.emit(Intent::Ready);
                }
                // What the volume could do without, it perhaps can't do without any more.
                let faults = core::mem::take(&mut self.control.faults);
                self.note_faults(faults);
                self.cursor = cursor_of(&self.sb);
                self.next = self.cursor.copied;
                self.safe = self.cursor.durable;
                // What the user said meanwhile counts.
                self.pace = crate::pace::Pace::new(self.pace.speed_max);
                self.blocked = None;
            }
            Step::Retire => {
                let end = self.cursor.way.last(self.jobs[0].range);
                self.cursor = Cursor {
                    way: self.cursor.way,
                    durable: end,
                    copied: end,
                    window: None,
                    recovered: self.cursor.recovered,
                };
                self.next = end;
                self.stash = None;
            }
            Step::Turn if done.turned => {
                self.cursor = cursor_of(&self.sb);
                self.next = self.cursor.copied;
            }
            Step::Finish => {
                self.cursor = Cursor::default();
                self.paused = false;
                self.control.turning = false;
            }
            Step::Plain | Step::Members | Step::Turn | Step::Clean | Step::Journal => {
                if let Some(cursor) = done.cursor {
                    self.cursor.durable = cursor;
                }
                if self.jobs[0].state == JobState::Recanting && done.recants {
                    self.emit(Intent::Unlock { job: 0 });
                    self.jobs[0] = super::Job::default();
                }
            }
        }
        if !settled.is_empty() {
            self.outdate_journal();
            self.close_gap();
            self.cancel_start();
        }
        // What it was blocked for is in the place again, on another member.
        let is_rebuilt = !rebuilt_before.is_empty() && self.map.rebuilding.is_empty();
        let goes_on = is_rebuilt && settled.is_empty() && self.blocked.take().is_some();
        if step != Step::Epoch {
            self.emit(Intent::Publish);
        }
        if !settled.is_empty() {
            self.emit(Intent::Settle { retry: settled });
        }
        if let Some(retry) = self.control.unsettled.take() {
            self.emit(Intent::Settle { retry });
        }
        if !settled.is_empty() || goes_on {
            self.retry_jobs();
        }
        if step == Step::Finish || (done.size != old_size && step != Step::Epoch) {
            self.emit(Intent::Resized { size: done.size });
        }
        self.emit(Intent::Changed);
        for member in self.control.signed.iter() {
            if !self.sb.head_moved(member) {
                self.control.signed.remove(member);
            }
        }
        self.control.departing = done.leaving;
        // Who read the gap where it was copied to has to leave before that is overwritten, and who
        // reads at members that leave.
        let moved = self.safe != self.cursor.durable || step == Step::Retire;
        let reuse = had_target && (moved || done.turned || !done.leaving.is_empty());
        let hasty = self.broken(Rule::I5) || (done.turned && self.broken(Rule::Turn));
        if (reuse || !self.unsigned().is_empty()) && !hasty {
            self.control.state = State::DrainAfter;
            self.emit(Intent::Drain { who: Who::Control });
            return;
        }
        self.control.state = State::DrainAfter;
        self.after_drain();
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
        if self.control.step == Step::Retire {
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

    /// A request or a job failed at members: those that the volume can do
    /// without are made faulty, for the others the request fails.
    pub(super) fn faulted(&mut self, members: MemberMask) {
        self.note_faults(members);
    }

    pub(super) fn note_faults(&mut self, members: MemberMask) {
        if !members.is_empty() {
            self.void_sweep();
        }
        // Made durable already: whoever failed at some of these, and at no others, may try again.
        let settled = members & !self.sb.live() & !self.control.committing.faults;
        if !settled.is_empty() {
            self.emit(Intent::Settle { retry: settled });
            self.retry_jobs();
        }
        for member in (members & self.sb.live()).iter() {
            if self.can_lose(MemberMask::of(member)) {
                self.control.faults.insert(member);
            } else {
                self.control.unbearable.insert(member);
            }
        }
    }

    /// Members that are alive and will be when all is durable that is known of faults.
    pub(super) fn alive_soon(&self) -> MemberMask {
        self.map.alive & !self.control.faults & !self.control.committing.faults
    }

    /// Whether the volume can do without these members too: nothing that it holds is lost. A set
    /// that holds nothing may lose what it likes; a migration to it waits until it is replaced.
    pub(super) fn can_lose(&self, members: MemberMask) -> bool {
        if (self.map.alive & members).is_empty() {
            return true;
        }
        let (alive, end) = (self.alive_soon() & !members, self.end());
        let Some(target) = &self.map.target else {
            return bears(&self.map.source, alive, Range::new(Logical::ZERO, end));
        };
        bears(&self.map.source, alive, self.cursor.at_source(end))
            && self.target_bears(target, alive)
    }

    /// Whether the target, with only `alive` left, keeps what is nowhere else: what it holds for
    /// good, and what is being rewritten. The gap is at the source too, which takes it over.
    pub(super) fn target_bears(&self, target: &Set, alive: MemberMask) -> bool {
        let rewritten = self.cursor.window.is_none() || target.survives(alive);
        rewritten && bears(target, alive, self.cursor.settled(self.end()))
    }

    /// Writes of the gap could not read at the target: the source takes over, they begin anew there,
    /// and what the mover writes once more can be read. Said to every commit until then, so that none
    /// makes of their rows at the target the truth.
    fn give_gap_back(&mut self) {
        let retry = core::mem::take(&mut self.control.gap_unread);
        self.close_gap();
        self.outdate_journal();
        self.emit(Intent::Publish);
        self.emit(Intent::Settle { retry });
    }

    /// Members failed that the volume can't do without: a migration stops, its
    /// gap is given up, and requests that failed end with EIO.
    fn give_up(&mut self) {
        let lost = core::mem::take(&mut self.control.unbearable);
        let mut retry = MemberMask::EMPTY;
        if self.map.target.is_some() {
            if self.blocked.is_none() {
                self.block(lost);
            }
            if self.cursor.copied != self.cursor.durable && self.cursor.window.is_none() {
                // The source still holds all of the gap (I3), so it takes over.
                self.cursor.copied = self.cursor.durable;
                self.next = self.cursor.durable;
                retry = lost;
            }
            self.end_failed_jobs();
        }
        self.outdate_journal();
        self.distrust(lost);
        self.cancel_start();
        self.emit(Intent::Publish);
        self.settle_lost(retry);
        self.emit(Intent::Changed);
    }

    /// A write reached some of its copies or its parity and not the others, and
    /// the member stays: what the sets know of themselves there is not true any more.
    fn distrust(&mut self, lost: MemberMask) {
        for index in 0..self.sb.sets.len() {
            let set = &mut self.sb.sets[index];
            if set.layout.level.is_redundant() && set.members() & lost != MemberMask::EMPTY {
                (set.resync, set.is_fresh) = (Logical::ZERO, false);
                self.control.dirty = true;
            }
        }
        self.void_scrub();
        self.doubt_bitmap();
        let map = map_of(&self.sb, self.map.read_only);
        self.map.source.trust_as(&map.source);
        if let (Some(now), Some(then)) = (&mut self.map.target, &map.target) {
            now.trust_as(then);
        }
    }

    /// A step that was under way can't be: nothing of it is durable yet.
    fn abandon_step(&mut self) -> bool {
        if matches!(
            self.control.step,
            Step::Start | Step::Turn | Step::Finish | Step::Retire
        ) {
            // Its members failed to flush: neither data at the target nor a head copied are safe.
            self.control.state = State::Idle;
            self.control.committing = Committing::default();
            if self.map.hold {
                self.map.hold = false;
                self.emit(Intent::Publish);
            }
            self.give_up();
            return true;
        }
        false
    }

    /// No superblock can be written any more: the volume takes no writes.
    pub(super) fn fail(&mut self) {
        self.control.state = State::Failed;
        self.map.read_only = true;
        self.map.hold = false;
        self.map.clean = false;
        // First of all: from the map alone a flush would take the volume for one that is read.
        self.emit(Intent::Failed);
        self.emit(Intent::Publish);
        self.emit(Intent::Settle {
            retry: MemberMask::EMPTY,
        });
        self.emit(Intent::Changed);
    }

    pub(super) fn set_paused(&mut self, paused: bool) {
        if self.sb.migration.is_some() || self.control.starting {
            self.control.dirty |= self.paused != paused;
            self.paused = paused;
            if !paused && !self.is_recovering() && self.blocked.take().is_some() {
                self.retry_jobs();
            }
        }
        if !paused {
            self.scrub_blocked = false;
        }
    }

    pub(super) fn set_speed(&mut self, speed: u32) {
        self.pace.set(speed);
        self.control.dirty |= self.sb.migration.is_some();
    }

    pub(super) fn set_sync_max(&mut self, at: Option<Logical>) {
        self.sync_max = at;
        let sb = match self.control.starting {
            true => &mut self.before,
            false => &mut self.sb,
        };
        if let Some(migration) = &mut sb.migration {
            migration.sync_max = at;
            self.control.dirty = true;
        }
    }

    /// A migration was taken on, and its first superblock is not durable yet.
    pub(super) fn is_starting(&self) -> bool {
        let at_it = self.control.step == Step::Start && self.control.state != State::Idle;
        self.control.starting || (at_it && self.map.target.is_none())
    }

    /// Sectors of the volume.
    pub fn size(&self) -> Sectors {
        self.map.size
    }
}
