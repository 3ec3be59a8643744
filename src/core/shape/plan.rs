// SPDX-License-Identifier: GPL-2.0
//! What a migration would do, in words (`plan`, DESIGN section 5).

use core::fmt::{self, Write};

use super::{common_row, needs_stash, trimmed, volume_of, way_of};
use crate::footprint::overwrites;
use crate::geometry::{div_up, Logical, Offset, Range, Sectors, SlotId};
use crate::layout::Level;
use crate::ondisk::Superblock;
use crate::placement::Set;

/// Writes what the migration that `superblock` has begun does.
///
/// # Errors
/// Those of `out`.
pub fn write_plan(superblock: &Superblock, out: &mut impl Write) -> fmt::Result {
    let Some(migration) = &superblock.migration else {
        return writeln!(out, "nothing to do");
    };
    let source = &superblock.sets[usize::from(migration.source)];
    let target = &superblock.sets[usize::from(migration.target)];
    let volume = superblock.volume_sectors;
    let after = volume_of(&target.layout, superblock.logical_block);
    writeln!(
        out,
        "level: {} to {}",
        source.layout.level.name(),
        target.layout.level.name()
    )?;
    writeln!(out, "members: {} to {}", source.disks(), target.disks())?;
    writeln!(out, "chunk: {} to {}", chunk(source), chunk(target))?;
    writeln!(out, "capacity_before: {}", volume.bytes())?;
    writeln!(out, "capacity_after: {}", after.bytes())?;
    writeln!(
        out,
        "failures_survived_before: {}",
        failures(source, superblock)
    )?;
    writeln!(
        out,
        "failures_survived_after: {}",
        failures(target, superblock)
    )?;
    for member in target.members().iter() {
        match trimmed(superblock, target, member) {
            Sectors::ZERO => {}
            rest => writeln!(out, "unused_of_member_{}: {}", member.0, rest.bytes())?,
        }
    }
    writeln!(out, "bytes_to_move: {}", volume.bytes())?;
    let used = Sectors(target.layout.used_below(Logical(volume.0)).0);
    let slots = (0..target.layout.slots).map(SlotId);
    let rewritten = slots.filter(|slot| !stays(source, target, *slot, used));
    let written = Sectors(used.0 * rewritten.count() as u64);
    writeln!(out, "bytes_to_write: {}", written.bytes())?;
    let row = common_row(&source.layout, &target.layout);
    writeln!(out, "bytes_at_once: {}", row.bytes())?;
    match stash_windows(source, target, volume) {
        0 => writeln!(out, "stash_windows: 0"),
        n => writeln!(out, "stash_windows: up to {n}"),
    }
}

/// Whether all that `slot` of the target is to hold, `used` sectors, lies in its place already, and so
/// is not written.
fn stays(source: &Set, target: &Set, slot: SlotId, used: Sectors) -> bool {
    let shape = |set: &Set| (set.layout.level, set.layout.chunk, set.layout.slots);
    let is_copied = |set: &Set| matches!(set.layout.level, Level::Linear | Level::Raid1);
    let lies = |from: SlotId| {
        let mut offset = Offset::ZERO;
        while offset.0 < used.0 {
            let (here, there) = (source.place(from, offset), target.place(slot, offset));
            if (here.member, here.at) != (there.member, there.at) {
                return false;
            }
            offset += here.run.min(there.run);
        }
        true
    };
    if shape(source) == shape(target) {
        return lies(slot);
    }
    // Every slot holds the volume as it is.
    is_copied(source) && is_copied(target) && (0..source.layout.slots).map(SlotId).any(lies)
}

/// Rows that are looked at one by one.
const MOST_ROWS: u64 = 1024;

/// Most windows that go through the stash: the rows that overwrite what the source still needs
/// when all before them is done, or all rows where those would take long to count.
fn stash_windows(source: &Set, target: &Set, volume: Sectors) -> u64 {
    let row = common_row(&source.layout, &target.layout);
    let rows = div_up(volume.0, row.0);
    let way = way_of(source, target);
    if !needs_stash(source, target, way, volume) {
        return 0;
    }
    if rows > MOST_ROWS {
        return rows;
    }
    let end = Logical(volume.0);
    let windows = (0..rows).filter(|number| {
        let start = Logical(row.0 * number);
        let piece = Range::new(start, (start + row).min(end));
        let live = way.between(way.first(piece), way.end(end));
        overwrites(source, live, end, target, piece)
    });
    windows.count() as u64
}

/// In bytes; 0 where the level has no chunks.
fn chunk(set: &Set) -> u64 {
    match set.layout.level.is_striped() {
        true => set.layout.chunk.bytes(),
        false => 0,
    }
}

/// Members that may still be lost.
fn failures(set: &Set, superblock: &Superblock) -> u8 {
    let missing = set.missing(superblock.in_sync());
    set.layout.max_missing().saturating_sub(missing)
}
