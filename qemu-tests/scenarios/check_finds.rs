//! A check finds what a broken disk changed behind everybody's back, says where, and a repair mends it.

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

const VOLUME: &str = "restripe0";
/// A blank member's data begin here, in bytes.
const DATA: u64 = MIB;
const CHUNK: u64 = 65536;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c"] {
        disks.push(ctx.disk(name, 16 * MIB)?);
    }
    let vm = ctx.boot_for_leaks(&disks)?;
    // The second leg of a mirror, 5 sectors from sector 3000 on.
    found(&vm, Shape::of("raid1", 2), "/dev/vdb", 3000, 5, 3000)?;
    // In left-symmetric order the parity of stripe 2 of three disks is on the first one, and its first data chunk, the
    // volume's fifth, on the second.
    let chunk = CHUNK / 512;
    found(
        &vm,
        Shape::of("raid5", 3),
        "/dev/vda",
        2 * chunk + 7,
        1,
        4 * chunk,
    )?;
    found(
        &vm,
        Shape::of("raid5", 3),
        "/dev/vdb",
        2 * chunk + 9,
        3,
        4 * chunk,
    )?;
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}

/// Changes `count` sectors of a member, the first at sector `at` of its data, which belongs to the volume's stripe or range
/// from sector `lowest` on.
fn found(vm: &Vm, shape: Shape, member: &str, at: u64, count: u64, lowest: u64) -> Result<()> {
    let devices = shape.devices();
    vm.create(VOLUME, &shape, &devices)?;
    vm.ok(&format!(
        "dd if=/dev/urandom of=/dev/{VOLUME} bs=1M count=8 oflag=direct status=none"
    ))?;
    vm.ensure_in_sync(VOLUME)?;
    ensure!(
        vm.attr(VOLUME, "mismatches")?.is_empty(),
        "ranges without a mismatch"
    );
    vm.stop_volume(VOLUME)?;

    let seek = DATA / 512 + at;
    vm.ok(&format!("dd if=/dev/urandom of={member} bs=512 seek={seek} count={count} oflag=direct conv=notrunc status=none"))?;
    vm.assemble(VOLUME, &devices, "")?;
    let differ = vm.check_parity(VOLUME)?;
    ensure!(
        differ == count,
        "{shape:?}: a check finds {differ} sectors where {count} of {member} were changed"
    );
    let ranges = vm.attr(VOLUME, "mismatches")?;
    let starts: Vec<u64> = ranges
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    let stripe = CHUNK / 512 * shape.data_slots() as u64;
    ensure!(
        starts.len() == ranges.lines().count()
            && starts
                .iter()
                .any(|start| (lowest..lowest + stripe).contains(start)),
        "{shape:?}: sector {at} of {member} was changed, and the ranges are {ranges:?}"
    );
    // Both are kept over a stop.
    vm.stop_volume(VOLUME)?;
    vm.assemble(VOLUME, &devices, "")?;
    ensure!(
        vm.number(VOLUME, "mismatch_cnt")? == count && vm.attr(VOLUME, "mismatches")? == ranges,
        "forgotten over a stop"
    );

    vm.must_set(VOLUME, "sync_action", "repair")?;
    vm.settle(VOLUME)?;
    vm.ensure_in_sync(VOLUME)?;
    ensure!(
        vm.attr(VOLUME, "mismatches")?.is_empty(),
        "ranges are left after a repair"
    );
    vm.stop_volume(VOLUME)
}
