// SPDX-License-Identifier: GPL-2.0
//! raid10, near: the copies of a chunk are beside each other, and what does not fit in
//! a row of chunks goes on in the next (md's `__raid10_find_phys` with far_copies 1).
//! So 3 slots with 2 copies are two rows of chunks for three chunks of data:
//!
//! ```text
//! slot 0  slot 1  slot 2
//!    0       0       1
//!    1       2       2
//! ```

use super::{Layout, Spot, REGION};
use crate::geometry::{div, gcd, rem, Logical, Offset, Sectors, SlotId, SlotMask};

/// Data chunks in the least that is whole.
pub(super) const fn data_chunks(slots: u8, copies: u8) -> u64 {
    div(slots as u64, gcd(slots as u64, copies as u64))
}

/// Chunks of every slot that those take.
pub(super) const fn chunk_rows(slots: u8, copies: u8) -> u64 {
    div(copies as u64, gcd(slots as u64, copies as u64))
}

/// Copy `step` of `x`, in the order of reads.
pub(super) fn locate(layout: &Layout, x: Logical, copies: u8, step: u8) -> Spot {
    let (chunk, copies) = (layout.chunk.0, u64::from(copies));
    let (number, within) = (div(x.0, chunk), rem(x.0, chunk));
    let turn = rem(x.0 / REGION + u64::from(step), copies);
    let (slot, row) = place(layout.slots, number * copies + turn);
    Spot {
        slot,
        offset: Offset(row * chunk + within),
        run: Sectors(chunk - within),
    }
}

/// Slot of the first copy of chunk `index` of row `row`.
pub(super) fn data_slot(layout: &Layout, copies: u8, row: u64, index: u64) -> SlotId {
    let number = row * layout.data_slots() + index;
    place(layout.slots, number * u64::from(copies)).0
}

/// Slot and row of chunks of the `n`-th chunk, copies counted.
fn place(slots: u8, n: u64) -> (SlotId, u64) {
    let slots = u64::from(slots);
    (SlotId(rem(n, slots) as u8), div(n, slots))
}

/// For every way that copies of a chunk lie on slots: how many are left.
fn left(slots: u8, copies: u8, missing: SlotMask) -> impl Iterator<Item = u32> {
    (0..data_chunks(slots, copies)).map(move |number| {
        let all = (0..u64::from(copies)).map(|copy| number * u64::from(copies) + copy);
        let is_left = |n: &u64| !missing.has(place(slots, *n).0);
        all.filter(is_left).count() as u32
    })
}

/// Copies left of the data that have the fewest.
pub(super) fn fewest_left(slots: u8, copies: u8, missing: SlotMask) -> u32 {
    left(slots, copies, missing).min().unwrap_or(0)
}

/// Copies left of the data that have the most.
pub(super) fn most_left(slots: u8, copies: u8, missing: SlotMask) -> u32 {
    left(slots, copies, missing).max().unwrap_or(0)
}
