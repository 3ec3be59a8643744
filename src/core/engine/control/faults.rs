// SPDX-License-Identifier: GPL-2.0
//! Members that fail: which the volume can do without, and what is given up for the others.

use core::ops::DerefMut;

use super::{map_of, Committing, State, Step};
use crate::engine::{Engine, Intent, Job, JobState};
use crate::geometry::{Logical, MemberId, MemberMask, Range};
use crate::ondisk::Superblock;
use crate::placement::Set;

/// Whether a set that holds the sectors of `held` keeps them all with only `alive` left:
/// from parity that is not known to be true nothing can be rebuilt (I8).
fn bears(set: &Set, alive: MemberMask, held: Range) -> bool {
    let whole = set.missing(alive) == 0;
    let known = !set.layout.level.has_parity() || set.tells_up_to(held.end);
    held.is_empty() || (set.survives(alive) && (whole || known))
}

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// A request or a job failed at members: those that the volume can do
    /// without are made faulty, for the others the request fails.
    pub(in crate::engine) fn faulted(&mut self, members: MemberMask) {
        self.note_faults(members);
    }

    pub(in crate::engine) fn note_faults(&mut self, members: MemberMask) {
        if !members.is_empty() {
            self.void_sweep();
        }
        // Made durable already: whoever failed at some of these, and at no others, may try again.
        let settled = members & !self.sb.live() & !self.control.committing.faults;
        if !settled.is_empty() {
            self.emit(Intent::Settle { retry: settled });
            self.retry_jobs();
        }
        // What is known already is counted among what is lost.
        for member in (members & self.sb.live() & !self.control.faults).iter() {
            if self.can_lose(MemberMask::of(member)) {
                self.control.faults.insert(member);
            } else {
                self.control.unbearable.insert(member);
            }
        }
    }

    /// Members that are alive and will be when all is durable that is known of faults.
    pub(in crate::engine) fn alive_soon(&self) -> MemberMask {
        self.map.alive & !self.control.faults & !self.control.committing.faults
    }

    /// Whether the volume can do without these members too: nothing that it holds is lost. A set
    /// that holds nothing may lose what it likes; a migration to it waits until it is replaced.
    pub(in crate::engine) fn can_lose(&self, members: MemberMask) -> bool {
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

    /// Whether the volume can do without that member, and nothing is about to count that it would take
    /// along.
    pub fn may_lose(&self, member: MemberId) -> bool {
        let alive = self.alive_soon() & !MemberMask::of(member);
        let target = self.map.target.as_ref();
        let counts = self.jobs[0].state == JobState::Retiring;
        let is_lost = counts && target.is_some_and(|target| !target.survives(alive));
        self.can_lose(MemberMask::of(member)) && !is_lost
    }

    /// Whether the target, with only `alive` left, keeps what is nowhere else: what it holds for
    /// good, and what is being rewritten. The gap is at the source too, which takes it over.
    pub(in crate::engine) fn target_bears(&self, target: &Set, alive: MemberMask) -> bool {
        let has_window = self.cursor.window.is_some();
        let rewritten = !has_window || target.survives(alive) || self.may_give_back(alive);
        rewritten && bears(target, alive, self.cursor.settled(self.end()))
    }

    /// Writes of the gap could not read at the target: the source takes over, they begin anew there,
    /// and what the mover writes once more can be read. Said to every commit until then, so that none
    /// makes of their rows at the target the truth.
    pub(super) fn give_gap_back(&mut self) {
        let retry = core::mem::take(&mut self.control.gap_unread);
        self.close_gap();
        self.outdate_journal();
        self.emit(Intent::Publish);
        self.emit(Intent::Settle { retry });
    }

    /// Members failed that the volume can't do without: a migration stops, its
    /// gap is given up, and requests that failed end with EIO.
    pub(super) fn give_up(&mut self) {
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
    pub(super) fn distrust(&mut self, lost: MemberMask) {
        for index in 0..self.sb.sets.len() {
            let set = &mut self.sb.sets[index];
            let is_trusted = set.resync > Logical::ZERO || set.is_fresh;
            let is_hit = !(set.members() & lost).is_empty();
            if set.layout.level.is_redundant() && is_hit && is_trusted {
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
    pub(super) fn abandon_step(&mut self) -> bool {
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
    pub(in crate::engine) fn fail(&mut self) {
        self.control.state = State::Failed;
        self.map.read_only = true;
        self.map.hold = false;
        self.map.clean = false;
        if !self.started {
            // A window that was found waits for the first superblock, and there is none.
            self.jobs[0] = Job::default();
        }
        // First of all: from the map alone a flush would take the volume for one that is read.
        self.emit(Intent::Failed);
        self.emit(Intent::Publish);
        self.emit(Intent::Settle {
            retry: MemberMask::EMPTY,
        });
        self.emit(Intent::Changed);
    }
}
