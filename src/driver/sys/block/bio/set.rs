// SPDX-License-Identifier: GPL-2.0

//! [`BioSet`]: a volume's reserve of bios, for I/O that has no room in its owner.
//!
//! Each volume has one of its own. A volume may be a member of another: if both took from one
//! reserve, all of it could be in the upper one's requests to the lower one, which would wait for
//! a bio to carry them out.
//!
//! It has a rescuer: bios allocated under `current->bio_list` are only sent when the outermost
//! `submit_bio` returns, so a second allocation could wait for the first for ever without one.

use super::core_io::IoBio;
use crate::sys::pb;
use kernel::{bindings, error::to_result, prelude::*, sync::Arc, types::Opaque};

/// How many bios can always be had. One would do, since each is sent as soon as it is there; more
/// keep many requests going while there is no memory.
const RESERVE: u32 = 32;

/// A reserve of bios.
#[pin_data(PinnedDrop)]
pub struct BioSet {
    #[pin]
    inner: Opaque<bindings::bio_set>,
}

// SAFETY: A bioset may be used and given up by any task.
unsafe impl Send for BioSet {}
// SAFETY: A bioset does its own locking.
unsafe impl Sync for BioSet {}

impl BioSet {
    /// *Task* context.
    pub fn new() -> Result<Arc<Self>> {
        // CAST: The pad is a few words.
        let front_pad = IoBio::FRONT_PAD as u32;
        let flags = pb::BIOSET_NEED_BVECS | pb::BIOSET_NEED_RESCUER | pb::BIOSET_PERCPU_CACHE;
        Arc::pin_init(
            try_pin_init!(Self {
                inner <- Opaque::try_ffi_init(|slot: *mut bindings::bio_set| {
                    // SAFETY: `slot` is room for a set, at its final address; it begins as zeroes.
                    to_result(unsafe {
                        slot.write_bytes(0, 1);
                        // CAST: Flag bits.
                        bindings::bioset_init(slot, RESERVE, front_pad, flags as i32)
                    })
                }),
            }),
            GFP_KERNEL,
        )
    }

    /// The set, for allocations.
    pub(super) fn raw(&self) -> *mut bindings::bio_set {
        self.inner.get()
    }
}

#[pinned_drop]
impl PinnedDrop for BioSet {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: It was set up by `new`; whoever has a bio of it in flight borrows a member, and
        // so this.
        unsafe { bindings::bioset_exit(self.inner.get()) };
    }
}
