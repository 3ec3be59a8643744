//! A member that works gives its place to another, under load and with nothing missing meanwhile; turned round midway; and
//! where the old one dies midway.

use anyhow::{Result, ensure};
use qemu_tests::ctx::MIB;
use qemu_tests::ledger::Ledger;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;
use qemu_tests::wire::{Region, WriterSpec};

use super::{VOLUME, act, member_on, wait_whole};

/// A sector in the midst of the volume, where a row ends.
const STOP: &str = "20480";

pub fn check(vm: &Vm, level: &'static str, members: usize) -> Result<()> {
    let shape = Shape::of(level, members);
    let mut now = shape.devices();
    vm.create(VOLUME, &shape, &now)?;
    let region = Region {
        path: format!("/dev/{VOLUME}"),
        start: 4 * MIB,
        block_size: 4096,
        blocks: 2048,
        run: 1,
    };
    let mut writer = vm.writer(WriterSpec::over(region.clone(), 1), Ledger::default())?;
    writer.wait_acks(200)?;

    // All the way. The disk that leaves is free: it could come back without force=1.
    let (old, spare) = (now[1].clone(), "/dev/vde");
    half_way(vm, &old, &format!("{spare} force=1"))?;
    ensure!(vm.number(VOLUME, "degraded")? == 0, "something is missing midway");
    ensure!(member_on(vm, &old).is_ok() && member_on(vm, spare).is_ok());
    writer.wait_acks(100)?;
    vm.must_set(VOLUME, "sync_max", "max")?;
    vm.wait_migrated(VOLUME)?;
    ensure!(member_on(vm, &old).is_err(), "{old} is a member still");
    now[1] = spare.to_owned();
    same_shape(vm, &shape)?;

    // And back again, but for an abort.
    half_way(vm, spare, &old)?;
    writer.wait_acks(100)?;
    vm.must_set(VOLUME, "migrate_state", "abort")?;
    vm.wait_migrated(VOLUME)?;
    ensure!(member_on(vm, &old).is_err(), "{old} is a member after an abort");
    same_shape(vm, &shape)?;

    // The one that leaves dies midway: what it had left comes from the others.
    half_way(vm, spare, &old)?;
    let dying = member_on(vm, spare)?;
    act(vm, &format!("fail={dying}"))?;
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "1")?;
    writer.wait_acks(100)?;
    vm.must_set(VOLUME, "sync_max", "max")?;
    vm.wait_migrated(VOLUME)?;
    now[1] = old;
    wait_whole(vm)?;
    ensure!(member_on(vm, spare).is_err(), "{spare} is a member still");
    same_shape(vm, &shape)?;

    let ledger = writer.stop(vm)?;
    vm.verify(&region, ledger.acknowledged())?;
    vm.settle(VOLUME)?;
    vm.ensure_in_sync(VOLUME)?;
    vm.stop_volume(VOLUME)?;
    // Without each member in turn, and so from the new one too.
    for absent in 0..now.len() {
        let mut others = now.clone();
        others.remove(absent);
        vm.assemble(VOLUME, &others, "degraded=1 read_only=1")?;
        vm.verify(&region, ledger.acknowledged())?;
        vm.stop_volume(VOLUME)?;
    }
    Ok(())
}

/// `old` gives its place to what `with` names, and that stops midway.
fn half_way(vm: &Vm, old: &str, with: &str) -> Result<()> {
    vm.must_set(VOLUME, "sync_max", STOP)?;
    let member = member_on(vm, old)?;
    act(vm, &format!("replace={member} with={with}"))?;
    vm.wait_volume(VOLUME, "migrate_position", |at| at == STOP)?;
    ensure!(vm.attr(VOLUME, "migrate_state")? == "running");
    Ok(())
}

fn same_shape(vm: &Vm, shape: &Shape) -> Result<()> {
    let level = vm.attr(VOLUME, "level")?;
    let disks = vm.number(VOLUME, "raid_disks")?;
    ensure!(
        level == shape.level && disks == shape.members as u64,
        "it is {level} on {disks}"
    );
    Ok(())
}
