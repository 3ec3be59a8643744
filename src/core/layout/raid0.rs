// SPDX-License-Identifier: GPL-2.0
//! raid0, one zone: chunk i lies on slot i mod n (md's raid0.c with equal members).

use super::{Layout, Spot};
use crate::geometry::{div, rem, Logical, Offset, Sectors, SlotId};

pub(super) fn locate(layout: &Layout, x: Logical) -> Spot {
    let chunk = layout.chunk.0;
    let (index, within) = (div(x.0, chunk), rem(x.0, chunk));
    let slots = u64::from(layout.slots);
    Spot {
        slot: SlotId(rem(index, slots) as u8),
        offset: Offset(div(index, slots) * chunk + within),
        run: Sectors(chunk - within),
    }
}
