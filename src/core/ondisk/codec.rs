// SPDX-License-Identifier: GPL-2.0
//! Superblock to bytes and back. What can't be believed is refused with the reason.

use core::fmt;

use zerocopy::{FromBytes, FromZeros};

use super::format::{
    algorithm_code, level_code, level_from_codes, Block, DiskMember, DiskSet, CRC_FROM, FLAG_CLEAN,
    FLAG_JOURNALED, FLAG_MARKED, INCOMPAT_KNOWN, MAGIC, MEMBER_ADOPTED, MEMBER_UNMARKED,
    MIGRATION_ABORTING, MIGRATION_DESCENDING, MIGRATION_HAS_MAX, MIGRATION_PAUSED, MIGRATION_RUNS,
    SET_FRESH, VERSION,
};
use super::{
    check, BitmapMode, JournalMode, JournalState, MapRange, Member, MemberState, Migration, Region,
    RegionKind, Superblock, Uuid, SUPERBLOCK_SIZE,
};
use crate::geometry::{Logical, MemberId, Physical, Range, Sectors, SlotId, MAX_MEMBERS};
use crate::layout::{Layout, Level};
use crate::placement::{Extent, Set};
use crate::text::Text;

/// Why bytes are no superblock to go by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// It could not be read from the device.
    Unreadable,
    /// Nothing was ever written there.
    Absent,
    /// Something else is there.
    Foreign,
    /// A superblock was there, and what is there now is not whole.
    Torn,
    /// From a restripe to come.
    Version(u16),
    /// It uses features that are not known here.
    Incompat(u64),
    /// Whole, and yet it can't be true.
    Inconsistent(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Unreadable => f.write_str("it can't be read"),
            DecodeError::Absent => f.write_str("nothing is there"),
            DecodeError::Foreign => f.write_str("something else is there"),
            DecodeError::Torn => f.write_str("it is damaged (its checksum is wrong)"),
            DecodeError::Version(version) => {
                write!(f, "it has version {version}, which needs a newer restripe")
            }
            DecodeError::Incompat(bits) => {
                write!(f, "it has features {bits:#x}, which need a newer restripe")
            }
            DecodeError::Inconsistent(what) => write!(f, "it contradicts itself: {what}"),
        }
    }
}

/// Writes the superblock for member `this_member` into the first 16 KiB of `out`.
///
/// `crc` is CRC-32C.
///
/// # Panics
/// When `out` is shorter than [`SUPERBLOCK_SIZE`].
pub fn encode(
    superblock: &Superblock,
    this_member: MemberId,
    out: &mut [u8],
    crc: impl Fn(&[u8]) -> u32,
) {
    let bytes = &mut out[..SUPERBLOCK_SIZE];
    // A block is all bytes of any value, of that size: this can't fail.
    let Ok(block) = Block::mut_from_bytes(bytes) else {
        unreachable!("a superblock is {SUPERBLOCK_SIZE} bytes");
    };
    block.zero();
    fill(superblock, this_member, block);
    let sum = crc(&bytes[CRC_FROM..]);
    bytes[MAGIC.len()..CRC_FROM].copy_from_slice(&sum.to_le_bytes());
}

fn fill(superblock: &Superblock, this_member: MemberId, block: &mut Block) {
    block.magic = MAGIC;
    block.version.set(superblock.version);
    block.this_member = this_member.0;
    for (is, flag) in [
        (superblock.clean, FLAG_CLEAN),
        (superblock.marked, FLAG_MARKED),
        (superblock.journal.in_force, FLAG_JOURNALED),
    ] {
        if is {
            block.flags |= flag;
        }
    }
    block.journal_mode = superblock.journal.mode.code();
    block.bitmap_mode = superblock.bitmap.code();
    block.retired_lap.set(superblock.journal.retired);
    block.compat.set(superblock.compat);
    block.ro_compat.set(superblock.ro_compat);
    block.incompat.set(superblock.incompat);
    block.uuid = superblock.uuid.0;
    put_text(&mut block.name, superblock.name.as_str());
    put_text(&mut block.writer, superblock.writer.as_str());
    block.created.set(superblock.created);
    block.updated.set(superblock.updated);
    block.epoch.set(superblock.epoch);
    block.generation.set(superblock.generation);
    block.volume_sectors.set(superblock.volume_sectors.0);
    block.logical_block.set(superblock.logical_block);
    block.set_count = superblock.sets.len() as u8;
    block.range_count = superblock.ranges.len() as u8;
    block.member_count = superblock.members.len() as u8;
    block.mismatch_count = superblock.mismatches.len() as u8;
    block.mismatch_cnt.set(superblock.mismatch_cnt);
    if let Some(migration) = &superblock.migration {
        fill_migration(migration, block);
    }
    for (set, disk) in superblock.sets.iter().zip(&mut block.sets) {
        fill_set(set, disk);
    }
    for (range, disk) in superblock.ranges.iter().zip(&mut block.ranges) {
        disk.start.set(range.start.0);
        disk.end.set(range.end.0);
        disk.set = range.set;
    }
    for (range, disk) in superblock.mismatches.iter().zip(&mut block.mismatches) {
        disk.start.set(range.start.0);
        disk.end.set(range.end.0);
    }
    for (member, disk) in superblock.members.iter().zip(&mut block.members) {
        fill_member(member, disk);
    }
}

fn fill_migration(migration: &Migration, block: &mut Block) {
    let disk = &mut block.migration;
    let mut flags = MIGRATION_RUNS;
    for (is, bit) in [
        (migration.descending, MIGRATION_DESCENDING),
        (migration.paused, MIGRATION_PAUSED),
        (migration.aborting, MIGRATION_ABORTING),
        (migration.sync_max.is_some(), MIGRATION_HAS_MAX),
    ] {
        if is {
            flags |= bit;
        }
    }
    disk.uuid = migration.uuid.0;
    disk.flags.set(flags);
    disk.source = migration.source;
    disk.target = migration.target;
    disk.cursor.set(migration.cursor.0);
    disk.retired_stash.set(migration.retired_stash);
    disk.sync_max.set(migration.sync_max.map_or(0, |max| max.0));
    disk.speed_max.set(migration.speed_max);
}

fn fill_set(set: &Set, disk: &mut DiskSet) {
    disk.level.set(level_code(set.layout.level));
    disk.algorithm.set(algorithm_code(set.layout.level));
    disk.slots = set.layout.slots;
    disk.extent_count = set.extents.len() as u8;
    disk.chunk.set(set.layout.chunk.0 as u32);
    disk.slot_len.set(set.layout.slot_len.0);
    disk.resync.set(set.resync.0);
    disk.flags = if set.is_fresh { SET_FRESH } else { 0 };
    for (extent, disk) in set.extents.iter().zip(&mut disk.extents) {
        disk.slot = extent.slot.0;
        disk.member = extent.member.0;
        disk.start.set(extent.start.0);
        disk.len.set(extent.len.0);
    }
}

fn fill_member(member: &Member, disk: &mut DiskMember) {
    disk.uuid = member.uuid.0;
    put_text(&mut disk.serial, member.serial.as_str());
    disk.device_sectors.set(member.device_sectors.0);
    disk.recovery.set(member.recovery.0);
    disk.left_epoch.set(member.left_epoch);
    disk.state = state_code(member.state);
    disk.flags = if member.adopted { MEMBER_ADOPTED } else { 0 };
    if let Some(crc) = member.unmarked {
        disk.flags |= MEMBER_UNMARKED;
        disk.known_crc.set(crc);
    }
    disk.region_count = member.regions.len() as u8;
    for (region, disk) in member.regions.iter().zip(&mut disk.regions) {
        disk.kind.set(region.kind.code());
        disk.start.set(region.start.0);
        disk.len.set(region.len.0);
    }
}

/// Reads a superblock into `into` and says which member's it is. On an error
/// `into` holds nothing to go by.
///
/// `crc` is CRC-32C.
///
/// # Errors
/// Whatever speaks against believing it, [`check`]'s findings included.
pub fn decode(
    bytes: &[u8],
    into: &mut Superblock,
    crc: impl Fn(&[u8]) -> u32,
) -> Result<MemberId, DecodeError> {
    let Ok((block, _)) = Block::ref_from_prefix(bytes) else {
        return Err(DecodeError::Unreadable);
    };
    if block.magic != MAGIC {
        let absent = bytes[..SUPERBLOCK_SIZE].iter().all(|byte| *byte == 0);
        return Err(if absent {
            DecodeError::Absent
        } else {
            DecodeError::Foreign
        });
    }
    if crc(&bytes[CRC_FROM..SUPERBLOCK_SIZE]) != block.crc.get() {
        return Err(DecodeError::Torn);
    }
    if block.version.get() != VERSION {
        return Err(DecodeError::Version(block.version.get()));
    }
    if block.incompat.get() & !INCOMPAT_KNOWN != 0 {
        return Err(DecodeError::Incompat(block.incompat.get()));
    }
    take(block, into).map_err(DecodeError::Inconsistent)?;
    check(into).map_err(DecodeError::Inconsistent)?;
    let this_member = MemberId(block.this_member);
    let row = into.members.get(usize::from(this_member.0));
    if !row.is_some_and(Member::is_used) {
        return Err(DecodeError::Inconsistent(
            "it is for a member that its table does not have",
        ));
    }
    Ok(this_member)
}

/// Whether `bytes` begin like a superblock, whole or not.
pub fn is_superblock(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

fn take(block: &Block, into: &mut Superblock) -> Result<(), &'static str> {
    if block.flags & !(FLAG_CLEAN | FLAG_MARKED | FLAG_JOURNALED) != 0 {
        return Err("a flag is set that has no meaning");
    }
    let Some(mode) = JournalMode::from_code(block.journal_mode) else {
        return Err("its journal is used in a way that is not known here");
    };
    let Some(bitmap) = BitmapMode::from_code(block.bitmap_mode) else {
        return Err("its bitmap is kept in a way that is not known here");
    };
    into.version = block.version.get();
    into.compat = block.compat.get();
    into.ro_compat = block.ro_compat.get();
    into.incompat = block.incompat.get();
    into.uuid = Uuid(block.uuid);
    into.name = text(&block.name)?;
    into.writer = text(&block.writer)?;
    into.created = block.created.get();
    into.updated = block.updated.get();
    into.epoch = block.epoch.get();
    into.generation = block.generation.get();
    into.clean = block.flags & FLAG_CLEAN != 0;
    into.marked = block.flags & FLAG_MARKED != 0;
    into.bitmap = bitmap;
    into.journal = JournalState {
        mode,
        in_force: block.flags & FLAG_JOURNALED != 0,
        retired: block.retired_lap.get(),
    };
    into.logical_block = block.logical_block.get();
    into.volume_sectors = Sectors(block.volume_sectors.get());
    into.mismatch_cnt = block.mismatch_cnt.get();
    into.migration = take_migration(block)?;

    into.sets.clear();
    for disk in rows(&block.sets, block.set_count)? {
        into.sets.push(Set::default());
        if let Some(set) = into.sets.last_mut() {
            take_set(disk, set)?;
        }
    }
    into.ranges.clear();
    for disk in rows(&block.ranges, block.range_count)? {
        into.ranges.push(MapRange {
            start: Logical(disk.start.get()),
            end: Logical(disk.end.get()),
            set: disk.set,
        });
    }
    into.mismatches.clear();
    for disk in rows(&block.mismatches, block.mismatch_count)? {
        into.mismatches.push(Range {
            start: Logical(disk.start.get()),
            end: Logical(disk.end.get()),
        });
    }
    into.members.clear();
    if usize::from(block.member_count) > MAX_MEMBERS {
        return Err("it has more members than this restripe takes");
    }
    for disk in rows(&block.members, block.member_count)? {
        into.members.push(Member::default());
        if let Some(member) = into.members.last_mut() {
            take_member(disk, member)?;
        }
    }
    Ok(())
}

fn take_migration(block: &Block) -> Result<Option<Migration>, &'static str> {
    let disk = &block.migration;
    let flags = disk.flags.get();
    let known = MIGRATION_RUNS
        | MIGRATION_DESCENDING
        | MIGRATION_PAUSED
        | MIGRATION_ABORTING
        | MIGRATION_HAS_MAX;
    if flags & !known != 0 {
        return Err("a flag of the migration is set that has no meaning");
    }
    if flags & MIGRATION_RUNS == 0 {
        return Ok(None);
    }
    let max = Logical(disk.sync_max.get());
    Ok(Some(Migration {
        uuid: Uuid(disk.uuid),
        source: disk.source,
        target: disk.target,
        descending: flags & MIGRATION_DESCENDING != 0,
        cursor: Logical(disk.cursor.get()),
        retired_stash: disk.retired_stash.get(),
        paused: flags & MIGRATION_PAUSED != 0,
        aborting: flags & MIGRATION_ABORTING != 0,
        speed_max: disk.speed_max.get(),
        sync_max: (flags & MIGRATION_HAS_MAX != 0).then_some(max),
    }))
}

#[inline(never)]
fn take_set(disk: &DiskSet, set: &mut Set) -> Result<(), &'static str> {
    let Some(level) = level_from_codes(disk.level.get(), disk.algorithm.get()) else {
        return Err(
            match Level::ALL.map(level_code).contains(&disk.level.get()) {
                true => "a set is laid out in a way that is not known here",
                false => "a set has a level that is not known here",
            },
        );
    };
    set.layout = Layout {
        level,
        chunk: Sectors(u64::from(disk.chunk.get())),
        slots: disk.slots,
        slot_len: Sectors(disk.slot_len.get()),
    };
    set.resync = Logical(disk.resync.get());
    if disk.flags & !SET_FRESH != 0 {
        return Err("a flag of a set is set that has no meaning");
    }
    set.is_fresh = disk.flags & SET_FRESH != 0;
    for disk in rows(&disk.extents, disk.extent_count)? {
        set.extents.push(Extent {
            slot: SlotId(disk.slot),
            member: MemberId(disk.member),
            start: Physical(disk.start.get()),
            len: Sectors(disk.len.get()),
        });
    }
    Ok(())
}

#[inline(never)]
fn take_member(disk: &DiskMember, member: &mut Member) -> Result<(), &'static str> {
    if disk.flags & !(MEMBER_ADOPTED | MEMBER_UNMARKED) != 0 {
        return Err("a flag of a member is set that has no meaning");
    }
    member.uuid = Uuid(disk.uuid);
    member.serial = text(&disk.serial)?;
    member.device_sectors = Sectors(disk.device_sectors.get());
    member.state = state_from_code(disk.state).ok_or("a member is in a state unknown here")?;
    member.recovery = Logical(disk.recovery.get());
    member.left_epoch = disk.left_epoch.get();
    member.adopted = disk.flags & MEMBER_ADOPTED != 0;
    let unmarked = disk.flags & MEMBER_UNMARKED != 0;
    member.unmarked = unmarked.then_some(disk.known_crc.get());
    for disk in rows(&disk.regions, disk.region_count)? {
        member.regions.push(Region {
            kind: RegionKind::from_code(disk.kind.get()),
            start: Physical(disk.start.get()),
            len: Sectors(disk.len.get()),
        });
    }
    Ok(())
}

fn rows<T>(table: &[T], count: u8) -> Result<&[T], &'static str> {
    table
        .get(..usize::from(count))
        .ok_or("a table has more rows than there is room for")
}

fn text<const N: usize>(bytes: &[u8; N]) -> Result<Text<N>, &'static str> {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(N);
    match core::str::from_utf8(&bytes[..len]) {
        Ok(text) => Ok(Text::from(text)),
        Err(_) => Err("a name in it is not text"),
    }
}

fn put_text(into: &mut [u8], text: &str) {
    into[..text.len()].copy_from_slice(text.as_bytes());
}

const STATES: [MemberState; 6] = [
    MemberState::InSync,
    MemberState::Rebuilding,
    MemberState::Spare,
    MemberState::Suspect,
    MemberState::Faulty,
    MemberState::Missing,
];

fn state_code(state: MemberState) -> u8 {
    STATES.iter().position(|s| *s == state).unwrap_or(0) as u8
}

fn state_from_code(code: u8) -> Option<MemberState> {
    STATES.get(usize::from(code)).copied()
}
