// SPDX-License-Identifier: GPL-2.0
//! A volume in use: the engine, its executor, requests and disks, one step at a time.
//!
//! Every transfer to a member begins in one step and ends in a later one, and
//! which step comes next is chosen at random (from a seed), so that the mover,
//! requests, flushes and commits meet each other in all ways.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use fastrand::Rng;
use restripe_core::admit::{Cursor, Map};
use restripe_core::engine::{Engine, Event, Intent, Who};
use restripe_core::geometry::{Logical, MemberId, MemberMask, Range, Sectors};
use restripe_core::journal::Ring;
use restripe_core::ondisk::{FoundStash, Superblock};
use restripe_core::placement::Set;
use restripe_core::range_lock::RangeLock;
use restripe_core::rules::Rules;
use restripe_core::shape::Change;

use crate::blobs::Blobs;
use crate::disk::{Disk, Image, Tag};
use crate::heads::Heads;
use crate::io::{Batch, Op};
use crate::jobs::JobTask;
use crate::journal::Replay;
use crate::marks::{INTERVAL, SHIFT, VolumeMarks, no_marks};
use crate::oracle::Oracle;
use crate::requests::{Kind, Request};
use crate::scenario::Scenario;

/// Owners of the range lock from here on are requests, below it jobs.
pub const FIRST_REQUEST: u64 = 100;

/// What went wrong.
pub type Failure = String;

/// Steps, written down.
pub type Trace = Rc<RefCell<Vec<String>>>;

/// What requests are admitted under. The cursor moves within it.
pub struct View {
    pub map: Map,
    pub cursor: Cell<Cursor>,
}

/// Everything of one life of a volume, from assembly to a crash or a stop.
pub struct World {
    pub scenario: Rc<Scenario>,
    pub blobs: Rc<RefCell<Blobs>>,
    pub disks: Vec<Disk>,
    pub engine: Engine<Box<Superblock>>,
    /// Per member, the slot of its last durable superblock.
    pub last_slot: Vec<Option<usize>>,
    pub view: Rc<View>,
    pub(crate) intents: VecDeque<Intent>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) ops: Vec<Op>,
    pub(crate) batches: BTreeMap<u32, Batch>,
    pub(crate) next_batch: u32,
    pub(crate) jobs: Vec<JobTask>,
    pub(crate) heads: Heads,
    pub(crate) requests: BTreeMap<u64, Request>,
    pub(crate) next_request: u64,
    pub(crate) parked: Vec<u64>,
    pub(crate) locks: RangeLock<128>,
    /// Members that the user has fail, and that requests don't know of yet.
    pub(crate) failing: MemberMask,
    pub(crate) ring: Ring,
    pub(crate) marks: VolumeMarks,
    /// Sweeps that found marks to clear.
    pub swept: u64,
    /// Some was resynced in this life.
    pub(crate) resynced: bool,
    /// Sectors of all rows that were marked when it began.
    pub(crate) marked: Option<u64>,
    /// Records that are being replayed.
    pub(crate) replay: Replay,
    /// Who waits for which requests to end.
    pub(crate) drains: Vec<(Who, Vec<u64>)>,
    pub ready: bool,
    pub failed: bool,
    pub stopped: bool,
    /// What reads may return, where what was read counts.
    pub strict: Oracle,
    /// The same, where it does not: for copies that were never read.
    pub loose: Oracle,
    /// Disks that were members and are none any more.
    pub gone: MemberMask,
    /// Members that the user had fail in this life.
    given_up: MemberMask,
    /// Some member failed, in this life or before.
    pub faulted: bool,
    /// Some member failed that may not be done without.
    pub flaky: bool,
    /// Writes that had something mended.
    pub mended: u64,
    /// Writes that had a gap given back, for they could not read there.
    pub given_back: u64,
    /// Pieces of the mover or of a rebuild that had.
    pub mended_by_jobs: u64,
    /// Windows that went back to the source.
    pub returned: u64,
    /// Rebuilds that came to their end in this life.
    pub rebuilt: u64,
    /// Members that left in this life, and were wiped.
    pub wiped: MemberMask,
    /// A migration was asked for.
    pub migrating: bool,
    /// One was turned round, in this life or before: it may end where it began.
    pub turned: bool,
    /// The set that the volume is on or migrates from, by its number in the scenario.
    pub leg: usize,
    /// Its size was changed, in this life or before: what comes in anew may hold anything.
    pub resized: bool,
    /// Next version that a write writes.
    pub(crate) version: u32,
    pub now: u64,
    pub rng: Rng,
    /// How often a rebuild will find that a member it needs can't be read.
    pub stumbles: u8,
    /// What a crash would leave has changed since this was cleared.
    pub dirty: bool,
    pub trace: Option<Trace>,
    pub(crate) failure: Option<Failure>,
}

/// What an assembly begins with.
pub struct Start {
    pub superblock: Box<Superblock>,
    pub stash: Option<FoundStash>,
    /// The epoch whose journal is to be replayed.
    pub replay: Option<u64>,
    pub last_slot: Vec<Option<usize>>,
    pub images: Vec<Image>,
    pub strict: Oracle,
    pub loose: Oracle,
    pub version: u32,
    /// Members that are there.
    pub present: MemberMask,
    /// Disks that were members and are none any more.
    pub gone: MemberMask,
    /// Some member failed in an earlier life.
    pub faulted: bool,
    /// A migration was turned round in an earlier life.
    pub turned: bool,
    /// The set that the volume was on, by its number in the scenario.
    pub leg: usize,
    /// Its size was changed in an earlier life.
    pub resized: bool,
}

impl World {
    pub fn new(
        scenario: &Rc<Scenario>,
        blobs: &Rc<RefCell<Blobs>>,
        start: Start,
        rng: Rng,
        rules: Rules,
    ) -> World {
        let mut disks: Vec<Disk> = start
            .images
            .into_iter()
            .enumerate()
            .map(|(member, image)| {
                Disk::new(
                    scenario.disk_shape(member as u8).clone(),
                    image,
                    scenario.write_through,
                )
            })
            .collect();
        for (member, disk) in disks.iter_mut().enumerate() {
            disk.dead = !start.present.has(MemberId(member as u8));
        }
        let mut engine = Engine::new(start.superblock, Box::default(), start.stash, false, 0);
        engine.set_piece(Sectors(scenario.piece));
        engine.set_bitmap_scale(SHIFT, INTERVAL);
        engine.break_rules(rules);
        engine.set_replay(start.replay);
        let view = Rc::new(View {
            map: *engine.map(),
            cursor: Cell::new(engine.cursor()),
        });
        let mut world = World {
            scenario: scenario.clone(),
            blobs: blobs.clone(),
            disks,
            engine,
            last_slot: start.last_slot,
            view,
            intents: VecDeque::new(),
            events: VecDeque::new(),
            ops: Vec::new(),
            batches: BTreeMap::new(),
            next_batch: 0,
            jobs: (0..restripe_core::engine::JOBS)
                .map(|_| JobTask::default())
                .collect(),
            heads: Heads::default(),
            requests: BTreeMap::new(),
            next_request: FIRST_REQUEST,
            parked: Vec::new(),
            locks: RangeLock::new(),
            failing: MemberMask::EMPTY,
            ring: Ring::default(),
            marks: no_marks(),
            swept: 0,
            resynced: false,
            marked: None,
            replay: Replay::default(),
            drains: Vec::new(),
            ready: false,
            failed: false,
            stopped: false,
            strict: start.strict,
            loose: start.loose,
            gone: start.gone,
            given_up: MemberMask::EMPTY,
            faulted: start.faulted,
            flaky: false,
            rebuilt: 0,
            wiped: MemberMask::EMPTY,
            mended: 0,
            given_back: 0,
            mended_by_jobs: 0,
            returned: 0,
            migrating: false,
            turned: start.turned,
            leg: start.leg,
            resized: start.resized,
            version: start.version,
            now: 0,
            rng,
            stumbles: 0,
            dirty: true,
            trace: None,
            failure: None,
        };
        world.engine.start();
        world.collect_intents();
        world
    }

    /// Writes down what happens, for whoever looks into a failure.
    pub(crate) fn log(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().push(what());
        }
    }

    /// Something is wrong; the first thing counts.
    pub(crate) fn fail(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.log(|| format!("FAILURE {what}"));
        self.failure.get_or_insert(what);
    }

    pub(crate) fn collect_intents(&mut self) {
        while let Some(intent) = self.engine.take() {
            self.intents.push_back(intent);
        }
    }

    /// Whether the executor's thread has something to do.
    pub fn has_engine_work(&self) -> bool {
        !self.intents.is_empty() || !self.events.is_empty()
    }

    /// One step of the executor's thread: the next intent, or the next event.
    pub fn engine_step(&mut self) {
        if let Some(intent) = self.intents.pop_front() {
            self.log(|| format!("intent {intent:?}"));
            self.carry_out(intent);
        } else if let Some(event) = self.events.pop_front() {
            self.log(|| format!("event {event:?}"));
            self.now += 1;
            self.engine.handle(self.now, event);
            self.collect_intents();
        }
    }

    /// Tells the engine something.
    pub fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Time passes.
    pub fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.events.push_back(Event::Tick);
    }

    /// Nothing is under way but what waits for an outside event.
    pub fn is_idle(&self) -> bool {
        self.ops.is_empty() && !self.has_engine_work()
    }

    /// Groups of transfers ever begun.
    pub fn transfers(&self) -> u32 {
        self.next_batch
    }

    /// Transfers under way.
    pub fn ops_len(&self) -> usize {
        self.ops.len()
    }

    pub fn requests_len(&self) -> usize {
        self.requests.len()
    }

    /// The target holds nothing but the window that is being rewritten, and would be lost with any member.
    pub fn may_lose_window(&self) -> bool {
        let (map, cursor) = (&self.view.map, self.view.cursor.get());
        let target = map.target.filter(|_| cursor.window.is_some());
        target.is_some_and(|target| {
            let bears = target.layout.max_missing() > target.missing(map.alive);
            !bears && cursor.moved(Logical(map.size.0)).is_empty()
        })
    }

    /// Ranges of writes that have not ended.
    pub fn writes_under_way(&self) -> impl Iterator<Item = Range> {
        let is_write = |r: &&Request| matches!(r.kind, Kind::Write { .. });
        self.requests.values().filter(is_write).map(Request::range)
    }

    /// Whether somebody has met a member that can't be read, and goes elsewhere for it: until it is
    /// done, no other member is one too many.
    pub fn is_avoiding(&self) -> bool {
        let met = self.batches.values().any(Batch::has_failures);
        met || self.requests.values().any(Request::is_avoiding)
    }

    /// Whether a migration has come to the set that the scenario has next.
    pub fn arrive(&mut self) -> bool {
        let present = &self.engine.superblock().sets[0];
        let is_at = |set: &Set| present.lies_as(set);
        let stops = self.scenario.stops();
        let arrived = stops.get(self.leg + 1).is_some_and(is_at) && !is_at(&stops[self.leg]);
        if arrived {
            self.leg += 1;
            self.migrating = false;
        }
        arrived
    }

    /// The user has the volume be `size` sectors long. False where that can't be now.
    pub fn resize(&mut self, size: u64) -> bool {
        let sb = self.engine.superblock();
        // Until one change of the size is durable there is no other.
        if sb.volume_sectors != self.engine.map().size || sb.volume_sectors.0 == size {
            return false;
        }
        self.log(|| format!("user wants {size} sectors"));
        if let Err(refusal) = self.engine.resize(self.now, Sectors(size).bytes()) {
            self.log(|| format!("  refused: {refusal}"));
            return false;
        }
        self.resized = true;
        self.dirty = true;
        self.strict.truncate(size);
        self.loose.truncate(size);
        self.collect_intents();
        true
    }

    /// The migration that the scenario has in mind begins; false where that can't be now.
    pub fn migrate(&mut self, number: u16) -> bool {
        let now = self.engine.superblock();
        let Some(next) = self.scenario.migrating(now, self.leg, number) else {
            return false;
        };
        let new = next.live() & !now.live();
        if let Err(refusal) = self.engine.migrate(self.now, &next) {
            // Members that come or go just now are a reason to write the line again.
            if self.scenario.spares == 0 && self.leg == 0 {
                self.fail(format!("a migration was refused that may begin: {refusal}"));
            }
            return false;
        }
        self.log(|| "user migrates".to_string());
        self.migrating = true;
        // Devices that come in hold no superblock of an earlier life.
        let blank = vec![0; restripe_core::ondisk::SUPERBLOCK_SECTORS.0 as usize];
        for member in new.iter() {
            for start in self.scenario.slots(member.0) {
                self.disks[usize::from(member.0)].force(start, &blank);
            }
            self.last_slot[usize::from(member.0)] = None;
            if self.gone.has(member) {
                // It was left out of the assembly, and is at hand all the same.
                self.disks[usize::from(member.0)].dead = false;
            }
            self.gone.remove(member);
            self.wiped.remove(member);
        }
        self.dirty = true;
        self.collect_intents();
        true
    }

    /// The user has the migration turn round, if there is one.
    pub fn abort(&mut self) {
        self.log(|| "user aborts".to_string());
        match self.engine.abort(self.now, self.dead()) {
            Ok(()) => self.turned = true,
            Err(refusal) => self.log(|| format!("  refused: {refusal}")),
        }
        self.collect_intents();
    }

    /// A member answers nothing from now on.
    pub fn kill(&mut self, member: u8) {
        self.log(|| format!("member {member} dies"));
        self.disks[usize::from(member)].dead = true;
        self.faulted = true;
        self.dirty = true;
    }

    /// Whether the volume can do without that member now, and nothing else is amiss.
    pub fn bears(&self, member: u8) -> bool {
        let map = &self.view.map;
        let known = |m: &MemberId| !map.kept().has(*m);
        let settled = (self.dead() | self.given_up).iter().all(|m| known(&m));
        let in_use = map.alive.has(MemberId(member)) || map.rebuilding.has(MemberId(member));
        settled && in_use && !self.flaky && !self.migrating && self.keeps_without(member)
    }

    /// Whether all of the volume can be told of without that member.
    pub fn keeps_without(&self, member: u8) -> bool {
        let map = &self.view.map;
        let mut alive = map.alive & !self.failing;
        alive.remove(MemberId(member));
        let cursor = self.view.cursor.get();
        let volume = Logical(map.size.0);
        let bears = |set: &Set, held: Range| {
            let end = held.end.round_up(set.layout.stripe());
            let synced = !set.layout.level.is_redundant() || set.resync >= end;
            held.is_empty() || set.survives(alive) && synced
        };
        let at_source = match map.target {
            Some(_) => cursor.at_source(volume),
            None => Range::new(Logical::ZERO, volume),
        };
        // A commit under way may count already: then what it calls moved is lost with the target. A
        // window can go back to the source.
        let untouched = cursor.moved(volume).is_empty();
        let at_target = |target: &Set| match target.survives(alive) {
            true => bears(target, cursor.settled(volume)),
            false => untouched && self.engine.may_lose(MemberId(member)),
        };
        bears(&map.source, at_source) && map.target.as_ref().is_none_or(at_target)
    }

    /// Disks that don't answer.
    fn dead(&self) -> MemberMask {
        !self.answering() & self.scenario.all_disks()
    }

    pub fn is_dead(&self, member: MemberId) -> bool {
        self.disks[usize::from(member.0)].dead
    }

    /// The user has members come or go.
    pub fn change(&mut self, change: &Change) {
        self.log(|| format!("user asks {change:?}"));
        if let Change::Add { id, .. } | Change::Replace { id, .. } = change {
            let blank = vec![0; restripe_core::ondisk::SUPERBLOCK_SECTORS.0 as usize];
            for start in self.scenario.slots(id.0) {
                self.disks[usize::from(id.0)].force(start, &blank);
            }
            self.last_slot[usize::from(id.0)] = None;
            self.dirty = true;
        }
        // Whatever speaks against it: it is for the core to know.
        match self.engine.change_members(self.now, change) {
            Err(refusal) => self.log(|| format!("  refused: {refusal}")),
            Ok(()) => {
                if let Change::Return { id } = change {
                    self.gone.remove(*id);
                    self.wiped.remove(*id);
                }
            }
        }
        self.collect_intents();
    }

    /// The user has a member fail.
    pub fn fail_member(&mut self, member: u8) {
        self.log(|| format!("user fails member {member}"));
        if self.engine.fail_member(self.now, MemberId(member)).is_ok() {
            self.faulted = true;
            self.given_up.insert(MemberId(member));
            self.dirty = true;
            self.failing.insert(MemberId(member));
        }
        self.collect_intents();
    }

    /// The volume may be larger than it was.
    pub(crate) fn grow(&mut self) {
        let map = self.engine.map();
        // A change of it may be on its way.
        let size = map.size.min(self.engine.superblock().volume_sectors).0;
        if size > self.strict.len() {
            let stripe = map.source.layout.stripe();
            let padded = match self.resized {
                true => self.strict.len(),
                false => Logical(self.strict.len()).round_up(stripe).0,
            };
            self.strict.grow(size, padded);
            self.loose.grow(size, padded);
        }
    }

    pub(crate) fn next_version(&mut self) -> u32 {
        self.version += 1;
        self.version
    }

    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// The memory of the window, if there is one.
    pub(crate) fn window_data(&self) -> &[Tag] {
        &self.jobs[0].data
    }

    pub(crate) fn window_start(&self) -> u64 {
        self.jobs[0].range.start.0
    }

    /// The next transfers of a member fail, whether it can be done without or not.
    pub fn upset(&mut self, member: u8, errors: u32) {
        self.log(|| format!("member {member} fails {errors} times"));
        self.disks[usize::from(member)].errors = errors;
        self.faulted = true;
        self.flaky = true;
        self.dirty = true;
    }

    /// Members that answer.
    pub fn answering(&self) -> MemberMask {
        let mut mask = MemberMask::EMPTY;
        for (member, disk) in self.disks.iter().enumerate() {
            if !disk.dead {
                mask.0 |= 1 << member;
            }
        }
        mask
    }

    /// What went wrong, if anything did.
    pub fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }
}
