// SPDX-License-Identifier: GPL-2.0
//! The write-intent bitmap in memory: words that writes look at and the worker changes.

use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Full, Relaxed};
use restripe_core::bitmap::{Marks, Row, Word, ROWS};

/// 32 marks.
pub(crate) struct Bits(Atomic<u32>);

impl Default for Bits {
    fn default() -> Self {
        Bits(Atomic::new(0))
    }
}

impl Bits {
    fn change(&self, to: impl Fn(u32) -> u32) {
        let mut old = self.0.load(Relaxed);
        while to(old) != old {
            // `Full`: a mark is there before who waits for it is looked for, and gone before the
            // drain that follows begins.
            match self.0.cmpxchg(old, to(old), Full) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }
}

impl Word for Bits {
    #[inline]
    fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    fn set(&self, bits: u32) {
        self.change(|old| old | bits);
    }

    fn clear(&self, bits: u32) {
        self.change(|old| old & !bits);
    }
}

/// A volume's marks.
pub(crate) type VolumeMarks = Marks<KVec<Row<Bits>>>;

/// None yet.
pub(super) fn no_marks() -> Result<VolumeMarks> {
    let mut rows = KVec::with_capacity(ROWS, GFP_KERNEL)?;
    for _ in 0..ROWS {
        rows.push(Row::default(), GFP_KERNEL)?;
    }
    Ok(Marks::new(rows))
}
