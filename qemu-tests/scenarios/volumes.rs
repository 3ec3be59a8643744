//! Volumes of each level, made of blank disks: what they say of themselves, what they do with each kind of request,
//! and that nobody else gets at their members.

mod guards;
mod limits;
mod partitions;
mod requests;

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::shape::{Shape, devices};
use qemu_tests::vm::Vm;

const VOLUME: &str = "restripe0";

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        disks.push(ctx.disk(name, 32 * MIB)?);
    }
    let vm = ctx.boot_for_leaks(&disks)?;
    let mut alone = 0;
    for (level, members) in [
        ("linear", 1),
        ("raid0", 2),
        ("raid1", 2),
        ("raid1", 3),
        ("raid5", 3),
        ("raid5", 5),
        ("raid6", 5),
        ("raid10", 4),
    ] {
        let shape = Shape::of(level, members);
        vm.create(VOLUME, &shape, &shape.devices())?;
        let size = vm.number(VOLUME, "size")?;
        if level == "linear" {
            alone = size;
        }
        // What a member holds, in whole chunks, as often as the level allows.
        let expected = alone / shape.chunk * shape.chunk * shape.data_slots() as u64;
        ensure!(
            size >= expected && size < expected + MIB,
            "{shape:?} offers {size} bytes and not {expected}"
        );
        limits::check(&vm, VOLUME, &shape)?;
        requests::check(&vm, VOLUME, &shape)?;
        guards::check(&vm, VOLUME, &shape)?;
        vm.stop_volume(VOLUME)?;
    }
    two_at_once(&vm)?;
    partitions::check(&vm, VOLUME)?;
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}

/// Each has its own name, its own members and its own content.
fn two_at_once(vm: &Vm) -> Result<()> {
    let (mirror, stripes) = (Shape::of("raid1", 2), Shape::of("raid0", 3));
    vm.create("restripe7", &mirror, &devices(0..2))?;
    // Without a name it gets the first that is free.
    vm.must(
        "create",
        &format!("level=raid0 members={} force=1", devices(2..5).join(",")),
    )?;
    let names = vm.class("volumes")?;
    ensure!(
        ["restripe0", "restripe7"]
            .iter()
            .all(|name| names.lines().any(|line| line == *name)),
        "the volumes are {names:?}"
    );
    let other = vm.spawn(&qemu_tests::shape::fio_verify("/dev/restripe7", 2 * MIB))?;
    vm.fio_verify("/dev/restripe0", 2 * MIB)?;
    other.ok()?;
    vm.ensure_in_sync("restripe7")?;
    let before = [
        vm.checksum("/dev/restripe7", 8 * MIB)?,
        vm.checksum("/dev/restripe0", 8 * MIB)?,
    ];
    vm.stop_volume("restripe7")?;
    vm.stop_volume("restripe0")?;
    // The members say what they were; the order in which they are listed does not matter.
    vm.must("assemble", "members=/dev/vdb,/dev/vda")?;
    vm.must("assemble", "members=/dev/vde,/dev/vdc,/dev/vdd")?;
    let after = [
        vm.checksum("/dev/restripe7", 8 * MIB)?,
        vm.checksum("/dev/restripe0", 8 * MIB)?,
    ];
    ensure!(
        before == after,
        "{stripes:?} or {mirror:?} reads differently after stop and assemble"
    );
    vm.stop_volume("restripe7")?;
    vm.stop_volume("restripe0")
}
