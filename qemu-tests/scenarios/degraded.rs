//! Mirrors and parity with a member missing: from the start, or lost while the volume is used.

mod absent;
mod lost;

use anyhow::{Context, Result};
use qemu_tests::ctx::{Ctx, MIB};

const VOLUME: &str = "restripe0";

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c"] {
        disks.push(ctx.disk(name, 32 * MIB)?);
    }
    let vm = ctx.boot(&disks)?;
    for (level, members) in [("raid1", 2), ("raid1", 3), ("raid5", 3)] {
        absent::check(&vm, level, members).with_context(|| format!("{level} of {members}"))?;
    }
    for (level, members) in [("raid5", 3), ("raid1", 2)] {
        lost::check(&vm, level, members).with_context(|| format!("{level} of {members}"))?;
    }
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}
