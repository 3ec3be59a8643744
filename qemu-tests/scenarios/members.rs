//! Members that fail, leave, come, give their place to another and are rebuilt, under load; a power cut in the middle of a rebuild; and what
//! `member_action` refuses, with no byte changed on any disk.

mod cut;
mod exchange;
mod life;
mod mend;
mod refused;

use anyhow::{Context, Result};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::vm::Vm;

const VOLUME: &str = "restripe0";

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        disks.push(ctx.disk(name, 32 * MIB)?);
    }
    // Too small to take anybody's place.
    disks.push(ctx.disk("f", 8 * MIB)?);
    let vm = ctx.boot(&disks)?;
    for (level, members) in [("raid5", 3), ("raid1", 2)] {
        life::check(&vm, level, members).with_context(|| format!("{level} of {members}"))?;
    }
    exchange::check(&vm, "raid5", 3).context("a member that gives its place to another")?;
    refused::check(&vm)?;
    mend::check(&vm)?;
    let (vm, ledger) = cut::in_the_middle(ctx, vm, &disks)?;
    cut::goes_on(&vm, &ledger)?;
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}

/// Writes a line to `member_action`.
fn act(vm: &Vm, line: &str) -> Result<()> {
    vm.must_set(VOLUME, "member_action", line)
}

/// The member that lies on a device, by the name of its folder.
fn member_on(vm: &Vm, device: &str) -> Result<String> {
    let folder = format!("/sys/block/{VOLUME}/restripe/members");
    let found = vm.ok(&format!(
        "cd {folder}; for k in *; do read -r dev < $k/dev; [ $dev != {device} ] || echo $k; done"
    ))?;
    let found = found.trim();
    anyhow::ensure!(!found.is_empty(), "{device} is no member");
    Ok(found.to_owned())
}

/// Waits until a volume has all its copies and parity again.
fn wait_whole(vm: &Vm) -> Result<()> {
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "0")?;
    Ok(())
}
