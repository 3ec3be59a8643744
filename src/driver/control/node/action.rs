// SPDX-License-Identifier: GPL-2.0

//! `member_action`: members come, fail, go, and take another's place.

use kernel::prelude::*;
use restripe_core::{
    command::{self, MemberAction},
    geometry::MemberId,
    ondisk::{member_geometry, MemberState, Superblock},
    recover::Devices,
    shape::{change_for, is_at_work, Change, NewMember},
    text::Refusal,
};

use super::{migrate, progress, scan, Node};
use crate::control::{
    device::{Device, Opener},
    disks::{new_superblock, prepare, Superblocks},
};
use crate::sys::block::member::Access;
use crate::volume::Present;

pub(super) fn store(node: &Node, line: &[u8]) -> Result {
    node.answer(line, || {
        let action = command::member_action(line)?;
        progress::writable(node)?;
        scan::refuse_beside(node)?;
        match action {
            MemberAction::Add { dev, force } => come(node, dev, force, None),
            MemberAction::Replace {
                member,
                with,
                force,
            } => {
                if node.volume.superblock(|sb| is_at_work(sb, member)) {
                    migrate::exchange(node, line, (member, with), force)
                } else {
                    come(node, with, force, Some(member))
                }
            }
            MemberAction::Fail(member) => node.volume.fail_member(member),
            MemberAction::Remove(id) => node.volume.change_members(&Change::Remove { id }, None),
        }
    })
}

/// Has a device come in: checks everything, then writes.
fn come(node: &Node, dev: &str, force: bool, old: Option<MemberId>) -> Result<(), Refusal> {
    let mut now = new_superblock()?;
    node.volume.superblock(|sb| now.copy_from(sb));
    let opener = Opener::of(&node.shared, &node.volume, Access::ReadWrite);
    let devices = opener.open_all(&[dev])?;
    let device = &devices[0];
    let new = match returning(&devices, &now)? {
        Some(new) if old.is_none() => new,
        _ => {
            let new = device.as_new(false)?;
            device.refuse_content(force)?;
            new
        }
    };
    let change = change_for(&now, &new, old)?;
    node.volume.may_change_members(&change)?;
    prepare(device, &new.geometry, now.uuid, new.uuid)?;
    let id = match change {
        Change::Add { id, .. }
        | Change::Return { id }
        | Change::Replace { id, .. }
        | Change::Remove { id } => id,
    };
    let seat = Present {
        id,
        device: device.member.clone(),
        slot: None,
    };
    node.volume.change_members(&change, Some(seat))
}

/// The device as the member that it was, where the volume misses that one.
fn returning<'a>(
    devices: &[Device<'a>],
    now: &Superblock,
) -> Result<Option<NewMember<'a>>, Refusal> {
    let device = &devices[0];
    let mut found = new_superblock()?;
    let mut superblocks = Superblocks::of(devices)?;
    for slot in 0..2 {
        let Ok(member) = superblocks.read_superblock(0, slot, &mut found) else {
            continue;
        };
        let uuid = found.members[usize::from(member.0)].uuid;
        let Some(id) = now.member_by_uuid(uuid).filter(|_| found.uuid == now.uuid) else {
            continue;
        };
        let row = &now.members[usize::from(id.0)];
        let same = row.device_sectors == device.sectors();
        if row.state != MemberState::Missing || !same {
            continue;
        }
        let mut new = device.as_new(row.adopted)?;
        (new.uuid, new.geometry) = (uuid, member_geometry(device.sectors(), row.adopted)?);
        return Ok(Some(new));
    }
    Ok(None)
}
