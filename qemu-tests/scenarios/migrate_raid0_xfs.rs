//! A mounted XFS becomes a RAID0 over three disks under load, with the power cut again and again.

use anyhow::Result;
use qemu_tests::content::Filesystem;
use qemu_tests::ctx::Ctx;
use qemu_tests::journey::{self, Plan};

pub fn run(ctx: &mut Ctx) -> Result<()> {
    journey::with_cuts(ctx, Plan::small(Filesystem::Xfs, "level=raid0", 3), 7)
}
