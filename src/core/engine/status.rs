// SPDX-License-Identifier: GPL-2.0
//! What the engine shows: to its executor, and to the user.

use core::ops::DerefMut;

use super::{Engine, JobState, ScrubKind, Which};
use crate::admit::{Cursor, Map};
use crate::geometry::{Logical, MemberMask, Range, Sectors};
use crate::ondisk::{next_slot, Superblock};
use crate::placement::Set;
use crate::refusal;
use crate::rules::Rule;
use crate::text::Refusal;

/// The word in `sync_action`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncAction {
    Idle,
    Migrate,
    Recover,
    Resync,
    Check,
    Repair,
}

impl SyncAction {
    pub const fn name(self) -> &'static str {
        match self {
            SyncAction::Idle => "idle",
            SyncAction::Migrate => "migrate",
            SyncAction::Recover => "recover",
            SyncAction::Resync => "resync",
            SyncAction::Check => "check",
            SyncAction::Repair => "repair",
        }
    }
}

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// The map to admit requests under, as of the last `Publish`.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// The cursor to admit requests under, as of the last `Publish`.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Into which of a member's two slots `Commit` writes, given the one that holds
    /// its last durable superblock (DESIGN I7).
    pub fn next_slot(&self, last_durable: Option<usize>) -> usize {
        if self.broken(Rule::I7) {
            return last_durable.unwrap_or(0);
        }
        next_slot(last_durable)
    }

    /// What `Commit` writes.
    pub fn superblock(&self) -> &Superblock {
        &self.sb
    }

    /// The range in a job's buffer, while it has one.
    pub fn job_range(&self, job: u8) -> Range {
        self.jobs[usize::from(job)].range
    }

    pub fn sync_action(&self) -> SyncAction {
        match self.scrub.map(|s| s.kind) {
            Some(ScrubKind::Resync) => SyncAction::Resync,
            Some(ScrubKind::Check) => SyncAction::Check,
            Some(ScrubKind::Repair) => SyncAction::Repair,
            Some(ScrubKind::Recover) => SyncAction::Recover,
            None if self.is_recovering() => SyncAction::Recover,
            None if self.map.target.is_some() && !self.paused && self.blocked.is_none() => {
                SyncAction::Migrate
            }
            None => SyncAction::Idle,
        }
    }

    /// Sectors done and in all of what `sync_action` names.
    pub fn sync_completed(&self) -> Option<(Sectors, Sectors)> {
        self.scrub_progress().or_else(|| {
            let end = Logical(self.map.size.0);
            let done = self.cursor.way.done(self.cursor.copied, end);
            self.is_migrating().then_some((done, self.map.size))
        })
    }

    /// The durable cursor of a migration, from the moment it is taken on.
    pub fn migrate_position(&self) -> Option<Logical> {
        if self.map.target.is_some() {
            return Some(self.cursor.durable);
        }
        let begins = match self.control.starting {
            true => self.before.migration,
            false => self.sb.migration,
        };
        begins.map(|migration| migration.cursor)
    }

    /// A migration is under way, or was taken on and begins.
    pub fn is_migrating(&self) -> bool {
        self.map.target.is_some() || self.is_starting()
    }

    /// The word in `migrate_state`.
    pub fn migrate_state(&self) -> &'static str {
        let began = self.map.target.is_some();
        if !began && !self.is_starting() {
            // One that is over lets go of members, or was taken back.
            return match self.control.left_behind.is_empty() {
                true => "none",
                false => "running",
            };
        }
        if began && self.blocked.is_some() {
            "blocked"
        } else if began && self.paused && self.is_at_rest() {
            "paused"
        } else if self.sb.migration.is_some_and(|m| m.aborting) != self.control.turning {
            "aborting"
        } else {
            "running"
        }
    }

    /// Nothing moves, and all that has moved is durable.
    fn is_at_rest(&self) -> bool {
        self.jobs.iter().all(|j| j.state == JobState::Idle)
            && !self.control.dirty
            && self.cursor.copied == self.cursor.durable
    }

    /// Whether the migration can turn round, where the members `silent` answer nothing.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_turn(&self, silent: MemberMask) -> Result<(), Refusal> {
        if self.stopping || self.read_only || !self.control.alive() {
            return Err(refusal!(
                EBUSY,
                "the volume is stopping, read-only or failed; assemble it writable first"
            ));
        }
        if !self.is_migrating() {
            return Err(refusal!(
                ENODATA,
                "no migration is running, so there is nothing to abort; migrate back instead"
            ));
        }
        if self.control.is_finishing() {
            return Err(refusal!(
                EBUSY,
                "the migration is at its last commit and can't be aborted any more; migrate back when migrate_state says none"
            ));
        }
        if self.control.turning {
            // It has not turned yet: it only goes on as it does.
            return Ok(());
        }
        let alive = self.alive_soon() & !silent;
        match self.lost_way_back(alive) {
            Some((set, which)) => Err(refusal!(
                EIO,
                "member {} is gone, and the {} layout ({}) that the migration would go back {} can't do without it; replace or mend it, then abort",
                (set.members() & !alive).iter().next().map_or(0, |id| id.0),
                match self.sb.migration.is_some_and(|m| m.aborting) == (which == Which::Source) {
                    true => "new",
                    false => "old",
                },
                set.layout.level.name(),
                match which {
                    Which::Source => "to",
                    Which::Target => "from",
                }
            )),
            None => Ok(()),
        }
    }

    /// The set without which, with only `alive` left, a migration that turned round would not
    /// come to its end: that which it goes back to must take all of the volume, the other one
    /// give what was moved.
    fn lost_way_back(&self, alive: MemberMask) -> Option<(&Set, Which)> {
        let target = self.map.target.as_ref()?;
        if !self.map.source.survives(alive) {
            return Some((&self.map.source, Which::Source));
        }
        (!self.target_bears(target, alive)).then_some((target, Which::Target))
    }

    /// Why the migration is blocked, or why the last one did not begin.
    pub fn blocked(&self) -> Option<&str> {
        self.blocked.as_ref().map(|why| why.as_str())
    }

    /// The word in `array_state`.
    pub fn array_state(&self) -> &'static str {
        let missing = !self.faulty().is_empty();
        if !self.control.alive() {
            "failed"
        } else if self.read_only {
            "read_only"
        } else if missing {
            "degraded"
        } else if self.sb.clean {
            "clean"
        } else {
            "active"
        }
    }

    /// Slots missing of the set that the volume is on.
    pub fn degraded(&self) -> u8 {
        self.map.source.missing(self.map.alive)
    }

    pub fn speed_max(&self) -> u32 {
        self.pace.speed_max
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// The next moment, in milliseconds, at which a `Tick` is of use.
    pub fn wake_at(&self) -> Option<u64> {
        let work = self.map.target.is_some() || self.scrub.is_some();
        let work = work.then(|| {
            let commit = self.last_commit + super::COMMIT_INTERVAL;
            self.pace
                .wait_until(self.now)
                .map_or(commit, |at| at.min(commit))
        });
        match (work, self.sweep_at()) {
            (Some(work), Some(sweep)) => Some(work.min(sweep)),
            (work, sweep) => work.or(sweep),
        }
    }

    /// Sectors of the volume.
    pub fn size(&self) -> Sectors {
        self.map.size
    }
}
