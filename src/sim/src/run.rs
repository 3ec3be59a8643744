// SPDX-License-Identifier: GPL-2.0
//! A volume's lives, one after the other: each ends with a crash or in order.

use std::cell::RefCell;
use std::rc::Rc;

use fastrand::Rng;
use restripe_core::engine::{Event, SyncAction};
use restripe_core::geometry::{Logical, MemberId, MemberMask, Offset, Range, Sectors, SlotId};
use restripe_core::ondisk::{
    JournalMode, MemberState, SUPERBLOCK_SECTORS, SUPERBLOCK_SIZE, Superblock, UNIT, encode,
};
use restripe_core::placement::Set;
use restripe_core::rules::Rules;
use restripe_core::shape::Change;

use crate::blobs::{Blobs, crc};
use crate::crash::{Fate, Found, Reader, Trial, for_each_fate, images, known_crc, pending};
use crate::disk::{Disk, Image, Tag};
use crate::oracle::{Oracle, discarded, tag, zeroed};
use crate::plan::parity;
use crate::requests::Kind;
use crate::scenario::Scenario;
use crate::tally::Tally;
use crate::world::{Failure, Start, Trace, World};

/// A run that has had so many lives branches no more.
const MOST_LIVES: u64 = 100;
/// Disks at hand, where members may fail.
const SPARES: u8 = 2;
/// Members that may fail in one life, one after the other.
const MOST_FAULTS: u32 = 3;

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
    /// The sets that the volume begins and ends on.
    first: Set,
    last: Option<Set>,
    /// Migrations begun; each has a uuid of its own.
    migrations: u8,
    pub tally: Tally,
    /// Steps are written down here, if anywhere.
    pub trace: Option<Trace>,
}

/// Content of a set that holds a volume of version 0, and garbage all around.
fn first_images(scenario: &Scenario, rng: &mut Rng) -> Vec<Image> {
    let mut images: Vec<Image> = (0..scenario.disks())
        .map(|m| {
            let shape = scenario.disk_shape(m);
            let bitmap = shape.index(scenario.bitmap(m), UNIT.0);
            let bitmap = bitmap..bitmap + UNIT.0 as usize;
            // There never was a bitmap.
            let mut garbage = |index| match bitmap.contains(&index) {
                true => 0,
                false => rng.u64(1..1 << 62) << 1,
            };
            (0..shape.len()).map(&mut garbage).collect()
        })
        .collect();
    let blank = |images: &mut Vec<Image>, member: u8, at: u64, len: u64| {
        let index = scenario.disk_shape(member).index(at, len);
        images[usize::from(member)][index..index + len as usize].fill(0);
    };
    for member in 0..scenario.disks() {
        for at in scenario.slots(member) {
            blank(
                &mut images,
                member,
                at,
                restripe_core::ondisk::SUPERBLOCK_SECTORS.0,
            );
        }
    }
    let set = scenario.superblock().sets[0];
    let put = |images: &mut Vec<Image>, set: &Set, slot: SlotId, offset, tag: Tag| {
        let place = set.place(slot, offset);
        let index = scenario.disk_shape(place.member.0).index(place.at.0, 1);
        images[usize::from(place.member.0)][index] = tag;
    };
    for x in 0..set.layout.capacity().0 {
        let content = if x < scenario.size { tag(x, 0) } else { 0 };
        for step in 0..set.layout.copies() {
            let copy = set.layout.copy(Logical(x), step);
            let stale = !scenario.synced && step > 0 && rng.u8(..4) == 0;
            let content = if stale { rng.u64(1..) >> 1 } else { content };
            put(&mut images, &set, copy.slot, copy.offset, content);
        }
    }
    if set.layout.level.has_parity() {
        let chunk = set.layout.chunk.0;
        for offset in (0..set.layout.slot_len.0).map(Offset) {
            let row = offset.0 / chunk;
            let data: Vec<Tag> = (0..set.layout.data_slots())
                .map(|index| {
                    let place = set.place(set.layout.data_slot(row, index), offset);
                    let index = scenario.disk_shape(place.member.0).index(place.at.0, 1);
                    images[usize::from(place.member.0)][index]
                })
                .collect();
            for (slot, sum) in set.layout.parity_slots(row).zip(parity(&data)) {
                let stale = !scenario.synced && rng.u8(..4) == 0;
                let content = if stale { rng.u64(1..) >> 1 } else { sum };
                put(&mut images, &set, slot, offset, content);
            }
        }
    }
    images
}

/// What one life is to do still, and has done.
struct Life {
    depth: u32,
    requests: u32,
    migrate_after: u32,
    crash_at: Option<u64>,
    steps: u64,
    /// Times that nothing moved since the last transfer.
    idle: u32,
    transfers: u32,
    checked: bool,
    /// No requests come any more.
    stopping: bool,
    /// The engine knows.
    stop_told: bool,
    resumed: u32,
    faults: u32,
    fresh_checked: bool,
}

/// How a life ended.
enum End {
    Stopped,
    Crashed(Box<Start>),
    /// After a failure of members nothing more can be asked of it.
    GivenUp,
}

impl Runner {
    pub fn new(mut scenario: Scenario, effort: Effort, seed: u64, rules: Rules) -> Runner {
        scenario.spares = if effort.faults { SPARES } else { 0 };
        Runner {
            first: scenario.first_set(),
            last: scenario.last_set(),
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

    /// Lives until one ends in order.
    fn lives(&mut self, first: Start, depth: u32, crashes: u32) -> Result<(), Failure> {
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
        let result = self.live(&mut world, &mut life);
        self.tally.steps += life.steps;
        self.tally.rebuilt += world.rebuilt;
        self.tally.mended += world.mended;
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
            return false;
        }
        let calm = if self.effort.faults { 20 } else { 60 };
        if self.rng.u32(..calm) == 0 {
            self.disturb(world, life);
        }
        if self.effort.spots && !may_have_spots(world) {
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

    fn maybe_migrate(&mut self, world: &mut World, life: &Life) {
        let sb = world.engine.superblock();
        let due = self.scenario.target.is_some()
            && world.engine.migrate_state() == "none"
            && sb.sets[0].extents == self.first.extents
            && sb.sets[0].layout == self.first.layout
            && !life.stopping
            && !world.migrating
            && !world.faulted;
        if due {
            self.migrations += 1;
            world.migrate(self.migrations);
        }
    }

    /// Something from outside, other than a request.
    fn disturb(&mut self, world: &mut World, life: &mut Life) {
        if !world.ready || life.stopping {
            return;
        }
        if life.faults > 0 && self.rng.u8(..3) == 0 {
            return self.hurt(world, life);
        }
        if self.effort.aborts && self.rng.u8(..8) == 0 {
            return world.abort();
        }
        if self.effort.spots && !life.checked {
            self.spoil(world);
        }
        match self.rng.u8(..12) {
            0..=3 => world.pass(self.rng.u64(..100)),
            4 => world.pass(10_000),
            5 | 6 => world.tell(Event::Quiet),
            7 => world.tell(Event::Pause),
            8 => world.tell(Event::Resume),
            9 => {
                let at = self
                    .rng
                    .bool()
                    .then(|| Logical(self.rng.u64(..=self.scenario.size)));
                world.tell(Event::SyncMax(at));
            }
            10 if self.scenario.journal != JournalMode::Off => {
                let modes = [JournalMode::Auto, JournalMode::Always, JournalMode::Off];
                // Short of a member from the start, it is to need no force.
                let some = if self.scenario.absent.is_none() { 3 } else { 2 };
                world.tell(Event::Journal(modes[self.rng.usize(..some)]));
            }
            11 if self.rng.u8(..8) == 0 => life.stopping = true,
            _ => world.tell(Event::Tick),
        }
    }

    /// A sector of a member can't be read from now on: of one member only.
    fn spoil(&mut self, world: &mut World) {
        for disk in &mut world.disks {
            disk.heal();
        }
        let source = world.view.map.source;
        let layout = source.layout;
        let offset = Offset(self.rng.u64(..layout.slot_len.0));
        let place = source.place(SlotId(layout.slots - 1), offset);
        if may_have_spots(world) {
            world.disks[usize::from(place.member.0)].spoil(place.at.0);
        }
    }

    /// A member fails, or one that failed is replaced.
    fn hurt(&mut self, world: &mut World, life: &mut Life) {
        if self.rng.u8(..4) != 0 && self.mend(world) {
            return;
        }
        let member = self.rng.u8(..self.scenario.disks());
        if self.effort.spots && world.is_avoiding() {
            return;
        }
        if world.bears(member) {
            life.faults -= 1;
            if self.rng.u8(..4) == 0 {
                world.fail_member(member);
            } else {
                world.kill(member);
            }
        } else if self.scenario.synced && !world.faulted && self.rng.bool() {
            life.faults = 0;
            world.upset(member, self.rng.u32(1..5));
        }
    }

    /// What a user does about members that failed. False where there is nothing to do.
    fn mend(&mut self, world: &mut World) -> bool {
        let sb = world.engine.superblock();
        let dead: Vec<MemberId> = sb
            .rows()
            .filter(|(_, row)| !row.state.is_live())
            .map(|(id, _)| id)
            .collect();
        let unused = |m: &u8| sb.members.get(usize::from(*m)).is_none_or(|r| !r.is_used());
        let spare = (self.scenario.members..self.scenario.disks())
            .find(|m| unused(m) && !world.gone.has(MemberId(*m)));
        let is_back = |id: &MemberId| {
            let row = &sb.members[usize::from(id.0)];
            row.state == MemberState::Missing && !world.is_dead(*id) && !world.gone.has(*id)
        };
        let back = dead.iter().copied().find(is_back);
        if let (Some(id), true) = (back, self.rng.bool()) {
            world.change(&Change::Return { id });
            return true;
        }
        let change = match (self.rng.choice(&dead), spare, self.rng.u8(..6)) {
            (Some(old), Some(spare), 0..=2) => Change::Replace {
                old: *old,
                id: MemberId(spare),
                row: self.scenario.row(spare),
            },
            (_, Some(spare), 3) => Change::Add {
                id: MemberId(spare),
                row: self.scenario.row(spare),
            },
            (Some(id), _, _) => Change::Remove { id: *id },
            _ => return false,
        };
        world.change(&change);
        true
    }

    fn submit(&mut self, world: &mut World) {
        let end = world.strict.len();
        let cursor = world.view.cursor.get();
        // Where it matters most: around the cursors and in the window.
        let near = match self.rng.u8(..8) {
            0 => cursor.copied.0,
            1 => cursor.durable.0,
            2 => cursor.window.map_or(cursor.copied.0, |w| w.start.0),
            3 if !world.view.map.rebuilding.is_empty() => cursor.recovered.0,
            3 => end,
            _ => self.rng.u64(..end),
        };
        let start = near.saturating_sub(self.rng.u64(..6)).min(end - 1);
        let most = if self.rng.u8(..4) == 0 { 64 } else { 10 };
        let len = self.rng.u64(1..=most).min(end - start);
        let range = Range::new(Logical(start), Logical(start) + Sectors(len));
        // A migration with spots is to be read through: what writes meet there is another matter.
        let moving = world.engine.migrate_state() != "none";
        let only_reads = self.effort.spots && moving;
        let kind = match self.rng.u8(..12) {
            3 | 4 => return world.submit(Kind::Flush, Range::default()),
            n if n <= 2 || only_reads => Kind::Read,
            5 => Kind::Discard {
                version: discarded(world.next_version()),
            },
            6 => Kind::Write {
                fua: false,
                version: zeroed(world.next_version()),
            },
            n => Kind::Write {
                fua: n == 7,
                version: world.next_version(),
            },
        };
        world.submit(kind, range);
    }

    /// Looks at what crashes now would leave.
    fn look(&mut self, world: &World, life: &Life) -> Result<(), Failure> {
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
        let mut degraded = 0;
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
            if rng.u8(..8) == 0 {
                degraded += trial
                    .check_degraded(&images, &found)
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
        for start in branches {
            self.lives(start, life.depth + 1, 1)?;
        }
        Ok(())
    }

    /// The power goes, for good.
    fn crash(&mut self, world: &mut World) -> Result<Option<Start>, Failure> {
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

    /// Nothing moves by itself: time passes, and if that does not help, the life ends.
    fn rest(&mut self, world: &mut World, life: &mut Life) -> Result<Option<End>, Failure> {
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
                if world.engine.recover_blocked().is_some() && self.effort.spots {
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

    /// No transfer is under way: what memory and disks say must agree.
    fn check_quiet(&self, world: &World) -> Result<(), Failure> {
        if !world.ready || world.requests_len() > 0 {
            return Ok(());
        }
        let images: Vec<Image> = world.disks.iter().map(|d| d.visible().clone()).collect();
        self.check_content(world, &images)?;
        world.check_signatures(&images)?;
        world.reader(&images).check_sets()
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
    fn check_done(&self, world: &World) -> Result<(), Failure> {
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
        let is_at = |wanted: &Set| set.layout == wanted.layout && set.extents == wanted.extents;
        let arrived = self.last.as_ref().is_none_or(is_at);
        let came_back = world.turned && is_at(&self.first);
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
    fn check_stopped(&mut self, world: &World) -> Result<End, Failure> {
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

    fn check_failed(&self, world: &World) -> Result<End, Failure> {
        if world.faulted {
            return Ok(End::GivenUp);
        }
        Err("the volume failed and no member did".into())
    }
}

/// Whether some of what lies on the last slot may be unreadable: the source can do without that
/// member, whoever died meanwhile, and whoever reads it knows what to do. A write that finds in the
/// midst of a migration that it can't read what it needs does not.
fn may_have_spots(world: &World) -> bool {
    let (map, action) = (&world.view.map, world.engine.sync_action());
    let (source, layout) = (&map.source, map.source.layout);
    // Always the same member: a read under way may have met an earlier spot.
    let last = source.member(SlotId(layout.slots - 1), Offset::ZERO);
    let mut others = map.alive & world.answering() & !world.failing;
    others.remove(last);
    let known = source.resync >= Logical(map.size.0).round_up(layout.stripe());
    let turned = world.engine.migrate_state() == "aborting";
    let moving = world.engine.migrate_state() != "none";
    matches!(
        action,
        SyncAction::Idle | SyncAction::Migrate | SyncAction::Recover
    ) && layout.level.is_redundant()
        && known
        && !turned
        && !(moving && world.has_writes())
        && map.alive.has(last)
        && source.survives(others)
}

fn trial(world: &World) -> Trial<'_> {
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

fn start(found: Found, images: Vec<Image>, world: &World, present: MemberMask) -> Start {
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
            marks: self.view.map.bitmap.map(|bitmap| (bitmap, &self.marks)),
        }
    }
}
