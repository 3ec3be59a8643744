// SPDX-License-Identifier: GPL-2.0

//! The reserved bioset of the module, for bios that have no room in their owner.
//!
//! It has a rescuer: bios allocated under `current->bio_list` are only sent when the outermost
//! `submit_bio` returns, so a second allocation could wait for the first for ever without one.

use super::core_io::IoBio;
use crate::sys::pb;
use kernel::{bindings, error::to_result, prelude::*, types::Opaque};

/// How many bios can always be had.
const RESERVE: u32 = 128;

struct BioSet(Opaque<bindings::bio_set>);

// SAFETY: A bioset does its own locking.
unsafe impl Sync for BioSet {}

static BIO_SET: BioSet = BioSet(Opaque::zeroed());

/// Keeps the bioset set up.
pub struct BioSetOwner(());

impl BioSetOwner {
    /// There is one bioset, hence one owner at a time. Task context.
    pub(in crate::sys) fn new() -> Result<Self> {
        // CAST: The pad is a few words.
        let front_pad = IoBio::FRONT_PAD as u32;
        // SAFETY: The set is static and zeroed, and `Sys` is made once, before any I/O.
        to_result(unsafe {
            bindings::bioset_init(
                BIO_SET.0.get(),
                RESERVE,
                front_pad,
                // CAST: Flag bits.
                (pb::BIOSET_NEED_BVECS | pb::BIOSET_NEED_RESCUER | pb::BIOSET_PERCPU_CACHE) as i32,
            )
        })?;
        Ok(Self(()))
    }
}

impl Drop for BioSetOwner {
    fn drop(&mut self) {
        // SAFETY: It was set up by `new`, and no volume is left to have bios of it in flight.
        unsafe { bindings::bioset_exit(BIO_SET.0.get()) };
    }
}

/// The set, for allocations.
pub(super) fn raw() -> *mut bindings::bio_set {
    BIO_SET.0.get()
}
