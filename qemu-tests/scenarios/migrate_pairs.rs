//! A mounted disk goes from layout to layout under load, onto more disks and back again, turned round once on the way and cut
//! off in both migrations that go down; in the end it is a plain disk once more, which mounts without the module.

use anyhow::{Context, Result, ensure};
use qemu_tests::content::Filesystem;
use qemu_tests::ctx::{Boot, Ctx, MIB};
use qemu_tests::journey::{Journey, Load, Plan, VOLUME};
use qemu_tests::shape::devices;
use qemu_tests::vm::Vm;

/// KiB per second of a migration that something is to happen to.
const PACE: &str = "4096";

/// The file system, which the volume never becomes smaller than.
const SIZE: u64 = 48 * MIB;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let plan = Plan {
        files: "process",
        filesystem_size: SIZE,
        disk_size: 64 * MIB,
        fio_size: 2 * MIB,
        acked_blocks: 256,
        ..Plan::small(Filesystem::Ext4, "", 4)
    };
    let mut journey = Journey::prepare(ctx, plan)?;
    let vm = ctx.boot(&journey.disks)?;
    journey.adopt(&vm)?;
    let load = journey.load(ctx, &vm)?;

    go(&vm, "level=raid5 chunk=131072 add=/dev/vdb,/dev/vdc", 3)?;
    turn_round(&vm, "level=raid6 add=/dev/vdd", "/dev/vdd")?;
    go(&vm, "level=raid6 add=/dev/vdd", 4)?;
    go(&vm, "level=raid10", 4)?;
    go(&vm, "level=raid5 chunk=65536", 4)?;
    let (vm, load) = cut_amid(ctx, &mut journey, vm, load, "level=raid0 remove=2,3", 4)?;
    arrive(&vm, "raid0", 2)?;
    let (vm, load) = cut_amid(ctx, &mut journey, vm, load, "level=linear remove=1", 2)?;
    arrive(&vm, "linear", 1)?;

    for left in devices(1..4) {
        is_free(&vm, &left)?;
    }
    journey.end_load(&vm, load)?;
    journey.check(&vm)?;
    journey.end(vm)?;

    let bare = Boot {
        without_module: true,
        ..Boot::default()
    };
    let vm = ctx.boot_as(&journey.disks, &bare)?;
    vm.ok("mount -o ro /dev/vda /mnt")
        .context("the disk does not mount as the plain one that it is again")?;
    vm.check_tree("/mnt", &journey.tree)?;
    vm.shutdown()
}

/// A migration from start to end.
fn go(vm: &Vm, line: &str, members: u64) -> Result<()> {
    begin(vm, line)?;
    let level = line.split_whitespace().next().unwrap_or_default();
    arrive(vm, level.trim_start_matches("level="), members).with_context(|| line.to_owned())
}

/// Starts a migration of a volume no larger than it was at first, so that any set can hold it.
fn begin(vm: &Vm, line: &str) -> Result<()> {
    vm.must_set(VOLUME, "size", &SIZE.to_string())?;
    vm.must_set(VOLUME, "migrate", line)
}

/// The migration ends where it was to.
fn arrive(vm: &Vm, level: &str, members: u64) -> Result<()> {
    vm.must_set(VOLUME, "sync_speed_max", "0")?;
    vm.wait_migrated(VOLUME)?;
    let now = (vm.attr(VOLUME, "level")?, vm.number(VOLUME, "raid_disks")?);
    ensure!(
        now == (level.to_owned(), members),
        "it is {} over {} and was to be {level} over {members}",
        now.0,
        now.1
    );
    Ok(())
}

/// Goes a third of the way, and back.
fn turn_round(vm: &Vm, line: &str, added: &str) -> Result<()> {
    let words = ["level", "raid_disks", "chunk_size"];
    let before = words.map(|word| vm.attr(VOLUME, word).unwrap_or_default());
    vm.must_set(VOLUME, "sync_speed_max", PACE)?;
    begin(vm, line)?;
    ensure!(
        vm.wait_done(VOLUME, SIZE / 512 / 3)?,
        "the migration was over before it was aborted"
    );
    vm.must_set(VOLUME, "migrate_state", "abort")?;
    let state = vm.attr(VOLUME, "migrate_state")?;
    ensure!(state == "aborting", "an aborted migration is {state}");
    vm.must_set(VOLUME, "sync_speed_max", "0")?;
    vm.wait_migrated(VOLUME)?;
    let after = words.map(|word| vm.attr(VOLUME, word).unwrap_or_default());
    ensure!(before == after, "it came back as {after:?} and was {before:?}");
    let refusal = vm.set_refused(VOLUME, "migrate_state", "abort")?;
    ensure!(refusal.last_error.contains("no migration"), "{refusal}");
    vm.ensure_in_sync(VOLUME)?;
    is_free(vm, added)
}

/// Nothing of restripe is on a disk, and nobody has it.
fn is_free(vm: &Vm, device: &str) -> Result<()> {
    let refusal = vm.refused("examine", &format!("dev={device}"))?;
    ensure!(
        refusal.errno == 61 && refusal.last_error.contains("superblock"),
        "{device} has left: {refusal}"
    );
    let disk = device.trim_start_matches("/dev/");
    let holders = vm.ok(&format!("ls /sys/block/{disk}/holders"))?;
    ensure!(holders.trim().is_empty(), "{device} is held by {holders}");
    Ok(())
}

/// Starts a migration that goes down, cuts the power in its middle, and boots anew.
fn cut_amid(
    ctx: &mut Ctx,
    journey: &mut Journey,
    vm: Vm,
    load: Load,
    line: &str,
    members: usize,
) -> Result<(Vm, Load)> {
    vm.must_set(VOLUME, "sync_speed_max", PACE)?;
    begin(&vm, line)?;
    let first = vm.number(VOLUME, "migrate_position")?;
    let half = vm.wait_done(VOLUME, SIZE / 512 / 2)?;
    ensure!(half, "the migration was over before it was cut: {line}");
    ensure!(first > 0, "{line} goes up: it began at the volume's start");
    let reached = vm.number(VOLUME, "migrate_position")?;
    journey.cut(vm, load)?;
    let vm = ctx.boot(&journey.disks)?;
    journey
        .come_back_on(&vm, &devices(0..members))
        .with_context(|| format!("cut at sector {reached} of {line}"))?;
    let load = journey.load(ctx, &vm)?;
    Ok((vm, load))
}
