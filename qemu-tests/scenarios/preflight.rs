//! What a migration would do, before it does it: the plan, and a scan of all members that finds a sector that can't be
//! read. Nothing is changed on any disk by either.

use anyhow::{Context, Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::disk::{Disk, sums};
use qemu_tests::restripe::completed;
use qemu_tests::vm::Vm;

const VOLUME: &str = "restripe0";
const SIZE: u64 = 32 * MIB;
const DATA: u64 = 16 * MIB;
/// A sector of the disk that is made to fail, in the part that holds the volume.
const BAD: u64 = 12_345;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c"] {
        disks.push(ctx.disk(name, SIZE)?);
    }
    let vm = ctx.boot_for_leaks(&disks)?;
    // By way of dm, so that a sector can be made to fail.
    vm.ok(&format!(
        "dd if=/dev/urandom of=/dev/vda bs=1M count=16 conv=fsync status=none
         {}",
        table("create", false)
    ))?;
    let adopted = "/dev/mapper/a";
    vm.must("adopt", &format!("dev={adopted} size={DATA}"))?;
    vm.settle(VOLUME)?;
    vm.wait_volume(VOLUME, "array_state", |state| state == "clean")?;
    let before = contents(&vm, &disks)?;

    dry_run(&vm)?;
    scanned(&vm)?;
    ended(&vm)?;
    unreadable(&vm)?;
    ensure!(before == contents(&vm, &disks)?, "a disk has changed");

    // Mended, it begins by itself when all is read.
    vm.ok(&table("reload", false))?;
    vm.must_set(
        VOLUME,
        "migrate",
        "level=raid5 add=/dev/vdb,/dev/vdc scan=1",
    )?;
    vm.wait_volume(VOLUME, "level", |level| level == "raid5")
        .context("the migration does not come after the scan")?;
    vm.wait_migrated(VOLUME)?;
    vm.settle(VOLUME)?;
    vm.ensure_in_sync(VOLUME)?;
    vm.stop_volume(VOLUME)?;

    // A volume can be stopped under a scan.
    vm.must("assemble", &format!("members={adopted},/dev/vdb,/dev/vdc"))?;
    vm.settle(VOLUME)?;
    vm.must_set(VOLUME, "sync_speed_max", "64")?;
    vm.must_set(VOLUME, "migrate", "level=raid0 scan=1 dry_run=1")?;
    vm.stop_volume(VOLUME)?;
    vm.ok("dmsetup remove --retry a")?;
    trimmed(&vm)?;
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}

/// A script that makes or changes the device of the first disk, of which a sector may be bad.
fn table(verb: &str, bad: bool) -> String {
    let sectors = SIZE / 512;
    let behind = BAD + 1;
    let whole = format!("0 {sectors} linear /dev/vda 0");
    let broken = format!(
        "0 {BAD} linear /dev/vda 0\\n{BAD} 1 error\\n{behind} {} linear /dev/vda {behind}",
        sectors - behind
    );
    let lines = if bad { broken } else { whole };
    match verb {
        "create" => format!("printf '{lines}\\n' | dmsetup create a; dmsetup mknodes"),
        _ => format!(
            "printf '{lines}\\n' | dmsetup load a; dmsetup suspend --nolockfs a; dmsetup resume a"
        ),
    }
}

fn dry_run(vm: &Vm) -> Result<()> {
    for (line, wanted) in [
        (
            "level=raid5 add=/dev/vdb,/dev/vdc chunk=4096",
            vec![
                "level: linear to raid5".to_owned(),
                "members: 1 to 3".into(),
                "chunk: 0 to 4096".into(),
                format!("capacity_before: {DATA}"),
                // Of a blank member its first MiB and its last two are not data.
                format!("capacity_after: {}", 2 * 29 * MIB),
                "failures_survived_before: 0".into(),
                "failures_survived_after: 1".into(),
                format!("bytes_to_move: {DATA}"),
                format!("bytes_to_write: {}", DATA / 2 * 3),
                "stash_windows: 0".into(),
            ],
        ),
        (
            "level=raid1 add=/dev/vdb,/dev/vdc",
            vec![
                "level: linear to raid1".into(),
                // The disk itself stays as it is.
                format!("bytes_to_write: {}", 2 * DATA),
                format!("capacity_after: {}", 29 * MIB),
                "failures_survived_after: 2".into(),
                // The adopted disk has no superblock in front.
                format!("unused_of_member_0: {MIB}"),
            ],
        ),
    ] {
        vm.must_set(VOLUME, "migrate", &format!("{line} dry_run=1"))?;
        let plan = vm.attr(VOLUME, "plan")?;
        for line in wanted {
            ensure!(
                plan.lines().any(|said| said == line),
                "the plan does not say {line:?}:\n{plan}"
            );
        }
    }
    // What would refuse it.
    vm.set_refused(VOLUME, "migrate", "level=raid5 add=/dev/vdb dry_run=1")?;
    let plan = vm.attr(VOLUME, "plan")?;
    ensure!(
        plan.starts_with("refused: ") && plan.contains("raid5"),
        "the plan says {plan:?}"
    );
    ensure!(vm.attr(VOLUME, "migrate_state")? == "none");
    Ok(())
}

/// A new volume over disks that are not alike says what it leaves unused.
fn trimmed(vm: &Vm) -> Result<()> {
    let (small, rest) = (SIZE - 8 * MIB, 8 * MIB);
    vm.ok(&format!(
        "dmsetup create small --table '0 {} linear /dev/vda 0'; dmsetup mknodes",
        small / 512
    ))?;
    vm.must(
        "create",
        "level=raid1 members=/dev/mapper/small,/dev/vdb assume_clean=1 force=1 name=restripe0",
    )?;
    let log = vm.ok("dmesg")?;
    let wanted = format!("restripe0: {rest} bytes at the end of /dev/vdb are not used");
    ensure!(log.contains(&wanted), "the kernel log lacks {wanted:?}");
    ensure!(!log.contains("of /dev/mapper/small are not used"));
    vm.stop_volume(VOLUME)?;
    vm.ok("dmsetup remove --retry small").map(drop)
}

/// Waits for the end of a scan and gives the last line of the plan.
fn verdict(vm: &Vm) -> Result<String> {
    vm.wait_volume(VOLUME, "sync_action", |action| action != "scan")?;
    let plan = vm.attr(VOLUME, "plan")?;
    Ok(plan.lines().last().unwrap_or_default().to_owned())
}

fn scanned(vm: &Vm) -> Result<()> {
    // So slow that it goes on until it is let go, on a slow machine too.
    vm.must_set(VOLUME, "sync_speed_max", "1024")?;
    vm.must_set(
        VOLUME,
        "migrate",
        "level=raid5 add=/dev/vdb,/dev/vdc scan=1 dry_run=1",
    )?;
    ensure!(vm.attr(VOLUME, "sync_action")? == "scan");
    let said = vm.wait_volume(VOLUME, "sync_completed", |text| {
        completed(text).is_none_or(|(done, _)| done > 0)
    })?;
    let (done, total) = completed(&said).context("it was over before it was seen")?;
    ensure!(
        done < total && total > 3 * 29 * MIB / 512 && total <= 3 * SIZE / 512,
        "sync_completed says {said}"
    );
    // One at a time, and nothing beside it.
    for (file, line) in [
        ("migrate", "level=raid1 add=/dev/vdb"),
        ("sync_action", "check"),
    ] {
        let refusal = vm.set_refused(VOLUME, file, line)?;
        ensure!(
            refusal.errno == 16 && refusal.last_error.contains("being read"),
            "{file}: {refusal}"
        );
    }
    vm.must_set(VOLUME, "sync_speed_max", "0")?;
    let last = verdict(vm)?;
    ensure!(
        last == format!("scan: {} bytes read, no error", total * 512),
        "the plan ends with {last:?}"
    );
    ensure!(
        vm.attr(VOLUME, "migrate_state")? == "none",
        "a dry run migrates"
    );
    Ok(())
}

/// The user ends it.
fn ended(vm: &Vm) -> Result<()> {
    vm.must_set(VOLUME, "sync_speed_max", "64")?;
    vm.must_set(VOLUME, "migrate", "level=raid1 add=/dev/vdb scan=1")?;
    ensure!(vm.attr(VOLUME, "sync_action")? == "scan");
    vm.must_set(VOLUME, "sync_action", "idle")?;
    let last = verdict(vm)?;
    ensure!(last.contains("ended"), "the plan says {last:?}");
    ensure!(
        vm.attr(VOLUME, "level")? == "linear" && vm.attr(VOLUME, "migrate_state")? == "none",
        "it migrates all the same"
    );
    vm.must_set(VOLUME, "sync_speed_max", "0")
}

fn unreadable(vm: &Vm) -> Result<()> {
    vm.ok(&table("reload", true))?;
    vm.must_set(
        VOLUME,
        "migrate",
        "level=raid5 add=/dev/vdb,/dev/vdc scan=1",
    )?;
    let last = verdict(vm)?;
    ensure!(
        last.starts_with("refused: member 0 ") && last.contains(&format!("sector {BAD};")),
        "the plan says {last:?}"
    );
    ensure!(
        vm.class("last_error")?.contains(&format!("sector {BAD};")),
        "last_error does not say so"
    );
    ensure!(vm.attr(VOLUME, "migrate_state")? == "none" && vm.attr(VOLUME, "level")? == "linear");
    Ok(())
}

/// Checksums of the disks, with all written that was to be.
fn contents(vm: &Vm, disks: &[Disk]) -> Result<Vec<u32>> {
    vm.wait_volume(VOLUME, "array_state", |state| state == "clean")?;
    vm.ok("sync")?;
    sums(disks)
}
