// SPDX-License-Identifier: GPL-2.0
//! A superblock as `key: value` lines (`examine`, DESIGN section 5). Other members' regions follow
//! from their size.

use core::fmt::{self, Write};

use crate::geometry::MemberId;
use crate::ondisk::{Member, RegionKind, Superblock};
use crate::placement::Set;

/// Writes all fields of the superblock that was found on `member`.
///
/// # Errors
/// Those of `out`.
pub fn write_examine(sb: &Superblock, member: MemberId, out: &mut impl Write) -> fmt::Result {
    let row = &sb.members[usize::from(member.0)];
    writeln!(out, "member: {}", member.0)?;
    writeln!(out, "member_uuid: {}", row.uuid)?;
    write_regions(row, out)?;
    write_volume(sb, out)
}

/// Writes all fields that are the same on every member.
///
/// # Errors
/// Those of `out`.
pub fn write_volume(sb: &Superblock, out: &mut impl Write) -> fmt::Result {
    writeln!(out, "version: {}", sb.version)?;
    writeln!(out, "features_compatible: {:#x}", sb.compat)?;
    writeln!(out, "features_read_only_compatible: {:#x}", sb.ro_compat)?;
    writeln!(out, "features_incompatible: {:#x}", sb.incompat)?;
    writeln!(out, "written_by: {}", sb.writer)?;
    writeln!(out, "created: {}", sb.created)?;
    writeln!(out, "updated: {}", sb.updated)?;
    writeln!(out, "uuid: {}", sb.uuid)?;
    writeln!(out, "name: {}", sb.name)?;
    writeln!(out, "epoch: {}", sb.epoch)?;
    writeln!(out, "generation: {}", sb.generation)?;
    writeln!(out, "clean: {}", u8::from(sb.clean))?;
    writeln!(out, "bitmap: {}", sb.bitmap.name())?;
    writeln!(out, "bitmap_in_force: {}", u8::from(sb.marked))?;
    writeln!(out, "journal: {}", sb.journal.mode.name())?;
    writeln!(out, "journal_in_force: {}", u8::from(sb.journal.in_force))?;
    writeln!(out, "journal_retired_lap: {}", sb.journal.retired)?;
    writeln!(out, "logical_block_size: {}", sb.logical_block)?;
    writeln!(out, "size: {}", sb.volume_sectors.bytes())?;
    for (index, set) in sb.sets.iter().enumerate() {
        write_set(index, set, out)?;
    }
    for (index, range) in sb.ranges.iter().enumerate() {
        let (start, end) = (range.start.0, range.end.0);
        writeln!(
            out,
            "range_{index}: sectors {start} to {end} on set {}",
            range.set
        )?;
    }
    write_migration(sb, out)?;
    writeln!(out, "mismatch_cnt: {}", sb.mismatch_cnt)?;
    for range in &sb.mismatches {
        writeln!(
            out,
            "mismatch: sectors {} to {}",
            range.start.0, range.end.0
        )?;
    }
    for (id, member) in sb.rows() {
        write_member(id, member, out)?;
    }
    Ok(())
}

fn write_set(index: usize, set: &Set, out: &mut impl Write) -> fmt::Result {
    let layout = &set.layout;
    writeln!(out, "set_{index}_level: {}", layout.level.name())?;
    if layout.level.is_striped() {
        writeln!(out, "set_{index}_chunk: {}", layout.chunk.bytes())?;
    }
    if layout.level.has_copies() {
        writeln!(out, "set_{index}_copies: {}", layout.copies())?;
    }
    writeln!(out, "set_{index}_slots: {}", layout.slots)?;
    writeln!(out, "set_{index}_slot_sectors: {}", layout.slot_len.0)?;
    writeln!(out, "set_{index}_synced_to: {}", set.resync.0)?;
    if layout.level.has_parity() {
        writeln!(out, "set_{index}_fresh: {}", u8::from(set.is_fresh))?;
    }
    for extent in &set.extents {
        let (slot, member) = (extent.slot.0, extent.member.0);
        write!(out, "set_{index}_slot_{slot}: member {member}, ")?;
        writeln!(out, "sectors {} + {}", extent.start.0, extent.len.0)?;
    }
    Ok(())
}

fn write_migration(sb: &Superblock, out: &mut impl Write) -> fmt::Result {
    let Some(migration) = &sb.migration else {
        return writeln!(out, "migration: none");
    };
    let state = match (migration.aborting, migration.paused) {
        (true, _) => "aborting",
        (false, true) => "paused",
        (false, false) => "running",
    };
    writeln!(out, "migration: {state}")?;
    writeln!(out, "migration_uuid: {}", migration.uuid)?;
    writeln!(out, "migration_source: {}", migration.source)?;
    writeln!(out, "migration_target: {}", migration.target)?;
    let direction = if migration.descending {
        "descending"
    } else {
        "ascending"
    };
    writeln!(out, "migration_direction: {direction}")?;
    writeln!(out, "migration_position: {}", migration.cursor.0)?;
    writeln!(out, "migration_retired_stash: {}", migration.retired_stash)?;
    writeln!(out, "migration_speed_max: {}", migration.speed_max)?;
    match migration.sync_max {
        Some(max) => writeln!(out, "migration_sync_max: {}", max.0),
        None => writeln!(out, "migration_sync_max: max"),
    }
}

fn write_member(id: MemberId, member: &Member, out: &mut impl Write) -> fmt::Result {
    let id = id.0;
    writeln!(out, "member_{id}_uuid: {}", member.uuid)?;
    writeln!(out, "member_{id}_serial: {}", member.serial)?;
    writeln!(out, "member_{id}_size: {}", member.device_sectors.bytes())?;
    writeln!(out, "member_{id}_state: {}", member.state.name())?;
    writeln!(out, "member_{id}_recovered_to: {}", member.recovery.0)?;
    writeln!(out, "member_{id}_left_epoch: {}", member.left_epoch)?;
    writeln!(out, "member_{id}_adopted: {}", u8::from(member.adopted))?;
    match member.unmarked {
        Some(crc) => writeln!(out, "member_{id}_known_by_crc32c: {crc:#010x}"),
        None => Ok(()),
    }
}

fn write_regions(member: &Member, out: &mut impl Write) -> fmt::Result {
    for region in &member.regions {
        match region.kind {
            RegionKind::SuperblockA => write!(out, "region_superblock_a")?,
            RegionKind::SuperblockB => write!(out, "region_superblock_b")?,
            RegionKind::Stash => write!(out, "region_stash")?,
            RegionKind::Bitmap => write!(out, "region_bitmap")?,
            RegionKind::Journal => write!(out, "region_journal")?,
            RegionKind::Data => write!(out, "region_data")?,
            RegionKind::Head => write!(out, "region_head")?,
            RegionKind::Free => write!(out, "region_free")?,
            RegionKind::Unknown(code) => write!(out, "region_{code}")?,
        }
        writeln!(out, ": sectors {} + {}", region.start.0, region.len.0)?;
    }
    Ok(())
}
