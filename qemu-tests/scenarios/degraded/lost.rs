//! A member that fails under load: the volume goes on, the others say what became of it, and nothing is lost.

use anyhow::{Result, ensure};
use qemu_tests::ctx::MIB;
use qemu_tests::ledger::Ledger;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;
use qemu_tests::wire::{Region, WriterSpec};

use super::VOLUME;

/// The disks by way of dm, so that one of them can be made to fail.
const WRAP: &str = "for disk in vda vdb vdc vdd; do
    echo 0 $(blockdev --getsz /dev/$disk) linear /dev/$disk 0 | dmsetup create $disk
done; dmsetup mknodes";

/// What is asked of a member that is to fail, from then on.
const FAIL: &str = "echo 0 $(blockdev --getsz /dev/vdb) error | dmsetup load vdb; dmsetup suspend --nolockfs --noflush vdb; dmsetup resume vdb";

pub fn check(vm: &Vm, level: &'static str, members: usize) -> Result<()> {
    vm.ok(WRAP)?;
    let shape = Shape::of(level, members);
    let devices: Vec<_> = ["vda", "vdb", "vdc", "vdd"][..members]
        .iter()
        .map(|disk| format!("/dev/mapper/{disk}"))
        .collect();
    vm.create(VOLUME, &shape, &devices)?;
    let region = Region {
        path: format!("/dev/{VOLUME}"),
        start: 4 * MIB,
        block_size: 4096,
        blocks: 1024,
        run: 1,
    };
    let mut writer = vm.writer(WriterSpec::over(region.clone(), 1), Ledger::default())?;
    let fio = vm.spawn(&qemu_tests::shape::fio_verify(
        &format!("/dev/{VOLUME}"),
        MIB,
    ))?;
    writer.wait_acks(1500)?;
    vm.ok(FAIL)?;
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "1")?;
    writer.wait_acks(500)?;
    // Neither has seen an error.
    fio.ok()?;
    let ledger = writer.stop(vm)?;
    ensure!(
        vm.attr(VOLUME, "array_state")? == "degraded",
        "it says {}",
        vm.attr(VOLUME, "array_state")?
    );
    ensure!(
        vm.attr(VOLUME, "members/1/state")? == "faulty",
        "it says {}",
        vm.attr(VOLUME, "members/1/state")?
    );
    ensure!(
        vm.number(VOLUME, "members/1/write_errors")?
            + vm.number(VOLUME, "members/1/read_errors")?
            > 0,
        "no error was counted"
    );
    ensure!(
        vm.field("/dev/vda", "member_1_state")? == "faulty",
        "the superblock does not say so"
    );
    vm.verify(&region, ledger.acknowledged())?;
    vm.stop_volume(VOLUME)?;

    // Without it, and with it as it was when it failed.
    vm.ok("dmsetup remove --retry vda vdb vdc vdd; rm -f /dev/mapper/vd?")?;
    let mut others = shape.devices();
    others.remove(1);
    for listed in [others, shape.devices()] {
        vm.assemble(VOLUME, &listed, "")?;
        ensure!(vm.number(VOLUME, "degraded")? == 1);
        vm.verify(&region, ledger.acknowledged())?;
        vm.stop_volume(VOLUME)?;
    }
    Ok(())
}
