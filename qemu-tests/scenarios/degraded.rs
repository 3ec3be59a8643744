//! Mirrors and parity with a member missing: from the start, or lost while the volume is used.

mod absent;
mod lost;

use anyhow::{Context, Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};

const VOLUME: &str = "restripe0";

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        disks.push(ctx.disk(name, 32 * MIB)?);
    }
    let vm = ctx.boot_for_leaks(&disks)?;
    for (level, members) in [("raid1", 2), ("raid1", 3), ("raid5", 3)] {
        let each: Vec<_> = (0..members).map(|absent| vec![absent]).collect();
        absent::check(&vm, level, members, &each)
            .with_context(|| format!("{level} of {members}"))?;
    }
    // Any two: parity goes round, so that among the rows of each pair there are all kinds of chunks missing.
    let pairs = [vec![2], vec![0, 1], vec![0, 3], vec![2, 4]];
    absent::check(&vm, "raid6", 5, &pairs).context("raid6 of 5")?;
    // One of each pair of copies.
    let each = [vec![0], vec![0, 2], vec![1, 2], vec![3]];
    absent::check(&vm, "raid10", 4, &each).context("raid10 of 4")?;
    let refusal = absent::without(&vm, "raid10", 4, &[2, 3])?;
    ensure!(
        refusal.errno == 19 && refusal.last_error.contains("raid10 can't do without it"),
        "both copies are missing: {refusal}"
    );
    for (level, members) in [("raid5", 3), ("raid1", 2), ("raid6", 4), ("raid10", 4)] {
        lost::check(&vm, level, members).with_context(|| format!("{level} of {members}"))?;
    }
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}
