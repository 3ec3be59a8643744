// SPDX-License-Identifier: GPL-2.0
//! What becomes true when the superblock of a step is durable.

use core::ops::DerefMut;

use super::{cursor_of, map_of, Committing, State, Step};
use crate::admit::Cursor;
use crate::engine::{Engine, Intent, JobState, Who};
use crate::ondisk::Superblock;
use crate::pace::Pace;
use crate::rules::Rule;
use crate::shape;

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// The superblock is durable: make true what it says.
    pub(super) fn durable(&mut self) {
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
        self.step_is_durable(&done);
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
        self.drain_after(had_target, &done);
    }

    /// What the step was for.
    fn step_is_durable(&mut self, done: &Committing) {
        match self.control.step {
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
                self.pace = Pace::new(self.pace.speed_max);
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
                    self.recanted();
                }
            }
        }
    }

    /// Who read the gap where it was copied to has to leave before that is overwritten, and who
    /// reads at members that leave.
    fn drain_after(&mut self, had_target: bool, done: &Committing) {
        if !self.control.alive() {
            return;
        }
        let moved = self.safe != self.cursor.durable || self.window_is_over();
        let reuse = had_target && (moved || done.turned || !done.leaving.is_empty());
        let hasty = self.broken(Rule::I5) || (done.turned && self.broken(Rule::Turn));
        self.control.state = State::DrainAfter;
        if (reuse || !self.unsigned().is_empty()) && !hasty {
            self.emit(Intent::Drain { who: Who::Control });
        } else {
            self.after_drain();
        }
    }
}
