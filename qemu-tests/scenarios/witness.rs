//! A disk whose file system fills it to its last sector is adopted with a blank one at hand, and becomes a RAID5 under load,
//! with the power cut on the way.

use anyhow::{Result, ensure};
use qemu_tests::content::Filesystem;
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::journey::{Journey, Plan, VOLUME};

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let plan = Plan {
        files: "process",
        filesystem_size: 48 * MIB,
        disk_size: 48 * MIB,
        fio_size: 2 * MIB,
        acked_blocks: 256,
        ..Plan::small(Filesystem::Ext4, "level=raid5", 4)
    };
    let mut journey = Journey::prepare(ctx, plan)?;
    let vm = ctx.boot(&journey.disks)?;
    let full = journey.plan.disk_size;
    let before = vm.checksum("/dev/vda", full)?;
    for (line, why) in [
        ("dev=/dev/vda", "room"),
        ("dev=/dev/vda witness=/dev/vda", "given twice"),
        ("dev=/dev/vda witness=/dev/nosuch", "does not exist"),
        (
            "dev=/dev/vdb size=16777216 witness=/dev/vdc",
            "needs no witness",
        ),
    ] {
        let refusal = vm.refused("adopt", line)?;
        ensure!(refusal.last_error.contains(why), "{line}: {refusal}");
    }
    vm.ok("mkfs.ext4 -q /dev/vdb")?;
    let refusal = vm.refused("adopt", "dev=/dev/vda witness=/dev/vdb")?;
    ensure!(refusal.last_error.contains("force=1"), "{refusal}");
    ensure!(
        vm.checksum("/dev/vda", full)? == before,
        "a refused line changed the disk"
    );

    vm.must(
        "adopt",
        &format!("dev=/dev/vda witness=/dev/vdb force=1 name={VOLUME}"),
    )?;
    ensure!(
        vm.number(VOLUME, "size")? == full,
        "the volume is not as large as the disk"
    );
    ensure!(
        vm.checksum(&format!("/dev/{VOLUME}"), full)? == before,
        "the volume does not hold what the disk held"
    );
    journey.mount(&vm)?;
    let load = journey.load(ctx, &vm)?;
    // That there is such a file is not durable yet, only what is in it.
    vm.ok("sync")?;
    journey.cut(vm, load)?;

    // At rest on the disk and its witness.
    let vm = ctx.boot(&journey.disks)?;
    ensure!(
        vm.sh("blkid -p /dev/vda")?.status == 2,
        "the full disk is still taken for a file system"
    );
    let both = "members=/dev/vda,/dev/vdb";
    vm.must("assemble", &format!("{both} name={VOLUME}"))?;
    journey.mount(&vm)?;
    let load = journey.load(ctx, &vm)?;
    vm.must_set(VOLUME, "sync_speed_max", "4096")?;
    vm.must_set(VOLUME, "migrate", "level=raid5 add=/dev/vdc,/dev/vdd")?;
    let reached = vm.wait_position(VOLUME, full / 512 / 3)?;
    ensure!(reached != "none", "the migration was over before it was cut");
    journey.cut(vm, load)?;

    let vm = ctx.boot(&journey.disks)?;
    journey.come_back(&vm)?;
    let load = journey.load(ctx, &vm)?;
    vm.must_set(VOLUME, "sync_speed_max", "0")?;
    vm.wait_migrated(VOLUME)?;
    journey.grow(&vm)?;
    journey.end_load(&vm, load)?;
    journey.check(&vm)?;
    journey.end(vm)
}
