// SPDX-License-Identifier: GPL-2.0

//! restripe: turns the disk you are using into a RAID, in place, while you use it.

pub mod sys;

mod pass_through;

use kernel::prelude::*;

module! {
    type: Restripe,
    name: "restripe",
    authors: ["restripe contributors"],
    description: "Turns a disk in use into a RAID, in place",
    license: "GPL",
}

struct Restripe {
    // Dropped in this order: first nobody can ask for anything any more.
    _class: sys::sysfs::Class<pass_through::Control>,
    _sys: sys::Sys,
}

impl kernel::Module for Restripe {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let sys = sys::Sys::new()?;
        Ok(Self {
            _class: pass_through::register()?,
            _sys: sys,
        })
    }
}
