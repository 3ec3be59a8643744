//! Members that can't be read in places, found by what goes over all of them: a migration and a rebuild make what they held
//! of the rest, write it back and go on; without a rest a migration waits, with nothing lost and the volume in use.

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
    let vm = ctx.boot(&disks)?;
    let bad = Dust::new(&vm, "vdb")?;
    mover_and_rebuild(&vm, &bad)?;
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
