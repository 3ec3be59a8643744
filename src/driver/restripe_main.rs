// SPDX-License-Identifier: GPL-2.0

//! restripe: turns the disk you are using into a RAID, in place, while you use it.
//!
//! `restripe_core` decides, this crate carries out: `control` is what users write and read,
//! `volume` and `worker` do what the engine wants, `queue` serves requests, `sys` is the kernel.
#![expect(
    clippy::result_large_err,
    reason = "a refusal carries its sentence in itself: making one must not depend on memory"
)]

pub mod sys;

mod superblock;

mod queue;
mod volume;
mod worker;

mod control;

use kernel::prelude::*;

module! {
    type: Restripe,
    name: "restripe",
    authors: ["restripe contributors"],
    description: "Turns a disk in use into a RAID, in place",
    license: "GPL",
}

struct Restripe {
    _control: control::Control,
}

impl kernel::Module for Restripe {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self {
            _control: control::Control::new()?,
        })
    }
}
