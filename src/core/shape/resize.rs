// SPDX-License-Identifier: GPL-2.0
//! The volume's size, within what its set holds.

use super::volume_of;
use crate::geometry::{rem, Logical, Sectors};
use crate::ondisk::Superblock;
use crate::refusal;
use crate::text::Refusal;

/// Sets the volume's size to `bytes`.
///
/// # Errors
/// While migrating, and for sizes that can't be.
pub fn resize(superblock: &mut Superblock, bytes: u64) -> Result<(), Refusal> {
    if superblock.migration.is_some() {
        return Err(refusal!(
            EBUSY,
            "the size can't change while a migration runs; wait until migrate_state says none"
        ));
    }
    let block = u64::from(superblock.logical_block.max(512));
    if bytes == 0 || rem(bytes, block) != 0 {
        return Err(refusal!(
            EINVAL,
            "a size of {} bytes can't be; give a multiple of {} greater than 0",
            bytes,
            block
        ));
    }
    let set = usize::from(superblock.present_set());
    let most = volume_of(&superblock.sets[set].layout, superblock.logical_block);
    let size = Sectors::from_bytes(bytes);
    // An adopted volume may have a size that is no multiple of 4096 bytes from the start.
    if size > most && size > superblock.volume_sectors {
        return Err(refusal!(
            ENOSPC,
            "the members hold {} bytes and {} are asked for; give less, or migrate to more members",
            most.bytes(),
            bytes
        ));
    }
    let end = Logical(superblock.volume_sectors.0);
    let held = &mut superblock.sets[set];
    if size.0 > end.0 && held.resync >= end.round_up(held.layout.stripe()) {
        // What lies behind the end holds nothing that anybody wrote, or still wants.
        held.is_fresh |= held.layout.level.has_parity();
    }
    superblock.volume_sectors = size;
    if let Some(last) = superblock.ranges.last_mut() {
        last.end = Logical(size.0);
    }
    Ok(())
}
