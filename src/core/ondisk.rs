// SPDX-License-Identifier: GPL-2.0
//! What restripe keeps on its members, as values: the superblock's contents.
//!
//! The bytes are described in `ondisk/format.rs`, their coding in
//! `ondisk/codec.rs`, what makes a superblock believable in `ondisk/check.rs`
//! and the places on a member in `ondisk/place.rs`.
//!
//! A [`Superblock`] is several KiB: keep it on the heap, fill it in place
//! ([`decode`], [`Superblock::copy_from`]) and hand it on by reference. It is not
//! `Copy` so that a kernel stack never holds one by accident.

mod bitmap;
mod check;
mod codec;
mod digest;
mod format;
mod journal;
mod place;
mod signature;
mod stash;
mod uuid;

pub use bitmap::{BitmapMode, BitmapSector, BITMAP_SECTOR_BITS};
pub use check::check;
pub use codec::{decode, encode, is_superblock, DecodeError};
pub use digest::Digest;
pub use format::{INCOMPAT_KNOWN, RO_COMPAT_KNOWN, SUPERBLOCK_SIZE, VERSION};
pub use journal::{
    JournalEntry, JournalHeader, JournalMode, JournalState, JournalWriter, JOURNAL_HEADER_SIZE,
    MAX_JOURNAL_ENTRIES,
};
pub use place::{
    known_by, member_geometry, next_slot, reserve_start, superblock_places, Geometry, BITMAP_LEN,
    BLANK_DATA_START, HEAD_LEN, SUPERBLOCK_SECTORS, UNIT,
};
pub use signature::{encode_signature, is_signature, Signature, SIGNATURE_SIZE};
pub use stash::{FoundStash, StashHeader, STASH_HEADER_SIZE};
pub use uuid::Uuid;

use crate::geometry::{Logical, MemberId, MemberMask, Physical, Range, Sectors, MAX_MEMBERS};
use crate::list::List;
use crate::placement::Set;
use crate::text::Text;

/// Most sets a volume may have.
pub const MAX_SETS: usize = 4;
/// Most ranges the map of a volume may have.
pub const MAX_RANGES: usize = 4;
/// Most regions a member's region table may have.
pub const MAX_REGIONS: usize = 8;
/// Most ranges of differing copies that are remembered until a repair.
pub const MAX_MISMATCHES: usize = 32;

/// Name of a volume (`restripe0`).
pub type Name = Text<32>;
/// Serial number of a device, as the device tells it.
pub type Serial = Text<40>;

/// A range of the volume that lies on one set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MapRange {
    pub start: Logical,
    pub end: Logical,
    /// Index into [`Superblock::sets`].
    pub set: u8,
}

/// A volume on its way from one set to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Migration {
    pub uuid: Uuid,
    /// Index into [`Superblock::sets`] of the set the volume leaves.
    pub source: u8,
    /// Index into [`Superblock::sets`] of the set the volume moves to.
    pub target: u8,
    /// Moves from the volume's end to its start.
    pub descending: bool,
    /// Done up to here (ascending: all below is on the target).
    pub cursor: Logical,
    /// Last stash number that no longer counts (DESIGN I1).
    pub retired_stash: u64,
    pub paused: bool,
    pub aborting: bool,
    /// Cap in KiB/s; 0 is none.
    pub speed_max: u32,
    /// Stop at this sector.
    pub sync_max: Option<Logical>,
}

impl Migration {
    /// The map of a volume of `volume` sectors that the cursor makes.
    pub fn ranges(&self, volume: Sectors) -> List<MapRange, MAX_RANGES> {
        let (first, second) = if self.descending {
            (self.source, self.target)
        } else {
            (self.target, self.source)
        };
        let end = Logical(volume.0);
        let mut ranges = List::new();
        for (start, end, set) in [
            (Logical::ZERO, self.cursor, first),
            (self.cursor, end, second),
        ] {
            if start < end {
                ranges.push(MapRange { start, end, set });
            }
        }
        ranges
    }
}

/// What a member is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemberState {
    #[default]
    InSync,
    /// True below [`Member::recovery`] only.
    Rebuilding,
    Spare,
    Suspect,
    Faulty,
    Missing,
}

impl MemberState {
    /// The word users read for it (DESIGN section 4).
    pub const fn name(self) -> &'static str {
        match self {
            MemberState::InSync => "in_sync",
            MemberState::Rebuilding => "rebuilding",
            MemberState::Spare => "spare",
            MemberState::Suspect => "suspect",
            MemberState::Faulty => "faulty",
            MemberState::Missing => "missing",
        }
    }

    /// Whether the member takes part: writes go to it, and superblocks too.
    pub const fn is_live(self) -> bool {
        !matches!(self, MemberState::Faulty | MemberState::Missing)
    }
}

/// What a piece of a member is for. Unknown kinds are kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RegionKind {
    SuperblockA,
    SuperblockB,
    Stash,
    Bitmap,
    Journal,
    Data,
    /// Where the first 128 KiB of an adopted disk live while a signature
    /// stands in their place.
    Head,
    /// Nobody's yet.
    #[default]
    Free,
    Unknown(u16),
}

impl RegionKind {
    /// The number on disk.
    pub const fn code(self) -> u16 {
        match self {
            RegionKind::Free => 0,
            RegionKind::SuperblockA => 1,
            RegionKind::SuperblockB => 2,
            RegionKind::Stash => 3,
            RegionKind::Bitmap => 4,
            RegionKind::Journal => 5,
            RegionKind::Data => 6,
            RegionKind::Head => 7,
            RegionKind::Unknown(code) => code,
        }
    }

    /// The kind with that number.
    pub const fn from_code(code: u16) -> Self {
        match code {
            0 => RegionKind::Free,
            1 => RegionKind::SuperblockA,
            2 => RegionKind::SuperblockB,
            3 => RegionKind::Stash,
            4 => RegionKind::Bitmap,
            5 => RegionKind::Journal,
            6 => RegionKind::Data,
            7 => RegionKind::Head,
            other => RegionKind::Unknown(other),
        }
    }
}

/// A piece of a member and what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Region {
    pub kind: RegionKind,
    pub start: Physical,
    pub len: Sectors,
}

impl Region {
    /// First sector behind it.
    pub fn end(&self) -> Physical {
        self.start + self.len
    }
}

/// A row of the member table; its index is the [`MemberId`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Member {
    /// Nil for a row that no device has now.
    pub uuid: Uuid,
    pub serial: Serial,
    /// Size of the device when it came in.
    pub device_sectors: Sectors,
    pub state: MemberState,
    /// While rebuilding: its slots are true below this sector of the volume.
    pub recovery: Logical,
    /// For an absent member: the epoch in which it last took part.
    pub left_epoch: u64,
    /// Its data begin at sector 0, because they were there before restripe.
    pub adopted: bool,
    /// It is being adopted with a witness and perhaps holds no superblock yet: then it is known
    /// by its size, its serial, and this CRC-32C of what [`known_by`] names.
    pub unmarked: Option<u32>,
    pub regions: List<Region, MAX_REGIONS>,
}

impl Member {
    /// Whether a device belongs to this row.
    pub fn is_used(&self) -> bool {
        !self.uuid.is_nil()
    }

    /// Its region of that kind.
    pub fn region(&self, kind: RegionKind) -> Option<Region> {
        self.regions.iter().copied().find(|r| r.kind == kind)
    }
}

/// All that is known of a volume; the same on every member.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Superblock {
    pub version: u16,
    /// Features that an older restripe may ignore.
    pub compat: u64,
    /// Features that an older restripe may only read past.
    pub ro_compat: u64,
    /// Features that an older restripe must refuse.
    pub incompat: u64,
    /// Who wrote this superblock.
    pub writer: Text<32>,
    /// Seconds since 1970.
    pub created: u64,
    /// Seconds since 1970.
    pub updated: u64,
    pub uuid: Uuid,
    pub name: Name,
    /// Raised at every writable assembly.
    pub epoch: u64,
    /// Raised at every commit.
    pub generation: u64,
    /// Nothing was being written when this was.
    pub clean: bool,
    /// The bitmap is in force: after an unclean stop all is true where it has no mark.
    pub marked: bool,
    pub bitmap: BitmapMode,
    pub journal: JournalState,
    /// Bytes.
    pub logical_block: u32,
    pub volume_sectors: Sectors,
    pub sets: List<Set, MAX_SETS>,
    /// Tile the volume from its first sector to its last.
    pub ranges: List<MapRange, MAX_RANGES>,
    pub migration: Option<Migration>,
    pub members: List<Member, MAX_MEMBERS>,
    /// Where copies were found to differ.
    pub mismatches: List<Range, MAX_MISMATCHES>,
    /// Sectors found to differ, those that had no room in the list included.
    pub mismatch_cnt: u64,
}

impl Clone for Superblock {
    fn clone(&self) -> Self {
        let mut new = Superblock::default();
        new.copy_from(self);
        new
    }

    fn clone_from(&mut self, other: &Self) {
        self.copy_from(other);
    }
}

impl Superblock {
    /// Makes this one equal to `other`, field by field: never a whole one on the stack.
    pub fn copy_from(&mut self, other: &Superblock) {
        let Superblock {
            version,
            compat,
            ro_compat,
            incompat,
            writer,
            created,
            updated,
            uuid,
            name,
            epoch,
            generation,
            clean,
            marked,
            bitmap,
            journal,
            logical_block,
            volume_sectors,
            sets,
            ranges,
            migration,
            members,
            mismatches,
            mismatch_cnt,
        } = self;
        *version = other.version;
        *compat = other.compat;
        *ro_compat = other.ro_compat;
        *incompat = other.incompat;
        *writer = other.writer;
        *created = other.created;
        *updated = other.updated;
        *uuid = other.uuid;
        *name = other.name;
        *epoch = other.epoch;
        *generation = other.generation;
        *clean = other.clean;
        *marked = other.marked;
        *bitmap = other.bitmap;
        *journal = other.journal;
        *logical_block = other.logical_block;
        *volume_sectors = other.volume_sectors;
        sets.clone_from(&other.sets);
        ranges.clone_from(&other.ranges);
        *migration = other.migration;
        members.clone_from(&other.members);
        mismatches.clone_from(&other.mismatches);
        *mismatch_cnt = other.mismatch_cnt;
    }

    /// Empties this one in place.
    pub fn reset(&mut self) {
        self.version = VERSION;
        (self.compat, self.ro_compat, self.incompat) = (0, 0, 0);
        self.writer = Text::new();
        (self.created, self.updated) = (0, 0);
        self.uuid = Uuid::NIL;
        self.name = Name::new();
        (self.epoch, self.generation) = (0, 0);
        self.clean = false;
        self.marked = false;
        self.bitmap = BitmapMode::default();
        self.journal = JournalState::default();
        self.logical_block = 0;
        self.volume_sectors = Sectors::ZERO;
        self.sets.clear();
        self.ranges.clear();
        self.migration = None;
        self.members.clear();
        self.mismatches.clear();
        self.mismatch_cnt = 0;
    }

    /// Newer ones are greater (DESIGN I4).
    pub fn age(&self) -> (u64, u64) {
        (self.epoch, self.generation)
    }

    /// Members that take part.
    pub fn live(&self) -> MemberMask {
        let mut mask = MemberMask::EMPTY;
        for (id, member) in self.rows() {
            if member.is_used() && member.state.is_live() {
                mask.insert(id);
            }
        }
        mask
    }

    /// Members whose data are true all over.
    pub fn in_sync(&self) -> MemberMask {
        let mut mask = MemberMask::EMPTY;
        for (id, member) in self.rows() {
            let good = matches!(member.state, MemberState::InSync | MemberState::Suspect);
            if member.is_used() && good {
                mask.insert(id);
            }
        }
        mask
    }

    /// Members whose data are true below [`recovered`](Self::recovered) only.
    pub fn rebuilding(&self) -> MemberMask {
        let mut mask = MemberMask::EMPTY;
        for (id, member) in self.rows() {
            if member.state == MemberState::Rebuilding {
                mask.insert(id);
            }
        }
        mask
    }

    /// Up to where all members that are being rebuilt are true.
    pub fn recovered(&self) -> Logical {
        let rebuilding =
            |(_, member): &(MemberId, &Member)| member.state == MemberState::Rebuilding;
        let cursors = self.rows().filter(rebuilding).map(|(_, m)| m.recovery);
        cursors.min().unwrap_or(Logical::ZERO)
    }

    /// The used rows of the member table.
    pub fn rows(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.is_used())
            .map(|(index, member)| (MemberId(index as u8), member))
    }

    /// The row of the device with that uuid.
    pub fn member_by_uuid(&self, uuid: Uuid) -> Option<MemberId> {
        self.rows()
            .find(|(_, member)| member.uuid == uuid)
            .map(|(id, _)| id)
    }

    /// The set the volume is on, or leaves while it migrates.
    pub fn present_set(&self) -> u8 {
        match &self.migration {
            Some(migration) => migration.source,
            None => self.ranges.first().map_or(0, |range| range.set),
        }
    }

    /// Sets that hold some of the volume now or are about to.
    pub fn uses_set(&self, set: u8) -> bool {
        self.ranges.iter().any(|range| range.set == set)
            || self
                .migration
                .is_some_and(|m| m.source == set || m.target == set)
    }

    /// Whether the first 128 KiB of `member` are moved to its reserve, so that
    /// a signature has to stand at its sector 0 (DESIGN section 4).
    pub fn head_moved(&self, member: MemberId) -> bool {
        let row = &self.members[usize::from(member.0)];
        let Some(head) = row.region(RegionKind::Head) else {
            return false;
        };
        row.adopted
            && self.sets.iter().any(|set| {
                set.extents
                    .iter()
                    .any(|e| e.member == member && e.start == head.start)
            })
    }

    /// Members that perhaps hold no superblock yet.
    pub fn unmarked(&self) -> MemberMask {
        let mut mask = MemberMask::EMPTY;
        for (id, member) in self.rows() {
            if member.unmarked.is_some() {
                mask.insert(id);
            }
        }
        mask
    }

    /// Puts the map in step with the cursor: one range, or two that it parts.
    pub fn map_from_cursor(&mut self) {
        if let Some(migration) = &self.migration {
            self.ranges = migration.ranges(self.volume_sectors);
        }
    }
}
