//! A migration whose target loses a member that it can't do without, before anything came to it: the volume goes on where it
//! is, the migration is blocked, and goes on by itself when another member is in the place.

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::ledger::Ledger;
use qemu_tests::shape::Shape;
use qemu_tests::wire::{Region, WriterSpec};

const VOLUME: &str = "restripe0";
/// The disk that comes in, by way of dm, and what is asked of it when it is to fail.
const WRAP: &str = "echo 0 $(blockdev --getsz /dev/vdb) linear /dev/vdb 0 | dmsetup create vdb; dmsetup mknodes";
const FAIL: &str = "echo 0 $(blockdev --getsz /dev/vdb) error | dmsetup load vdb; dmsetup suspend --nolockfs --noflush vdb; dmsetup resume vdb";

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c"] {
        disks.push(ctx.disk(name, 32 * MIB)?);
    }
    let vm = ctx.boot(&disks)?;
    vm.ok(WRAP)?;
    let shape = Shape::of("linear", 1);
    let device = format!("/dev/{VOLUME}");
    vm.create(VOLUME, &shape, &shape.devices())?;
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
    vm.ok(FAIL)?;
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
    vm.ok(&format!(
        "while [ -e /sys/block/{VOLUME}/restripe/members/1 ]; do sleep 0.1; done; dmsetup remove --retry vdb"
    ))?;
    vm.stop_volume(VOLUME)?;
    vm.assemble(VOLUME, &["/dev/vda".to_owned(), "/dev/vdc".to_owned()], "")?;
    vm.verify(&region, ledger.acknowledged())?;
    vm.stop_volume(VOLUME)?;
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}
