// SPDX-License-Identifier: GPL-2.0

//! What a device holds before it comes in, by the core's probe.

use kernel::prelude::*;
use restripe_core::{
    geometry::{Physical, Sectors},
    ondisk::Geometry,
    probe::{adopt_check, new_member_check, probe, Blocks, Content, UNIT_SIZE},
    refusal,
    text::{Errno, Refusal},
};

use super::{device::Device, disks, last_error::no_memory};
use crate::sys::{block::Member, mem::Buffer};

/// A device for the probe to read.
struct Disk<'a> {
    member: &'a Member,
    buffer: Buffer,
}

impl Blocks for Disk<'_> {
    fn sectors(&self) -> Sectors {
        Sectors(self.member.sectors())
    }

    fn read(&mut self, at: Physical, into: &mut [u8]) -> Result<(), Errno> {
        if !disks::read(self.member, at.0, &mut self.buffer, into.len()) {
            return Err(Errno::EIO);
        }
        into.copy_from_slice(&self.buffer.as_slice()[..into.len()]);
        Ok(())
    }
}

impl Device<'_> {
    #[inline(never)]
    fn content(&self) -> Result<Content, Refusal> {
        let mut disk = Disk {
            member: &self.member,
            buffer: Buffer::new(UNIT_SIZE).map_err(no_memory)?,
        };
        let mut unit = KBox::new([0; UNIT_SIZE], GFP_KERNEL).map_err(no_memory)?;
        probe(&mut disk, &mut unit).map_err(|errno| Refusal {
            errno,
            ..refusal!(
                EIO,
                "{} can't be read where it would tell what it holds; see the kernel's log",
                self.name
            )
        })
    }

    /// Refuses a device that holds something known, unless it is to be overwritten all the same.
    pub(super) fn refuse_content(&self, force: bool) -> Result<(), Refusal> {
        if force {
            return Ok(());
        }
        new_member_check(self.name, &self.content()?, force)
    }

    /// How long the volume is that the device becomes when it is adopted.
    pub(super) fn adopted_size(
        &self,
        geometry: &Geometry,
        wanted: Option<Sectors>,
        force: bool,
    ) -> Result<Sectors, Refusal> {
        adopt_check(self.name, &self.content()?, geometry, wanted, force)
    }
}
