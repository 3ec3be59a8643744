// SPDX-License-Identifier: GPL-2.0
//! raid5, left-symmetric: parity goes from the last slot to the first, data
//! start behind it (md's ALGORITHM_LEFT_SYMMETRIC in `raid5_compute_sector`).

use super::{Layout, Spot};
use crate::geometry::{div, rem, Logical, Offset, Sectors, SlotId};

pub(super) fn parity_slot(layout: &Layout, row: u64) -> SlotId {
    let slots = u64::from(layout.slots);
    SlotId((slots - 1 - rem(row, slots)) as u8)
}

pub(super) fn data_slot(layout: &Layout, row: u64, index: u64) -> SlotId {
    let parity = u64::from(parity_slot(layout, row).0);
    SlotId(rem(parity + 1 + index, u64::from(layout.slots)) as u8)
}

pub(super) fn locate(layout: &Layout, x: Logical) -> Spot {
    locate_by(layout, x, data_slot)
}

/// Where `x` lies in rows of one chunk of every slot.
pub(super) fn locate_by(
    layout: &Layout,
    x: Logical,
    data_slot: impl Fn(&Layout, u64, u64) -> SlotId,
) -> Spot {
    let chunk = layout.chunk.0;
    let (number, within) = (div(x.0, chunk), rem(x.0, chunk));
    let (row, index) = (
        div(number, layout.data_slots()),
        rem(number, layout.data_slots()),
    );
    Spot {
        slot: data_slot(layout, row, index),
        offset: Offset(row * chunk + within),
        run: Sectors(chunk - within),
    }
}
