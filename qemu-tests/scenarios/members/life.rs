//! A member fails and leaves, another comes and is rebuilt, one is replaced: all while fio verifies what it writes.

use anyhow::{Result, ensure};
use qemu_tests::ctx::MIB;
use qemu_tests::ledger::Ledger;
use qemu_tests::shape::{Shape, fio_verify};
use qemu_tests::vm::Vm;
use qemu_tests::wire::{Region, WriterSpec};

use super::{VOLUME, act, member_on, wait_whole};

/// A sector in the midst of the volume.
const STOP: &str = "20480";

pub fn check(vm: &Vm, level: &'static str, members: usize) -> Result<()> {
    let shape = Shape::of(level, members);
    let all = shape.devices();
    let device = format!("/dev/{VOLUME}");
    vm.create(VOLUME, &shape, &all)?;
    let region = Region {
        path: device.clone(),
        start: 4 * MIB,
        block_size: 4096,
        blocks: 2048,
        run: 1,
    };
    let mut writer = vm.writer(WriterSpec::over(region.clone(), 1), Ledger::default())?;
    let fio = vm.spawn(&fio_verify(&device, MIB))?;
    writer.wait_acks(300)?;

    // The second one fails, and leaves: it is nobody's any more.
    act(vm, "fail=1")?;
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "1")?;
    ensure!(
        vm.attr(VOLUME, "members/1/state")? == "faulty",
        "it says {}",
        vm.attr(VOLUME, "members/1/state")?
    );
    writer.wait_acks(100)?;
    act(vm, "remove=1")?;
    vm.wait_volume(VOLUME, "members/1/state", |state| state == "missing")?;
    vm.wait_volume(VOLUME, "members/1/dev", |dev| dev == "none")?;

    // Another comes and takes the place, a part of the way first, so that it is seen.
    vm.must_set(VOLUME, "sync_max", STOP)?;
    // They may hold what the last round left.
    act(vm, "add=/dev/vdd force=1")?;
    vm.wait_volume(VOLUME, "sync_action", |action| action == "recover")?;
    let new = member_on(vm, "/dev/vdd")?;
    vm.wait_volume(VOLUME, "sync_completed", |text| {
        text.split(" / ")
            .next()
            .and_then(|done| done.parse().ok())
            .is_some_and(|done: u64| done > 0)
    })?;
    ensure!(vm.attr(VOLUME, "sync_action")? == "recover");
    ensure!(
        vm.attr(VOLUME, &format!("members/{new}/state"))? == "rebuilding",
        "it says {}",
        vm.attr(VOLUME, &format!("members/{new}/state"))?
    );
    ensure!(
        vm.number(VOLUME, "degraded")? == 1,
        "whole before it is rebuilt"
    );
    writer.wait_acks(100)?;
    vm.must_set(VOLUME, "sync_max", "max")?;
    wait_whole(vm)?;
    ensure!(vm.attr(VOLUME, &format!("members/{new}/state"))? == "in_sync");

    // A spare takes the place of the next one that fails by itself.
    act(vm, "add=/dev/vde force=1")?;
    let spare = member_on(vm, "/dev/vde")?;
    vm.wait_volume(VOLUME, &format!("members/{spare}/state"), |state| {
        state == "spare"
    })?;
    act(vm, "fail=0")?;
    vm.wait_volume(VOLUME, &format!("members/{spare}/state"), |state| {
        state == "in_sync"
    })?;
    wait_whole(vm)?;
    act(vm, "remove=0")?;
    vm.wait_volume(VOLUME, "members/0/dev", |dev| dev == "absent")?;

    // And one is replaced by name.
    act(vm, &format!("fail={new}"))?;
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "1")?;
    act(vm, &format!("replace={new} with={}", all[0]))?;
    wait_whole(vm)?;
    act(vm, &format!("remove={new}"))?;

    fio.ok()?;
    let ledger = writer.stop(vm)?;
    vm.verify(&region, ledger.acknowledged())?;
    vm.settle(VOLUME)?;
    vm.ensure_in_sync(VOLUME)?;

    // What was rebuilt is good by itself: without each other member in turn, everything is there.
    let written = vm.checksum(&device, 16 * MIB)?;
    vm.stop_volume(VOLUME)?;
    let mut now = vec![all[0].clone(), "/dev/vde".to_owned()];
    now.extend(all[2..].iter().cloned());
    vm.assemble(VOLUME, &now, "")?;
    ensure!(vm.checksum(&device, 16 * MIB)? == written, "something else after a stop");
    vm.stop_volume(VOLUME)?;
    for absent in 0..now.len() {
        let mut others = now.clone();
        let gone = others.remove(absent);
        vm.assemble(VOLUME, &others, "degraded=1 read_only=1")?;
        ensure!(
            vm.checksum(&device, 16 * MIB)? == written,
            "something else without {gone}"
        );
        vm.stop_volume(VOLUME)?;
    }
    Ok(())
}
