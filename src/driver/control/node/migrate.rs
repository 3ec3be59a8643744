// SPDX-License-Identifier: GPL-2.0

//! `migrate` and `plan`: what the volume shall become.

use core::fmt::Write;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{Arc, Mutex},
};
use restripe_core::{
    command::{self, Paths},
    geometry::{Logical, MemberId, MemberMask},
    ondisk::Superblock,
    refusal,
    shape::{begin_migration, write_plan, MigrationWish, NewMember},
    text::Refusal,
};

use super::{progress, scan, Node};
use crate::control::{
    create::as_new,
    device::{Device, Opener},
    disks::{new_superblock, prepare},
    examine::Growing,
    last_error::no_memory,
    new_uuid, Shared,
};
use crate::sys::{block::member::Access, sysfs::Page};
use crate::volume::{Present, Volume};

/// What the next migration needs, whoever begins it.
#[pin_data]
pub(super) struct Next {
    pub(super) shared: Arc<Shared>,
    pub(super) volume: Arc<Volume>,
    /// What `plan` shows. Its lock is also that of a `migrate` under way: another one is not
    /// waited for.
    #[pin]
    pub(super) plan: Mutex<KVec<u8>>,
    /// Where the next migration is to stop.
    #[pin]
    pub(super) sync_max: Mutex<Option<Logical>>,
}

impl Next {
    pub(super) fn new<'a>(
        shared: &'a Arc<Shared>,
        volume: &'a Arc<Volume>,
    ) -> impl PinInit<Self> + 'a {
        pin_init!(Self {
            shared: shared.clone(),
            volume: volume.clone(),
            plan <- new_mutex!(KVec::new()),
            sync_max <- new_mutex!(None),
        })
    }
}

pub(super) fn show_plan(node: &Node, page: &mut Page<'_>) -> Result {
    page.push(&node.next.plan.lock());
    Ok(())
}

pub(super) fn store(node: &Node, text: &[u8]) -> Result {
    node.answer(text, || {
        in_plan(node, || migrate(node, text, &command::migrate(text)?))
    })
}

/// A member that works gives its place to another: to the same layout, with that one in its slot.
pub(super) fn exchange(
    node: &Node,
    line: &[u8],
    (old, with): (MemberId, &str),
    force: bool,
) -> Result<(), Refusal> {
    let level = node
        .volume
        .superblock(|sb| sb.sets[usize::from(sb.present_set())].layout.level);
    let mut add = Paths::new();
    add.push(with);
    let command = command::Migrate {
        level,
        chunk: None,
        add,
        remove: MemberMask::of(old),
        dry_run: false,
        scan: false,
        force,
    };
    in_plan(node, || migrate(node, line, &command))
}

/// Puts in `plan` what comes of it.
fn in_plan(
    node: &Node,
    plan_it: impl FnOnce() -> Result<KVec<u8>, Refusal>,
) -> Result<(), Refusal> {
    // One at a time, and none waits: what the other one decides is news to this one.
    let Some(mut plan) = node.next.plan.try_lock() else {
        return Err(refusal!(
            EBUSY,
            "another line is being written to migrate; try again"
        ));
    };
    plan.clear();
    match plan_it() {
        Ok(text) => {
            *plan = text;
            Ok(())
        }
        Err(refusal) => {
            let mut text = Growing(KVec::new());
            // The sentence is in `last_error` too.
            let _ = writeln!(text, "refused: {}", refusal.sentence);
            *plan = text.0;
            Err(refusal)
        }
    }
}

/// Checks everything, then begins, unless only the plan is wanted, or all members are to be read
/// first. Returns what `plan` is to say.
fn migrate(node: &Node, line: &[u8], command: &command::Migrate<'_>) -> Result<KVec<u8>, Refusal> {
    progress::writable(node)?;
    scan::refuse_beside(node)?;
    let access = if command.dry_run {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let devices = Opener::of(&node.shared, &node.volume, access).open_all(&command.add)?;
    let planned = Planned::new(&node.next, command, &devices)?;
    if command.scan {
        scan::start(node, line, &devices, &planned)?;
    } else if !command.dry_run {
        planned.begin(&node.next, &devices)?;
    }
    Ok(planned.text)
}

/// A migration that can begin.
pub(super) struct Planned<'a> {
    /// The devices that come in.
    pub(super) members: KVec<NewMember<'a>>,
    pub(super) superblock: KBox<Superblock>,
    /// What `plan` is to say.
    pub(super) text: KVec<u8>,
}

impl<'a> Planned<'a> {
    /// # Errors
    /// What speaks against it.
    pub(super) fn new(
        next: &Next,
        command: &command::Migrate<'_>,
        devices: &[Device<'a>],
    ) -> Result<Self, Refusal> {
        let mut now = new_superblock()?;
        next.volume.superblock(|sb| now.copy_from(sb));
        let members = as_new(devices, command.force)?;
        let wish = MigrationWish {
            uuid: new_uuid(),
            level: command.level,
            chunk: command.chunk,
            added: &members,
            removed: command.remove,
        };
        let mut superblock = new_superblock()?;
        begin_migration(&now, &wish, &mut superblock)?;
        next.volume.may_migrate(&superblock)?;
        if let Some(migration) = &mut superblock.migration {
            migration.speed_max = next.volume.status().speed_max;
            migration.sync_max = *next.sync_max.lock();
        }
        let mut plan = Growing(KVec::new());
        write_plan(&superblock, &mut plan).map_err(no_memory)?;
        Ok(Planned {
            members,
            superblock,
            text: plan.0,
        })
    }

    /// Writes to the devices that come in, and has the volume begin.
    pub(super) fn begin(&self, next: &Next, devices: &[Device<'_>]) -> Result<(), Refusal> {
        let superblock = &*self.superblock;
        for (device, member) in devices.iter().zip(&self.members) {
            prepare(device, &member.geometry, superblock.uuid, member.uuid)?;
        }
        let present = seats(devices, &self.members, superblock)?;
        next.volume.migrate(superblock, &present)
    }
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
