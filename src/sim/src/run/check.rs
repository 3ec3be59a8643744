// SPDX-License-Identifier: GPL-2.0
//! What must be so when nothing moves, when a volume has arrived, and when it is stopped.

use restripe_core::engine::Event;
use restripe_core::geometry::Logical;
use restripe_core::ondisk::SUPERBLOCK_SECTORS;
use restripe_core::placement::Set;

use super::Runner;
use super::cut::{start, trial};
use super::life::End;
use crate::crash::Reader;
use crate::disk::Image;
use crate::world::{Failure, World};

impl Runner {
    /// No transfer is under way: what memory and disks say must agree.
    pub(super) fn check_quiet(&self, world: &World) -> Result<(), Failure> {
        if !world.ready || world.requests_len() > 0 {
            return Ok(());
        }
        let images: Vec<Image> = world.disks.iter().map(|d| d.visible().clone()).collect();
        self.check_content(world, &images)?;
        world.check_signatures(&images)?;
        world.reader(&images).check_sets(&world.loose)
    }

    fn check_content(&self, world: &World, images: &[Image]) -> Result<(), Failure> {
        let reader = world.reader(images);
        let oracle = if world.faulted {
            &world.loose
        } else {
            &world.strict
        };
        reader
            .for_each(oracle.len(), |x, tag| {
                tag.map_or(Ok(()), |tag| oracle.may_be(x, tag))
            })
            .map_err(|wrong| format!("at rest {wrong}"))
    }

    /// Migration and resync are over.
    pub(super) fn check_done(&self, world: &World) -> Result<(), Failure> {
        if world.faulted {
            return Ok(());
        }
        let sb = world.engine.superblock();
        let set = &sb.sets[usize::from(sb.present_set())];
        let end = Logical(sb.volume_sectors.0).round_up(set.layout.stripe());
        if set.layout.level.is_redundant() && set.resync < end {
            return Err(format!(
                "synced up to sector {} of {} only",
                set.resync.0, end.0
            ));
        }
        let is_at = |wanted: &Set| set.lies_as(wanted);
        let stops = self.scenario.stops();
        let arrived = stops.last().is_none_or(is_at);
        let came_back = world.turned && is_at(&stops[world.leg]);
        if !(arrived || came_back) {
            return Err("the volume is not where it was to be".into());
        }
        if self.scenario.target.is_some() {
            self.check_left(world)?;
        }
        Ok(())
    }

    /// Who left holds no superblock.
    fn check_left(&self, world: &World) -> Result<(), Failure> {
        let members = world.engine.superblock().live();
        for member in (world.wiped & !members).iter() {
            let disk = &world.disks[usize::from(member.0)];
            let blank = self.scenario.slots(member.0).iter().all(|at| {
                let tags = disk.read(*at, SUPERBLOCK_SECTORS.0);
                tags.iter().all(|tag| *tag == 0)
            });
            if !blank {
                return Err(format!("member {} left and was not wiped", member.0));
            }
        }
        Ok(())
    }

    /// Stopped in order: all is durable, clean, and true without any one member.
    pub(super) fn check_stopped(&mut self, world: &World) -> Result<End, Failure> {
        let images: Vec<Image> = world.disks.iter().map(|d| d.durable().clone()).collect();
        self.check_content(world, &images)
            .and_then(|()| world.check_signatures(&images))
            .map_err(|why| format!("stopped, and {why}"))?;
        let trial = trial(world);
        let Some(found) = trial.check(&images)? else {
            return Ok(End::GivenUp);
        };
        if world.faulted {
            return Ok(End::Stopped);
        }
        if !found.superblock.clean {
            return Err("stopped, and not clean".into());
        }
        self.tally.degraded += trial.check_degraded(&images, &found)? as u64;
        if found.superblock.migration.is_some() {
            // It goes on after the next assembly.
            let next = start(found, images, world, world.answering());
            return Ok(End::Crashed(Box::new(next)));
        }
        Ok(End::Stopped)
    }

    /// A volume that failed because members did can be stopped.
    pub(super) fn check_failed(&mut self, world: &mut World) -> Result<End, Failure> {
        if !world.faulted {
            return Err("the volume failed and no member did".into());
        }
        world.tell(Event::Stop);
        while !world.stopped {
            if world.has_engine_work() {
                world.engine_step();
            } else if world.ops_len() == 0 {
                return Err("it failed and does not stop".into());
            } else if let Some(index) = world.pick_op(&mut self.rng, false) {
                world.end_op(index);
            }
            if let Some(failure) = world.take_failure() {
                return Err(failure);
            }
        }
        Ok(End::GivenUp)
    }
}

impl World {
    /// Reads of all of the volume as they are now.
    pub fn reader<'a>(&'a self, images: &'a [Image]) -> Reader<'a> {
        Reader {
            scenario: &self.scenario,
            images,
            map: &self.view.map,
            cursor: self.view.cursor.get(),
            window: self.window_data(),
            window_start: self.window_start(),
            overlay: &[],
            marks: self.view.map.bitmap.map(|bitmap| (bitmap, &self.marks)),
        }
    }
}
