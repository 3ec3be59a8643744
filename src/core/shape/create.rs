// SPDX-License-Identifier: GPL-2.0
//! New volumes: from a disk with data on it, or from blank ones.

use super::{smallest, volume_of, whole_slot, NewMember, Stamp};
use crate::geometry::{Logical, MemberId, Sectors};
use crate::layout::{Layout, Level};
use crate::ondisk::{MapRange, Superblock};
use crate::placement::{Set, MAX_EXTENTS};
use crate::refusal;
use crate::text::Refusal;

/// What a new volume shall be.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub level: Level,
    pub chunk: Sectors,
    /// Sectors; all that the members hold where none is wished.
    pub size: Option<Sectors>,
    /// Copies and parity are true already, the user says.
    pub assume_clean: bool,
}

/// The volume that `member`'s disk becomes with its first `size` sectors as they are.
///
/// # Errors
/// For devices that can't be members, and a size that does not fit.
pub fn adopt(
    into: &mut Superblock,
    stamp: &Stamp,
    member: &NewMember<'_>,
    size: Sectors,
) -> Result<(), Refusal> {
    let wish = Wish {
        level: Level::Linear,
        chunk: Sectors(1),
        size: Some(size),
        assume_clean: true,
    };
    create(into, stamp, &wish, core::slice::from_ref(member))
}

/// A volume over `members`, whose slots are in the order given.
///
/// # Errors
/// For devices that can't be members, and shapes that can't be.
pub fn create(
    into: &mut Superblock,
    stamp: &Stamp,
    wish: &Wish,
    members: &[NewMember<'_>],
) -> Result<(), Refusal> {
    for member in members {
        member.check_device()?;
    }
    // Members that are larger than the smallest are used in part, but end to end all of each is.
    let slot_len = match wish.level {
        Level::Linear => Sectors(members.iter().map(|m| m.geometry.data_len.0).sum()),
        _ => smallest(members).map_or(Sectors::ZERO, |m| m.geometry.data_len),
    };
    let slots = wish.level.slots_of(members.len());
    let layout = Layout::new(wish.level, wish.chunk, slots, slot_len)?;
    let logical_block = members.iter().map(|m| m.logical_block).max().unwrap_or(512);
    let most = volume_of(&layout, logical_block);
    if most == Sectors::ZERO {
        return Err(refusal!(
            ENOSPC,
            "the members have no room for a single stripe; use larger ones or a smaller chunk"
        ));
    }
    let size = wish.size.unwrap_or(most);
    if size > layout.capacity() || size == Sectors::ZERO {
        return Err(refusal!(
            ENOSPC,
            "the volume would be {} bytes and the members hold {}; give size= from 4096 to that",
            size.bytes(),
            most.bytes()
        ));
    }
    let block = Sectors::from_bytes(u64::from(logical_block));
    if size.round_down(block) != size {
        return Err(refusal!(
            EINVAL,
            "{} bytes is not a whole number of logical blocks of {} bytes; give size= as one",
            size.bytes(),
            logical_block
        ));
    }
    into.reset();
    into.sets.push(Set::default());
    let synced = !layout.level.is_redundant() || wish.assume_clean;
    let set = &mut into.sets[0];
    set.layout = layout;
    set.is_fresh = layout.level.has_parity() && !synced;
    set.resync = match synced {
        true => Logical(layout.capacity().0),
        false => Logical::ZERO,
    };
    for (index, member) in members.iter().enumerate() {
        let id = index as u8;
        let extent = match wish.level {
            Level::Linear => {
                whole_slot(0, MemberId(id), &member.geometry, member.geometry.data_len)
            }
            _ => whole_slot(id, MemberId(id), &member.geometry, layout.slot_len),
        };
        if !set.extents.try_push(extent) {
            return Err(refusal!(
                EINVAL,
                "{} takes at most {} members and {} are given; leave some out",
                layout.level.name(),
                MAX_EXTENTS,
                members.len()
            ));
        }
        into.members.push(member.row());
    }
    into.uuid = stamp.uuid;
    into.name = stamp.name;
    into.writer = stamp.writer;
    into.created = stamp.now;
    into.updated = stamp.now;
    into.epoch = 1;
    into.clean = true;
    into.logical_block = logical_block;
    into.volume_sectors = size;
    into.ranges.push(MapRange {
        start: Logical::ZERO,
        end: Logical(size.0),
        set: 0,
    });
    Ok(())
}
