//! The power goes in the middle of a rebuild, under writes: all that was acknowledged is there, and the rebuild goes on.

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::disk::Disk;
use qemu_tests::ledger::Ledger;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;
use qemu_tests::wire::{Region, WriterSpec};

use super::{VOLUME, act, member_on, wait_whole};

/// Three legs, so that two are left to disagree after the cut.
const LEGS: usize = 3;
/// The rebuild stops here, in sectors, until the power is gone.
const STOP: &str = "20480";

fn region(run: u64) -> Region {
    Region {
        path: format!("/dev/{VOLUME}"),
        start: 4 * MIB,
        block_size: 4096,
        blocks: 4096,
        run,
    }
}

/// What was acknowledged by the cut, and a volume that is up again.
pub fn in_the_middle(ctx: &mut Ctx, vm: Vm, disks: &[Disk]) -> Result<(Vm, Ledger)> {
    let shape = Shape::of("raid1", LEGS);
    vm.create(VOLUME, &shape, &shape.devices())?;
    let mut writer = vm.writer(WriterSpec::over(region(2), 1), Ledger::default())?;
    writer.wait_acks(200)?;
    act(&vm, "fail=1")?;
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "1")?;
    vm.must_set(VOLUME, "sync_max", STOP)?;
    act(&vm, "replace=1 with=/dev/vdd force=1")?;
    vm.wait_volume(VOLUME, "sync_completed", |text| {
        text.starts_with(&format!("{STOP} /"))
    })?;
    writer.wait_acks(300)?;
    vm.power_cut()?;
    let ledger = writer.after_cut()?;
    Ok((ctx.boot_for_leaks(disks)?, ledger))
}

pub fn goes_on(vm: &Vm, ledger: &Ledger) -> Result<()> {
    let all: Vec<_> = ["a", "c", "d"].iter().map(|d| format!("/dev/vd{d}")).collect();
    vm.assemble(VOLUME, &all, "")?;
    vm.verify(&region(2), ledger.acknowledged())?;
    let new = member_on(vm, "/dev/vdd")?;
    wait_whole(vm)?;
    ensure!(vm.attr(VOLUME, &format!("members/{new}/state"))? == "in_sync");
    vm.verify(&region(2), ledger.acknowledged())?;
    vm.settle(VOLUME)?;
    vm.ensure_in_sync(VOLUME)?;
    vm.stop_volume(VOLUME)
}
