// SPDX-License-Identifier: GPL-2.0
//! Volumes to simulate: a set, perhaps another one to migrate to, and the disks under both.
//!
//! Sets are made by hand rather than by [`restripe_core::shape`], because the engine
//! is general: any level to any other, members in any order, any start offsets. So
//! stash windows come up that a plain growth never needs.

mod chain;

use std::cell::OnceCell;
use std::rc::Rc;

use fastrand::Rng;
use restripe_core::footprint::overwrites;
use restripe_core::geometry::{Logical, MemberId, MemberMask, Physical, Sectors, SlotId};
use restripe_core::layout::{Layout, Level};
use restripe_core::list::List;
use restripe_core::ondisk::{
    BitmapMode, HEAD_LEN, JournalMode, MapRange, Member, MemberState, Migration, RegionKind,
    SUPERBLOCK_SECTORS, Serial, Superblock, UNIT, Uuid, member_geometry,
};
use restripe_core::placement::{Extent, Set};
use restripe_core::shape::{common_row, move_heads, settle};
use restripe_core::way::Way;

use crate::disk::{Shape, Window};

/// Size of every simulated device: the least with a reserve and some data.
pub const DEVICE: Sectors = Sectors::from_bytes(8 << 20);
/// First sector of data that extents use, on every member.
const DATA: u64 = 2048;
/// Sectors of the journal: so short that it comes round often.
pub const RING: u64 = 640;
/// Sectors of data that a member has room for.
const DATA_LEN: u64 = 10240;
/// Where its reserve begins.
const RESERVE: u64 = DATA + DATA_LEN;

/// Where a piece of a slot lies.
#[derive(Clone, Copy, Debug)]
pub struct ExtentSpec {
    pub member: u8,
    /// Sectors from where the member's data begin.
    pub start: u64,
    pub len: u64,
    /// The member's data begin at its sector 0, not at [`DATA`].
    pub adopted: bool,
}

/// Where a slot lies.
pub type SlotSpec = Vec<ExtentSpec>;

/// A set.
#[derive(Clone, Debug)]
pub struct SetSpec {
    pub level: Level,
    pub chunk: u64,
    pub slots: Vec<SlotSpec>,
}

/// A volume and what becomes of it.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub members: u8,
    /// Disks besides, numbered behind them, that may take a member's place.
    pub spares: u8,
    pub size: u64,
    pub source: SetSpec,
    pub target: Option<SetSpec>,
    /// What becomes of it after that, one after the other.
    later: Vec<SetSpec>,
    /// Sectors that the mover moves at once.
    pub piece: u64,
    /// Writes are durable when they are acknowledged.
    pub write_through: bool,
    /// The source's copies and parity are true at the start.
    pub synced: bool,
    /// The way of the migration, where it is not to be the best one.
    pub forced_way: Option<Way>,
    /// A member that had its data before restripe.
    adopted: Option<u8>,
    pub journal: JournalMode,
    pub bitmap: BitmapMode,
    /// A member that is not there from the start.
    pub absent: Option<u8>,
    /// Where on the first member the end of its data was, if that is on another one now.
    end: Vec<(u64, u64)>,
    places: OnceCell<Vec<Places>>,
    stops: OnceCell<Vec<Set>>,
    /// Sectors that the volume has at most during its migrations.
    sizes: OnceCell<Vec<u64>>,
}

/// Where things lie on a member.
#[derive(Clone, Debug)]
struct Places {
    shape: Rc<Shape>,
    stash: u64,
    head: u64,
    bitmap: u64,
    journal: u64,
    slots: [u64; 2],
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sectors on {}", self.size, self.source)?;
        if let Some(target) = &self.target {
            write!(f, " to {target}, {:?}", self.way())?;
        }
        for next in &self.later {
            write!(f, ", then to {next}")?;
        }
        write!(f, ", pieces of {}", self.piece)?;
        if let Some(member) = self.adopted {
            write!(f, ", {member} adopted")?;
        }
        if self.write_through {
            write!(f, ", no cache")?;
        }
        write!(f, ", journal {}", self.journal.name())?;
        write!(f, ", bitmap {}", self.bitmap.name())?;
        if let Some(member) = self.absent {
            write!(f, ", without member {member}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for SetSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.level.name())?;
        if let Level::Raid10 { copies } = self.level {
            write!(f, " n{copies}")?;
        }
        if self.level.is_striped() {
            write!(f, "/{}", self.chunk)?;
        }
        for slot in &self.slots {
            for extent in slot {
                write!(f, " {}:{}+{}", extent.member, extent.start, extent.len)?;
            }
        }
        Ok(())
    }
}

impl SetSpec {
    /// A set of `members` in that order, each slot one extent from `start` on, that holds
    /// `size` sectors and `spare` rows more.
    pub fn new(
        level: Level,
        chunk: u64,
        members: &[u8],
        start: u64,
        size: u64,
        spare: u64,
    ) -> SetSpec {
        let layout = Layout::new(level, Sectors(chunk), members.len() as u8, Sectors(1 << 20))
            .expect("scenarios have layouts that can be");
        let len = if level.is_striped() {
            (size.div_ceil(layout.stripe().0) + spare) * layout.row_len().0
        } else {
            size + spare * 8
        };
        let slots = members
            .iter()
            .map(|&member| vec![ExtentSpec::new(member, start, len)])
            .collect();
        SetSpec {
            level,
            chunk,
            slots,
        }
    }

    /// Whether it is a volume on one disk.
    fn is_lone_linear(&self) -> bool {
        let mut members = self.slots.iter().flatten().map(|extent| extent.member);
        let first = members.next();
        self.level == Level::Linear && members.all(|member| Some(member) == first)
    }

    /// A linear set that lies on `members` end to end, each with a like part of `size` sectors.
    pub fn concatenation(members: &[u8], start: u64, size: u64) -> SetSpec {
        let len = size.div_ceil(members.len() as u64);
        let extent = |&member: &u8| ExtentSpec::new(member, start, len);
        SetSpec {
            level: Level::Linear,
            chunk: 1,
            slots: vec![members.iter().map(extent).collect()],
        }
    }

    /// The same as the core has it.
    pub fn set(&self) -> Set {
        let slot_len = self
            .slots
            .iter()
            .map(|slot| slot.iter().map(|extent| extent.len).sum::<u64>())
            .min()
            .unwrap_or(0);
        let slots = self.slots.len() as u8;
        let layout = Layout::new(self.level, Sectors(self.chunk), slots, Sectors(slot_len))
            .expect("scenarios have layouts that can be");
        let mut extents = List::new();
        for (slot, spec) in self.slots.iter().enumerate() {
            for extent in spec {
                extents.push(Extent {
                    slot: SlotId(slot as u8),
                    member: MemberId(extent.member),
                    start: Physical(extent.base() + extent.start),
                    len: Sectors(extent.len),
                });
            }
        }
        Set {
            layout,
            extents,
            resync: Logical(layout.capacity().0),
            is_fresh: false,
            true_from: Logical::ZERO,
        }
    }
}

impl ExtentSpec {
    /// Of a member that came in blank.
    pub fn new(member: u8, start: u64, len: u64) -> Self {
        ExtentSpec {
            member,
            start,
            len,
            adopted: false,
        }
    }

    /// Where its member's data begin.
    fn base(&self) -> u64 {
        if self.adopted { 0 } else { DATA }
    }
}

fn uuid(kind: u8, n: u16) -> Uuid {
    let mut bytes = [kind; 16];
    bytes[14..].copy_from_slice(&n.to_be_bytes());
    Uuid::from_random(bytes)
}

impl Scenario {
    /// Disks in all.
    pub fn disks(&self) -> u8 {
        self.members + self.spares
    }

    /// All of them.
    pub fn all_disks(&self) -> MemberMask {
        MemberMask((1 << self.disks()) - 1)
    }

    /// The row of a member that comes in.
    pub fn row(&self, member: u8) -> Member {
        let adopted = self.adopted == Some(member);
        let mut geometry = member_geometry(DEVICE, adopted).expect("the device is large enough");
        for region in geometry.regions.iter_mut() {
            if region.kind == RegionKind::Journal {
                region.len = Sectors(RING);
            }
        }
        Member {
            adopted,
            uuid: uuid(2, member.into()),
            serial: Serial::from("simulated"),
            device_sectors: DEVICE,
            state: MemberState::InSync,
            regions: geometry.regions,
            ..Member::default()
        }
    }

    /// The volume before it migrates.
    pub fn superblock(&self) -> Box<Superblock> {
        let mut sb = Box::<Superblock>::default();
        sb.reset();
        sb.uuid = uuid(1, 1);
        sb.epoch = 1;
        sb.clean = true;
        sb.journal.mode = self.journal;
        sb.bitmap = self.bitmap;
        sb.logical_block = 512;
        sb.volume_sectors = Sectors(self.size);
        let mut set = self.source.set();
        let old = set.members();
        for member in 0..self.members {
            let used = old.has(MemberId(member));
            sb.members.push(if used {
                self.row(member)
            } else {
                Member::default()
            });
        }
        if set.layout.level.is_redundant() && !self.synced {
            set.resync = Logical::ZERO;
        }
        sb.sets.push(set);
        if self.is_witnessed() {
            // The runner puts the true one there.
            sb.members[0].unmarked = Some(0);
        } else if !self.source.is_lone_linear() {
            move_heads(&mut sb);
        }
        sb.ranges.push(MapRange {
            start: Logical::ZERO,
            end: Logical(self.size),
            set: 0,
        });
        sb
    }

    /// The set that the volume begins on.
    pub fn first_set(&self) -> Set {
        let mut sb = self.superblock();
        if self.is_witnessed() {
            settle(&mut sb);
        }
        sb.sets[0]
    }

    /// The same, begun with the first member as a full disk that is being adopted, whose data that the
    /// source has on another member were at `end`: first sectors and lengths.
    pub fn witnessed(mut self, end: &[(u64, u64)]) -> Scenario {
        self = self.adopting(0);
        self.end = end.to_vec();
        self
    }

    /// Whether it begins like that.
    pub fn is_witnessed(&self) -> bool {
        !self.end.is_empty()
    }

    /// Whether its data went all over its reserve.
    pub fn has_whole_end(&self) -> bool {
        let covers = |&(start, len): &(u64, u64)| start == RESERVE && start + len == DEVICE.0;
        self.end.iter().any(covers)
    }

    /// A sector of the full disk, and its place in images, that nobody writes to before it is a member like
    /// any other, whether it holds a superblock by then or not.
    pub fn used_sector(&self, is_held: bool, rng: &mut Rng) -> (u64, usize) {
        let [slot_a, slot_b] = self.slots(0);
        let behind = |slot: u64| slot + SUPERBLOCK_SECTORS.0;
        let ranges = match is_held {
            false => vec![0..HEAD_LEN.0, RESERVE..slot_a, behind(slot_a)..DEVICE.0],
            true => vec![
                0..HEAD_LEN.0,
                RESERVE + HEAD_LEN.0..slot_a,
                behind(slot_a)..slot_b,
                behind(slot_b)..DEVICE.0,
            ],
        };
        let range = ranges[rng.usize(..ranges.len())].clone();
        let at = rng.u64(range);
        let (shape, at_start) = (self.disk_shape(0), rng.u64(..HEAD_LEN.0));
        let is_simulated = |w: &Window| (w.start..w.start + w.len).contains(&at);
        let at = match shape.windows.iter().any(is_simulated) {
            true => at,
            false => at_start,
        };
        (at, shape.index(at, 1))
    }

    /// Where the volume's sectors are on the full disk as long as it is nothing else.
    pub fn plain_places(&self) -> Vec<u64> {
        let extents = self.source.slots[0].iter();
        let kept = extents.filter(|e| e.member == 0).map(|e| (e.start, e.len));
        kept.chain(self.end.iter().copied())
            .flat_map(|(start, len)| start..start + len)
            .collect()
    }

    /// The same with `member` as a disk that had its data before restripe.
    pub fn adopting(mut self, member: u8) -> Scenario {
        self.adopted = Some(member);
        let sets = std::iter::once(&mut self.source).chain(&mut self.target);
        for set in sets.chain(&mut self.later) {
            for extent in set.slots.iter_mut().flatten() {
                extent.adopted = extent.member == member;
            }
        }
        self
    }

    /// Whether the extents of the adopted member, if there is one, are at its start or leave that alone.
    fn heads_are_whole(&self) -> bool {
        let mut extents = self
            .specs()
            .flat_map(|set| set.slots.iter().flatten())
            .filter(|extent| Some(extent.member) == self.adopted);
        extents.all(|extent| extent.start == 0 || extent.start >= HEAD_LEN.0)
    }

    /// Of the volume as it is now, on the set of that number, what it is when the migration from there
    /// has begun.
    pub fn migrating(&self, now: &Superblock, leg: usize, number: u16) -> Option<Box<Superblock>> {
        let target = self.specs().nth(leg + 1)?;
        let mut sb = Box::<Superblock>::default();
        sb.copy_from(now);
        let mut set = target.set();
        let way = self.way_of(leg);
        if way == Way::Up {
            set.resync = Logical::ZERO;
        }
        for member in set.members().iter() {
            let row = &mut sb.members[usize::from(member.0)];
            if !row.is_used() {
                *row = self.row(member.0);
            }
        }
        sb.migration = Some(Migration {
            uuid: uuid(3, number),
            source: 0,
            target: 1,
            descending: way == Way::Down,
            cursor: way.begin(Logical(now.volume_sectors.0)),
            ..Migration::default()
        });
        sb.sets.push(set);
        move_heads(&mut sb);
        sb.map_from_cursor();
        Some(sb)
    }

    fn places(&self, member: u8) -> &Places {
        let all = self
            .places
            .get_or_init(|| (0..self.disks()).map(|m| self.find_places(m)).collect());
        &all[usize::from(member)]
    }

    /// Where on a member its stash begins; the header is first.
    pub fn stash(&self, member: u8) -> u64 {
        self.places(member).stash
    }

    /// Where on a member the first of its data go when a signature takes their place.
    pub fn head(&self, member: u8) -> u64 {
        self.places(member).head
    }

    /// Where on a member its bitmap begins.
    pub fn bitmap(&self, member: u8) -> u64 {
        self.places(member).bitmap
    }

    /// Where on a member its journal begins.
    pub fn journal(&self, member: u8) -> u64 {
        self.places(member).journal
    }

    /// Where on a member its two superblocks are.
    pub fn slots(&self, member: u8) -> [u64; 2] {
        self.places(member).slots
    }

    /// The pieces of a member that anybody may touch.
    pub fn disk_shape(&self, member: u8) -> &Rc<Shape> {
        &self.places(member).shape
    }

    fn find_places(&self, member: u8) -> Places {
        let row = self.row(member);
        let start = |kind| {
            row.region(kind)
                .expect("every member has all regions")
                .start
                .0
        };
        let stash = start(RegionKind::Stash);
        let head = start(RegionKind::Head);
        let slots = [
            start(RegionKind::SuperblockA),
            start(RegionKind::SuperblockB),
        ];
        let mut windows = Vec::new();
        for spec in self.specs() {
            // A spare may come to hold what any member holds.
            let is_spare = member >= self.members;
            let extents = spec.slots.iter().flatten();
            for extent in extents.filter(|e| is_spare || e.member == member) {
                windows.push(Window {
                    start: if is_spare { DATA } else { extent.base() } + extent.start,
                    len: extent.len,
                });
            }
        }
        if self.adopted == Some(member) {
            windows.push(Window {
                start: 0,
                len: HEAD_LEN.0,
            });
        }
        if member == 0 {
            let end = self.end.iter();
            windows.extend(end.map(|&(start, len)| Window { start, len }));
        }
        if self.adopted.is_some() {
            windows.push(Window {
                start: head,
                len: HEAD_LEN.0,
            });
        }
        windows.push(Window {
            start: stash,
            len: UNIT.0 + self.longest_window(),
        });
        let bitmap = start(RegionKind::Bitmap);
        windows.push(Window {
            start: bitmap,
            len: UNIT.0,
        });
        let journal = start(RegionKind::Journal);
        windows.push(Window {
            start: journal,
            len: RING,
        });
        for start in slots {
            windows.push(Window {
                start,
                len: SUPERBLOCK_SECTORS.0,
            });
        }
        let shape = Rc::new(Shape::new(DEVICE.0, windows));
        Places {
            shape,
            stash,
            head,
            bitmap,
            journal,
            slots,
        }
    }

    /// A volume of `size` sectors on `source` that is to be on `target`.
    pub fn new(
        members: u8,
        size: u64,
        source: SetSpec,
        target: Option<SetSpec>,
        piece: u64,
    ) -> Scenario {
        Scenario {
            members,
            spares: 0,
            size,
            source,
            target,
            later: Vec::new(),
            piece,
            write_through: false,
            synced: true,
            forced_way: None,
            adopted: None,
            journal: JournalMode::Auto,
            bitmap: BitmapMode::Internal,
            absent: None,
            end: Vec::new(),
            places: OnceCell::new(),
            stops: OnceCell::new(),
            sizes: OnceCell::new(),
        }
    }

    /// Whether every row of such a volume can be moved in its turn, by pieces and perhaps windows of at
    /// most `longest`.
    fn can_reach(
        &self,
        (source, target): (&SetSpec, &SetSpec),
        (way, longest): (Way, Sectors),
        size: u64,
    ) -> bool {
        let (mut source, target) = (source.set(), target.set());
        // Nothing that a resync would have to make true first is relied on.
        source.resync = Logical::ZERO;
        let row = common_row(&source.layout, &target.layout);
        let volume = Logical(size);
        let last = way.end(volume);
        let clear = |live: Logical, from: Logical, to: Logical| {
            let (live, piece) = (way.between(live, last), way.between(from, to));
            !overwrites(&source, live, volume, &target, piece)
        };
        let mut at = way.begin(volume);
        while at != last {
            let next = way.step(at, row, row, last);
            if !clear(at, at, next) {
                let most = way.step(at, longest, row, last);
                let mut end = next;
                while !clear(end, at, end) {
                    if end == most {
                        return false;
                    }
                    end = way.step(end, row, row, most);
                }
                at = end;
                continue;
            }
            at = next;
        }
        true
    }

    /// The way that the first migration goes.
    pub fn way(&self) -> Way {
        self.way_of(0)
    }

    /// Any volume that can be.
    pub fn random(rng: &mut Rng, most_members: u8) -> Scenario {
        let members = rng.u8(2..=most_members);
        let chunk = *rng.choice(&[8, 8, 8, 16, 32]).unwrap_or(&8);
        let size = if rng.u8(..40) == 0 {
            // More than one region of a mirror's reads.
            2048 + rng.u64(1..200)
        } else {
            rng.u64(1..200)
        };
        let mut scenario = loop {
            let source = random_set(rng, members, size, chunk);
            let migrates = rng.u8(..8) != 0;
            let other = if rng.bool() { 8 } else { 16 };
            let target = migrates.then(|| random_set(rng, members, size, other));
            let extents = source
                .slots
                .iter()
                .chain(target.iter().flat_map(|t| &t.slots));
            let fits = extents
                .flatten()
                .all(|extent| extent.start + extent.len <= DATA_LEN);
            let piece = *rng.choice(&[1, 8, 16, 24, 64, 1024]).unwrap_or(&8);
            let mut scenario = Scenario::new(members, size, source, target, piece);
            if rng.u8(..4) == 0 {
                scenario.forced_way = Some(Way::of(rng.bool()));
            }
            if rng.u8(..4) == 0 {
                scenario = scenario.adopting(0);
            }
            if fits && scenario.heads_are_whole() && scenario.can_migrate() {
                break scenario;
            }
        };
        scenario.write_through = rng.u8(..10) == 0;
        scenario.synced = rng.u8(..6) != 0;
        scenario.journal = match rng.u8(..8) {
            0 => JournalMode::Off,
            1..=3 => JournalMode::Always,
            _ => JournalMode::Auto,
        };
        let set = scenario.source.set();
        let bearable: Vec<u8> = (0..members)
            .filter(|m| {
                let mut alive = set.members();
                alive.remove(MemberId(*m));
                set.members().has(MemberId(*m)) && set.survives(alive)
            })
            .collect();
        if scenario.target.is_none() && scenario.synced && rng.bool() {
            scenario.absent = rng.choice(&bearable).copied();
        }
        scenario
    }

    /// A full disk that is being adopted, its end in pieces from all over its reserve to be, and the witness's
    /// copy in two of them; and perhaps anything to become.
    pub fn random_witnessed(rng: &mut Rng) -> Scenario {
        loop {
            let members = rng.u8(2..=4);
            let size = match rng.u8(..6) {
                0 => rng.u64(400..700),
                _ => rng.u64(8..200),
            };
            let mut left = rng.u64(1..size.min(150));
            let kept = size - left;
            let behind = rng.u64(..=kept / 2);
            let first = rng.u64(1..=left);
            let copy = rng.u64(..DATA_LEN - 2 * left);
            let mut source = SetSpec::new(Level::Linear, 8, &[0], 0, size, 0);
            source.slots[0] = vec![
                ExtentSpec::new(0, 0, kept - behind),
                ExtentSpec::new(0, RESERVE - behind, behind),
                ExtentSpec::new(1, copy + left, first),
                ExtentSpec::new(1, copy, left - first),
            ];
            source.slots[0].retain(|extent| extent.len > 0);
            let geometry = member_geometry(DEVICE, true).expect("the device is large enough");
            let mut regions = geometry.regions;
            rng.shuffle(&mut regions);
            let mut end = Vec::new();
            for region in regions.iter().filter(|r| r.kind != RegionKind::Data) {
                let len = rng.u64(..=left).min(region.len.0);
                if len > 0 {
                    end.push((region.start.0 + rng.u64(..=region.len.0 - len), len));
                    left -= len;
                }
            }
            let target = (rng.u8(..8) != 0).then(|| random_set(rng, members, size, 8));
            let extents = target.iter().flat_map(|t| &t.slots).flatten();
            let fits = extents.map(|e| e.start + e.len).max() <= Some(DATA_LEN);
            let piece = *rng.choice(&[1, 8, 24, 1024]).unwrap_or(&8);
            let mut scenario = Scenario::new(members, size, source, target, piece).witnessed(&end);
            scenario.write_through = rng.u8(..10) == 0;
            if left == 0 && fits && scenario.heads_are_whole() && scenario.can_migrate() {
                return scenario;
            }
        }
    }
}

fn random_set(rng: &mut Rng, members: u8, size: u64, chunk: u64) -> SetSpec {
    let mut levels = vec![Level::Linear, Level::Raid0, Level::Raid1];
    for copies in 2..=members.min(3) {
        levels.push(Level::Raid10 { copies });
    }
    if members >= 3 {
        levels.extend([Level::Raid5, Level::Raid5]);
    }
    if members >= 4 {
        levels.extend([Level::Raid6, Level::Raid6]);
    }
    let level = *rng.choice(&levels).unwrap_or(&Level::Linear);
    let mut order: Vec<u8> = (0..members).collect();
    if rng.bool() {
        rng.shuffle(&mut order);
    }
    let most = if level == Level::Linear { 3 } else { members };
    let slots = rng.u8(level.min_slots()..=most.min(members));
    order.truncate(usize::from(slots));
    let start = *rng.choice(&[0, 0, 0, 1, 8, 16, 40]).unwrap_or(&0);
    if level == Level::Linear && slots > 1 {
        return SetSpec::concatenation(&order, start, size);
    }
    let mut set = SetSpec::new(level, chunk, &order, start, size, rng.u64(0..3));
    if rng.u8(..5) == 0 {
        // A slot of two extents, the first of which lies behind the second.
        let slot = rng.usize(..set.slots.len());
        let extents = &mut set.slots[slot];
        let ExtentSpec {
            member, start, len, ..
        } = extents[0];
        let cut = rng.u64(1..len.max(2));
        if cut < len {
            *extents = vec![
                ExtentSpec::new(member, start + len, cut),
                ExtentSpec::new(member, start + cut, len - cut),
            ];
        }
    }
    set
}
