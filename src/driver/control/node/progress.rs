// SPDX-License-Identifier: GPL-2.0

//! What a volume does by itself: migrate, resync, check; how far it is, and how fast it may go.

use kernel::prelude::*;
use restripe_core::{
    command::{self, MigrateState, SyncRequest},
    engine::Event,
    geometry::{MemberId, MemberMask, Physical, Sectors},
    ondisk::{superblock_places, Superblock, SUPERBLOCK_SIZE},
    refusal,
    text::Refusal,
};

use super::{line, scan, Node};
use crate::control::{disks, last_error::no_memory};
use crate::sys::{mem::Buffer, sysfs::Page};

pub(super) fn show_migrate_state(node: &Node, page: &mut Page<'_>) -> Result {
    line(page, node.volume.status().migrate_state)
}

pub(super) fn store_migrate_state(node: &Node, text: &[u8]) -> Result {
    node.answer(text, || {
        let wanted = command::migrate_state(text)?;
        writable(node)?;
        let event = match wanted {
            MigrateState::Pause => Event::Pause,
            MigrateState::Resume => Event::Resume,
            // Says itself where there is none.
            MigrateState::Abort => return node.volume.abort(silent(node)?),
        };
        migrating(node)?;
        node.volume.ask(event);
        Ok(())
    })
}

/// Members that give none of their superblocks. One that can't be read in some other place answers
/// all the same.
fn silent(node: &Node) -> Result<MemberMask, Refusal> {
    let mut buffer = Buffer::new(SUPERBLOCK_SIZE).map_err(no_memory)?;
    let live = node.volume.superblock(Superblock::live);
    let mut answers = |id: MemberId| {
        let device = node.volume.member(id)?;
        let places = superblock_places(Sectors(device.sectors()))?;
        let mut read = |at: &Physical| disks::read(&device, at.0, &mut buffer, SUPERBLOCK_SIZE);
        Some(places.iter().any(&mut read))
    };
    let mut silent = live;
    for id in live.iter() {
        if answers(id) == Some(true) {
            silent.remove(id);
        }
    }
    Ok(silent)
}

fn migrating(node: &Node) -> Result<(), Refusal> {
    if node.volume.status().migrate_state == "none" {
        return Err(refusal!(
            ENODATA,
            "no migration is running; one is started by migrate"
        ));
    }
    Ok(())
}

/// Whether the volume may do anything at all.
pub(super) fn writable(node: &Node) -> Result<(), Refusal> {
    match node.volume.status().array_state {
        "read_only" => Err(refusal!(
            EROFS,
            "the volume is read-only; stop it and assemble it without read_only=1"
        )),
        "failed" => Err(refusal!(
            EIO,
            "the volume has failed; see the kernel's log, mend its members, stop it and assemble it again"
        )),
        _ => Ok(()),
    }
}

/// The durable cursor, in sectors of the volume.
pub(super) fn show_migrate_position(node: &Node, page: &mut Page<'_>) -> Result {
    match node.volume.status().position {
        Some(position) => line(page, position),
        None => line(page, "none"),
    }
}

/// Sectors done, and in all; `none` while idle.
pub(super) fn show_sync_completed(node: &Node, page: &mut Page<'_>) -> Result {
    match scan::progress(node).or(node.volume.status().sync) {
        Some((done, total)) => line(page, format_args!("{} / {}", done.0, total.0)),
        None => line(page, "none"),
    }
}

/// In KiB/s.
pub(super) fn show_sync_speed(node: &Node, page: &mut Page<'_>) -> Result {
    line(page, node.volume.status().speed_kib)
}

/// In KiB/s; 0 is no cap.
pub(super) fn show_sync_speed_max(node: &Node, page: &mut Page<'_>) -> Result {
    line(page, node.volume.status().speed_max)
}

pub(super) fn store_sync_speed_max(node: &Node, text: &[u8]) -> Result {
    node.answer(text, || {
        let kib = command::sync_speed_max(text)?;
        writable(node)?;
        node.volume.ask(Event::SpeedMax(kib));
        Ok(())
    })
}

/// A sector of the volume: that of the migration under way, or of the next one.
pub(super) fn show_sync_max(node: &Node, page: &mut Page<'_>) -> Result {
    let now = node
        .volume
        .superblock(|sb| sb.migration.map(|m| m.sync_max));
    let next = *node.next.sync_max.lock();
    match now.unwrap_or(next) {
        Some(sector) => line(page, sector.0),
        None => line(page, "max"),
    }
}

pub(super) fn store_sync_max(node: &Node, text: &[u8]) -> Result {
    node.answer(text, || {
        let most = command::sync_max(text)?;
        writable(node)?;
        *node.next.sync_max.lock() = most;
        node.volume.ask(Event::SyncMax(most));
        Ok(())
    })
}

/// In microseconds; 0 is off.
pub(super) fn show_latency_target(_node: &Node, page: &mut Page<'_>) -> Result {
    line(page, 0)
}

pub(super) fn store_latency_target(node: &Node, text: &[u8]) -> Result {
    node.answer(text, || match command::latency_target_us(text)? {
        0 => Ok(()),
        _ => Err(refusal!(
            EOPNOTSUPP,
            "this version keeps no latency target; write 0, and a cap to sync_speed_max instead"
        )),
    })
}

pub(super) fn show_sync_action(node: &Node, page: &mut Page<'_>) -> Result {
    match scan::progress(node) {
        Some(_) => line(page, "scan"),
        None => line(page, node.volume.status().sync_action),
    }
}

pub(super) fn store_sync_action(node: &Node, text: &[u8]) -> Result {
    node.answer(text, || {
        let request = command::sync_action(text)?;
        writable(node)?;
        let event = match request {
            SyncRequest::Check => Event::Check,
            SyncRequest::Repair => Event::Repair,
            SyncRequest::Idle => Event::Idle,
        };
        if event == Event::Idle {
            scan::end(node);
        } else {
            scan::refuse_beside(node)?;
            checkable(node)?;
        }
        node.volume.ask(event);
        Ok(())
    })
}

/// Whether there are copies or parity to be checked, and nothing else is being done.
fn checkable(node: &Node) -> Result<(), Refusal> {
    let redundant = node.volume.superblock(|sb| {
        let set = sb.sets.get(usize::from(sb.present_set()));
        set.is_some_and(|set| set.layout.level.is_redundant())
    });
    let status = node.volume.status();
    if status.migrate_state != "none" {
        return Err(refusal!(
            EBUSY,
            "a migration is running; check when migrate_state says none"
        ));
    }
    if !redundant {
        return Err(refusal!(
            EINVAL,
            "the volume has no copies and no parity, so there is nothing to compare; migrate to raid1 or raid5 first"
        ));
    }
    if status.sync_action != "idle" {
        return Err(refusal!(
            EBUSY,
            "sync_action is {}; wait until it says idle, or write idle to end a check",
            status.sync_action
        ));
    }
    Ok(())
}
