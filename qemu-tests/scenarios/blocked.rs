//! A migration whose target loses a member that it can't do without, before anything came to it: the volume goes on where it
//! is, the migration is blocked, and goes on by itself when another member is in the place. One whose way back lost a
//! member: `abort` says so. And one that loses it in its first window: the old layout has that again.

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::ledger::Ledger;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;
use qemu_tests::wire::{Region, WriterSpec};

const VOLUME: &str = "restripe0";
const EIO: i32 = 5;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c"] {
        disks.push(ctx.disk(name, 32 * MIB)?);
    }
    let vm = ctx.boot_for_leaks(&disks)?;
    for disk in ["vda", "vdb"] {
        vm.ok(&format!("echo {} | dmsetup create {disk}; dmsetup mknodes", linear(disk)))?;
    }
    let shape = Shape::of("linear", 1);
    let device = format!("/dev/{VOLUME}");
    vm.create(VOLUME, &shape, &["/dev/mapper/vda".to_owned()])?;
    let region = Region {
        path: device.clone(),
        start: 4 * MIB,
        block_size: 4096,
        blocks: 2048,
        run: 1,
    };
    let mut writer = vm.writer(WriterSpec::over(region.clone(), 1), Ledger::default())?;
    writer.wait_acks(200)?;

    // It begins, and stays at its first sector until the new disk is gone.
    vm.must_set(VOLUME, "sync_max", "0")?;
    vm.must_set(
        VOLUME,
        "migrate",
        "level=raid0 chunk=65536 add=/dev/mapper/vdb",
    )?;
    vm.wait_volume(VOLUME, "members/1/state", |state| state == "in_sync")?;
    vm.wait_volume(VOLUME, "migrate_position", |at| at == "0")?;
    let size = "$(blockdev --getsz /dev/vdb)";
    becomes(&vm, "vdb", &format!("0 {size} error"))?;
    vm.must_set(VOLUME, "sync_max", "max")?;
    vm.wait_volume(VOLUME, "migrate_state", |state| state == "blocked")?;
    vm.wait_volume(VOLUME, "members/1/state", |state| state == "faulty")?;
    ensure!(
        vm.attr(VOLUME, "migrate_position")? == "0",
        "it is at {}",
        vm.attr(VOLUME, "migrate_position")?
    );
    writer.wait_acks(100)?;
    // Nobody can talk it into going on without.
    vm.must_set(VOLUME, "migrate_state", "resume")?;
    vm.wait_volume(VOLUME, "migrate_state", |state| state == "blocked")?;

    vm.must_set(VOLUME, "member_action", "replace=1 with=/dev/vdc")?;
    // It stays blocked until the new member is in sync.
    vm.wait_volume(VOLUME, "migrate_state", |state| state != "blocked")?;
    vm.wait_migrated(VOLUME)?;
    ensure!(
        vm.attr(VOLUME, "level")? == "raid0",
        "it is {}",
        vm.attr(VOLUME, "level")?
    );
    ensure!(vm.number(VOLUME, "degraded")? == 0);
    vm.must_set(VOLUME, "member_action", "remove=1")?;
    let ledger = writer.stop(&vm)?;
    vm.verify(&region, ledger.acknowledged())?;
    vm.wait_volume(VOLUME, "members/1/dev", |dev| dev == "absent")?;
    vm.ok("dmsetup remove --retry vdb")?;
    no_way_back(&vm)?;
    vm.verify(&region, ledger.acknowledged())?;
    vm.stop_volume(VOLUME)?;
    vm.assemble(
        VOLUME,
        &["/dev/mapper/vda".to_owned(), "/dev/vdc".to_owned()],
        "",
    )?;
    vm.verify(&region, ledger.acknowledged())?;
    vm.stop_volume(VOLUME)?;
    window_goes_back(&vm)?;
    vm.ok("dmsetup remove --retry vda")?;
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}

/// A dm table that passes all on.
fn linear(disk: &str) -> String {
    format!("0 $(blockdev --getsz /dev/{disk}) linear /dev/{disk} 0")
}

/// Gives a disk that lies behind dm another table.
fn becomes(vm: &Vm, disk: &str, table: &str) -> Result<()> {
    vm.ok(&format!(
        "echo {table} | dmsetup load {disk}; dmsetup suspend --nolockfs --noflush {disk}; dmsetup resume {disk}"
    ))?;
    Ok(())
}

/// A disk of the old layout is gone in the midst of a migration: there is no way back until it answers again.
fn no_way_back(vm: &Vm) -> Result<()> {
    const STOP: &str = "8192";
    vm.must_set(VOLUME, "sync_max", STOP)?;
    vm.must_set(VOLUME, "migrate", "level=raid0 chunk=131072")?;
    vm.wait_volume(VOLUME, "migrate_position", |at| at == STOP)?;
    becomes(vm, "vda", "0 $(blockdev --getsz /dev/vda) error")?;
    let refusal = vm.set_refused(VOLUME, "migrate_state", "abort")?;
    let says = refusal.last_error.contains("member 0 is gone");
    ensure!(refusal.errno == EIO && says, "`abort`: {refusal}");
    becomes(vm, "vda", &linear("vda"))?;
    vm.must_set(VOLUME, "migrate_state", "abort")?;
    vm.wait_migrated(VOLUME)?;
    let chunk = vm.attr(VOLUME, "chunk_size")?;
    ensure!(chunk == "65536", "it has chunks of {chunk}");
    vm.must_set(VOLUME, "sync_max", "max")
}

/// A mirror becomes a raid0 of the same disks, one of which takes nothing but its superblocks and its stash any more.
fn window_goes_back(vm: &Vm) -> Result<()> {
    /// Half a row, and the part of a disk that fails, of which the reserve is none; sectors.
    const CHUNK: u64 = 512;
    const DATA: u64 = 32768;
    let data = |target: &str| format!("0 {DATA} {target}");
    let good = data("linear /dev/vdb 0");
    vm.ok(&format!(
        "echo {good} | dmsetup create data; dmsetup mknodes; \
         printf '%s\\n' '{}' \"{DATA} $(($(blockdev --getsz /dev/vdb) - {DATA})) linear /dev/vdb {DATA}\" | dmsetup create vdb; dmsetup mknodes",
        data("linear /dev/mapper/data 0"),
    ))?;
    let legs = ["/dev/mapper/vda".to_owned(), "/dev/mapper/vdb".to_owned()];
    vm.create(VOLUME, &Shape::of("raid1", 2), &legs)?;
    vm.wait_volume(VOLUME, "sync_action", |action| action == "idle")?;
    // What the disks held before looks much like what is written now.
    vm.ok(&format!("dd if=/dev/zero of=/dev/{VOLUME} bs=1M count=16 oflag=direct status=none"))?;
    let region = Region {
        path: format!("/dev/{VOLUME}"),
        start: MIB / 16,
        block_size: 4096,
        blocks: 2048,
        run: 1,
    };
    let mut writer = vm.writer(WriterSpec::over(region.clone(), 2), Ledger::default())?;
    writer.wait_acks(200)?;
    let ledger = writer.stop(vm)?;

    vm.must_set(VOLUME, "sync_max", "0")?;
    let migrate = format!("level=raid0 chunk={}", CHUNK * 512);
    vm.must_set(VOLUME, "migrate", &migrate)?;
    vm.wait_volume(VOLUME, "migrate_position", |at| at == "0")?;
    let before = written(vm, "vda")?;
    becomes(vm, "data", &data("error"))?;
    vm.must_set(VOLUME, "sync_max", "max")?;
    vm.wait_volume(VOLUME, "migrate_state", |state| state == "blocked")?;
    vm.wait_volume(VOLUME, "members/1/state", |state| state == "faulty")?;
    // Nobody waits for another member: neither writes to the window, which went to the stash, and then back, nor the
    // way back.
    vm.ok(&format!("dd if=/dev/zero of=/dev/{VOLUME} bs=4096 count=1 oflag=direct status=none"))?;
    let sectors = written(vm, "vda")? - before;
    ensure!(sectors >= 2 * 2 * CHUNK, "the window was not rewritten: {sectors} sectors were");
    let mut writer = vm.writer(WriterSpec::over(region.clone(), 3), ledger)?;
    writer.wait_acks(200)?;
    vm.must_set(VOLUME, "migrate_state", "abort")?;
    vm.wait_migrated(VOLUME)?;
    let ledger = writer.stop(vm)?;
    vm.verify(&region, ledger.acknowledged())?;
    let (level, degraded) = (vm.attr(VOLUME, "level")?, vm.number(VOLUME, "degraded")?);
    ensure!((level.as_str(), degraded) == ("raid1", 1), "it is {level}, short of {degraded}");

    becomes(vm, "data", &good)?;
    vm.must_set(VOLUME, "member_action", "replace=1 with=/dev/vdc force=1")?;
    vm.wait_volume(VOLUME, "degraded", |missing| missing == "0")?;
    vm.stop_volume(VOLUME)?;
    vm.assemble(VOLUME, &[legs[0].clone(), "/dev/vdc".to_owned()], "")?;
    vm.verify(&region, ledger.acknowledged())?;
    vm.stop_volume(VOLUME)?;
    vm.ok("dmsetup remove --retry vdb; dmsetup remove --retry data")?;
    Ok(())
}

/// Sectors that were written to a disk that lies behind dm.
fn written(vm: &Vm, disk: &str) -> Result<u64> {
    let script = format!("set -- $(cat /sys/block/$(basename $(readlink -f /dev/mapper/{disk}))/stat); echo $7");
    Ok(vm.ok(&script)?.trim().parse()?)
}
