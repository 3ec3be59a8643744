//! A mounted ext4 becomes a RAID5 over three disks under load, with the power cut again and again.

use anyhow::Result;
use qemu_tests::content::Filesystem;
use qemu_tests::ctx::Ctx;
use qemu_tests::journey::{self, Plan};

pub fn run(ctx: &mut Ctx) -> Result<()> {
    journey::with_cuts(ctx, Plan::small(Filesystem::Ext4, "level=raid5", 3), 7)
}
