//! Assembled without a member: only when told to, and with all data; a member that comes back late is not believed.

use anyhow::{Result, ensure};
use qemu_tests::ctx::MIB;
use qemu_tests::restripe::Refusal;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

use super::VOLUME;

/// Bytes whose content is compared: so many that parity has been on every member, several times.
const COMPARED: u64 = COUNT * MIB;
const COUNT: u64 = 4;

/// The members of a volume but these.
fn others(all: &[String], absent: &[usize]) -> Vec<String> {
    let present = all.iter().enumerate().filter(|(n, _)| !absent.contains(n));
    present.map(|(_, device)| device.clone()).collect()
}

/// What is said where too many are missing of a volume that was made and stopped.
pub fn without(
    vm: &Vm,
    level: &'static str,
    members: usize,
    absent: &[usize],
) -> Result<Refusal> {
    let shape = Shape::of(level, members);
    vm.create(VOLUME, &shape, &shape.devices())?;
    vm.stop_volume(VOLUME)?;
    let listed = others(&shape.devices(), absent).join(",");
    vm.refused("assemble", &format!("members={listed} degraded=1"))
}

/// `patterns`: members that are away at the same time; the last ones stay away while it is written.
pub fn check(
    vm: &Vm,
    level: &'static str,
    members: usize,
    patterns: &[Vec<usize>],
) -> Result<()> {
    let shape = Shape::of(level, members);
    let device = format!("/dev/{VOLUME}");
    let all = shape.devices();
    vm.create(VOLUME, &shape, &all)?;
    vm.ok(&format!(
        "dd if=/dev/urandom of={device} bs=1M count={COUNT} oflag=direct status=none"
    ))?;
    let written = vm.checksum(&device, COMPARED)?;
    vm.stop_volume(VOLUME)?;

    // Nothing is written, so that none becomes stale.
    for absent in patterns {
        let line = format!("members={}", others(&all, absent).join(","));
        let refusal = vm.refused("assemble", &line)?;
        ensure!(
            refusal.errno == 19
                && refusal.last_error.contains("missing")
                && refusal.last_error.contains("degraded=1"),
            "without {absent:?}: {refusal}"
        );
        vm.must("assemble", &format!("{line} degraded=1 read_only=1"))?;
        ensure!(
            vm.checksum(&device, COMPARED)? == written,
            "{shape:?} without {absent:?} reads something else"
        );
        ensure!(vm.number(VOLUME, "degraded")? == absent.len() as u64);
        vm.stop_volume(VOLUME)?;
    }

    // Some stay away while the volume is written.
    let absent = patterns.last().expect("some are away");
    let present = others(&all, absent);
    let late = &all[absent[0]];
    vm.assemble(VOLUME, &present, "degraded=1")?;
    ensure!(
        vm.attr(VOLUME, "array_state")? == "degraded",
        "it says {}",
        vm.attr(VOLUME, "array_state")?
    );
    ensure!(
        vm.checksum(&device, COMPARED)? == written,
        "{shape:?} without {late} reads something else"
    );
    vm.fio_verify(&device, MIB)?;
    vm.fio_overlap(&device, MIB, 100)?;
    vm.ok(&format!(
        "dd if=/dev/urandom of={device} bs=1000k count={COUNT} oflag=direct status=none"
    ))?;
    let written = vm.checksum(&device, COMPARED)?;
    vm.stop_volume(VOLUME)?;
    ensure!(
        vm.field(late, "epoch")? < vm.field(&present[0], "epoch")?,
        "the epoch did not rise"
    );

    vm.assemble(VOLUME, &all, "")?;
    ensure!(
        vm.number(VOLUME, "degraded")? == absent.len() as u64,
        "a stale member passes for a good one"
    );
    ensure!(
        vm.checksum(&device, COMPARED)? == written,
        "{shape:?} believes {late}, which is stale"
    );
    vm.stop_volume(VOLUME)
}
