//! Assembled without a member: only when told to, and with all data; a member that comes back late is not believed.

use anyhow::{Result, ensure};
use qemu_tests::ctx::MIB;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

use super::VOLUME;

/// Bytes whose content is compared.
const COMPARED: u64 = 16 * MIB;

pub fn check(vm: &Vm, level: &'static str, members: usize) -> Result<()> {
    let shape = Shape::of(level, members);
    let device = format!("/dev/{VOLUME}");
    let all = shape.devices();
    vm.create(VOLUME, &shape, &all)?;
    vm.ok(&format!(
        "dd if=/dev/urandom of={device} bs=1M count=16 oflag=direct status=none"
    ))?;
    let written = vm.checksum(&device, COMPARED)?;
    vm.stop_volume(VOLUME)?;

    // Each one in turn; nothing is written, so that none becomes stale.
    for absent in 0..members {
        let mut others = all.clone();
        let gone = others.remove(absent);
        let line = format!("members={}", others.join(","));
        let refusal = vm.refused("assemble", &line)?;
        ensure!(
            refusal.errno == 19
                && refusal.last_error.contains("missing")
                && refusal.last_error.contains("degraded=1"),
            "without {gone}: {refusal}"
        );
        vm.must("assemble", &format!("{line} degraded=1 read_only=1"))?;
        ensure!(
            vm.checksum(&device, COMPARED)? == written,
            "{shape:?} without {gone} reads something else"
        );
        ensure!(vm.number(VOLUME, "degraded")? == 1);
        vm.stop_volume(VOLUME)?;
    }

    // The last one stays away while the volume is written.
    let (late, others) = all.split_last().expect("a volume has members");
    vm.assemble(VOLUME, others, "degraded=1")?;
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
        "dd if=/dev/urandom of={device} bs=1000k count=16 oflag=direct status=none"
    ))?;
    let written = vm.checksum(&device, COMPARED)?;
    vm.stop_volume(VOLUME)?;
    ensure!(
        vm.field(late, "epoch")? < vm.field(&others[0], "epoch")?,
        "the epoch did not rise"
    );

    vm.assemble(VOLUME, &all, "")?;
    ensure!(
        vm.number(VOLUME, "degraded")? == 1,
        "a stale member passes for a good one"
    );
    ensure!(
        vm.checksum(&device, COMPARED)? == written,
        "{shape:?} believes {late}, which is stale"
    );
    vm.stop_volume(VOLUME)
}
