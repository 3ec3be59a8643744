//! A disk that has become a member is not mistaken for the file system it was: without the module nothing finds one on any
//! member, neither in the middle of the migration nor after it; with the module everything is there.

use anyhow::{Context, Result, ensure};
use qemu_tests::content::Filesystem;
use qemu_tests::ctx::{Boot, Ctx, MIB};
use qemu_tests::journey::{Journey, Plan, VOLUME};
use qemu_tests::vm::Vm;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let plan = Plan {
        files: "process",
        filesystem_size: 48 * MIB,
        disk_size: 64 * MIB,
        fio_size: 2 * MIB,
        acked_blocks: 256,
        ..Plan::small(Filesystem::Ext4, "level=raid5", 3)
    };
    let mut journey = Journey::prepare(ctx, plan)?;
    let bare = Boot {
        without_module: true,
        ..Boot::default()
    };

    let vm = ctx.boot(&journey.disks)?;
    ensure!(
        vm.finds("/dev/vda")?,
        "blkid does not know the file system there is: it can't show that there is none"
    );
    journey.adopt(&vm)?;
    let load = journey.load(ctx, &vm)?;
    vm.must_set(VOLUME, "sync_speed_max", "6144")?;
    journey.migrate(&vm)?;
    let third = vm.number(VOLUME, "size")? / 512 / 3;
    let reached = vm.wait_position(VOLUME, third)?;
    ensure!(reached != "none", "the migration was over before it was cut");
    journey.cut(vm, load)?;

    let vm = ctx.boot_as(&journey.disks, &bare)?;
    finds_nothing(&vm, &journey).context("in the middle of the migration")?;
    vm.shutdown()?;

    let vm = ctx.boot_for_leaks(&journey.disks)?;
    journey.come_back(&vm)?;
    let load = journey.load(ctx, &vm)?;
    vm.must_set(VOLUME, "sync_speed_max", "0")?;
    vm.wait_migrated(VOLUME)?;
    journey.grow(&vm)?;
    journey.end_load(&vm, load)?;
    journey.check(&vm)?;
    journey.end(vm)?;

    let vm = ctx.boot_as(&journey.disks, &bare)?;
    finds_nothing(&vm, &journey).context("after the migration")?;
    vm.shutdown()
}

/// Nothing is found on any member, and none can be mounted.
fn finds_nothing(vm: &Vm, journey: &Journey) -> Result<()> {
    for device in journey.devices() {
        ensure!(!vm.finds(&device)?, "blkid finds something on {device}");
        for how in ["-t ext4 -o ro,noload", "-o ro"] {
            let output = vm.sh(&format!("mount {how} {device} /mnt"))?;
            ensure!(output.status != 0, "mount {how} takes {device}");
        }
    }
    Ok(())
}
