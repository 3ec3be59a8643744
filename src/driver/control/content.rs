// SPDX-License-Identifier: GPL-2.0

//! What a device holds before it comes in.

use restripe_core::{geometry::Sectors, recover::Devices, refusal, text::Refusal};

use super::{
    device::Device,
    disks::{new_superblock, Superblocks},
};

impl Device<'_> {
    /// Refuses a device that is a member of a volume, or was.
    pub(super) fn refuse_member(&self) -> Result<(), Refusal> {
        let mut superblock = new_superblock()?;
        let mut disks = Superblocks::of(core::slice::from_ref(self))?;
        for slot in 0..2 {
            if disks.read_superblock(0, slot, &mut superblock).is_ok() {
                return Err(refusal!(
                    EEXIST,
                    "{} is a member of the volume {} ({}); assemble that, or say force=1 to make it a new one",
                    self.name,
                    superblock.name,
                    superblock.uuid
                ));
            }
        }
        Ok(())
    }

    /// Refuses a device whose content somebody may want.
    pub(super) fn refuse_content(&self) -> Result<(), Refusal> {
        self.refuse_member()
    }

    /// Where the data of a device end that is to be adopted.
    pub(super) fn content_end(&self, wanted: Option<Sectors>) -> Result<Sectors, Refusal> {
        wanted.ok_or_else(|| refusal!(EINVAL, "{} needs size=", self.name))
    }
}
