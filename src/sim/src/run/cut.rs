// SPDX-License-Identifier: GPL-2.0
//! The power goes: what each step's crash would leave, looked at, and perhaps lived on with.

use fastrand::Rng;
use restripe_core::geometry::MemberMask;

use super::life::Life;
use super::{MOST_LIVES, Runner};
use crate::crash::{Fate, Found, Trial, for_each_fate, images, pending};
use crate::disk::Image;
use crate::world::{Failure, Start, World};

impl Runner {
    /// Looks at what crashes now would leave.
    pub(super) fn look(&mut self, world: &World, life: &Life) -> Result<(), Failure> {
        if self.effort.every > 1 && self.rng.u32(..self.effort.every) != 0 {
            return Ok(());
        }
        let pending = pending(world);
        let present = self.members_back(world);
        let trial = Trial {
            present,
            ..trial(world)
        };
        let mut rng = Rng::with_seed(self.rng.u64(..));
        let mut branches = Vec::new();
        let mut states = 0;
        let (mut degraded, mut read_only, mut used) = (0, 0, [0; 2]);
        let branch = life.depth < self.effort.branch
            && self.tally.lives < MOST_LIVES
            && self.rng.u32(..20) == 0;
        for_each_fate(pending.len(), self.effort.states, &mut rng, |fates, rng| {
            states += 1;
            let images = images(world, &pending, fates);
            let Some(found) = trial
                .check(&images)
                .map_err(|why| describe(&why, world, &pending, fates))?
            else {
                return Ok(());
            };
            let is_held = found.last_slot[0].is_some();
            let is_refused = trial
                .check_used(&images, &found, rng)
                .map_err(|why| describe(&why, world, &pending, fates))?;
            used[usize::from(is_held)] += u64::from(is_refused);
            if rng.u8(..8) == 0 {
                degraded += trial
                    .check_degraded(&images, &found)
                    .map_err(|why| describe(&why, world, &pending, fates))?;
            }
            if rng.u8(..8) == 0 {
                read_only += 1;
                trial
                    .check_read_only(&images, &found)
                    .map_err(|why| describe(&why, world, &pending, fates))?;
            }
            if branch && branches.is_empty() && rng.u8(..4) == 0 {
                let start = start(found, images, world, present);
                branches.push(start);
            }
            Ok(())
        })?;
        self.tally.count(world, states);
        self.tally.degraded += degraded as u64;
        self.tally.read_only += read_only;
        self.tally.used += used[0];
        self.tally.used_later += used[1];
        for start in branches {
            self.lives(start, life.depth + 1, 1)?;
        }
        Ok(())
    }

    /// The power goes, for good.
    pub(super) fn crash(&mut self, world: &mut World) -> Result<Option<Start>, Failure> {
        let pending = pending(world);
        let keep = self.rng.u8(..4);
        let fates: Vec<Fate> = pending
            .iter()
            .map(|_| match self.rng.u8(..4) {
                n if n < keep => Fate::Kept,
                3 => Fate::Torn(self.rng.u64(..)),
                _ => Fate::Dropped,
            })
            .collect();
        let images = images(world, &pending, &fates);
        world.log(|| format!("-- crash, {} writes open: {fates:?}", pending.len()));
        let present = self.members_back(world);
        let trial = Trial {
            present,
            ..trial(world)
        };
        let found = trial
            .check(&images)
            .map_err(|why| describe(&why, world, &pending, &fates))?;
        self.tally.count(world, 1);
        Ok(found.map(|found| start(found, images, world, present)))
    }

    /// Members that are there at the next assembly: one that failed may be back, as it was.
    fn members_back(&mut self, world: &World) -> MemberMask {
        let absent = self.scenario.absent.is_some();
        if world.flaky || (!absent && self.rng.bool()) {
            return self.scenario.all_disks() & !world.gone;
        }
        world.answering()
    }
}

pub(super) fn trial(world: &World) -> Trial<'_> {
    // The core has not heard of it yet, and thinks that it needs no journal.
    let unheard = !(world.engine.map().alive & !world.answering()).is_empty();
    let not_yet = unheard && !world.engine.superblock().journal.in_force;
    Trial {
        scenario: &world.scenario,
        blobs: &world.blobs,
        present: world.answering(),
        faulted: world.faulted,
        flaky: world.flaky,
        exposed: not_yet || !world.engine.is_journal_settled(),
        silent: !world.answering(),
        strict: &world.strict,
        loose: &world.loose,
        rules: world.view.map.rules,
    }
}

pub(super) fn start(found: Found, images: Vec<Image>, world: &World, present: MemberMask) -> Start {
    Start {
        superblock: found.superblock_for_use(),
        stash: found.stash,
        replay: found.replay,
        last_slot: found.last_slot,
        images,
        strict: world.strict.crashed(),
        loose: world.loose.crashed(),
        version: world.version(),
        present,
        gone: world.gone,
        faulted: world.faulted,
        turned: world.turned,
        leg: world.leg,
        resized: world.resized,
    }
}

fn describe(
    why: &str,
    world: &World,
    pending: &[(usize, crate::disk::Entry)],
    fates: &[Fate],
) -> Failure {
    let mut text = why.to_string();
    let cursor = world.view.cursor.get();
    text += &format!(
        "\n  at durable {}, copied {}, window {:?}; writes open:",
        cursor.durable.0, cursor.copied.0, cursor.window
    );
    for ((member, entry), fate) in pending.iter().zip(fates) {
        let first = entry.sectors.first().map_or(0, |s| s.0);
        text += &format!(
            "\n    member {member} index {first}+{} {fate:?}",
            entry.sectors.len()
        );
    }
    text
}
