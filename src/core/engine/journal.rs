// SPDX-License-Identifier: GPL-2.0
//! When the journal is in force, and what of it is retired (see `journal.rs` of the core).

use core::ops::DerefMut;

use super::control::Step;
use super::{Engine, Intent};
use crate::geometry::MemberMask;
use crate::journal::{fits, is_wanted, Journal};
use crate::ondisk::{JournalMode, StashHeader, Superblock};
use crate::refusal;
use crate::rules::Rule;
use crate::text::Refusal;

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// Has the journal of `epoch` replayed first: that of the superblock found, if the volume
    /// was not stopped in order. Before [`start`](Self::start).
    pub fn set_replay(&mut self, epoch: Option<u64>) {
        self.replay = epoch;
    }

    /// The stashed window that was found: what it holds comes before any record.
    pub fn stash(&self) -> Option<StashHeader> {
        self.stash
    }

    /// Whether `mode` can be had.
    ///
    /// # Errors
    /// `ENOSPC` where it can't, because a member is too small.
    pub fn check_journal(&self, mode: JournalMode) -> Result<(), Refusal> {
        if mode == JournalMode::Always && !fits(&self.sb) {
            return Err(refusal!(
                ENOSPC,
                "a member is too small to journal writes of so many members; use members of more than 64 MiB"
            ));
        }
        Ok(())
    }

    pub(super) fn set_journal(&mut self, mode: JournalMode) {
        if self.read_only {
            return;
        }
        if self.control.starting {
            // What a migration that is about to begin starts from.
            self.before.journal.mode = mode;
        }
        self.control.dirty |= self.sb.journal.mode != mode;
        self.sb.journal.mode = mode;
    }

    pub(super) fn replayed(&mut self, failed: MemberMask) {
        self.replay = None;
        self.note_faults(failed);
        if !self.control.unbearable.is_empty() {
            // Without what only the journal knows, the volume can't be used.
            let lost = core::mem::take(&mut self.control.unbearable);
            self.block(lost);
            return self.fail();
        }
        self.load_found();
    }

    /// The journal is not what it has to be: a step that holds all writes changes that.
    pub(super) fn journal_is_due(&self) -> bool {
        let wanted = is_wanted(&self.sb);
        self.sb.journal.in_force != wanted || self.map.journal.is_some() != wanted
    }

    /// The journal is durably what it has to be. In between lie the writes that were under way
    /// without it when a member failed or a migration was asked for.
    pub fn is_journal_settled(&self) -> bool {
        let changes = self.control.step == Step::Journal && self.control.is_at_work();
        !changes && !self.journal_is_due()
    }

    /// The step begins that will have drained all under the present lap. Whether the map is
    /// another one now.
    pub(super) fn next_lap(&mut self) -> bool {
        self.control.retiring = Some(self.lap);
        self.lap += 1;
        if let Some(journal) = &mut self.map.journal {
            journal.lap = self.lap;
        }
        self.map.journal.is_some()
    }

    /// Writes to the superblock what of the journal counts once it is durable. `flushed`: all that
    /// was drained is.
    pub(super) fn update_journal(&mut self, flushed: bool) {
        if self.control.retiring.is_some() {
            // Who finds no room all the same asks again.
            self.control.want_room = false;
        }
        if !flushed {
            return;
        }
        if let Some(lap) = self.control.retiring {
            self.sb.journal.retired = lap;
            self.control.outdated = false;
        }
        if is_held(self.control.step) {
            self.sb.journal.in_force = is_wanted(&self.sb);
        }
    }

    /// A step that holds all writes is given up: what it said of the journal may not be so.
    pub(super) fn journal_step_failed(&mut self) {
        self.sb.journal.in_force &= self.map.journal.is_some();
    }

    /// What records tell of may soon be written by other ways than the journal: the mover goes
    /// over a gap that was given up once more, a member that failed is rebuilt. So they are
    /// retired, before any other step.
    pub(super) fn outdate_journal(&mut self) {
        let journaled = self.map.journal.is_some();
        self.control.want_room |= journaled;
        self.control.outdated |= journaled;
    }

    /// Requests failed at members that can't be done without: they go on at the source if `retry` says
    /// so, or end. Records of theirs say what never came to be, and other writes of their rows
    /// know nothing of it. So they keep their rows until it is durable that parity is not to be
    /// trusted there.
    pub(super) fn settle_lost(&mut self, retry: MemberMask) {
        if self.map.journal.is_none() {
            return self.emit(Intent::Settle { retry });
        }
        let before = self.control.unsettled.unwrap_or(retry);
        self.control.unsettled = Some(retry & before);
        self.control.dirty = true;
    }

    /// The journal of the next map. It comes as soon as it is wanted, and goes only where no
    /// write is under way.
    pub(super) fn journal_after(&self, step: Step, had: bool) -> Option<Journal> {
        if self.broken(Rule::Journal) {
            return None;
        }
        let on = if is_held(step) {
            self.sb.journal.in_force
        } else {
            had || is_wanted(&self.sb)
        };
        on.then(|| Journal::of(&self.sb, self.lap))
    }
}

/// Whether no write is under way when the step's commit is durable.
fn is_held(step: Step) -> bool {
    matches!(
        step,
        Step::Epoch | Step::Start | Step::Turn | Step::Finish | Step::Journal
    )
}
