// SPDX-License-Identifier: GPL-2.0

//! A thin, safe layer over `kernel::bindings`, shaped like what could go upstream.
//!
//! The only place of the driver with `unsafe` or C. Contexts are named in each file:
//! *task* (may sleep), *queue* (`queue_rq`: may sleep for memory or tags, never waits for the
//! members' I/O) and *end_io* (may be a hard interrupt).

pub mod block;
pub mod mem;
pub mod module;
pub mod parity;
mod pb;
pub mod random;
pub mod sync;
pub mod sysfs;
pub mod time;
pub mod work;

use kernel::prelude::*;

/// What the layer itself needs for as long as the module is loaded.
pub struct Sys {
    _bios: block::bio::BioSetOwner,
}

impl Sys {
    /// Call once, first thing in the module's `init`, and keep the value until all else is gone.
    pub fn new() -> Result<Self> {
        Ok(Self {
            _bios: block::bio::BioSetOwner::new()?,
        })
    }
}
