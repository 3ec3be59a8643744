// SPDX-License-Identifier: GPL-2.0
//! Sets to test with.

use restripe_core::geometry::{Logical, MemberId, Physical, Sectors, SlotId};
use restripe_core::layout::{Layout, Level};
use restripe_core::list::List;
use restripe_core::placement::{Extent, Set};

pub fn layout(level: Level, chunk: u64, slots: u8, slot_len: u64) -> Layout {
    Layout::new(level, Sectors(chunk), slots, Sectors(slot_len)).expect("a layout that can be")
}

/// Slot `i` on member `members[i]` from sector `start` on.
pub fn set(layout: Layout, members: &[u8], start: u64) -> Set {
    let mut extents = List::new();
    for (slot, member) in members.iter().enumerate() {
        extents.push(Extent {
            slot: SlotId(slot as u8),
            member: MemberId(*member),
            start: Physical(start),
            len: layout.slot_len,
        });
    }
    Set {
        layout,
        extents,
        resync: Logical(layout.capacity().0),
        is_fresh: false,
        true_from: Logical::ZERO,
    }
}
