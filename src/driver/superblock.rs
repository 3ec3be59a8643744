// SPDX-License-Identifier: GPL-2.0

//! Superblocks in memory: each is larger than a kernel stack can spare, so they are made in place.

use kernel::prelude::*;
use pin_init::{init, init_array_from_fn, Init};
use restripe_core::{
    geometry::Sectors,
    list::List,
    ondisk::{BitmapMode, Name, Superblock, Uuid, VERSION},
    text::Text,
};

/// An empty superblock. *Task* context.
pub(crate) fn empty() -> Result<KBox<Superblock>> {
    KBox::init(
        init!(Superblock {
            version: VERSION,
            compat: 0,
            ro_compat: 0,
            incompat: 0,
            writer: Text::new(),
            created: 0,
            updated: 0,
            uuid: Uuid::NIL,
            name: Name::new(),
            epoch: 0,
            generation: 0,
            clean: false,
            marked: false,
            bitmap: BitmapMode::Internal,
            journal: Default::default(),
            logical_block: 0,
            volume_sectors: Sectors::ZERO,
            sets <- list(),
            ranges <- list(),
            migration: None,
            members <- list(),
            mismatches <- list(),
            mismatch_cnt: 0,
        }? Error),
        GFP_KERNEL,
    )
}

/// An empty list, in place.
pub(crate) fn list<T: Copy + Default, const N: usize>() -> impl Init<List<T, N>> {
    init!(List {
        items <- init_array_from_fn(|_| T::default()),
        len: 0,
    })
}
