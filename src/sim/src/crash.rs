// SPDX-License-Identifier: GPL-2.0
//! What a crash leaves, what an assembly makes of it, and whether that is right.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use fastrand::Rng;
use restripe_core::admit::{Cursor, Map, Route};
use restripe_core::bitmap::Bitmap;
use restripe_core::engine::Engine;
use restripe_core::geometry::{Logical, MemberId, MemberMask, Offset, Range, Sectors, SlotId};
use restripe_core::ondisk::{
    DecodeError, JournalMode, SUPERBLOCK_SECTORS, Serial, StashHeader, Superblock, UNIT, known_by,
};
use restripe_core::placement::Set;
use restripe_core::recover::{AssembleOptions, Devices, recover};
use restripe_core::rules::{Rule, Rules};
use restripe_core::stripe::{Buf, Plan, Read, plan_rebuild, read};
use restripe_core::text::{Errno, Refusal};

use crate::blobs::{Blobs, crc, crc_of_tags};
use crate::disk::{Entry, Image, Tag, slice, within};
use crate::io::What;
use crate::journal::records;
use crate::marks::{SHIFT, VolumeMarks, load, no_marks};
use crate::oracle::{Oracle, Wrong};
use crate::plan::{calculate, parity, scratch_at};
use crate::scenario::Scenario;
use crate::world::{Failure, World};

/// What becomes of a write that was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Dropped,
    Kept,
    /// Each sector by itself, by a generator with this seed.
    Torn(u64),
}

/// Writes that a crash now may drop or tear, by member, in the order they would land.
pub fn pending(world: &World) -> Vec<(usize, Entry)> {
    let mut all = Vec::new();
    for (member, disk) in world.disks.iter().enumerate() {
        for entry in &disk.log {
            if !entry.sectors.is_empty() {
                all.push((member, entry.clone()));
            }
        }
    }
    for op in &world.ops {
        if let What::Write {
            at,
            tags,
            name: None,
            ..
        }
        | What::Superblock {
            at,
            tags,
            name: None,
            ..
        } = &op.what
        {
            let member = usize::from(op.member);
            all.push((member, world.disks[member].entry(*at, tags)));
        }
    }
    all
}

/// What the disks hold after a crash with these fates.
pub fn images(world: &World, pending: &[(usize, Entry)], fates: &[Fate]) -> Vec<Image> {
    let mut images: Vec<Image> = world.disks.iter().map(|d| d.durable().clone()).collect();
    for ((member, entry), fate) in pending.iter().zip(fates) {
        let image = &mut images[*member];
        match *fate {
            Fate::Dropped => {}
            Fate::Kept => {
                for &(index, tag) in &entry.sectors {
                    image[index as usize] = tag;
                }
            }
            Fate::Torn(seed) => {
                let mut rng = Rng::with_seed(seed);
                for &(index, tag) in &entry.sectors {
                    if rng.bool() {
                        image[index as usize] = tag;
                    }
                }
            }
        }
    }
    images
}

/// Calls `check` with fates of `count` writes: all subsets where there are at most `limit`, else
/// as many that are likely to matter; and some that tear.
pub fn for_each_fate(
    count: usize,
    limit: usize,
    rng: &mut Rng,
    mut check: impl FnMut(&[Fate], &mut Rng) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut fates = vec![Fate::Dropped; count];
    let torn = limit.min(count * 2);
    if count < 16 && 1 << count <= limit {
        for subset in 0..1usize << count {
            for (i, fate) in fates.iter_mut().enumerate() {
                *fate = if subset & 1 << i != 0 {
                    Fate::Kept
                } else {
                    Fate::Dropped
                };
            }
            check(&fates, rng)?;
        }
    } else {
        for round in 0..limit {
            match round {
                0 => fates.fill(Fate::Dropped),
                1 => fates.fill(Fate::Kept),
                _ => {
                    // Only one kept, only one dropped, or any.
                    let one = rng.usize(..count);
                    let kind = rng.u8(..4);
                    for (i, fate) in fates.iter_mut().enumerate() {
                        let kept = match kind {
                            0 => i == one,
                            1 => i != one,
                            _ => rng.bool(),
                        };
                        *fate = if kept { Fate::Kept } else { Fate::Dropped };
                    }
                }
            }
            check(&fates, rng)?;
        }
    }
    for _ in 0..torn {
        for fate in &mut fates {
            *fate = match rng.u8(..4) {
                0 => Fate::Kept,
                1 => Fate::Dropped,
                _ => Fate::Torn(rng.u64(..)),
            };
        }
        check(&fates, rng)?;
    }
    Ok(())
}

/// CRC-32C of what a disk that is being adopted is known by.
pub fn known_crc(scenario: &Scenario, member: u8, image: &Image) -> u32 {
    let shape = scenario.disk_shape(member);
    let pieces = known_by(crate::scenario::DEVICE).expect("it is large enough for a reserve");
    let tags = pieces.map(|(at, len)| within(shape, image, at.0, len.0));
    crc_of_tags(&tags.into_iter().flatten().collect::<Vec<_>>())
}

/// The listed devices as the core's recovery sees them.
struct Listed<'a> {
    scenario: &'a Scenario,
    blobs: &'a RefCell<Blobs>,
    images: &'a [Image],
    members: &'a [u8],
}

impl Listed<'_> {
    fn tags(&self, member: u8, at: u64, len: u64) -> Vec<Tag> {
        let shape = self.scenario.disk_shape(member);
        slice(shape, &self.images[usize::from(member)], at, len).to_vec()
    }
}

impl Devices for Listed<'_> {
    fn sectors(&self, _: usize) -> Sectors {
        crate::scenario::DEVICE
    }

    fn serial(&self, _: usize) -> Serial {
        Serial::from("simulated")
    }

    fn known_crc(&mut self, device: usize) -> Option<u32> {
        let member = self.members[device];
        Some(known_crc(
            self.scenario,
            member,
            &self.images[usize::from(member)],
        ))
    }

    fn read_superblock(
        &mut self,
        device: usize,
        slot: usize,
        into: &mut Superblock,
    ) -> Result<MemberId, DecodeError> {
        let member = self.members[device];
        let at = self.scenario.slots(member)[slot];
        let tags = self.tags(member, at, SUPERBLOCK_SECTORS.0);
        match &*self.blobs.borrow_mut().superblock(&tags) {
            Ok((superblock, member)) => {
                into.copy_from(superblock);
                Ok(*member)
            }
            Err(error) => Err(*error),
        }
    }
}

/// A volume as it was found.
pub struct Found {
    pub superblock: Box<Superblock>,
    pub last_slot: Vec<Option<usize>>,
    pub stash: Option<StashHeader>,
    /// The epoch whose journal is to be replayed.
    pub replay: Option<u64>,
    stash_data: Vec<Tag>,
    pub map: Map,
    pub cursor: Cursor,
}

/// Members among `present` that hold any whole superblock: those that a user would list.
fn worth_listing(
    scenario: &Scenario,
    blobs: &RefCell<Blobs>,
    images: &[Image],
    present: MemberMask,
) -> Vec<u8> {
    let all: Vec<u8> = present.iter().map(|m| m.0).collect();
    let mut listed = Listed {
        scenario,
        blobs,
        images,
        members: &all,
    };
    let mut scratch = Box::<Superblock>::default();
    let mut unmarked = MemberMask::EMPTY;
    let mut keep: Vec<bool> = Vec::new();
    for device in 0..all.len() {
        let mut whole = false;
        for slot in 0..2 {
            if listed.read_superblock(device, slot, &mut scratch).is_ok() {
                whole = true;
                unmarked = unmarked | scratch.unmarked();
            }
        }
        keep.push(whole);
    }
    // A disk that is being adopted is listed in any case.
    for (keep, member) in keep.iter_mut().zip(&all) {
        *keep |= unmarked.has(MemberId(*member));
    }
    all.iter()
        .zip(keep)
        .filter(|(_, keep)| *keep)
        .map(|(m, _)| *m)
        .collect()
}

/// Assembles what is there on `present` members.
///
/// # Errors
/// What the core says against it.
pub fn assemble(
    scenario: &Scenario,
    blobs: &RefCell<Blobs>,
    images: &[Image],
    present: MemberMask,
    options: &AssembleOptions,
) -> Result<Found, Box<Refusal>> {
    let mut members = worth_listing(scenario, blobs, images, present);
    let mut superblock = Box::<Superblock>::default();
    let assembly = loop {
        let names: Vec<String> = members.iter().map(|m| format!("disk{m}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut listed = Listed {
            scenario,
            blobs,
            images,
            members: &members,
        };
        match recover(&mut listed, &names, options, &mut superblock) {
            Ok(assembly) => break assembly,
            Err(refusal) => {
                // A member that was removed is named: a user leaves it out.
                let sentence = refusal.sentence.to_string();
                let gone = sentence.contains("is none any more");
                let named = |m: &u8| sentence.starts_with(&format!("disk{m} "));
                let before = members.len();
                members.retain(|m| !(gone && named(m)));
                if members.len() == before {
                    return Err(refusal.into());
                }
            }
        }
    };
    let listed = Listed {
        scenario,
        blobs,
        images,
        members: &members,
    };
    let last_slot = (0..usize::from(scenario.disks()))
        .map(|member| assembly.last_slot[member].map(usize::from))
        .collect();
    let mut stash_data = Vec::new();
    let mut stash = None;
    if let Some(migration) = superblock.migration {
        let mut found = Vec::new();
        for &member in &members {
            if assembly.device_of_member[usize::from(member)].is_none() {
                continue;
            }
            let at = scenario.stash(member);
            let tags = listed.tags(member, at, UNIT.0);
            if !blobs.borrow().may_begin(tags[0]) {
                continue;
            }
            let bytes = blobs.borrow().get(&tags);
            let Some(header) = StashHeader::decode(&bytes, crc) else {
                continue;
            };
            if !header.is_current(&migration) {
                continue;
            }
            let data = listed.tags(member, header.data_at.0, header.data_len.0);
            found.push((header, crc_of_tags(&data), data));
        }
        stash = StashHeader::choose(&migration, found.iter().map(|(h, c, _)| (*h, *c)));
        if let Some(stash) = &stash {
            let whole = found
                .into_iter()
                .find(|(h, c, _)| h == stash && *c == h.data_crc);
            stash_data = whole.map(|(_, _, data)| data).unwrap_or_default();
        }
    }
    let engine = Engine::new(superblock, Box::default(), stash, true, 0);
    let (map, mut cursor) = (*engine.map(), engine.cursor());
    cursor.window = stash.map(|s| s.range);
    let mut superblock = Box::<Superblock>::default();
    superblock.copy_from(engine.superblock());
    Ok(Found {
        superblock,
        last_slot,
        stash,
        replay: assembly.unclean.then_some(assembly.epoch),
        stash_data,
        map,
        cursor,
    })
}

/// Where reads of a whole volume are to come from.
pub struct Reader<'a> {
    pub scenario: &'a Scenario,
    pub images: &'a [Image],
    pub map: &'a Map,
    pub cursor: Cursor,
    pub window: &'a [Tag],
    pub window_start: u64,
    /// Where the bitmap is in force: what it has no mark for is true.
    pub marks: Option<(Bitmap, &'a VolumeMarks)>,
}

impl Reader<'_> {
    fn at(&self, member: MemberId, at: u64, len: u64) -> &[Tag] {
        let member = usize::from(member.0);
        slice(
            self.scenario.disk_shape(member as u8),
            &self.images[member],
            at,
            len,
        )
    }

    /// Calls `check` with every sector below `end` and what it reads as; None where it can't be read.
    pub fn for_each(
        &self,
        end: u64,
        mut check: impl FnMut(u64, Option<Tag>) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        let mut x = Logical::ZERO;
        while x.0 < end {
            let (route, to) = self.map.route_read(&self.cursor, x);
            let to = to.min(Logical(end));
            if route == Route::Window {
                for y in x.0..to.0 {
                    check(y, Some(self.window[(y - self.window_start) as usize]))?;
                }
                x = to;
                continue;
            }
            let set = self.map.set(route);
            let alive = self.map.alive_at(&self.cursor, x).0;
            x += match read(set, alive, x, to - x) {
                Read::Direct(place) => {
                    let tags = self.at(place.member, place.at.0, place.run.0);
                    for (y, tag) in (x.0..).zip(tags) {
                        check(y, Some(*tag))?;
                    }
                    place.run
                }
                Read::Rebuild(len) => {
                    let plan = plan_rebuild(set, alive, x, len, Sectors::ZERO);
                    for (y, tag) in (x.0..).zip(self.rebuild(&plan, len)) {
                        check(y, Some(tag))?;
                    }
                    len
                }
                Read::Lost(len) => {
                    for y in x.0..x.0 + len.0 {
                        check(y, None)?;
                    }
                    len
                }
            };
        }
        Ok(())
    }

    /// What a plan that only reads makes of what is there.
    fn rebuild(&self, plan: &Plan, len: Sectors) -> Vec<Tag> {
        let mut scratch = vec![0; plan.scratch().0 as usize];
        for t in &plan.reads {
            let Buf::Lane(lane, at) = t.buf else {
                unreachable!("plans read into scratch");
            };
            let tags = self.at(t.member, t.at.0, t.len.0);
            scratch[scratch_at(plan, lane, at)..][..tags.len()].copy_from_slice(tags);
        }
        let mut data = vec![0; len.0 as usize];
        calculate(plan, &mut scratch, &mut data, 0);
        data
    }

    /// Whether both sets are true where they hold something.
    ///
    /// # Errors
    /// Where one is not.
    pub fn check_sets(&self) -> Result<(), Failure> {
        let size = Logical(self.map.size.0);
        let (way, copied) = (self.cursor.way, self.cursor.copied);
        let Some(target) = &self.map.target else {
            return self.check_redundancy(&self.map.source, Range::new(Logical::ZERO, size));
        };
        let first = self.cursor.window.map_or(copied, |w| way.last(w));
        self.check_redundancy(&self.map.source, way.between(first, way.end(size)))?;
        self.check_redundancy(target, self.cursor.moved(size))?;
        Ok(())
    }

    /// Whether copies are alike and parity is true where the set says so, of what it holds.
    fn check_redundancy(&self, set: &Set, held: Range) -> Result<(), Failure> {
        let layout = &set.layout;
        let from = held.start;
        let end = held.end.round_up(layout.stripe()).0;
        let end = Logical(end.min(layout.capacity().0));
        let is_true = |start: Logical, end: Logical| {
            let unmarked = |(bitmap, marks): &(Bitmap, &VolumeMarks)| {
                !marks.touches(bitmap, Range::new(start, end))
            };
            end <= set.resync || self.marks.as_ref().is_some_and(unmarked)
        };
        if held.is_empty() || !layout.level.is_redundant() {
            return Ok(());
        }
        let tag = |slot: SlotId, offset: Offset| {
            let place = set.place(slot, offset);
            self.at(place.member, place.at.0, 1)[0]
        };
        let wrong = |x: Logical| {
            Err(format!(
                "{} is not true for sector {} although it is synced up to sector {}, or not marked",
                layout.level.name(),
                x.0,
                set.resync.0
            ))
        };
        if layout.level.has_copies() {
            for x in (from.0..end.0).map(Logical) {
                let (alive, _) = self.map.alive_at(&self.cursor, x);
                let is_there = |step| {
                    let copy = layout.copy(x, step);
                    alive.has(set.member(copy.slot, copy.offset))
                };
                if !(0..layout.copies()).all(is_there) || !is_true(x, x + Sectors(1)) {
                    continue;
                }
                let mut tags = (0..layout.copies()).map(|step| {
                    let copy = layout.copy(x, step);
                    tag(copy.slot, copy.offset)
                });
                let first = tags.next();
                if !tags.all(|tag| Some(tag) == first) {
                    return wrong(x);
                }
            }
            return Ok(());
        }
        let mut row = layout.row(from);
        while (row + 1) * layout.stripe().0 <= end.0 {
            let x = Logical(row * layout.stripe().0);
            if !is_true(x, x + layout.stripe()) {
                row += 1;
                continue;
            }
            let (alive, _) = self.map.alive_at(&self.cursor, x);
            for offset in (row * layout.chunk.0..(row + 1) * layout.chunk.0).map(Offset) {
                let is_there = |slot| alive.has(set.member(SlotId(slot), offset));
                if !(0..layout.slots).all(is_there) {
                    continue;
                }
                let data: Vec<Tag> = (0..layout.data_slots())
                    .map(|index| tag(layout.data_slot(row, index), offset))
                    .collect();
                let slots = layout.parity_slots(row);
                let mut pairs = slots.zip(parity(&data));
                if !pairs.all(|(slot, sum)| tag(slot, offset) == sum) {
                    return wrong(x);
                }
            }
            row += 1;
        }
        Ok(())
    }
}

impl Found {
    /// The superblock that an engine begins with.
    pub fn superblock_for_use(&self) -> Box<Superblock> {
        self.superblock.clone()
    }

    fn reader<'a>(&'a self, scenario: &'a Scenario, images: &'a [Image]) -> Reader<'a> {
        Reader {
            scenario,
            images,
            map: &self.map,
            cursor: self.cursor,
            window: &self.stash_data,
            window_start: self.stash.map_or(0, |s| s.range.start.0),
            marks: None,
        }
    }
}

/// What is checked of a crash state.
pub struct Trial<'a> {
    pub scenario: &'a Scenario,
    pub blobs: &'a Rc<RefCell<Blobs>>,
    /// Members that are there.
    pub present: MemberMask,
    /// A member failed before: what was never read may differ, and an assembly may need force.
    pub faulted: bool,
    /// A member failed that the volume can't do without: it trusts its parity no more.
    pub flaky: bool,
    /// The journal is not in force although it has to be: a member failed just now, and writes are
    /// about that began without it.
    pub exposed: bool,
    /// Members that did not answer before the crash, whether that is durably known or not.
    pub silent: MemberMask,
    pub strict: &'a Oracle,
    pub loose: &'a Oracle,
    pub rules: Rules,
}

impl Trial<'_> {
    /// Assembles what a crash left and compares every sector. None where it is right that
    /// the volume can't be assembled.
    ///
    /// # Errors
    /// When something is lost, or can't be assembled although it should.
    pub fn check(&self, images: &[Image]) -> Result<Option<Found>, Failure> {
        let options = AssembleOptions {
            degraded: self.faulted,
            ..AssembleOptions::default()
        };
        let listed = worth_listing(self.scenario, self.blobs, images, self.present);
        if self.scenario.is_witnessed() && listed.is_empty() {
            // Nothing tells of a volume yet: the disk is to be what it was.
            return self.check_plain(&images[0]).map(|()| None);
        }
        let found = match assemble(self.scenario, self.blobs, images, self.present, &options) {
            Ok(found) => found,
            // Parity may be wrong and a member is gone: the user is asked.
            Err(refusal)
                if self.faulted && refusal.errno == Errno::EUCLEAN && !self.is_covered() =>
            {
                return Ok(None);
            }
            Err(refusal) => return Err(format!("not assembled: {refusal}")),
        };
        let oracle = if self.faulted {
            self.loose
        } else {
            self.strict
        };
        let replayed = self.replayed(&found, images);
        self.compare(&found, &replayed, oracle)?;
        let marks = self.marks(&found, images);
        let mut reader = found.reader(self.scenario, &replayed);
        reader.marks = marks.as_ref().map(|(bitmap, marks)| (*bitmap, marks));
        reader.check_sets()?;
        Ok(Some(found))
    }

    /// Short of a member and journaled: nothing may ever ask for force.
    fn is_covered(&self) -> bool {
        let journaled = self.scenario.journal != JournalMode::Off && !self.exposed;
        self.scenario.absent.is_some() && !self.flaky && journaled
    }

    /// What the bitmap found says, if it is in force.
    fn marks(&self, found: &Found, images: &[Image]) -> Option<(Bitmap, VolumeMarks)> {
        let sb = &found.superblock;
        if !sb.marked {
            return None;
        }
        let (bitmap, marks) = (Bitmap::of(sb, SHIFT), no_marks());
        let epoch = match self.rules.broken(Rule::Stale) {
            true => 0,
            false => sb.epoch - 1,
        };
        let from = (self.scenario, &**self.blobs, images);
        load(&marks, from, sb, (&bitmap, epoch));
        Some((bitmap, marks))
    }

    /// What the members hold when the journal has been replayed.
    fn replayed<'a>(&self, found: &Found, images: &'a [Image]) -> Cow<'a, [Image]> {
        let Some(epoch) = found.replay else {
            return Cow::Borrowed(images);
        };
        let window = found.stash.map(|stash| stash.range);
        let found = records(
            self.scenario,
            self.blobs,
            images,
            &found.superblock,
            (epoch, window),
        );
        if found.is_empty() {
            return Cow::Borrowed(images);
        }
        let mut images = images.to_vec();
        for record in found {
            for (entry, tags) in record.writes {
                let shape = self.scenario.disk_shape(entry.member.0);
                let index = shape.index(entry.at.0, entry.len.0);
                images[usize::from(entry.member.0)][index..index + tags.len()]
                    .copy_from_slice(&tags);
            }
        }
        Cow::Owned(images)
    }

    /// Whether a full disk is as it was before anything was done to it.
    fn check_plain(&self, image: &Image) -> Result<(), Failure> {
        let shape = self.scenario.disk_shape(0);
        for (x, at) in (0..).zip(self.scenario.plain_places()) {
            let tag = slice(shape, image, at, 1)[0];
            self.strict
                .may_survive(x, tag)
                .map_err(|wrong| format!("on the disk that was not adopted yet {wrong}"))?;
        }
        Ok(())
    }

    fn compare(&self, found: &Found, images: &[Image], oracle: &Oracle) -> Result<(), Failure> {
        if found.map.size.0 < oracle.len() {
            return Err(format!(
                "the volume has {} sectors and had {}",
                found.map.size.0,
                oracle.len()
            ));
        }
        let reader = found.reader(self.scenario, images);
        let result = reader.for_each(oracle.len(), |x, tag| match tag {
            Some(tag) => oracle.may_survive(x, tag),
            None => Err(Wrong {
                sector: x,
                found: "nothing that can be read".into(),
                allowed: Vec::new(),
            }),
        });
        result.map_err(|wrong| {
            format!(
                "after a crash {wrong}; cursor {}, epoch {}, generation {}, stash {:?}",
                found.cursor.durable.0,
                found.superblock.epoch,
                found.superblock.generation,
                found.stash.map(|s| (s.number, s.range))
            )
        })
    }

    /// Whether all members hold the same superblock as their newest.
    fn agree(&self, images: &[Image]) -> bool {
        let members = worth_listing(self.scenario, self.blobs, images, self.present);
        let mut listed = Listed {
            scenario: self.scenario,
            blobs: self.blobs,
            images,
            members: &members,
        };
        let mut scratch = Box::<Superblock>::default();
        let mut age_of = |device| {
            let slots = (0..2).filter_map(|slot| {
                listed
                    .read_superblock(device, slot, &mut scratch)
                    .ok()
                    .map(|_| scratch.age())
            });
            slots.max()
        };
        let first = age_of(0);
        (1..members.len()).all(|device| age_of(device) == first)
    }

    /// Assembles without each member in turn, where redundancy bears it.
    ///
    /// # Errors
    /// When something is lost then.
    pub fn check_degraded(&self, images: &[Image], found: &Found) -> Result<usize, Failure> {
        let mut tried = 0;
        let sets = [Some(found.map.source), found.map.target];
        let sets = || sets.iter().flatten();
        // In the middle of a commit the members left may know of another set only; and a window's
        // stash bears as many losses as the weaker of both, wherever it lies.
        let at_rest = found.superblock.migration.is_none() && self.agree(images);
        let either = |alive: MemberMask| {
            let mut both = std::iter::once(&self.scenario.source).chain(&self.scenario.target);
            at_rest
                || both
                    .all(|spec| spec.set().layout.max_missing() > 0 && spec.set().survives(alive))
        };
        let bears = |alive: MemberMask| {
            either(alive)
                && sets().all(|set| {
                    let end = found.map.size.0;
                    // A member that failed and is not known to is one loss already.
                    let lost = self.flaky || !(found.map.alive & self.silent).is_empty();
                    let journaled = found.superblock.journal.in_force && !lost;
                    let covered = journaled && set.resync.0 >= end;
                    let parity_bears =
                        !set.layout.level.has_parity() || found.superblock.clean || covered;
                    // Copies that were never made alike hold anything.
                    let synced = self.scenario.synced || set.resync.0 >= found.map.size.0;
                    set.survives(alive) && parity_bears && synced
                })
        };
        for member in self.present.iter() {
            let mut present = self.present;
            present.remove(member);
            let without = found.map.alive & present;
            if !bears(without) || !found.map.alive.has(member) {
                continue;
            }
            let options = AssembleOptions {
                degraded: true,
                ..AssembleOptions::default()
            };
            let degraded = match assemble(self.scenario, self.blobs, images, present, &options) {
                Ok(degraded) => degraded,
                Err(refusal) if refusal.errno == Errno::EUCLEAN => continue,
                Err(refusal) => {
                    return Err(format!(
                        "not assembled without member {}: {refusal}",
                        member.0
                    ));
                }
            };
            tried += 1;
            // What one member alone showed to a reader may be gone with it.
            let replayed = self.replayed(&degraded, images);
            self.compare(&degraded, &replayed, self.loose)
                .map_err(|why| format!("without member {}: {why}", member.0))?;
        }
        Ok(tried)
    }
}
