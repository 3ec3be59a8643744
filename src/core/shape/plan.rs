// SPDX-License-Identifier: GPL-2.0
//! What a migration would do, in words (`plan`, DESIGN section 5).

use core::fmt::{self, Write};

use super::{common_row, needs_stash, volume_of};
use crate::ondisk::Superblock;

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
    let stash = needs_stash(source, target, volume);
    writeln!(
        out,
        "level: {} to {}",
        source.layout.level.name(),
        target.layout.level.name()
    )?;
    writeln!(out, "members: {} to {}", source.disks(), target.disks())?;
    writeln!(out, "capacity_before: {}", volume.bytes())?;
    writeln!(out, "capacity_after: {}", after.bytes())?;
    writeln!(
        out,
        "failures_survived_before: {}",
        source.layout.max_missing()
    )?;
    writeln!(
        out,
        "failures_survived_after: {}",
        target.layout.max_missing()
    )?;
    writeln!(out, "bytes_to_move: {}", volume.bytes())?;
    let row = common_row(&source.layout, &target.layout);
    writeln!(out, "bytes_at_once: {}", row.bytes())?;
    writeln!(
        out,
        "stash_windows: {}",
        if stash { "some" } else { "none" }
    )
}
