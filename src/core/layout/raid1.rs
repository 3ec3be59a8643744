// SPDX-License-Identifier: GPL-2.0
//! raid1: every slot holds all of it.

use super::{Layout, Spot};
use crate::geometry::{rem, Logical, Offset, Sectors, SlotId};

/// Reads of one such region always choose the same leg (the next living one
/// where it is gone), and a resync copies from that very leg: a value that was
/// read once is then the value that stays (DESIGN I6). Regions take turns, so
/// that a long read uses all legs.
const REGION: u64 = 2048;

pub(super) fn locate(layout: &Layout, x: Logical) -> Spot {
    let region = x.0 / REGION;
    let left = layout.slot_len.0.saturating_sub(x.0);
    Spot {
        slot: SlotId(rem(region, u64::from(layout.slots)) as u8),
        offset: Offset(x.0),
        run: Sectors(left.min(REGION - x.0 % REGION)),
    }
}
