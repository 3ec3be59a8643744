// SPDX-License-Identifier: GPL-2.0

//! `adopt`: a disk with data on it becomes a volume, its data where they are.

use kernel::{prelude::*, sync::Arc};
use restripe_core::{command, shape, text::Refusal};

use super::{
    device::Device,
    disks::{new_superblock, prepare},
    launch::{in_order, launch, Found},
    new_stamp,
    registry::Reservation,
    Shared,
};
use crate::sys::block::member::Access;

/// Checks everything, then writes to the reserve.
pub(super) fn adopt(shared: &Arc<Shared>, line: &[u8]) -> Result<(), Refusal> {
    let command = command::adopt(line)?;
    let device = Device::open(&shared.registry, command.dev, Access::ReadWrite, &[])?;
    let member = device.as_new(true)?;
    let size = device.adopted_size(&member.geometry, command.size, command.force)?;
    let stamp = new_stamp();
    let mut superblock = new_superblock()?;
    shape::adopt(&mut superblock, &stamp, &member, size)?;
    let reservation = Reservation::new(shared, command.name, stamp.uuid)?;
    prepare(&device, &member.geometry, stamp.uuid, member.uuid)?;
    let present = in_order(core::slice::from_ref(&device))?;
    launch(
        shared,
        reservation,
        superblock,
        present,
        Found::default(),
        false,
    )
}
