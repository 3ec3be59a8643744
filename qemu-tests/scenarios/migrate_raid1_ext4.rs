//! A mounted ext4 becomes a mirror under load, with the power cut again and again.

use anyhow::Result;
use qemu_tests::content::Filesystem;
use qemu_tests::ctx::Ctx;
use qemu_tests::journey::{self, Plan};

pub fn run(ctx: &mut Ctx) -> Result<()> {
    journey::with_cuts(ctx, Plan::small(Filesystem::Ext4, "level=raid1", 2), 7)
}
