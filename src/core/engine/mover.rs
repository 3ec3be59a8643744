// SPDX-License-Identifier: GPL-2.0
//! Copies a volume from its source set to its target set, piece by piece.
//!
//! A piece whose target places are free (I2) is copied under its range lock and
//! then lies in the gap. One that would overwrite what the source still holds
//! waits for a commit that frees it; if even that does not, it is a window of one
//! common row: stashed, flushed, made valid, flushed, rewritten, retired (the
//! seed's paragraph 29, request 75 and location 116).

use core::fmt::Write;
use core::ops::DerefMut;

use super::{Engine, Intent, JobState, Kind, Which, Who};
use crate::footprint::overwrites;
use crate::geometry::{Logical, MemberMask, Range, Sectors};
use crate::ondisk::{StashHeader, Superblock};
use crate::rules::Rule;
use crate::shape::common_row;
use crate::text::Text;
use crate::way::Way;

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// The least that a cursor can move: a common row of source and target.
    fn row(&self) -> Sectors {
        let target = self.map.target.as_ref().expect("only while migrating");
        common_row(&self.map.source.layout, &target.layout)
    }

    /// A piece: whole common rows, about as long as it aims to be.
    pub fn piece(&self) -> Sectors {
        let row = self.row();
        self.piece.max(row).round_down(row)
    }

    /// Where the mover stops for now: when whole rows of as many sectors are done as the user said.
    fn limit(&self) -> Logical {
        let (end, way) = (self.end(), self.cursor.way);
        let max = self.sb.migration.and_then(|m| m.sync_max);
        match max.filter(|most| *most < end) {
            None => way.end(end),
            Some(most) => {
                let most = most.from_start();
                match way {
                    Way::Up => Logical(most.round_down(self.row()).0),
                    Way::Down => Logical((end.from_start() - most).0)
                        .round_up(self.row())
                        .min(end),
                }
            }
        }
    }

    /// Everything up to `sync_max` is done.
    pub(super) fn mover_is_capped(&self) -> bool {
        self.map.target.is_some() && !self.cursor.way.is_before(self.next, self.limit())
    }

    pub(super) fn move_is_complete(&self) -> bool {
        self.map.target.is_some()
            && self.cursor.window.is_none()
            && self.cursor.left(self.end()).is_empty()
    }

    /// What the source is still needed for: as long as a commit, and all admitted before it,
    /// is not over, its data stay where they are (I2).
    fn live(&self) -> Range {
        let way = self.cursor.way;
        way.between(self.safe, way.end(self.end()))
    }

    /// Starts what pieces it can.
    pub(super) fn pump_mover(&mut self) {
        let Some(target) = &self.map.target else {
            return;
        };
        let held_up = self.paused || self.control.turning || self.giving_up;
        if held_up || self.blocked.is_some() || self.mover_is_capped() {
            return;
        }
        if !target.survives(self.map.alive) {
            let missing = target.members() & !self.map.alive;
            self.block(missing);
            self.end_failed_jobs();
            return self.emit(Intent::Changed);
        }
        let half_made = !self.map.rebuilding.is_empty() && self.cursor.recovered > Logical::ZERO;
        if self.is_recovering() || half_made {
            // A rebuild goes first; it writes to the set that holds each sector, which does not
            // change under it, nor under what it made before it was blocked.
            return;
        }
        if self.target_is_lost() {
            return self.block_for_target();
        }
        // A window is alone; so is the step that ends it.
        while self.window_job().is_none() && !self.need_commit && !self.mover_is_capped() {
            if self.pace.wait_until(self.now).is_some() {
                return;
            }
            let Some(job) = self.idle_job() else {
                return;
            };
            let way = self.cursor.way;
            let to = way.step(self.next, self.piece(), self.row(), self.limit());
            let Some((kind, range)) = self.free_piece(way.between(self.next, to)) else {
                return;
            };
            if kind.is_alone() && job != 0 {
                // Windows use the first job; none is busy, so this can't be.
                unreachable!("a window beside other pieces");
            }
            self.pace.started(self.now, range.len());
            self.next = way.last(range);
            *self.job(job) = super::Job {
                kind,
                state: JobState::Locking,
                range,
                ..super::Job::default()
            };
            self.lock(job, range);
        }
    }

    /// Whether the target has parity and is short of a member. A write in its gap would have
    /// to read what it held before from places that the same write has changed at the source.
    fn has_no_gap(&self) -> bool {
        let target = self.map.target.as_ref();
        target.is_some_and(|t| t.layout.level.has_parity() && t.missing(self.map.alive) > 0)
    }

    /// Members are gone that the target can't do without. It holds nothing yet, or they would be
    /// counted among those that fail and can't be done without.
    pub(super) fn target_is_lost(&self) -> bool {
        let (target, alive) = (self.map.target.as_ref(), self.alive_soon());
        target.is_some_and(|target| !target.survives(alive))
    }

    /// The migration waits for other members in the place of those, unless it turns round.
    fn block_for_target(&mut self) {
        if self.control.turning {
            return self.end_failed_jobs();
        }
        let mut why = Text::new();
        let target = self.map.target.map_or(MemberMask::EMPTY, |t| t.members());
        for member in (target & !self.alive_soon()).iter() {
            let _ = write!(why, "member {} is faulty; ", member.0);
        }
        let _ = write!(why, "the new layout can't do without it: replace it");
        self.blocked = Some(why);
        self.end_failed_jobs();
        self.emit(Intent::Changed);
    }

    /// Members failed: the source takes over what the target holds in the gap (I3), where a write
    /// that failed may have changed what both share, and the target's parity does not follow before
    /// it is tried again.
    pub(super) fn close_gap(&mut self) {
        if self.map.target.is_some() && self.window_job().is_none() {
            self.cursor.copied = self.cursor.durable;
            for job in 0..self.jobs.len() as u8 {
                let super::Job { kind, state, .. } = *self.job(job);
                if kind == Kind::Move && matches!(state, JobState::Failed | JobState::Done) {
                    self.emit(Intent::Unlock { job });
                    *self.job(job) = super::Job::default();
                }
            }
            self.giving_up = true;
            self.end_giving_up();
        }
    }

    /// How `wanted`, or the part of it that comes first, can be moved now.
    fn free_piece(&mut self, wanted: Range) -> Option<(Kind, Range)> {
        let target = self.map.target.expect("only while migrating");
        let (way, row, volume) = (self.cursor.way, self.row(), self.end());
        let source = &self.map.source;
        let live = self.live();
        let free = |range: Range| !overwrites(source, live, volume, &target, range);
        let kind = if self.has_no_gap() {
            Kind::Alone
        } else {
            Kind::Move
        };
        if kind == Kind::Alone && !self.jobs_idle() {
            return None;
        }
        if self.broken(Rule::I2) || free(wanted) {
            return Some((kind, wanted));
        }
        // Perhaps fewer rows are free.
        let (first, last) = (way.first(wanted), way.last(wanted));
        let mut end = first;
        while way.is_before(end, last) {
            let next = way.step(end, row, row, last);
            if next == last || !free(way.between(end, next)) {
                break;
            }
            end = next;
        }
        if end != first {
            return Some((kind, way.between(first, end)));
        }
        if self.cursor.copied != self.safe || !self.jobs_idle() {
            // A commit moves `safe` on and may free it.
            self.need_commit = self.cursor.copied != self.cursor.durable;
            return None;
        }
        if self.safe != self.cursor.durable {
            return None;
        }
        // The smallest window that overwrites nothing but itself.
        let most = way.step(first, self.piece(), row, way.end(volume));
        let mut end = first;
        while way.is_before(end, most) {
            end = way.step(end, row, row, most);
            let (window, rest) = (way.between(first, end), way.between(end, way.end(volume)));
            if !overwrites(source, rest, volume, &target, window) {
                return Some((Kind::Window, window));
            }
        }
        self.blocked = Some(Text::from(
            "the new layout lies over more of the old one than can be stashed at once; choose other members or another order of them",
        ));
        None
    }

    /// The job of the window that is being rewritten or prepared, if any.
    pub(super) fn window_job(&self) -> Option<u8> {
        self.jobs
            .iter()
            .position(|job| job.kind.is_alone() && job.state != JobState::Idle)
            .map(|index| index as u8)
    }

    pub(super) fn loaded(&mut self, job: u8, failed: MemberMask) {
        let kind = self.job(job).kind;
        if !self.started {
            return self.stash_found(job, failed);
        }
        if self.is_given_up(job) {
            return;
        }
        if !failed.is_empty() {
            // The source can't be read there: a member is bad, not yet beyond doubt.
            self.job(job).state = JobState::Failed;
            if (failed & self.job(job).alive).is_empty() {
                // It was gone before, and what is left does not tell what it held.
                self.control.unbearable = self.control.unbearable | failed;
                return;
            }
            self.note_faults(failed);
            return;
        }
        if kind == Kind::Window && self.cursor.window.is_none() {
            self.put_in_stash(job);
        } else {
            self.store(job);
        }
    }

    /// The source can't be read in one place. Nothing is lost by that which was not before: all
    /// stays where it is, and it is tried again when the user says so.
    pub(super) fn unreadable(&mut self, job: u8, members: MemberMask, at: Logical) {
        if self.is_given_up(job) {
            return;
        }
        let mut why = Text::new();
        for member in members.iter() {
            // Writing to a Text never fails: it cuts.
            let _ = write!(
                why,
                "member {} can't be read for sector {}; ",
                member.0, at.0
            );
        }
        let _ = write!(
            why,
            "nothing else tells what it holds: write there, or mend it, and write resume"
        );
        self.blocked = Some(why);
        self.job(job).state = JobState::Failed;
        self.end_failed_jobs();
        self.emit(Intent::Changed);
    }

    fn put_in_stash(&mut self, job: u8) {
        let (range, members) = (self.job(job).range, self.stash_members());
        self.job(job).state = JobState::StashData;
        self.stash_on = members;
        self.emit(Intent::StashData {
            job,
            members,
            range,
        });
    }

    /// Goes on with a window that is published. One found at assembly may have its stash on fewer
    /// members than it takes (I1): the same is written to all first, over what is alike. Members
    /// may have been replaced since it was stashed, and a rebuild left it out: what was in its
    /// place is not there on those.
    pub(super) fn rewrite(&mut self, job: u8) {
        self.job(job).whole = true;
        let range = self.job(job).range;
        self.recover_from(range);
        if self.restash.is_some() {
            self.put_in_stash(job);
        } else {
            self.store(job);
        }
    }

    pub(super) fn load(&mut self, job: u8) {
        let (range, alive) = (self.job(job).range, self.map.alive);
        self.job(job).state = JobState::Loading;
        self.job(job).alive = alive;
        self.emit(Intent::Load { job, range });
    }

    pub(super) fn store(&mut self, job: u8) {
        if self.target_is_lost() {
            return self.leave_at_source(job);
        }
        let super::Job { range, whole, .. } = *self.job(job);
        self.job(job).state = JobState::Storing;
        self.emit(Intent::Store {
            job,
            which: Which::Target,
            range,
            whole,
        });
    }

    /// What a piece stores, or has stored, at the target would count, and be lost.
    fn leave_at_source(&mut self, job: u8) {
        self.job(job).state = JobState::Failed;
        if self.cursor.window.is_some() {
            self.give_back(job);
        }
        self.block_for_target();
    }

    /// The source gets a window again, of which the target may have overwritten some there; what the
    /// target is to keep lies elsewhere (I2). Until it is durable the stash is the truth.
    fn give_back(&mut self, job: u8) {
        if self.broken(Rule::Return) {
            self.recant_stash(job);
        } else if self.map.source.survives(self.map.alive) {
            let range = self.job(job).range;
            self.job(job).state = JobState::GivingBack;
            self.emit(Intent::Store {
                job,
                which: Which::Source,
                range,
                whole: true,
            });
        }
    }

    /// Whether the source could have the window that is being rewritten again, with only `alive` left,
    /// even if the power is cut meanwhile.
    pub(super) fn may_give_back(&self, alive: MemberMask) -> bool {
        let stashed = self.restash.unwrap_or(self.stash_on);
        !(stashed & alive).is_empty() && self.map.source.survives(alive)
    }

    /// No assembly is to take the stash for the truth any more, as soon as that is durable.
    pub(super) fn recant_stash(&mut self, job: u8) {
        if let (Some(stash), Some(migration)) = (self.stash.take(), &mut self.sb.migration) {
            migration.retired_stash = stash.number;
            self.control.dirty = true;
            self.job(job).state = JobState::Recanting;
        }
    }

    /// A superblock is durable that does not count the piece that was to be taken back.
    pub(super) fn recanted(&mut self) {
        if self.cursor.window.is_none() {
            self.emit(Intent::Unlock { job: 0 });
            self.jobs[0] = super::Job::default();
        } else if self.stash.is_some() {
            self.leave_at_source(0);
        } else {
            self.cursor.window = None;
            self.next = self.cursor.copied;
            self.jobs[0].state = JobState::Leaving;
        }
    }

    /// A piece alone, or a window, is not to count, and a superblock may be durable that counts it: no
    /// write gets to its range, nor anything to its places, before one is that does not.
    pub(super) fn recant_piece(&mut self) {
        if let (Some(stash), Some(migration)) = (&self.stash, &mut self.sb.migration) {
            migration.retired_stash = stash.number - 1;
        }
        self.jobs[0].state = JobState::Recanting;
        self.block_for_target();
    }

    /// Members whose stash takes a window: one more than may be lost (I1), by the source, to which it
    /// can go back, as long as the target holds nothing.
    pub(super) fn stash_members(&self) -> MemberMask {
        let target = self.map.target.as_ref();
        let mut bears = self.map.source.layout.max_missing();
        if !self.cursor.settled(self.end()).is_empty() {
            bears = bears.min(target.map_or(0, |t| t.layout.max_missing()));
        }
        let copies = u32::from(bears) + 1;
        let all = self.map.flush_members();
        // Those first that stay whichever way it ends.
        let both = target.map_or(all, |t| t.members() & self.map.source.members() & all);
        let mut members = MemberMask::EMPTY;
        for member in both.iter().chain((all & !both).iter()) {
            if members.count() < copies {
                members.insert(member);
            }
        }
        members
    }

    pub(super) fn stashed(&mut self, job: u8, failed: MemberMask) {
        if !failed.is_empty() {
            self.job(job).state = JobState::Failed;
            self.note_faults(failed);
            return;
        }
        let state = match self.job(job).state {
            JobState::StashData => JobState::StashDataFlush,
            JobState::StashHeader => JobState::StashHeaderFlush,
            other => panic!("stashed in {other:?}"),
        };
        self.job(job).state = state;
        // What lies in its place already is not rewritten, so it must be as durable as the stash.
        let members = match state {
            JobState::StashDataFlush => self.map.flush_members(),
            _ => self.stash_members(),
        };
        if self.broken(Rule::I4) {
            return self.stash_flushed(job, MemberMask::EMPTY);
        }
        self.emit(Intent::Flush {
            who: Who::Job(job),
            members,
        });
    }

    pub(super) fn stash_flushed(&mut self, job: u8, failed: MemberMask) {
        if !failed.is_empty() {
            self.job(job).state = JobState::Failed;
            self.note_faults(failed);
            return;
        }
        let range = self.job(job).range;
        let state = self.job(job).state;
        match state {
            JobState::StashDataFlush => {
                let retired = self.sb.migration.map_or(0, |m| m.retired_stash);
                let found = self.stash.filter(|_| self.restash.is_some());
                let number = found.map_or(retired + 1, |stash| stash.number);
                let uuid = self.sb.migration.map(|m| m.uuid).unwrap_or_default();
                self.stash = Some(StashHeader {
                    migration: uuid,
                    number,
                    range,
                    ..StashHeader::default()
                });
                self.job(job).state = JobState::StashHeader;
                let members = self.stash_members();
                self.stash_on = self.stash_on & members;
                self.emit(Intent::StashHeader {
                    job,
                    members,
                    number,
                    range,
                });
            }
            JobState::GivenBack => {
                self.job(job).state = JobState::Returned;
                self.control.dirty = true;
                self.control.want_room |= self.map.journal.is_some();
            }
            JobState::StashHeaderFlush if self.restash.is_some() => {
                self.restash = None;
                self.store(job);
            }
            JobState::StashHeaderFlush if self.target_is_lost() => self.leave_at_source(job),
            JobState::StashHeaderFlush => {
                // From now on the stash is the truth: reads leave the source before it is overwritten.
                self.job(job).state = JobState::WindowDrain;
                if self.broken(Rule::I5) {
                    return self.window_drained(job);
                }
                self.cursor.window = Some(range);
                self.emit(Intent::Publish);
                self.emit(Intent::Drain { who: Who::Job(job) });
            }
            other => panic!("flushed in {other:?}"),
        }
    }

    pub(super) fn window_drained(&mut self, job: u8) {
        assert_eq!(self.job(job).state, JobState::WindowDrain);
        self.store(job);
    }

    /// At assembly: the stash is in memory, or can't be read.
    fn stash_found(&mut self, job: u8, failed: MemberMask) {
        if !failed.is_empty() {
            // Without it the window is lost, so nothing may be served or written.
            self.block(failed);
            return self.fail();
        }
        let range = self.job(job).range;
        self.cursor.window = Some(range);
        self.next = self.cursor.way.last(range);
        self.start_control();
    }

    pub(super) fn stored(&mut self, job: u8, failed: MemberMask) {
        if self.is_given_up(job) {
            return;
        }
        if !failed.is_empty() {
            self.job(job).state = JobState::Failed;
            self.note_faults(failed);
            return;
        }
        if self.job(job).state == JobState::GivingBack {
            self.job(job).state = JobState::GivenBack;
            let members = self.map.flush_members();
            return self.emit(Intent::Flush {
                who: Who::Job(job),
                members,
            });
        }
        if self.target_is_lost() {
            return self.leave_at_source(job);
        }
        if self.job(job).kind.is_alone() {
            self.job(job).state = JobState::Retiring;
            return;
        }
        self.job(job).state = JobState::Done;
        self.advance();
    }

    /// Moves the copied cursor over all pieces that are done, in order.
    fn advance(&mut self) {
        let way = self.cursor.way;
        while let Some(job) = self.jobs.iter().position(|job| {
            job.kind == Kind::Move
                && job.state == JobState::Done
                && way.first(job.range) == self.cursor.copied
        }) {
            self.cursor.copied = way.last(self.jobs[job].range);
            self.jobs[job] = super::Job::default();
            // Published before the range is free: who waits for it must see the gap.
            self.emit(Intent::Publish);
            self.emit(Intent::Unlock { job: job as u8 });
        }
    }

    /// What failed is settled: pieces go on from where they failed.
    pub(super) fn retry_jobs(&mut self) {
        for job in 0..self.jobs.len() as u8 {
            let super::Job { kind, state, .. } = *self.job(job);
            if state != JobState::Failed {
                continue;
            }
            if kind != Kind::Scrub && self.blocked.is_some() && self.is_recovering() {
                // It waits until those are in sync that are being rebuilt.
                continue;
            }
            match kind {
                Kind::Scrub => self.scrub_piece(job),
                Kind::Window if self.cursor.window.is_some() => self.rewrite(job),
                Kind::Move | Kind::Window | Kind::Alone => self.load(job),
            }
        }
    }

    /// The migration stops: these members are needed and fail.
    pub(super) fn block(&mut self, members: MemberMask) {
        let mut why = Text::new();
        for member in members.iter() {
            let _ = write!(
                why,
                "member {} fails and the migration can't do without it; mend it and write resume. ",
                member.0
            );
        }
        self.blocked = Some(why);
    }

    /// Blocked: pieces that failed, or wait for their turn behind one, are given up.
    pub(super) fn end_failed_jobs(&mut self) {
        for job in 0..self.jobs.len() as u8 {
            let super::Job { kind, state, .. } = *self.job(job);
            let retires = state == JobState::Retiring && !self.control.is_retiring();
            let over = match kind {
                Kind::Move => matches!(state, JobState::Failed | JobState::Done),
                Kind::Window if self.cursor.window.is_some() => {
                    if retires && self.target_is_lost() {
                        self.give_back(job);
                    }
                    // Else it can't be left: it waits for `resume`.
                    false
                }
                Kind::Window | Kind::Scrub => state == JobState::Failed,
                // No superblock counts it yet: the source has it, and writes don't wait.
                Kind::Alone => state == JobState::Failed || retires,
            };
            if !over {
                continue;
            }
            if kind == Kind::Window && self.stash.is_some() {
                // Its header may be durable somewhere. No write may reach the source
                // while an assembly could still take the stash for newer.
                self.recant_stash(job);
                continue;
            }
            self.emit(Intent::Unlock { job });
            *self.job(job) = super::Job::default();
        }
        // Pieces still under way end for nothing: they would leave a hole before them.
        self.giving_up = true;
        self.end_giving_up();
    }

    /// Whether a piece is one of those that end for nothing; if so, it has.
    pub(super) fn is_given_up(&mut self, job: u8) -> bool {
        if !self.giving_up || self.job(job).kind != Kind::Move {
            return false;
        }
        self.emit(Intent::Unlock { job });
        *self.job(job) = super::Job::default();
        self.end_giving_up();
        true
    }

    fn end_giving_up(&mut self) {
        let busy = |job: &super::Job| job.kind == Kind::Move && job.state != JobState::Idle;
        if !self.jobs.iter().any(busy) {
            self.giving_up = false;
            let (way, copied) = (self.cursor.way, self.cursor.copied);
            let window = self.cursor.window.map_or(copied, |window| way.last(window));
            self.next = way.later(copied, window);
        }
    }

    /// Which set a route's data lie on, for the executor.
    pub fn set(&self, which: Which) -> &crate::placement::Set {
        match (which, &self.map.target) {
            (Which::Target, Some(target)) => target,
            _ => &self.map.source,
        }
    }
}
