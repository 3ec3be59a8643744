// SPDX-License-Identifier: GPL-2.0
//! Resync (what an unclean stop leaves untrue, and new capacity), check and repair; and the
//! pass of a rebuild, of which [`rebuild`](super::rebuild) knows the rest.

use core::ops::DerefMut;

use super::bitmap::Run;
use super::{Engine, Intent, JobState, Kind, Which, PIECE};
use crate::geometry::{Logical, MemberMask, Range, Sectors};
use crate::ondisk::Superblock;

/// What a pass does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ScrubKind {
    /// Write copies and parity anew from the data.
    #[default]
    Resync,
    /// Count what differs.
    Check,
    /// Write anew where something differs.
    Repair,
    /// Write what members that are being rebuilt are to hold.
    Recover,
}

/// A pass over a set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scrub {
    /// Of a rebuild each piece has a set of its own.
    pub which: Which,
    pub kind: ScrubKind,
    /// All of it is done up to here.
    pub(super) progress: Logical,
    /// A resync or rebuild is durable up to here.
    pub(super) committed: Logical,
    pub(super) next: Logical,
    pub end: Logical,
    /// Ends as soon as its pieces have.
    pub(super) ending: bool,
    /// A member failed under it, and for a resync that is not its fault: begin again later.
    pub(super) failed: bool,
    /// What it did does not count any more: a write since then reached only some copies.
    pub(super) void: bool,
}

impl Scrub {
    pub fn done(&self) -> Logical {
        self.progress
    }

    pub(super) fn has_progress(&self) -> bool {
        let counts = matches!(self.kind, ScrubKind::Resync | ScrubKind::Recover);
        counts && !self.void && self.progress > self.committed
    }
}

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// What a set holds of the volume now, in whole rows.
    pub(super) fn held(&self, which: Which) -> Range {
        let set = self.set(which);
        let used = match (which, &self.map.target) {
            (Which::Target, _) => self.cursor.settled(self.end()),
            (Which::Source, Some(_)) => self.cursor.at_source(self.end()),
            (Which::Source, None) => Range::new(Logical::ZERO, self.end()),
        };
        if used.is_empty() {
            // Not even the row that it lies in.
            return used;
        }
        let stripe = set.layout.stripe();
        let end = used.end.round_up(stripe).0.min(set.layout.capacity().0);
        Range::new(used.start.round_down(stripe), Logical(end))
    }

    /// Where a set's last row ends that holds some of the volume.
    pub(super) fn scrub_end_of_volume(&self, which: Which) -> Logical {
        let layout = &self.set(which).layout;
        let end = self.end().round_up(layout.stripe());
        Logical(end.0.min(layout.capacity().0))
    }

    /// Whether copies or parity of that set can be made true now.
    fn can_resync(&self, which: Which) -> bool {
        // Copies that a rebuild has made are copies like any others, but parity short of a
        // member is believed.
        let set = self.set(which);
        let alive = match set.layout.level.has_parity() {
            true => self.map.alive,
            false => self.map.kept(),
        };
        set.can_compare(alive)
    }

    /// The resync that is due, if any: of a migrating volume first what is moved already.
    fn due(&self) -> Option<Scrub> {
        if self.move_is_complete() {
            // Its last step comes first.
            return None;
        }
        let moved = self.map.target.and_then(|_| self.due_of(Which::Target));
        moved.or_else(|| self.due_of(Which::Source))
    }

    fn due_of(&self, which: Which) -> Option<Scrub> {
        let (set, held) = (self.set(which), self.held(which));
        let redundant = set.layout.level.is_redundant();
        if !redundant || held.is_empty() || set.resync >= held.end || !self.can_resync(which) {
            return None;
        }
        let from = set.resync.max(held.start);
        Some(Scrub {
            which,
            kind: ScrubKind::Resync,
            progress: from,
            committed: from,
            next: from,
            end: held.end,
            ..Scrub::default()
        })
    }

    pub(super) fn ask_scrub(&mut self, kind: ScrubKind) {
        if self.scrub.is_some() || self.map.target.is_some() || self.read_only {
            return;
        }
        if !self.map.rebuilding.is_empty() || !self.can_resync(Which::Source) {
            return;
        }
        self.sb.mismatch_cnt = 0;
        self.sb.mismatches.clear();
        self.scrub = Some(Scrub {
            which: Which::Source,
            kind,
            end: self.held(Which::Source).end,
            ..Scrub::default()
        });
        self.emit(Intent::Changed);
    }

    pub(super) fn end_scrub(&mut self) {
        if let Some(scrub) = &mut self.scrub {
            scrub.ending = true;
        }
    }

    /// A resync has nothing left to do but to be made durable.
    pub(super) fn scrub_is_done(&self) -> bool {
        self.scrub
            .is_some_and(|s| s.progress == s.end || s.ending || s.failed)
    }

    /// Starts what pieces it can, and ends the pass when all is done and durable.
    pub(super) fn pump_scrub(&mut self) {
        if self.scrub.is_none() {
            let steps = self.control.starting || self.control.turning;
            let busy = steps || self.need_commit || self.paused;
            if self.jobs_idle() && !busy && !self.scrub_blocked {
                self.scrub = self.due();
            }
            if self.scrub.is_none() && self.may_recover() && !busy {
                self.scrub = self.due_recovery();
            }
            if let Some(scrub) = self.scrub {
                self.forget_run();
                // A flush under way is of no use to it, however far another pass had come.
                self.control.flushed_scrub = scrub.done();
                self.emit(Intent::Changed);
            }
        }
        while let Some(scrub) = self.scrub {
            // A migration that the user wants goes first of all that can be done again.
            let steps = self.control.starting || self.control.turning;
            let ending = scrub.ending || scrub.failed || steps;
            if ending || scrub.next >= scrub.end {
                if self.scrub_jobs_idle() && (!scrub.has_progress()) {
                    self.scrub = None;
                    let user = matches!(scrub.kind, ScrubKind::Check | ScrubKind::Repair);
                    self.control.dirty |= user;
                    self.emit(Intent::Changed);
                }
                return;
            }
            let Some(job) = self.idle_job() else {
                return;
            };
            if self.pace.wait_until(self.now).is_some() || self.is_capped(&scrub) {
                return;
            }
            let (which, limit) = match scrub.kind {
                ScrubKind::Recover => self.holder(scrub.next),
                ScrubKind::Resync => match self.next_run(scrub.next) {
                    Run::UpTo(to) => (Some(scrub.which), scrub.end.min(to)),
                    Run::SkipTo(to) => (None, scrub.end.min(to)),
                    Run::Wait => return,
                },
                _ => (Some(scrub.which), scrub.end),
            };
            let Some(which) = which else {
                if !self.skip_to(limit) {
                    return;
                }
                continue;
            };
            let range = match scrub.kind {
                ScrubKind::Recover => self.recover_range(which, scrub.next, limit),
                _ => self.scrub_range(which, scrub.next, limit),
            };
            if let Some(scrub) = &mut self.scrub {
                scrub.next = range.end;
            }
            self.pace.started(self.now, range.len());
            *self.job(job) = super::Job {
                kind: Kind::Scrub,
                state: JobState::Locking,
                range,
                ..super::Job::default()
            };
            self.lock(job, range);
        }
    }

    /// The piece of a pass that begins at `start`.
    fn scrub_range(&self, which: Which, start: Logical, limit: Logical) -> Range {
        let stripe = self.set(which).layout.stripe();
        let piece = PIECE.max(stripe).round_down(stripe);
        // Mirrors are compared within one read region, and PIECE divides that.
        let end = (start + piece).round_down(piece).min(limit);
        // Below the cursor of a rebuild there are other members than above it.
        let (_, border) = self.map.alive_at(&self.cursor, start);
        let is_copied = !self.set(which).layout.level.has_parity();
        Range::new(start, if is_copied { end.min(border) } else { end })
    }

    /// A rebuild stops at the sector that the user said.
    pub(super) fn is_capped(&self, scrub: &Scrub) -> bool {
        let capped = self.sync_max.is_some_and(|at| scrub.next >= at);
        capped && scrub.kind == ScrubKind::Recover
    }

    /// Nothing is to be done up to there: the pass goes on behind it when all before it is done.
    fn skip_to(&mut self, to: Logical) -> bool {
        let Some(scrub) = &mut self.scrub else {
            return false;
        };
        if scrub.progress != scrub.next {
            return false;
        }
        (scrub.progress, scrub.next) = (to, to);
        if scrub.kind == ScrubKind::Recover {
            self.recovered(to);
        }
        true
    }

    /// No piece of a pass is under way.
    fn scrub_jobs_idle(&self) -> bool {
        let busy = |job: &super::Job| job.kind == Kind::Scrub && job.state != JobState::Idle;
        !self.jobs.iter().any(busy)
    }

    pub(super) fn scrub_piece(&mut self, job: u8) {
        let range = self.job(job).range;
        let Some(scrub) = self.scrub else {
            unreachable!("a piece of no pass");
        };
        let is_rebuild = scrub.kind == ScrubKind::Recover;
        let can_go_on = match is_rebuild {
            true => !self.map.rebuilding.is_empty() && self.is_recovering(),
            false => self.can_resync(scrub.which),
        };
        if !can_go_on {
            // A member is gone: there is nothing left to make alike.
            return self.scrub_failed(job);
        }
        let (which, alive, onto) = if is_rebuild {
            let which = self.holder(range.start).0.unwrap_or_default();
            (which, self.map.alive, self.map.rebuilding)
        } else {
            let alive = self.map.alive_at(&self.cursor, range.start).0;
            (scrub.which, alive, MemberMask::EMPTY)
        };
        self.job(job).state = JobState::Scrubbing;
        self.emit(Intent::Scrub {
            job,
            which,
            range,
            kind: scrub.kind,
            alive,
            onto,
        });
    }

    pub(super) fn scrub_failed(&mut self, job: u8) {
        if let Some(scrub) = &mut self.scrub {
            scrub.failed = true;
        }
        self.emit(Intent::Unlock { job });
        *self.job(job) = super::Job::default();
        self.end_done_behind();
    }

    /// Pieces behind a failed one have no turn to wait for.
    fn end_done_behind(&mut self) {
        for index in 0..self.jobs.len() {
            if self.jobs[index].kind == Kind::Scrub && self.jobs[index].state == JobState::Done {
                self.jobs[index] = super::Job::default();
                self.emit(Intent::Unlock { job: index as u8 });
            }
        }
    }

    pub(super) fn scrubbed(&mut self, job: u8, failed: MemberMask) {
        let is_rebuild = self.scrub.is_some_and(|s| s.kind == ScrubKind::Recover);
        if !failed.is_empty() && is_rebuild {
            return self.recover_failed(job, failed);
        }
        if !failed.is_empty() {
            self.job(job).state = JobState::Failed;
            self.note_faults(failed);
            if !self.control.unbearable.is_empty() {
                self.scrub_blocked = true;
                self.scrub_failed(job);
            }
            return;
        }
        self.job(job).state = JobState::Done;
        while let Some(done) = self.jobs.iter().position(|j| {
            j.kind == Kind::Scrub
                && j.state == JobState::Done
                && self.scrub.is_some_and(|s| s.progress == j.range.start)
        }) {
            let end = self.jobs[done].range.end;
            if let Some(scrub) = &mut self.scrub {
                scrub.progress = end;
            }
            if is_rebuild {
                self.recovered(end);
            }
            self.jobs[done] = super::Job::default();
            self.emit(Intent::Unlock { job: done as u8 });
        }
        if self.scrub.is_some_and(|s| s.failed) {
            self.end_done_behind();
        }
    }

    pub(super) fn mismatch(&mut self, range: Range) {
        self.sb.mismatch_cnt += range.len().0;
        // What has no room in the list is counted all the same.
        let _ = self.sb.mismatches.try_push(range);
    }

    /// Writes a resync's progress, flushed up to `to`, to the superblock that is about to be committed.
    pub(super) fn update_scrub(&mut self, to: Logical) {
        let Some(scrub) = self.scrub.filter(|s| !s.void) else {
            return;
        };
        if scrub.kind == ScrubKind::Recover {
            return self.update_recovery(to);
        }
        if scrub.kind != ScrubKind::Resync || self.control.outdated {
            return;
        }
        let index = self.set_index(scrub.which);
        let set = &mut self.sb.sets[index];
        set.resync = set.resync.max(to);
    }

    /// Its place in the superblock.
    pub(super) fn set_index(&self, which: Which) -> usize {
        let index = match (which, &self.sb.migration) {
            (Which::Target, Some(migration)) => migration.target,
            _ => self.sb.present_set(),
        };
        usize::from(index)
    }

    /// A resync under way is of no use: it begins again when its pieces have ended.
    pub(super) fn void_scrub(&mut self) {
        if let Some(scrub) = &mut self.scrub {
            let counts = matches!(scrub.kind, ScrubKind::Resync | ScrubKind::Recover);
            scrub.failed |= counts;
            scrub.void |= scrub.kind == ScrubKind::Resync;
        }
        self.end_done_behind();
    }

    pub(super) fn scrub_committed(&mut self, to: Logical) {
        if let Some(scrub) = &mut self.scrub {
            scrub.committed = to;
        }
    }

    /// Sectors of slots under a resync or check, for `sync_completed`.
    pub fn scrub_progress(&self) -> Option<(Sectors, Sectors)> {
        self.scrub
            .map(|s| (s.progress.from_start(), s.end.from_start()))
    }

    /// Members that hold nothing that counts below the given sector yet.
    pub fn faulty(&self) -> MemberMask {
        !self.map.alive
            & (self.map.source.members()
                | self.map.target.map_or(MemberMask::EMPTY, |t| t.members()))
    }
}
