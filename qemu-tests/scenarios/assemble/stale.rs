//! What a disk holds of a former life, with a higher epoch than its new one, does not come back after a power cut.

use anyhow::{Context, Result, ensure};
use qemu_tests::ctx::Ctx;
use qemu_tests::disk::Disk;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

const VOLUME: &str = "restripe0";

/// A line that takes in two disks, what the volume then is, and where it is found.
const LIVES: [(&str, &str, &str, &str); 3] = [
    (
        "create",
        "level=raid0 members=/dev/vda,/dev/vdb force=1",
        "raid0",
        "/dev/vda,/dev/vdb",
    ),
    (
        "adopt",
        "dev=/dev/vda size=8388608 force=1",
        "linear",
        "/dev/vda",
    ),
    (
        "migrate",
        "level=raid1 add=/dev/vdb force=1",
        "raid1",
        "/dev/vda,/dev/vdb",
    ),
];

pub fn check(ctx: &mut Ctx, disks: &[Disk]) -> Result<()> {
    for (file, line, level, members) in LIVES {
        let vm = ctx.boot(disks)?;
        let epoch = former_life(&vm)?;
        if file == "migrate" {
            vm.must("adopt", "dev=/dev/vda size=8388608 force=1")?;
            vm.must_set(VOLUME, file, line)?;
            vm.wait_migrated(VOLUME)?;
        } else {
            vm.must(file, line)?;
        }
        let uuid = vm.attr(VOLUME, "uuid")?;
        vm.power_cut()?;

        let vm = ctx.boot(disks)?;
        for device in members.split(',') {
            let now: u64 = vm.field(device, "epoch")?.parse()?;
            ensure!(
                vm.field(device, "uuid")? == uuid && now < epoch,
                "{file}: {device} is of epoch {now}, its former one was {epoch}"
            );
        }
        vm.must("assemble", &format!("members={members}"))
            .with_context(|| format!("after {file} of disks that were members before"))?;
        ensure!(
            vm.attr(VOLUME, "uuid")? == uuid && vm.attr(VOLUME, "level")? == level,
            "{file}: the former life has come back"
        );
        vm.stop_volume(VOLUME)?;
        vm.shutdown()?;
    }
    Ok(())
}

/// A mirror that was assembled often enough to be of a high epoch; which is that.
fn former_life(vm: &Vm) -> Result<u64> {
    let shape = Shape::of("raid1", 2);
    let devices = shape.devices();
    vm.must(
        "create",
        &format!(
            "level=raid1 members={} assume_clean=1 force=1 name={VOLUME}",
            devices.join(",")
        ),
    )?;
    for _ in 0..6 {
        vm.stop_volume(VOLUME)?;
        vm.assemble(VOLUME, &devices, "")?;
    }
    vm.stop_volume(VOLUME)?;
    Ok(vm.field(&devices[1], "epoch")?.parse()?)
}
