// SPDX-License-Identifier: GPL-2.0

//! `migrate` and `plan`: what the volume shall become.

use kernel::prelude::*;
use restripe_core::{
    command,
    ondisk::Superblock,
    refusal,
    shape::{begin_migration, write_plan, MigrationWish, NewMember},
    text::Refusal,
};

use super::{progress, Node};
use crate::control::{
    create::as_new,
    device::Device,
    disks::{new_superblock, prepare},
    examine::Growing,
    last_error::no_memory,
    new_uuid,
};
use crate::sys::{block::member::Access, sysfs::Page};
use crate::volume::Present;

pub(super) fn show_plan(node: &Node, page: &mut Page<'_>) -> Result {
    page.push(&node.plan.lock());
    Ok(())
}

pub(super) fn store(node: &Node, text: &[u8]) -> Result {
    node.answer(text, || {
        // One at a time, and none waits: what the other one decides is news to this one.
        let Some(mut plan) = node.plan.try_lock() else {
            return Err(refusal!(
                EBUSY,
                "another line is being written to migrate; try again"
            ));
        };
        plan.clear();
        match migrate(node, text) {
            Ok(text) => {
                *plan = text;
                Ok(())
            }
            Err(refusal) => {
                let mut text = Growing(KVec::new());
                // The sentence is in `last_error` too.
                let _ = core::fmt::Write::write_fmt(
                    &mut text,
                    format_args!("refused: {}\n", refusal.sentence),
                );
                *plan = text.0;
                Err(refusal)
            }
        }
    })
}

/// Checks everything, then writes, unless only the plan is wanted: which it returns.
fn migrate(node: &Node, line: &[u8]) -> Result<KVec<u8>, Refusal> {
    let command = command::migrate(line)?;
    progress::writable(node)?;
    let access = if command.dry_run {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let mut now = new_superblock()?;
    node.volume.superblock(|sb| now.copy_from(sb));
    if node.volume.status().migrate_state != "none" {
        return Err(refusal!(
            EBUSY,
            "a migration is running already; wait until migrate_state says none"
        ));
    }
    let devices = Device::open_all(&node.shared.registry, &command.add, access)?;
    let members = as_new(&devices, command.force)?;
    let wish = MigrationWish {
        uuid: new_uuid(),
        level: command.level,
        chunk: command.chunk,
        added: &members,
        removed: command.remove,
    };
    let mut next = new_superblock()?;
    begin_migration(&now, &wish, &mut next)?;
    if let Some(migration) = &mut next.migration {
        migration.speed_max = node.volume.status().speed_max;
        migration.sync_max = *node.next_sync_max.lock();
    }
    let mut plan = Growing(KVec::new());
    write_plan(&next, &mut plan).map_err(no_memory)?;
    if command.dry_run {
        return Ok(plan.0);
    }
    for (device, member) in devices.iter().zip(&members) {
        prepare(device, &member.geometry, next.uuid, member.uuid)?;
    }
    let present = seats(&devices, &members, &next)?;
    node.volume.migrate(&next, &present)?;
    Ok(plan.0)
}

/// The devices as the members that `next` says they are.
fn seats(
    devices: &[Device<'_>],
    members: &[NewMember<'_>],
    next: &Superblock,
) -> Result<KVec<Present>, Refusal> {
    let mut present = KVec::with_capacity(devices.len(), GFP_KERNEL).map_err(no_memory)?;
    for (device, member) in devices.iter().zip(members) {
        let Some(id) = next.member_by_uuid(member.uuid) else {
            unreachable!("begin_migration gives every new member a row");
        };
        let seat = Present {
            id,
            device: device.member.clone(),
            slot: None,
        };
        present.push(seat, GFP_KERNEL).map_err(no_memory)?;
    }
    Ok(present)
}
