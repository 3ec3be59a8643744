// SPDX-License-Identifier: GPL-2.0
//! raid1: every slot holds all of it.

use super::{Layout, Spot, REGION};
use crate::geometry::{rem, Logical, Offset, Sectors, SlotId};

pub(super) fn locate(layout: &Layout, x: Logical, step: u8) -> Spot {
    let turn = x.0 / REGION + u64::from(step);
    let left = layout.slot_len.0.saturating_sub(x.0);
    Spot {
        slot: SlotId(rem(turn, u64::from(layout.slots)) as u8),
        offset: Offset(x.0),
        run: Sectors(left.min(REGION - x.0 % REGION)),
    }
}
