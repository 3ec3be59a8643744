// SPDX-License-Identifier: GPL-2.0
//! A volume's lives, one after the other: each ends with a crash or in order.

mod check;
mod cut;
mod faults;
mod first;
mod life;
mod user;

use std::cell::RefCell;
use std::rc::Rc;

use fastrand::Rng;
use restripe_core::geometry::{MemberId, MemberMask};
use restripe_core::ondisk::{SUPERBLOCK_SIZE, Superblock, encode};
use restripe_core::rules::Rules;

use self::faults::spotted;
use self::first::first_images;
use crate::blobs::{Blobs, crc};
use crate::crash::{Trial, known_crc};
use crate::disk::Image;
use crate::oracle::{Oracle, tag};
use crate::scenario::Scenario;
use crate::tally::Tally;
use crate::world::{Failure, Start, Trace};

/// A run that has had so many lives branches no more.
const MOST_LIVES: u64 = 100;
/// Disks at hand, where members may fail.
const SPARES: u8 = 2;
/// Members that may fail in one life, one after the other.
const MOST_FAULTS: u32 = 3;
/// Rebuilds of a life that find a member they need not to be readable.
const MOST_STUMBLES: u8 = 2;

/// How hard a run tries.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Crash states looked at wherever one could differ from the last; all subsets where they are fewer.
    pub states: usize,
    /// Of the steps where a crash could make a difference, one in so many is looked at.
    pub every: u32,
    /// Crashes that a new life follows.
    pub crashes: u32,
    /// From every step looked at, a life is begun after a crash there, and lives in it, to this depth.
    pub branch: u32,
    /// Requests in every life.
    pub requests: u32,
    /// Members may fail.
    pub faults: bool,
    /// Migrations are turned round now and then.
    pub aborts: bool,
    /// The volume's size changes now and then.
    pub resizes: bool,
    /// Members may have sectors that can't be read.
    pub spots: bool,
}

/// Runs one volume through its lives.
pub struct Runner {
    scenario: Rc<Scenario>,
    blobs: Rc<RefCell<Blobs>>,
    effort: Effort,
    rules: Rules,
    rng: Rng,
    /// The member that may have sectors that can't be read.
    spotted: MemberId,
    /// Migrations begun; each has a uuid of its own.
    migrations: u16,
    pub tally: Tally,
    /// Steps are written down here, if anywhere.
    pub trace: Option<Trace>,
}

impl Runner {
    pub fn new(mut scenario: Scenario, effort: Effort, seed: u64, rules: Rules) -> Runner {
        scenario.spares = if effort.faults { SPARES } else { 0 };
        Runner {
            spotted: spotted(&scenario, seed),
            scenario: Rc::new(scenario),
            blobs: Rc::default(),
            effort,
            rules,
            rng: Rng::with_seed(seed),
            migrations: 0,
            tally: Tally::default(),
            trace: None,
        }
    }

    /// The volume in words.
    pub fn scenario(&self) -> String {
        self.scenario.to_string()
    }

    /// Runs it to the end.
    ///
    /// # Errors
    /// What is wrong with the core, or with the simulator.
    pub fn run(&mut self) -> Result<(), Failure> {
        let scenario = self.scenario.clone();
        let mut images = first_images(&scenario, &mut self.rng);
        if scenario.is_witnessed() {
            return self.adopt_full(images);
        }
        let superblock = scenario.superblock();
        let mut last_slot = vec![None; usize::from(scenario.disks())];
        let mut bytes = vec![0; SUPERBLOCK_SIZE];
        for member in superblock.live().iter() {
            encode(&superblock, member, &mut bytes, crc);
            let tags = self.blobs.borrow_mut().put(&bytes);
            let index = scenario
                .disk_shape(member.0)
                .index(scenario.slots(member.0)[0], tags.len() as u64);
            images[usize::from(member.0)][index..index + tags.len()].copy_from_slice(&tags);
            last_slot[usize::from(member.0)] = Some(0);
        }
        let (strict, loose) = (
            Oracle::new(scenario.size, true),
            Oracle::new(scenario.size, false),
        );
        let mut present = scenario.all_disks();
        if let Some(member) = scenario.absent {
            present.remove(MemberId(member));
        }
        let faulted = scenario.absent.is_some();
        let trial = Trial {
            scenario: &scenario,
            blobs: &self.blobs,
            present,
            faulted,
            flaky: false,
            exposed: false,
            silent: MemberMask::EMPTY,
            strict: &strict,
            loose: &loose,
            rules: self.rules,
        };
        let found = trial.check(&images)?;
        let found = found.ok_or("the first assembly is refused")?;
        let mut start = self.beginning(found.superblock_for_use(), found.last_slot, images);
        (start.present, start.faulted) = (present, faulted);
        self.lives(start, 0, self.effort.crashes)
    }

    /// What the first life begins with.
    fn beginning(
        &self,
        superblock: Box<Superblock>,
        last_slot: Vec<Option<usize>>,
        images: Vec<Image>,
    ) -> Start {
        Start {
            superblock,
            stash: None,
            replay: None,
            last_slot,
            images,
            strict: Oracle::new(self.scenario.size, true),
            loose: Oracle::new(self.scenario.size, false),
            version: 1,
            present: self.scenario.all_disks(),
            gone: MemberMask::EMPTY,
            faulted: false,
            turned: false,
            leg: 0,
            resized: false,
        }
    }

    /// The first disk is full, and becomes a member now: no superblock is anywhere.
    fn adopt_full(&mut self, mut images: Vec<Image>) -> Result<(), Failure> {
        let scenario = self.scenario.clone();
        for (x, at) in (0..).zip(scenario.plain_places()) {
            let index = scenario.disk_shape(0).index(at, 1);
            images[0][index] = tag(x, 0);
        }
        let mut superblock = scenario.superblock();
        superblock.members[0].unmarked = Some(known_crc(&scenario, 0, &images[0]));
        let last_slot = vec![None; usize::from(scenario.disks())];
        let start = self.beginning(superblock, last_slot, images);
        self.lives(start, 0, self.effort.crashes)
    }
}
