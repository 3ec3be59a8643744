// SPDX-License-Identifier: GPL-2.0
//! linear: one slot, as it lies.

use super::{Layout, Spot};
use crate::geometry::{Logical, Offset, Sectors, SlotId};

pub(super) fn locate(layout: &Layout, x: Logical) -> Spot {
    Spot {
        slot: SlotId(0),
        offset: Offset(x.0),
        run: Sectors(layout.slot_len.0.saturating_sub(x.0)),
    }
}
