// SPDX-License-Identifier: GPL-2.0
//! What a superblock must fulfil to be believed. The same check guards what is
//! read and, in tests and before commits, what is about to be written.

use super::{
    superblock_places, Member, Migration, Region, RegionKind, Superblock, HEAD_LEN,
    SUPERBLOCK_SECTORS,
};
use crate::geometry::{Logical, Physical, Sectors, SlotId};
use crate::layout::Layout;
use crate::placement::{Extent, Set};

type Found = Result<(), &'static str>;

/// Linux addresses 2^63 bytes; with this bound no sum here can overflow.
const MAX_SECTORS: u64 = 1 << 54;

macro_rules! ensure {
    ($holds:expr, $what:literal) => {
        if !$holds {
            return Err($what);
        }
    };
}

/// Whether the superblock contradicts itself.
///
/// # Errors
/// What is wrong with it.
pub fn check(superblock: &Superblock) -> Found {
    ensure!(!superblock.uuid.is_nil(), "the volume has no uuid");
    let block = superblock.logical_block;
    ensure!(
        block.is_power_of_two() && (512..=4096).contains(&block),
        "the logical block size is not one a device can have"
    );
    let volume = superblock.volume_sectors;
    ensure!(
        volume.0 > 0 && volume.0 <= MAX_SECTORS,
        "the volume has no size that is possible"
    );
    ensure!(
        volume.bytes() & (u64::from(block) - 1) == 0,
        "the volume is not a whole number of logical blocks"
    );
    for (_, member) in superblock.rows() {
        check_member(superblock, member)?;
    }
    for (id, member) in superblock.rows() {
        ensure!(
            superblock.member_by_uuid(member.uuid) == Some(id),
            "two members have one uuid"
        );
    }
    for (index, set) in superblock.sets.iter().enumerate() {
        ensure!(
            superblock.uses_set(index as u8),
            "a set holds nothing of the volume"
        );
        check_set(superblock, set)?;
    }
    check_overlaps(superblock)?;
    check_map(superblock)?;
    for range in &superblock.mismatches {
        ensure!(
            range.start < range.end && range.end.0 <= MAX_SECTORS,
            "a range of differing copies is not one"
        );
    }
    Ok(())
}

fn check_member(superblock: &Superblock, member: &Member) -> Found {
    let Some(places) = superblock_places(member.device_sectors) else {
        return Err("a member has a size that no member can have");
    };
    for (kind, start) in [
        (RegionKind::SuperblockA, places[0]),
        (RegionKind::SuperblockB, places[1]),
    ] {
        let expected = Region {
            kind,
            start,
            len: SUPERBLOCK_SECTORS,
        };
        ensure!(
            member.region(kind) == Some(expected),
            "a member's superblocks are not where they have to be"
        );
    }
    for region in &member.regions {
        ensure!(
            inside(
                region.start,
                region.len,
                Physical::ZERO,
                member.device_sectors
            ),
            "a region lies outside its member"
        );
    }
    for (index, region) in member.regions.iter().enumerate() {
        for other in member.regions.iter().skip(index + 1) {
            ensure!(
                region.end() <= other.start || other.end() <= region.start,
                "two regions of a member overlap"
            );
        }
    }
    ensure!(
        member.left_epoch <= superblock.epoch,
        "a member left in an epoch to come"
    );
    ensure!(
        member.recovery.0 <= MAX_SECTORS,
        "a member is rebuilt beyond what it holds"
    );
    Ok(())
}

/// Whether `len` sectors from `start` lie in the `area_len` ones from `area`.
fn inside(start: Physical, len: Sectors, area: Physical, area_len: Sectors) -> bool {
    match (start.0.checked_add(len.0), area.0.checked_add(area_len.0)) {
        (Some(end), Some(area_end)) => start >= area && end <= area_end,
        _ => false,
    }
}

fn check_set(superblock: &Superblock, set: &Set) -> Found {
    let layout = &set.layout;
    ensure!(
        layout.slot_len.0 <= MAX_SECTORS,
        "a set has a size that is not possible"
    );
    let made = Layout::new(layout.level, layout.chunk, layout.slots, layout.slot_len);
    ensure!(
        made.is_ok_and(|made| made == *layout) && layout.slot_len.0 > 0,
        "a set's level, chunk and slots don't go together"
    );
    ensure!(
        set.resync.0 <= layout.capacity().0,
        "a set is synced beyond its end"
    );
    ensure!(
        layout.level.has_parity() || !set.is_fresh,
        "a set without parity says something of it"
    );
    for extent in &set.extents {
        ensure!(
            extent.slot.0 < layout.slots && extent.len.0 > 0,
            "an extent backs a slot that is not there"
        );
        check_extent(superblock, extent)?;
    }
    ensure!(
        set.extents.windows(2).all(|two| two[0].slot <= two[1].slot),
        "extents are out of order"
    );
    for slot in 0..layout.slots {
        check_slot(set, SlotId(slot))?;
    }
    Ok(())
}

fn check_slot(set: &Set, slot: SlotId) -> Found {
    let mut backed = Sectors::ZERO;
    for extent in set.extents.iter().filter(|extent| extent.slot == slot) {
        backed = backed + extent.len;
        let elsewhere = set
            .extents
            .iter()
            .any(|other| other.slot != slot && other.member == extent.member);
        ensure!(!elsewhere, "two slots of a set are on one member");
    }
    ensure!(
        backed >= set.layout.slot_len,
        "a slot is not backed all over"
    );
    Ok(())
}

fn check_extent(superblock: &Superblock, extent: &Extent) -> Found {
    let Some(member) = superblock.members.get(usize::from(extent.member.0)) else {
        return Err("an extent is on a member that is not there");
    };
    ensure!(
        member.is_used(),
        "an extent is on a member that is not there"
    );
    let has_home = member.regions.iter().any(|region| {
        matches!(region.kind, RegionKind::Data | RegionKind::Head)
            && inside(extent.start, extent.len, region.start, region.len)
    });
    ensure!(has_home, "an extent lies outside its member's data area");
    ensure!(
        extent.start >= Physical::ZERO + HEAD_LEN || !superblock.head_moved(extent.member),
        "an extent lies where a signature stands"
    );
    Ok(())
}

/// Extents may share a place only where one set is the source and the other the
/// target of the migration.
fn check_overlaps(superblock: &Superblock) -> Found {
    for (index, set) in superblock.sets.iter().enumerate() {
        for (at, extent) in set.extents.iter().enumerate() {
            ensure!(
                set.extents
                    .iter()
                    .skip(at + 1)
                    .all(|other| apart(extent, other)),
                "two extents of a set overlap"
            );
            for (other_index, other) in superblock.sets.iter().enumerate().skip(index + 1) {
                let pair = superblock.migration.is_some_and(|m| {
                    let ends = [usize::from(m.source), usize::from(m.target)];
                    ends.contains(&index) && ends.contains(&other_index)
                });
                ensure!(
                    pair || other.extents.iter().all(|other| apart(extent, other)),
                    "two sets overlap"
                );
            }
        }
    }
    Ok(())
}

fn apart(a: &Extent, b: &Extent) -> bool {
    a.member != b.member || a.start + a.len <= b.start || b.start + b.len <= a.start
}

fn check_map(superblock: &Superblock) -> Found {
    let mut reached = Logical::ZERO;
    for range in &superblock.ranges {
        let Some(set) = superblock.sets.get(usize::from(range.set)) else {
            return Err("a range is on a set that is not there");
        };
        ensure!(
            range.start == reached && range.end > range.start,
            "the ranges don't follow each other"
        );
        ensure!(
            range.end.0 <= set.layout.capacity().0,
            "a range is larger than its set"
        );
        reached = range.end;
    }
    ensure!(
        reached.0 == superblock.volume_sectors.0,
        "the ranges don't make up the volume"
    );
    match &superblock.migration {
        Some(migration) => check_migration(superblock, migration),
        None => Ok(()),
    }
}

fn check_migration(superblock: &Superblock, migration: &Migration) -> Found {
    ensure!(!migration.uuid.is_nil(), "the migration has no uuid");
    ensure!(
        migration.source != migration.target,
        "the migration goes to where it comes from"
    );
    let volume = superblock.volume_sectors;
    ensure!(
        migration.cursor.0 <= volume.0,
        "the migration's cursor is behind the volume's end"
    );
    for index in [migration.source, migration.target] {
        let Some(set) = superblock.sets.get(usize::from(index)) else {
            return Err("the migration has a set that is not there");
        };
        ensure!(
            set.layout.capacity() >= volume,
            "a set of the migration can't hold the volume"
        );
        ensure!(
            migration.cursor.0 == volume.0
                || migration.cursor.round_down(set.layout.stripe()) == migration.cursor,
            "the migration's cursor lies within a stripe"
        );
    }
    ensure!(
        superblock.ranges == migration.ranges(volume),
        "the ranges are not those the migration's cursor makes"
    );
    Ok(())
}
