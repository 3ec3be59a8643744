// SPDX-License-Identifier: GPL-2.0

//! What a volume is: its set, the one it moves to, its size and state.

use kernel::prelude::*;
use restripe_core::{command, engine::Event, placement::Set};

use super::{line, progress, Node};
use crate::sys::sysfs::Page;

/// Shows something of the set the volume is on.
fn present(node: &Node, show: impl FnOnce(&Set) -> Result) -> Result {
    let shown = node.volume.superblock(|sb| {
        let set = sb.sets.get(usize::from(sb.present_set()));
        set.map(show)
    });
    shown.unwrap_or(Err(ENODEV))
}

/// Shows something of the set a migration moves to, or `none`.
fn target(
    node: &Node,
    page: &mut Page<'_>,
    show: impl FnOnce(&mut Page<'_>, &Set) -> Result,
) -> Result {
    node.volume.superblock(|sb| {
        let migration = sb.migration.as_ref();
        match migration.and_then(|m| sb.sets.get(usize::from(m.target))) {
            Some(set) => show(page, set),
            None => line(page, "none"),
        }
    })
}

/// In bytes; 0 where the level has no chunks.
fn chunk_bytes(set: &Set) -> u64 {
    if set.layout.level.is_striped() {
        set.layout.chunk.bytes()
    } else {
        0
    }
}

pub(super) fn show_uuid(node: &Node, page: &mut Page<'_>) -> Result {
    node.volume.superblock(|sb| line(page, sb.uuid))
}

pub(super) fn show_level(node: &Node, page: &mut Page<'_>) -> Result {
    present(node, |set| line(page, set.layout.level.name()))
}

pub(super) fn show_chunk_size(node: &Node, page: &mut Page<'_>) -> Result {
    present(node, |set| line(page, chunk_bytes(set)))
}

pub(super) fn show_raid_disks(node: &Node, page: &mut Page<'_>) -> Result {
    present(node, |set| line(page, set.disks()))
}

pub(super) fn show_target_level(node: &Node, page: &mut Page<'_>) -> Result {
    target(node, page, |page, set| line(page, set.layout.level.name()))
}

pub(super) fn show_target_chunk_size(node: &Node, page: &mut Page<'_>) -> Result {
    target(node, page, |page, set| line(page, chunk_bytes(set)))
}

pub(super) fn show_target_raid_disks(node: &Node, page: &mut Page<'_>) -> Result {
    target(node, page, |page, set| line(page, set.disks()))
}

/// In bytes.
pub(super) fn show_size(node: &Node, page: &mut Page<'_>) -> Result {
    line(page, node.volume.status().size.bytes())
}

pub(super) fn store_size(node: &Node, text: &[u8]) -> Result {
    node.answer(text, || {
        let size = command::size(text)?;
        progress::writable(node)?;
        node.volume.resize(size.bytes())
    })
}

/// `auto`, `always` or `off`.
pub(super) fn show_journal(node: &Node, page: &mut Page<'_>) -> Result {
    node.volume
        .superblock(|sb| line(page, sb.journal.mode.name()))
}

pub(super) fn store_journal(node: &Node, text: &[u8]) -> Result {
    node.answer(text, || {
        let mode = command::journal(text)?;
        progress::writable(node)?;
        node.volume.engine(|engine| engine.check_journal(mode))?;
        node.volume.ask(Event::Journal(mode));
        Ok(())
    })
}

/// Whether it is durably known that no parity write can be left half done.
pub(super) fn show_journal_in_force(node: &Node, page: &mut Page<'_>) -> Result {
    node.volume
        .superblock(|sb| line(page, u8::from(sb.journal.in_force)))
}

/// `internal` or `none`.
pub(super) fn show_bitmap(node: &Node, page: &mut Page<'_>) -> Result {
    node.volume.superblock(|sb| line(page, sb.bitmap.name()))
}

pub(super) fn store_bitmap(node: &Node, text: &[u8]) -> Result {
    node.answer(text, || {
        let mode = command::bitmap(text)?;
        progress::writable(node)?;
        node.volume.ask(Event::Bitmap(mode));
        Ok(())
    })
}

/// Whether it is durably known that an unclean stop has only marked regions resynced.
pub(super) fn show_bitmap_in_force(node: &Node, page: &mut Page<'_>) -> Result {
    node.volume.superblock(|sb| line(page, u8::from(sb.marked)))
}

/// Bytes of the volume that one of its bits stands for.
pub(super) fn show_bitmap_chunk(node: &Node, page: &mut Page<'_>) -> Result {
    let chunk = node.volume.engine(|engine| {
        let bitmap = engine.map().bitmap;
        bitmap.map_or(0, |bitmap| bitmap.chunk().bytes())
    });
    line(page, chunk)
}

/// Bits that are set on members; one at least while that changes.
pub(super) fn show_bitmap_dirty(node: &Node, page: &mut Page<'_>) -> Result {
    let dirty = node.volume.engine(|engine| {
        let count = |bitmap| node.volume.marks().count(&bitmap);
        let moves = engine.map().bitmap.is_some() && !engine.marks_idle();
        engine.map().bitmap.map_or(0, count).max(u32::from(moves))
    });
    line(page, dirty)
}

pub(super) fn show_array_state(node: &Node, page: &mut Page<'_>) -> Result {
    line(page, node.volume.status().array_state)
}

pub(super) fn show_degraded(node: &Node, page: &mut Page<'_>) -> Result {
    line(page, node.volume.status().degraded)
}

/// In sectors.
pub(super) fn show_mismatch_cnt(node: &Node, page: &mut Page<'_>) -> Result {
    node.volume.superblock(|sb| line(page, sb.mismatch_cnt))
}

/// A range a line: its first sector and its length in sectors.
pub(super) fn show_mismatches(node: &Node, page: &mut Page<'_>) -> Result {
    node.volume.superblock(|sb| {
        sb.mismatches
            .iter()
            .try_for_each(|range| line(page, format_args!("{} {}", range.start.0, range.len().0)))
    })
}
