// SPDX-License-Identifier: GPL-2.0
//! A life of a volume, step by step, until it is cut off or stopped.

use fastrand::Rng;
use restripe_core::engine::Event;

use super::faults::may_have_spots;
use super::{MOST_FAULTS, MOST_STUMBLES, Runner};
use crate::disk::Disk;
use crate::world::{Failure, Start, World};

/// What one life is to do still, and has done.
pub(super) struct Life {
    pub depth: u32,
    pub requests: u32,
    pub migrate_after: u32,
    pub crash_at: Option<u64>,
    pub steps: u64,
    /// Times that nothing moved since the last transfer.
    pub idle: u32,
    pub transfers: u32,
    pub checked: bool,
    /// No requests come any more.
    pub stopping: bool,
    /// The engine knows.
    pub stop_told: bool,
    pub resumed: u32,
    pub faults: u32,
    pub fresh_checked: bool,
}

/// How a life ended.
pub(super) enum End {
    Stopped,
    Crashed(Box<Start>),
    /// After a failure of members nothing more can be asked of it.
    GivenUp,
}

impl Runner {
    /// Lives until one ends in order.
    pub(super) fn lives(&mut self, first: Start, depth: u32, crashes: u32) -> Result<(), Failure> {
        let mut next = first;
        for left in (0..=crashes).rev() {
            match self.life(next, depth, left > 0)? {
                End::Stopped | End::GivenUp => return Ok(()),
                End::Crashed(start) => next = *start,
            }
        }
        Ok(())
    }

    fn life(&mut self, start: Start, depth: u32, may_crash: bool) -> Result<End, Failure> {
        self.tally.lives += 1;
        let rng = Rng::with_seed(self.rng.u64(..));
        let mut world = World::new(&self.scenario, &self.blobs, start, rng, self.rules);
        world.trace.clone_from(&self.trace);
        let kept = self.trace.as_ref().map_or(0, |t| t.borrow().len());
        world.log(|| format!("-- life at depth {depth}"));
        let mut life = Life {
            depth,
            requests: self.effort.requests,
            migrate_after: self.rng.u32(..=self.effort.requests / 2),
            crash_at: (may_crash && self.rng.u8(..8) != 0)
                .then(|| 1 + self.rng.u64(..400) * self.rng.u64(1..4)),
            steps: 0,
            idle: 0,
            transfers: 0,
            checked: false,
            stopping: false,
            stop_told: false,
            resumed: 0,
            faults: if self.effort.faults { MOST_FAULTS } else { 0 },
            fresh_checked: false,
        };
        let stumbles = if self.effort.faults { MOST_STUMBLES } else { 0 };
        world.stumbles = stumbles;
        let result = self.live(&mut world, &mut life);
        self.tally.steps += life.steps;
        self.tally.rebuilt += world.rebuilt;
        self.tally.mended += world.mended;
        self.tally.given_back += world.given_back;
        self.tally.returned += world.returned;
        self.tally.stumbled += u64::from(stumbles - world.stumbles);
        self.tally.swept += world.swept;
        self.tally.spared += u64::from(world.is_spared());
        self.tally.mended_by_jobs += world.mended_by_jobs;
        if let (Some(trace), true, true) = (&self.trace, result.is_ok(), depth > 0) {
            // What a branch did well is no part of a failure's story.
            trace.borrow_mut().truncate(kept);
        }
        result
    }

    fn live(&mut self, world: &mut World, life: &mut Life) -> Result<End, Failure> {
        loop {
            life.steps += 1;
            if life.steps > 200_000 {
                return Err("it goes on for ever".into());
            }
            let progress = self.step(world, life);
            if let Some(failure) = world.take_failure() {
                return Err(failure);
            }
            if world.ready && !life.fresh_checked {
                life.fresh_checked = true;
                world.grow();
            }
            if life.stopping && !life.stop_told && world.ready && world.requests_len() == 0 {
                life.stop_told = true;
                life.idle = 0;
                world.tell(Event::Stop);
            }
            if world.stopped {
                return self.check_stopped(world);
            }
            if world.failed {
                return self.check_failed(world);
            }
            if world.dirty {
                world.dirty = false;
                if life.depth == 0 || self.rng.u32(..4) == 0 {
                    self.look(world, life)?;
                }
            }
            if life.crash_at.is_some_and(|at| life.steps >= at) {
                if let Some(start) = self.crash(world)? {
                    return Ok(End::Crashed(Box::new(start)));
                }
                return Ok(End::GivenUp);
            }
            if world.transfers() != life.transfers {
                life.transfers = world.transfers();
                life.idle = 0;
            }
            if progress {
                continue;
            }
            if let Some(end) = self.rest(world, life)? {
                return Ok(end);
            }
        }
    }

    /// One step; false if only time could bring one.
    fn step(&mut self, world: &mut World, life: &mut Life) -> bool {
        let ops = world.ops_len();
        let engine = if world.has_engine_work() { 3 } else { 0 };
        let may_submit =
            world.ready && !life.stopping && life.requests > 0 && world.requests_len() < 4;
        let submit = u32::from(may_submit);
        let transfer = if ops > 0 { 4 } else { 0 };
        let total = engine + submit + transfer;
        if total == 0 {
            return world.ready && self.maybe_migrate(world, life);
        }
        let calm = if life.faults > 0 && world.may_lose_window() {
            6
        } else if self.effort.faults || self.effort.spots {
            20
        } else {
            60
        };
        if self.rng.u32(..calm) == 0 {
            self.disturb(world, life);
        }
        if self.effort.spots && !may_have_spots(world, self.spotted) {
            world.disks.iter_mut().for_each(Disk::heal);
        }
        let choice = self.rng.u32(..total);
        if choice < engine {
            world.engine_step();
        } else if choice < engine + submit {
            life.requests -= 1;
            self.submit(world);
        } else {
            if let Some(index) = world.pick_op(&mut self.rng, engine + submit > 0) {
                world.end_op(index);
            }
        }
        let begun = self.effort.requests.saturating_sub(life.requests);
        if world.ready && begun >= life.migrate_after {
            self.maybe_migrate(world, life);
        }
        true
    }

    /// Nothing moves by itself: time passes, and if that does not help, the life ends.
    pub(super) fn rest(
        &mut self,
        world: &mut World,
        life: &mut Life,
    ) -> Result<Option<End>, Failure> {
        life.idle += 1;
        match life.idle {
            1 => {
                self.check_quiet(world)?;
                let held = world
                    .engine
                    .superblock()
                    .migration
                    .is_some_and(|m| m.paused || m.sync_max.is_some());
                let rebuilds = !world.view.map.rebuilding.is_empty();
                let blocked = world.engine.blocked().is_some() && life.resumed < 3;
                if world.engine.recover_blocked().is_some() {
                    world.disks.iter_mut().for_each(Disk::heal);
                    world.tell(Event::Idle);
                }
                if held || blocked || rebuilds {
                    life.resumed += 1;
                    world.tell(Event::Resume);
                    world.tell(Event::SyncMax(None));
                }
            }
            2 => world.pass(20_000),
            3 => world.tell(Event::Quiet),
            4 => world.pass(20_000),
            _ if world.requests_len() > 0 => return Err("requests wait for ever".into()),
            _ if !world.ready => return Err("it never gets ready".into()),
            _ if life.stopping => return Err("it does not stop".into()),
            _ if !world.flaky
                && !world.view.map.rebuilding.is_empty()
                && !world.view.map.rebuilding.iter().any(|m| world.is_dead(m)) =>
            {
                return Err(format!(
                    "the rebuild does not go on: {:?}",
                    world.engine.recover_blocked()
                ));
            }
            _ if world.flaky || (world.engine.blocked().is_some() && world.faulted) => {
                return Ok(Some(End::GivenUp));
            }
            _ if self.scenario.target.is_some()
                && world.engine.superblock().migration.is_some() =>
            {
                return Err(format!(
                    "the migration does not go on: {:?}",
                    world.engine.blocked()
                ));
            }
            _ if !life.checked && !world.faulted => {
                life.checked = true;
                world.disks.iter_mut().for_each(Disk::heal);
                self.check_done(world)?;
                life.idle = 0;
                life.requests += 4;
                world.tell(Event::Check);
            }
            _ => {
                if world.engine.superblock().mismatch_cnt != 0 {
                    return Err(format!(
                        "a check finds {} sectors that differ",
                        world.engine.superblock().mismatch_cnt
                    ));
                }
                life.stopping = true;
                life.idle = 0;
            }
        }
        Ok(None)
    }
}
