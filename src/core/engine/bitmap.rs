// SPDX-License-Identifier: GPL-2.0
//! When marks of the write-intent bitmap are written and cleared, and when it is in force (see
//! `bitmap.rs` of the core).
//!
//! One write of it is under way at a time, for all writers that wait by then. A sweep runs beside
//! that: marks are taken from memory, who may have seen them drained, members flushed, and then
//! the bitmap is written without them. A fault in between ends it for nothing: what is still on
//! the members counts again.

use core::ops::DerefMut;

use super::{Engine, Intent, Which, Who};
use crate::bitmap::{is_wanted, Bitmap, Swept, LEAST_SHIFT};
use crate::geometry::{Logical, MemberMask, Range};
use crate::ondisk::{BitmapMode, Superblock};
use crate::rules::Rule;

use super::control::Step;

/// Milliseconds between two sweeps.
const SWEEP_INTERVAL: u64 = 5_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Sweep {
    #[default]
    Idle,
    Asked,
    Drain,
    Flush,
    /// What it took can go.
    Flushed,
    /// It goes.
    Write,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// log2 of the least region's sectors.
    least: u8,
    /// Milliseconds between two sweeps.
    interval: u64,
    /// Writes wait for marks.
    wanted: bool,
    /// A write of the bitmap is under way.
    writing: bool,
    /// The step of the control needs it written.
    step_waits: bool,
    /// The write under way is that one.
    for_step: bool,
    /// That one went well.
    step_done: bool,
    /// A write failed at members: what it was about is not on all of them.
    again: bool,
    sweep: Sweep,
    /// A fault came up since the sweep began.
    void: bool,
    /// There may be marks to clear.
    dirty: bool,
    swept: u64,
    /// Copies or parity may differ where nothing is marked.
    doubt: bool,
    /// Marked regions that a resync comes to next.
    run: Option<Range>,
    /// Where it looks for them.
    asked: Option<Logical>,
}

impl Default for Marks {
    fn default() -> Self {
        Marks {
            least: LEAST_SHIFT,
            interval: SWEEP_INTERVAL,
            wanted: false,
            writing: false,
            step_waits: false,
            for_step: false,
            step_done: false,
            again: false,
            sweep: Sweep::Idle,
            void: false,
            dirty: false,
            swept: 0,
            doubt: false,
            run: None,
            asked: None,
        }
    }
}

/// What a resync does next.
pub(super) enum Run {
    /// All up to there is marked.
    UpTo(Logical),
    /// Nothing is before that.
    SkipTo(Logical),
    /// It is not known yet.
    Wait,
}

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// Sets log2 of the least region's sectors and the milliseconds between two sweeps, where volumes
    /// are too small and lives too short for the usual ones. Before [`start`](Self::start).
    pub fn set_bitmap_scale(&mut self, least: u8, interval: u64) {
        self.marks.least = least;
        self.marks.interval = interval;
    }

    /// The bitmap of the superblock, if it has one.
    pub fn bitmap(&self) -> Option<Bitmap> {
        (self.sb.marked && !self.read_only).then(|| Bitmap::of(&self.sb, self.marks.least))
    }

    pub(super) fn set_bitmap(&mut self, mode: BitmapMode) {
        if self.read_only {
            return;
        }
        if self.control.starting {
            self.before.bitmap = mode;
        }
        self.control.dirty |= self.sb.bitmap != mode;
        self.sb.bitmap = mode;
    }

    /// The bitmap is not in force where it has to be, or otherwise: a step that holds all writes
    /// changes that.
    pub(super) fn bitmap_is_due(&self) -> bool {
        let wanted = is_wanted(&self.sb);
        if self.marks.doubt && wanted && !self.sb.marked {
            // All would be marked, and a fault that comes again would have it so again.
            return self.sb.sets[self.set_index(Which::Source)].resync
                >= self.held(Which::Source).end;
        }
        self.sb.marked != wanted
    }

    /// What was found at assembly is read, if there is any.
    pub(super) fn load_marks(&mut self) -> bool {
        let Some(bitmap) = self.bitmap() else {
            return false;
        };
        // Each assembly raises it by one.
        let epoch = self.sb.epoch - 1;
        self.emit(Intent::LoadMarks { bitmap, epoch });
        true
    }

    /// Whether the step that is about to commit has the bitmap written first, which this asks for.
    pub(super) fn write_bitmap_first(&mut self, coming: MemberMask) -> bool {
        let marked = self.sb.marked;
        let due = match self.control.step {
            Step::Epoch if self.broken(Rule::Stale) && marked => false,
            Step::Epoch => marked || is_wanted(&self.sb),
            Step::Journal => !marked && is_wanted(&self.sb) && self.bitmap_is_due(),
            Step::Members => marked && !coming.is_empty(),
            _ => false,
        };
        self.marks.step_done = false;
        self.marks.step_waits = due;
        self.pump_step_marks();
        due
    }

    fn pump_step_marks(&mut self) {
        if !self.marks.step_waits || self.marks.writing {
            return;
        }
        self.marks.step_waits = false;
        self.marks.for_step = true;
        let all = !self.sb.marked;
        if all {
            self.void_sweep();
            self.marks.run = None;
        }
        let bitmap = Bitmap::of(&self.sb, self.marks.least);
        self.write_bitmap(bitmap, false, all);
    }

    fn write_bitmap(&mut self, bitmap: Bitmap, clears: bool, all: bool) {
        self.marks.writing = true;
        self.emit(Intent::WriteBitmap {
            bitmap,
            members: self.sb.live(),
            clears,
            all,
        });
    }

    /// Writes `marked` to the superblock that is about to be committed. `flushed`: no member failed
    /// that can't be done without.
    pub(super) fn update_bitmap(&mut self, flushed: bool) {
        let done = core::mem::take(&mut self.marks.step_done) && flushed;
        match self.control.step {
            Step::Epoch | Step::Journal if done => {
                self.sb.marked = true;
                self.marks.doubt = false;
            }
            Step::Epoch if self.sb.marked && self.broken(Rule::Stale) => {}
            // That of an earlier assembly does not count any more.
            Step::Epoch => self.sb.marked = false,
            Step::Journal if !is_wanted(&self.sb) => self.sb.marked = false,
            _ => {}
        }
        if self.sb.migration.is_some() || self.marks.doubt {
            self.sb.marked = false;
        }
    }

    /// Copies or parity may differ anywhere from now on.
    pub(super) fn doubt_bitmap(&mut self) {
        self.marks.doubt = true;
        self.void_sweep();
    }

    /// The bitmap of the next map.
    pub(super) fn bitmap_after(&mut self) -> Option<Bitmap> {
        let bitmap = self.bitmap();
        // Resynced a piece further, so more may be cleared.
        self.marks.dirty |= bitmap.is_some();
        bitmap
    }

    /// What a sweep took may be about what failed: it counts again.
    pub(super) fn void_sweep(&mut self) {
        match self.marks.sweep {
            Sweep::Idle | Sweep::Write => {}
            Sweep::Flushed => self.sweep_ended(),
            Sweep::Asked | Sweep::Drain | Sweep::Flush => self.marks.void = true,
        }
    }

    fn sweep_ended(&mut self) {
        self.marks.sweep = Sweep::Idle;
        self.marks.void = false;
        if !self.marks.writing {
            self.emit(Intent::Marked { all: true });
            self.emit(Intent::Publish);
        }
    }

    pub(super) fn want_marks(&mut self) {
        self.marks.wanted = true;
    }

    pub(super) fn pump_marks(&mut self) {
        let Some(bitmap) = self.map.bitmap else {
            if core::mem::take(&mut self.marks.wanted) {
                self.emit(Intent::Publish);
            }
            if self.marks.sweep == Sweep::Flushed {
                self.sweep_ended();
            }
            return;
        };
        if self.marks.writing || self.marks.step_waits || !self.control.is_settled() {
            return;
        }
        let clears = self.marks.sweep == Sweep::Flushed;
        if self.marks.wanted || self.marks.again || clears {
            self.marks.wanted = false;
            if clears {
                self.marks.sweep = Sweep::Write;
            }
            self.write_bitmap(bitmap, clears, false);
            if self.broken(Rule::Marks) {
                self.emit(Intent::Marked { all: false });
                self.emit(Intent::Publish);
            }
            return;
        }
        let due = self.marks.dirty && self.now >= self.marks.swept + self.marks.interval;
        if self.marks.sweep == Sweep::Idle && due && !self.stopping {
            self.marks.sweep = Sweep::Asked;
            self.marks.swept = self.now;
            let set = &self.map.source;
            self.emit(Intent::Sweep {
                bitmap,
                below: set.resync,
                capacity: set.layout.capacity(),
            });
        }
    }

    /// When there is something to sweep.
    pub(super) fn sweep_at(&self) -> Option<u64> {
        let due = self.map.bitmap.is_some() && self.marks.dirty && !self.stopping;
        (due && self.marks.sweep == Sweep::Idle).then_some(self.marks.swept + self.marks.interval)
    }

    /// Nothing of the bitmap is under way.
    pub fn marks_idle(&self) -> bool {
        !self.marks.writing && self.marks.sweep == Sweep::Idle
    }

    pub(super) fn swept(&mut self, swept: Swept) {
        self.marks.dirty = swept.any || swept.left;
        if self.marks.void || !swept.any {
            return self.sweep_ended();
        }
        if self.broken(Rule::Sweep) {
            self.marks.sweep = Sweep::Flushed;
            return;
        }
        self.marks.sweep = Sweep::Drain;
        self.emit(Intent::Drain { who: Who::Marks });
    }

    pub(super) fn marks_drained(&mut self) {
        if self.marks.void {
            return self.sweep_ended();
        }
        self.marks.sweep = Sweep::Flush;
        let members = self.map.flush_members();
        self.emit(Intent::Flush {
            who: Who::Marks,
            members,
        });
    }

    pub(super) fn marks_flushed(&mut self, failed: MemberMask) {
        self.note_faults(failed);
        if self.marks.void {
            return self.sweep_ended();
        }
        self.marks.sweep = Sweep::Flushed;
    }

    pub(super) fn bitmap_written(&mut self, failed: MemberMask) {
        self.marks.writing = false;
        if self.marks.sweep == Sweep::Write {
            self.marks.sweep = Sweep::Idle;
        }
        let for_step = core::mem::take(&mut self.marks.for_step);
        self.marks.again = !failed.is_empty() && self.map.bitmap.is_some();
        if failed.is_empty() {
            let all = self.marks.sweep == Sweep::Idle;
            self.marks.dirty = true;
            self.emit(Intent::Marked { all });
            if self.started {
                self.emit(Intent::Publish);
            }
        }
        self.note_faults(failed);
        if for_step {
            self.marks.step_done = failed.is_empty();
            return self.bitmap_is_written();
        }
        self.pump_step_marks();
    }

    /// What a resync that has come to `next` does.
    pub(super) fn next_run(&mut self, next: Logical) -> Run {
        if self.map.bitmap.is_none() {
            return Run::UpTo(Logical(u64::MAX));
        }
        let stripe = self.map.source.layout.stripe();
        if let Some(run) = self.marks.run {
            // Rows that lie in it in part count as well.
            let start = run.start.round_down(stripe);
            let end = match run.end {
                Logical(u64::MAX) => run.end,
                end => end.round_up(stripe),
            };
            if next < start {
                return Run::SkipTo(start);
            }
            if next < end {
                return Run::UpTo(end);
            }
        }
        if self.marks.asked != Some(next) {
            self.marks.asked = Some(next);
            self.emit(Intent::NextMarked { from: next });
        }
        Run::Wait
    }

    pub(super) fn marked_run(&mut self, from: Logical, run: Range) {
        if self.marks.asked == Some(from) {
            self.marks.asked = None;
            self.marks.run = Some(run);
        }
    }

    /// A pass begins anew, perhaps before what was looked for last.
    pub(super) fn forget_run(&mut self) {
        (self.marks.run, self.marks.asked) = (None, None);
    }
}
