// SPDX-License-Identifier: GPL-2.0
//! What the superblock of a step says, and having it written to every member.

use core::ops::DerefMut;

use super::{State, Step};
use crate::engine::{Engine, Intent, JobState};
use crate::geometry::{Logical, MemberMask};
use crate::ondisk::{MemberState, Superblock};
use crate::rules::Rule;
use crate::shape;
use crate::way::Way;

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// Has the superblock written as the step wants it, with what failed until now.
    pub(super) fn write_superblock(&mut self) {
        let faults = core::mem::take(&mut self.control.faults);
        let epoch = self.sb.epoch;
        for member in faults.iter() {
            let row = &mut self.sb.members[usize::from(member.0)];
            row.state = MemberState::Faulty;
            row.left_epoch = epoch;
        }
        self.control.committing.faults = self.control.committing.faults | faults;
        let left = self.sb.live();
        self.stash_on = self.stash_on & left;
        self.restash = self.restash.map(|members| members & left);
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

    pub(super) fn update_superblock(&mut self) {
        if self.broken(Rule::I8) {
            // What an unclean stop left is taken for true.
            for set in self.sb.sets.iter_mut() {
                set.resync = Logical(set.layout.capacity().0);
            }
        }
        // I4: where a flush failed at a member that is still needed, nothing moves.
        let flushed = self.control.unbearable.is_empty();
        self.control.unclean = self.stopping && !flushed;
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
        let (turned, end) = (self.control.committing.turned, self.end());
        let synced = !turned && self.target_is_synced();
        if let Some(migration) = &mut self.sb.migration {
            migration.paused = self.paused;
            if self.map.target.is_some() {
                if flushed {
                    migration.speed_max = self.pace.speed_max;
                    if self.control.step == Step::Retire && !self.rules.broken(Rule::I1) {
                        if let Some(stash) = self.stash {
                            migration.retired_stash = stash.number;
                        }
                    }
                }
                let target = usize::from(migration.target);
                let way = self.cursor.way;
                // A write that failed in the gap, or could not read there, may be at the source only.
                let is_gap_torn =
                    !(self.control.committing.faults | self.control.gap_unread).is_empty();
                let cursor = match self.control.step {
                    Step::Retire => way.last(self.jobs[0].range),
                    // What was copied since is still at the set that takes over; and one that is
                    // written once more does not say again what it said before.
                    _ if turned || is_gap_torn || !flushed => self.cursor.durable,
                    // What was copied after the flush began may not be durable; and a gap
                    // that was given up since is not copied any more.
                    _ => way.sooner(self.control.flushed_to, self.cursor.copied),
                };
                migration.cursor = cursor;
                if synced {
                    let target = &mut self.sb.sets[target];
                    let stripe = target.layout.stripe();
                    target.resync = match way {
                        Way::Up => cursor.round_up(stripe),
                        // All from the cursor on is true, and nobody looks at what is below.
                        Way::Down => target.resync.max(end.round_up(stripe)),
                    };
                }
                self.control.committing.cursor = Some(cursor);
                self.sb.map_from_cursor();
            }
        }
        if flushed {
            let to = self.control.flushed_scrub;
            self.update_scrub(to);
            self.control.committing.scrubbed = self.scrub.filter(|s| !s.void).map(|_| to);
        }
        self.update_journal(flushed);
        self.update_bitmap(flushed);
        self.control.committing.size = self.sb.volume_sectors;
        self.control.committing.leaving =
            self.control.committing.leaving | core::mem::take(&mut self.leaving);
        let outdates = self.map.journal.is_some() && self.control.retiring.is_none();
        if self.jobs[0].state == JobState::Returned && flushed && !outdates {
            self.recant_stash(0);
        }
        self.control.committing.recants = self.jobs[0].state == JobState::Recanting;
        self.control.dirty = false;
    }

    /// What is known of the set by now counts, not what was when the migration was planned.
    pub(super) fn keep_trust(&mut self) {
        let Some(source) = self.sb.migration.map(|m| usize::from(m.source)) else {
            return;
        };
        let now = &self.before.sets[usize::from(self.before.present_set())];
        self.sb.sets[source].trust_as(now);
    }

    /// Whether all rows that the mover wrote so far are known to be true.
    pub(in crate::engine) fn target_is_synced(&self) -> bool {
        match (&self.sb.migration, &self.map.target) {
            (Some(m), Some(_)) => {
                let settled = self.cursor.settled(self.end());
                settled.is_empty() || self.sb.sets[usize::from(m.target)].resync >= settled.end
            }
            _ => false,
        }
    }

    pub(in crate::engine) fn committed(&mut self, failed: MemberMask) {
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
}
