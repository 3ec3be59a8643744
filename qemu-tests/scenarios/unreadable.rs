//! Members that can't be read in places, found by what goes over all of them: a migration and a rebuild make what they held
//! of the rest, write it back and go on, and so do writes of a migrating volume; without a rest a migration waits, with nothing lost and the volume in use.

use std::ops::Range;

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::dust::Dust;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

const VOLUME: &str = "restripe0";
/// Blocks of a blank member before its data.
const DATA: u64 = 256;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        disks.push(ctx.disk(name, 32 * MIB)?);
    }
    let vm = ctx.boot_for_leaks(&disks)?;
    let bad = Dust::new(&vm, "vdb")?;
    mover_and_rebuild(&vm, &bad)?;
    writes_of_a_migration(&vm, &bad)?;
    without_a_rest(&vm, &bad)?;
    bad.remove(&vm)?;
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}

fn fill(vm: &Vm) -> Result<String> {
    vm.ok(&format!(
        "dd if=/dev/urandom of=/dev/{VOLUME} bs=1M count=16 oflag=direct status=none"
    ))?;
    content(vm)
}

fn content(vm: &Vm) -> Result<String> {
    vm.checksum(&format!("/dev/{VOLUME}"), 16 * MIB)
}

/// Its errors are counted, it is a member as before, and can be read there.
fn is_mended(vm: &Vm, bad: &Dust, blocks: &[u64], before: u64) -> Result<()> {
    let errors = vm.number(VOLUME, "members/1/read_errors")?;
    ensure!(errors > before, "{errors} errors were counted");
    let state = vm.attr(VOLUME, "members/1/state")?;
    ensure!(state == "in_sync", "it is {state}");
    blocks.iter().try_for_each(|block| bad.read(vm, *block))
}

fn mover_and_rebuild(vm: &Vm, bad: &Dust) -> Result<()> {
    let devices = ["/dev/vda".to_owned(), bad.path(), "/dev/vdc".to_owned()];
    vm.create(VOLUME, &Shape::of("raid5", 3), &devices)?;
    let written = fill(vm)?;
    let blocks = [DATA, DATA + 3, DATA + 1000];
    for block in blocks {
        bad.spoil(vm, block)?;
    }
    vm.must_set(VOLUME, "migrate", "level=raid6 add=/dev/vdd")?;
    vm.wait_migrated(VOLUME)?;
    is_mended(vm, bad, &blocks, 0)?;
    ensure!(content(vm)? == written, "something else after a migration");
    vm.ensure_in_sync(VOLUME)?;

    // Two parities, and one member that is rebuilt: there is one more to make the others of.
    let before = vm.number(VOLUME, "members/1/read_errors")?;
    vm.must_set(VOLUME, "member_action", "fail=0")?;
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "1")?;
    for block in blocks {
        bad.spoil(vm, block)?;
    }
    vm.must_set(VOLUME, "member_action", "replace=0 with=/dev/vde")?;
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "0")?;
    is_mended(vm, bad, &blocks, before)?;
    ensure!(content(vm)? == written, "something else after a rebuild");
    vm.ensure_in_sync(VOLUME)?;
    vm.stop_volume(VOLUME)
}

/// A volume that migrates is written to, block by block, over rows that can't be read everywhere: where the cursor has passed,
/// where it has yet to come, and where what was copied is not committed. It takes all writes, and the members stay.
fn writes_of_a_migration(vm: &Vm, bad: &Dust) -> Result<()> {
    let new = Dust::new(vm, "vde")?;
    let devices = ["/dev/vda".to_owned(), bad.path(), "/dev/vdc".to_owned()];
    vm.create(VOLUME, &Shape::of("raid5", 3), &devices)?;
    fill(vm)?;
    // 64 rows, of 128 KiB.
    vm.must_set(VOLUME, "sync_max", "16384")?;
    vm.must_set(
        VOLUME,
        "member_action",
        &format!("replace=2 with={} force=1", new.path()),
    )?;
    vm.must_set(VOLUME, "sync_max", "16384")?;
    vm.wait_position(VOLUME, 16384)?;

    let (moved, left) = (10..12, 100..102);
    spoil_rows(vm, &new, moved.clone())?;
    spoil_rows(vm, bad, left.clone())?;
    let mut written = vec![write_rows(vm, moved.clone())?, write_rows(vm, left.clone())?];
    can_be_read(vm, &new, moved)?;
    can_be_read(vm, bad, left)?;
    // Zeroes take another way.
    let zeroed = 104..106;
    spoil_rows(vm, bad, zeroed.clone())?;
    vm.ok(&format!(
        "for at in $(seq 0 4096 $((262144 - 4096))); do blkdiscard -z -o $(({} * 131072 + at)) -l 4096 /dev/{VOLUME}; done",
        zeroed.start
    ))?;
    can_be_read(vm, bad, zeroed)?;

    // Slow enough that the cursor, which is committed every 10 s, stays behind what is copied.
    vm.must_set(VOLUME, "sync_speed_max", "1024")?;
    vm.must_set(VOLUME, "sync_max", "max")?;
    vm.wait_volume(VOLUME, "sync_completed", |text| {
        let done = text.split(' ').next().and_then(|done| done.parse().ok());
        done.is_none_or(|done: u64| done >= 16384 + 2048)
    })?;
    let gap = 64..67;
    spoil_rows(vm, &new, gap.clone())?;
    written.push(write_rows(vm, gap.clone())?);
    vm.must_set(VOLUME, "sync_speed_max", "0")?;
    vm.wait_migrated(VOLUME)?;
    can_be_read(vm, &new, gap)?;

    for (rows, sum) in written {
        ensure!(sum_of_rows(vm, &rows)? == sum, "rows {rows:?} hold something else");
    }
    for member in [0, 1, 3] {
        let state = vm.attr(VOLUME, &format!("members/{member}/state"))?;
        ensure!(state == "in_sync", "member {member} is {state}");
    }
    vm.ensure_in_sync(VOLUME)?;
    vm.stop_volume(VOLUME)?;
    one_here_another_there(vm, bad, &new)?;
    new.remove(vm)
}

/// In one request there are rows of which one member can't be read, and such of which another can't, even side by side in a chunk:
/// each row by itself tells what it is. So it is read, and a check mends them all.
fn one_here_another_there(vm: &Vm, bad: &Dust, new: &Dust) -> Result<()> {
    vm.must("assemble", &format!("members=/dev/vda,{},{}", bad.path(), new.path()))?;
    // In the first of these rows the second member has data and the third one parity, in the next one data.
    let (first, next) = (12, 13);
    let read = format!("dd if=/dev/{VOLUME} bs=256k skip={} count=1 iflag=direct status=none | sha256sum", first / 2);
    let before = vm.ok(&read)?;
    bad.spoil(vm, DATA + first * ROW + 3)?;
    new.spoil(vm, DATA + first * ROW + 9)?;
    new.spoil(vm, DATA + next * ROW + 5)?;
    ensure!(vm.ok(&read)? == before, "a read gives something else");
    for member in [1, 3] {
        let errors = vm.number(VOLUME, &format!("members/{member}/read_errors"))?;
        ensure!(errors > 0, "no read of member {member} failed");
    }
    vm.ensure_in_sync(VOLUME)?;
    for (member, disk) in [(1, bad), (3, new)] {
        let state = vm.attr(VOLUME, &format!("members/{member}/state"))?;
        ensure!(state == "in_sync", "member {member} is {state}");
        can_be_read(vm, disk, first..next + 1)?;
    }
    vm.stop_volume(VOLUME)
}

/// Blocks of a member in a row of chunks of 64 KiB.
const ROW: u64 = 16;

/// The first blocks that the disk holds of each of those rows can't be read: a few, for at 20 errors it counts as faulty.
fn spoil_rows(vm: &Vm, disk: &Dust, rows: Range<u64>) -> Result<()> {
    let mut blocks = rows.flat_map(|row| row * ROW..row * ROW + 3);
    blocks.try_for_each(|block| disk.spoil(vm, DATA + block))
}

fn can_be_read(vm: &Vm, disk: &Dust, rows: Range<u64>) -> Result<()> {
    disk.read_all(vm, DATA + rows.start * ROW..DATA + rows.end * ROW)
}

/// Writes rows of three members block by block; what they hold then.
fn write_rows(vm: &Vm, rows: Range<u64>) -> Result<(Range<u64>, String)> {
    let (seek, count) = (rows.start * 2 * ROW, (rows.end - rows.start) * 2 * ROW);
    vm.ok(&format!(
        "dd if=/dev/urandom of=/tmp/rows bs=4096 count={count} status=none; dd if=/tmp/rows of=/dev/{VOLUME} bs=4096 seek={seek} oflag=direct conv=notrunc status=none"
    ))?;
    let sum = vm.checksum("/tmp/rows", count * 4096)?;
    Ok((rows, sum))
}

fn sum_of_rows(vm: &Vm, rows: &Range<u64>) -> Result<String> {
    let (skip, count) = (rows.start * 2 * ROW, (rows.end - rows.start) * 2 * ROW);
    vm.ok(&format!(
        "dd if=/dev/{VOLUME} of=/tmp/rows bs=4096 skip={skip} count={count} iflag=direct status=none"
    ))?;
    vm.checksum("/tmp/rows", count * 4096)
}

fn without_a_rest(vm: &Vm, bad: &Dust) -> Result<()> {
    vm.must("create", &format!("level=linear members={} name={VOLUME} force=1", bad.path()))?;
    let written = fill(vm)?;
    bad.spoil(vm, DATA + 1000)?;
    vm.must_set(VOLUME, "migrate", "level=raid1 add=/dev/vdc force=1")?;
    for _ in 0..2 {
        vm.wait_volume(VOLUME, "migrate_state", |state| state == "blocked")?;
        let log = vm.ok("dmesg")?;
        let why = "member 0 can't be read for sector 8000;";
        ensure!(log.contains(why), "the kernel's log does not say {why}");
        // All the rest is there, and takes writes.
        vm.ok(&format!(
            "dd if=/dev/{VOLUME} of=/dev/null bs=4096 count=1000 iflag=direct status=none; dd if=/dev/zero of=/dev/{VOLUME} bs=4096 seek=4096 count=1 oflag=direct status=none"
        ))?;
        ensure!(vm.attr(VOLUME, "members/0/state")? == "in_sync");
        vm.must_set(VOLUME, "migrate_state", "resume")?;
    }
    vm.wait_volume(VOLUME, "migrate_state", |state| state == "blocked")?;
    // Whoever knows what it was writes it there.
    vm.ok("dd if=/dev/vdb of=/tmp/block bs=4096 skip=1256 count=1 iflag=direct status=none")?;
    vm.ok(&format!(
        "dd if=/tmp/block of=/dev/{VOLUME} bs=4096 seek=1000 count=1 oflag=direct conv=notrunc status=none"
    ))?;
    vm.must_set(VOLUME, "migrate_state", "resume")?;
    vm.wait_migrated(VOLUME)?;
    ensure!(content(vm)? == written, "something else after a migration");
    vm.stop_volume(VOLUME)
}
