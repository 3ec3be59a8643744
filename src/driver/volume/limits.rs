// SPDX-License-Identifier: GPL-2.0
//! The limits of a volume's disk, from its set and its members.

use core::ops::Deref;

use kernel::sync::Arc;
use restripe_core::layout::Layout;

use super::Members;
use crate::sys::block::{Limits, Member};

/// The longest request, in sectors (1 MiB): what a parity write has scratch for in two rounds.
const MAX_SECTORS: u32 = 2048;

/// What a disk on `layout` takes and prefers. `logical_block`: bytes.
pub(crate) fn limits(layout: &Layout, logical_block: u32, members: &Members) -> Limits {
    let mut limits = Limits::new(logical_block);
    if layout.level.is_striped() {
        // CAST: A chunk is at most 1 MiB, and there are at most 16 slots.
        limits.io_min = layout.chunk.bytes() as u32;
        limits.io_opt = layout.stripe().bytes() as u32;
    }
    limits.max_sectors = MAX_SECTORS;
    // Only what all of them can.
    let least = |what: fn(&Member) -> u32| members.iter().flatten().map(|m| what(m)).min();
    limits.max_discard_sectors = least(Member::max_discard_sectors).unwrap_or(0);
    limits.max_write_zeroes_sectors = least(Member::max_write_zeroes_sectors).unwrap_or(0);
    // From adopt on, since a page that changes under way would make copies and parity differ.
    limits.stable_writes = true;
    limits
}

/// The devices, for the limits that they set.
pub(crate) fn devices(members: &Members) -> impl Iterator<Item = &Member> {
    members.iter().flatten().map(Arc::deref)
}
