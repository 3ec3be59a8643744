// SPDX-License-Identifier: GPL-2.0
//! raid6, left-symmetric: P goes from the last slot to the first as on raid5, Q is
//! behind it and data start behind that (md's ALGORITHM_LEFT_SYMMETRIC for level 6 in
//! `raid5_compute_sector`). So data chunk i of a row is also number i of the syndrome,
//! which md counts from the slot behind Q on (`raid6_d0`, `raid6_idx_to_slot`).

use super::{raid5, Layout, Spot};
use crate::geometry::{rem, Logical, SlotId};

pub(super) fn syndrome_slot(layout: &Layout, row: u64) -> SlotId {
    behind_parity(layout, row, 1)
}

pub(super) fn data_slot(layout: &Layout, row: u64, index: u64) -> SlotId {
    behind_parity(layout, row, 2 + index)
}

fn behind_parity(layout: &Layout, row: u64, places: u64) -> SlotId {
    let parity = u64::from(raid5::parity_slot(layout, row).0);
    SlotId(rem(parity + places, u64::from(layout.slots)) as u8)
}

pub(super) fn locate(layout: &Layout, x: Logical) -> Spot {
    raid5::locate_by(layout, x, data_slot)
}
