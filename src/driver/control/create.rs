// SPDX-License-Identifier: GPL-2.0

//! `create`: a new volume over devices whose data are not needed any more.

use kernel::{prelude::*, sync::Arc};
use restripe_core::{
    command,
    geometry::Sectors,
    ondisk::Superblock,
    shape::{self, CreateWish, NewMember},
    text::Refusal,
};

use super::{
    device::{Device, Opener},
    disks::{new_superblock, prepare},
    last_error::no_memory,
    launch::{in_order, launch, Found},
    new_stamp,
    registry::Reservation,
    Shared,
};
use crate::sys::block::member::Access;

/// Checks everything, then writes.
pub(super) fn create(shared: &Arc<Shared>, line: &[u8]) -> Result<(), Refusal> {
    let command = command::create(line)?;
    let devices = Opener::new(shared, Access::ReadWrite)?.open_all(&command.members)?;
    let members = as_new(&devices, command.force)?;
    let stamp = new_stamp();
    let wish = CreateWish {
        level: command.level,
        chunk: command.chunk,
        size: command.size,
        assume_clean: command.assume_clean,
    };
    let mut superblock = new_superblock()?;
    shape::create(&mut superblock, &stamp, &wish, &members)?;
    let trimmed = trimmed(&superblock)?;
    let reservation = Reservation::new(shared, command.name, stamp.uuid)?;
    for (device, member) in devices.iter().zip(&members) {
        prepare(device, &member.geometry, stamp.uuid, member.uuid)?;
    }
    let present = in_order(&devices)?;
    let name = reservation.name();
    launch(
        shared,
        reservation,
        superblock,
        present,
        Found::default(),
        false,
    )?;
    for (path, rest) in command.members.iter().zip(&trimmed) {
        if *rest > Sectors::ZERO {
            pr_info!(
                "{}: {} bytes at the end of {} are not used, for the smallest member has no more\n",
                name.as_str(),
                rest.bytes(),
                path
            );
        }
    }
    Ok(())
}

/// What the members have more than the smallest of them, in the order of their devices.
fn trimmed(superblock: &Superblock) -> Result<KVec<Sectors>, Refusal> {
    let mut all = KVec::new();
    for (member, _) in superblock.rows() {
        let rest = shape::trimmed(superblock, &superblock.sets[0], member);
        all.push(rest, GFP_KERNEL).map_err(no_memory)?;
    }
    Ok(all)
}

/// The devices as members, none of which holds anything that anybody may want.
pub(super) fn as_new<'a>(
    devices: &[Device<'a>],
    force: bool,
) -> Result<KVec<NewMember<'a>>, Refusal> {
    let mut members = KVec::with_capacity(devices.len(), GFP_KERNEL).map_err(no_memory)?;
    for device in devices {
        device.refuse_content(force)?;
        members
            .push(device.as_new(false)?, GFP_KERNEL)
            .map_err(no_memory)?;
    }
    Ok(members)
}
