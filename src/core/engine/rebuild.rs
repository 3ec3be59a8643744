// SPDX-License-Identifier: GPL-2.0
//! Members that fail, come, go and are rebuilt.
//!
//! A rebuild is a pass of [`scrub`](super::scrub): piece by piece, under the range lock,
//! from what is left of the set that holds the piece. Below its cursor the new members are
//! alive, from there on they are neither read nor written, so that a crash, or the loss of
//! the new member, costs nothing but the work since the last commit.

use core::fmt::Write;
use core::ops::DerefMut;

use super::{Engine, Intent, Job, JobState, Kind, Scrub, ScrubKind, Which};
use crate::admit::Route;
use crate::geometry::{Logical, MemberId, MemberMask, Range};
use crate::ondisk::{Member, MemberState, Superblock};
use crate::refusal;
use crate::shape::{self, Change};
use crate::text::{Refusal, Text};

/// A stashed window is rewritten without members that are being rebuilt, and their rebuild may
/// have gone past it, so that goes back to where it begins.
pub(super) fn make_window(sb: &mut Superblock, window: Range) {
    for row in sb.members.iter_mut() {
        row.recovery = row.recovery.min(window.start);
    }
}

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// A change of members; the superblock has it as soon as it can.
    ///
    /// # Errors
    /// What speaks against it.
    pub fn change_members(&mut self, now: u64, change: &Change) -> Result<(), Refusal> {
        self.may_change_members(change)?;
        self.now = now;
        self.change = Some(*change);
        self.recover_blocked = None;
        self.pump();
        Ok(())
    }

    /// Says whether [`change_members`](Self::change_members) could begin now: to be asked before a device that comes in is
    /// written to.
    ///
    /// # Errors
    /// The same.
    pub fn may_change_members(&self, change: &Change) -> Result<(), Refusal> {
        self.may_change()?;
        if self.change.is_some() || self.is_starting() || !self.going().is_empty() {
            return Err(refusal!(
                EBUSY,
                "the volume is busy with another change; write the line again"
            ));
        }
        shape::check_change(&self.sb, change)
    }

    /// The member is not to be relied on any more.
    ///
    /// # Errors
    /// Where the volume can't do without it.
    pub fn fail_member(&mut self, now: u64, member: MemberId) -> Result<(), Refusal> {
        self.now = now;
        self.may_change()?;
        let row = self.sb.members.get(usize::from(member.0));
        let Some(row) = row.filter(|row| row.is_used()) else {
            return Err(refusal!(
                ENODEV,
                "the volume has no member {}; look at what its folder members holds",
                member.0
            ));
        };
        if !row.state.is_live() {
            return Err(refusal!(
                EINVAL,
                "member {} is {} already",
                member.0,
                row.state.name()
            ));
        }
        if !self.may_lose(member) {
            return Err(refusal!(
                EBUSY,
                "the volume can't do without member {}: its data would be lost",
                member.0
            ));
        }
        self.note_faults(MemberMask::of(member));
        self.pump();
        Ok(())
    }

    fn may_change(&self) -> Result<(), Refusal> {
        if self.stopping || self.read_only || !self.control.alive() || !self.started {
            return Err(refusal!(
                EBUSY,
                "the volume is stopping, failed or read-only; assemble it writable first"
            ));
        }
        Ok(())
    }

    /// Brings what was asked for, and spares that have work to do, into the superblock. Says
    /// whether there was anything.
    pub(super) fn apply_change(&mut self) -> bool {
        if self.control.starting {
            return false;
        }
        let mut applied = false;
        // Pieces of a rebuild that is over know of other members.
        let rebuilds = self.scrub.is_some_and(|s| s.kind == ScrubKind::Recover);
        let takes_place = |c: &Change| matches!(c, Change::Replace { .. } | Change::Return { .. });
        if let Some(change) = self.change.take_if(|c| !(rebuilds && takes_place(c))) {
            // What failed since may speak against it.
            if shape::check_change(&self.sb, &change).is_ok() {
                shape::make_change(&mut self.sb, &change);
                applied = true;
                match change {
                    Change::Remove { id } => self.leaving.insert(id),
                    Change::Add { id, .. } | Change::Return { id } | Change::Replace { id, .. } => {
                        self.coming.insert(id);
                    }
                }
            } else if let Change::Add { id, .. } | Change::Replace { id, .. } = change {
                // It came for nothing.
                self.leaving.insert(id);
                applied = true;
            }
        }
        if !rebuilds && self.recover_blocked.is_none() && shape::take_spares(&mut self.sb) {
            applied = true;
        }
        if applied {
            self.end_scrub_of_user();
        }
        applied
    }

    /// A check or repair makes way.
    fn end_scrub_of_user(&mut self) {
        let mine = |s: &Scrub| matches!(s.kind, ScrubKind::Check | ScrubKind::Repair);
        if let Some(scrub) = self.scrub.as_mut().filter(|s| mine(s)) {
            scrub.ending = true;
        }
    }

    /// Members are to be rebuilt, and nothing speaks against it.
    pub(super) fn is_recovering(&self) -> bool {
        !self.map.rebuilding.is_empty() && self.recover_blocked.is_none()
    }

    /// A migration goes on without members whose rebuild is blocked, and what it moves it does not
    /// write to them: so they are to be rebuilt from the start. Whether the superblock says
    /// something new by that.
    pub(super) fn forget_recovery(&mut self) -> bool {
        let goes_on = self.map.target.is_some() && self.recover_blocked.is_some();
        let is_made = |row: &Member| row.state == MemberState::Rebuilding && row.recovery.0 > 0;
        if !goes_on || self.scrub.is_some() || !self.sb.members.iter().any(is_made) {
            return false;
        }
        for row in self.sb.members.iter_mut().filter(|row| is_made(row)) {
            row.recovery = Logical::ZERO;
        }
        true
    }

    /// The rebuild that is due, if any, and can begin.
    pub(super) fn due_recovery(&self) -> Option<Scrub> {
        let moved = self.cursor.copied != self.cursor.durable;
        if !self.is_recovering() || moved || !self.is_rebuildable() {
            return None;
        }
        let from = self.cursor.recovered;
        Some(Scrub {
            kind: ScrubKind::Recover,
            progress: from,
            committed: from,
            next: from,
            end: self.recover_end(),
            ..Scrub::default()
        })
    }

    /// No piece is under way that a rebuild could meet. A window that is blocked stays as it is, and
    /// will be rewritten for all members when they are in sync.
    pub(super) fn may_recover(&self) -> bool {
        let idle = |job: &Job| job.state == JobState::Idle;
        let (first, others) = (&self.jobs[0], &self.jobs[1..]);
        let stuck = self.blocked.is_some() && self.cursor.window.is_some();
        let stuck = stuck && first.kind == Kind::Window && first.state == JobState::Failed;
        others.iter().all(idle) && (stuck || idle(first))
    }

    /// The piece of a rebuild that begins at `start`.
    pub(super) fn recover_range(&self, which: Which, start: Logical, limit: Logical) -> Range {
        let stripe = self.set(which).layout.stripe();
        let piece = self.piece.max(stripe).round_down(stripe);
        Range::new(start, (start + piece).round_down(stripe).min(limit))
    }

    /// Up to where members are rebuilt: all that their set holds, or of two sets what is the volume's.
    fn recover_end(&self) -> Logical {
        match &self.map.target {
            Some(_) => self.end(),
            None => Logical(self.map.source.layout.capacity().0),
        }
    }

    /// From parity that is not known to be true nothing can be rebuilt (I8).
    fn is_rebuildable(&self) -> bool {
        let known = |which| {
            let set = self.set(which);
            let held = self.held(which);
            !set.layout.level.has_parity() || held.is_empty() || set.is_rebuildable(held)
        };
        known(Which::Source) && (self.map.target.is_none() || known(Which::Target))
    }

    /// The set that holds `x` for a rebuild, and up to where; None in a window, which will be
    /// rewritten as a whole.
    pub(super) fn holder(&self, x: Logical) -> (Option<Which>, Logical) {
        if self.map.target.is_none() {
            return (Some(Which::Source), self.recover_end());
        }
        let cursor = crate::admit::Cursor {
            recovered: Logical::ZERO,
            ..self.cursor
        };
        let (route, end) = self.map.route_read(&cursor, x);
        let which = match route {
            Route::Window => None,
            Route::Target => Some(Which::Target),
            Route::Source | Route::Both => Some(Which::Source),
        };
        (which, end)
    }

    /// Who is rebuilt may have changed with the map. When nobody is left, pieces under way
    /// end for nothing.
    pub(super) fn follow_rebuilding(&mut self, before: MemberMask) {
        let now = self.map.rebuilding;
        // Pieces may be ahead of what is durable, but where there are none it is as that says.
        let at_rest = self.recover_blocked.is_some() && self.scrub.is_none();
        if before.is_empty() || now.is_empty() || at_rest {
            self.cursor.recovered = self.sb.recovered();
        }
        if now.is_empty() {
            self.void_recovery();
        }
    }

    /// The same for a window that was blocked, and goes on while they are still being rebuilt. What
    /// is left of that rebuild's pass counts no more.
    pub(super) fn recover_from(&mut self, window: Range) {
        if self.map.rebuilding.is_empty() || self.cursor.recovered <= window.start {
            return;
        }
        make_window(&mut self.sb, window);
        self.control.dirty = true;
        self.cursor.recovered = window.start;
        self.void_recovery();
        self.emit(Intent::Publish);
    }

    /// A rebuild's pass under way, if any, ends for nothing.
    fn void_recovery(&mut self) {
        if let Some(scrub) = self.scrub.as_mut().filter(|s| s.kind == ScrubKind::Recover) {
            (scrub.failed, scrub.void) = (true, true);
        }
    }

    /// A rebuild moved on; before its piece's range is given back.
    pub(super) fn recovered(&mut self, to: Logical) {
        if self.map.rebuilding.is_empty() || self.scrub.is_some_and(|s| s.void) {
            return;
        }
        self.cursor.recovered = to;
        self.emit(Intent::Publish);
    }

    /// Writes a rebuild's progress, flushed up to `to`, to the superblock that is about to be
    /// committed; at the end the members are in sync.
    pub(super) fn update_recovery(&mut self, to: Logical) {
        let (onto, end) = (self.map.rebuilding, self.recover_end());
        let over = to >= end && self.scrub.is_some_and(|s| s.end == end);
        for member in onto.iter() {
            let row = &mut self.sb.members[usize::from(member.0)];
            if row.state != MemberState::Rebuilding {
                continue;
            }
            if over {
                (row.state, row.recovery) = (MemberState::InSync, Logical::ZERO);
            } else {
                row.recovery = to;
            }
        }
        if over && self.map.target.is_some() {
            // What lies behind the volume's end was not written.
            for which in [Which::Source, Which::Target] {
                let end = self.scrub_end_of_volume(which);
                let index = self.set_index(which);
                let set = &mut self.sb.sets[index];
                if set.layout.level.is_redundant() {
                    set.resync = set.resync.min(end);
                }
            }
        }
    }

    /// Members failed under a rebuild. Those it reads from may be bad in one place only, and what
    /// else they hold is needed.
    pub(super) fn recover_failed(&mut self, job: u8, failed: MemberMask) {
        let read = failed & !self.map.rebuilding;
        if read.is_empty() || self.can_lose(failed) {
            self.job(job).state = JobState::Failed;
            return self.note_faults(failed);
        }
        let mut why = Text::new();
        let at = self.job(job).range.start;
        for member in read.iter() {
            // Writing to a Text never fails: it cuts.
            let _ = write!(
                why,
                "member {} can't be read near sector {}; ",
                member.0, at.0
            );
        }
        let _ = write!(why, "what is to be rebuilt there is lost with it");
        self.recover_blocked = Some(why);
        self.scrub_failed(job);
        self.emit(Intent::Changed);
    }

    /// Why members can't be rebuilt.
    pub fn recover_blocked(&self) -> Option<&str> {
        self.recover_blocked.as_ref().map(|why| why.as_str())
    }
}
