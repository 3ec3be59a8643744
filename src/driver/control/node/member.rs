// SPDX-License-Identifier: GPL-2.0

//! A member's files: `members/K/`.

use kernel::{prelude::*, sync::Arc};
use restripe_core::{
    geometry::{MemberId, SlotId},
    ondisk::{Member, Superblock},
};

use super::line;
use crate::sys::sysfs::{Attr, Page};
use crate::volume::Volume;

/// What the files of a member show.
pub(in crate::control) struct MemberNode {
    volume: Arc<Volume>,
    id: MemberId,
}

impl MemberNode {
    pub(super) fn new(volume: Arc<Volume>, id: MemberId) -> Self {
        MemberNode { volume, id }
    }

    /// Shows something of the member's row; nothing once it has left the volume.
    fn row(&self, show: impl FnOnce(&Member) -> Result) -> Result {
        let shown = self.volume.superblock(|sb| {
            let row = sb.members.get(usize::from(self.id.0));
            row.filter(|row| row.is_used()).map(show)
        });
        shown.unwrap_or(Err(ENODEV))
    }
}

pub(super) static FILES: &[Attr<MemberNode>] = &[
    Attr::ro(c"dev", show_dev),
    Attr::ro(c"slot", show_slot),
    Attr::ro(c"state", show_state),
    Attr::ro(c"uuid", show_uuid),
    Attr::ro(c"serial", show_serial),
    Attr::ro(c"size", show_size),
    Attr::ro(c"read_errors", show_read_errors),
    Attr::ro(c"write_errors", show_write_errors),
];

/// The device's path, or `none` where it is not there.
fn show_dev(node: &MemberNode, page: &mut Page<'_>) -> Result {
    match node.volume.member(node.id) {
        Some(member) => line(page, format_args!("/dev/{}", member.name())),
        None => line(page, "none"),
    }
}

/// Its place in the set the volume is on, or else in the one it moves to, or `none`.
fn show_slot(node: &MemberNode, page: &mut Page<'_>) -> Result {
    let slot = node.volume.superblock(|sb| slot_of(sb, node.id));
    match slot {
        Some(slot) => line(page, slot.0),
        None => line(page, "none"),
    }
}

fn slot_of(sb: &Superblock, id: MemberId) -> Option<SlotId> {
    let target = sb.migration.map(|migration| migration.target);
    [Some(sb.present_set()), target]
        .into_iter()
        .flatten()
        .filter_map(|index| sb.sets.get(usize::from(index)))
        .find_map(|set| set.extents.iter().find(|extent| extent.member == id))
        .map(|extent| extent.slot)
}

fn show_state(node: &MemberNode, page: &mut Page<'_>) -> Result {
    node.row(|row| line(page, row.state.name()))
}

fn show_uuid(node: &MemberNode, page: &mut Page<'_>) -> Result {
    node.row(|row| line(page, row.uuid))
}

fn show_serial(node: &MemberNode, page: &mut Page<'_>) -> Result {
    node.row(|row| line(page, row.serial))
}

/// In bytes.
fn show_size(node: &MemberNode, page: &mut Page<'_>) -> Result {
    node.row(|row| line(page, row.device_sectors.bytes()))
}

fn show_read_errors(node: &MemberNode, page: &mut Page<'_>) -> Result {
    line(page, node.volume.errors(node.id).0)
}

fn show_write_errors(node: &MemberNode, page: &mut Page<'_>) -> Result {
    line(page, node.volume.errors(node.id).1)
}
