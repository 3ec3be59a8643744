//! What a volume's files say and do: values and their form, settings, pause and size, read-only assembly, the module held.

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Boot, Ctx, MIB};
use qemu_tests::disk::{Disk, sums};
use qemu_tests::vm::Vm;

const VOLUME: &str = "restripe0";
const SIZE: u64 = 16 * MIB;
/// Of a blank member so small: its first MiB and its last two are not data.
const DATA: u64 = 13 * MIB;
const ADOPTED: u64 = 8 * MIB;
/// Members of a volume.
const MOST: usize = 16;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["adopted", "b", "c", "d", "e"] {
        disks.push(ctx.disk(name, SIZE)?);
    }
    let boot = Boot {
        leaks: true,
        append: format!("brd.rd_nr={MOST} brd.rd_size={}", SIZE / 1024),
        ..Boot::default()
    };
    let vm = ctx.boot_as(&disks, &boot)?;
    created(&vm)?;
    widest(&vm)?;
    read_only(&vm, &disks)?;
    degraded(&vm)?;
    adopted(&vm)?;
    paused(&vm)?;
    vm.must("stop", &format!("name={VOLUME}"))?;
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}

fn says(vm: &Vm, file: &str, wanted: &str) -> Result<()> {
    let said = vm.attr(VOLUME, file)?;
    ensure!(said == wanted, "{file} says {said:?} and not {wanted:?}");
    Ok(())
}

fn created(vm: &Vm) -> Result<()> {
    vm.must(
        "create",
        "level=raid5 chunk=4096 members=/dev/vdb,/dev/vdc,/dev/vdd",
    )?;
    vm.wait_volume(VOLUME, "sync_action", |action| action == "idle")?;
    vm.wait_volume(VOLUME, "array_state", |state| state == "clean")?;
    for (file, wanted) in [
        ("level", "raid5"),
        ("chunk_size", "4096"),
        ("raid_disks", "3"),
        ("target_level", "none"),
        ("target_chunk_size", "none"),
        ("target_raid_disks", "none"),
        ("migrate_state", "none"),
        ("migrate_position", "none"),
        ("sync_completed", "none"),
        ("sync_max", "max"),
        ("latency_target_us", "0"),
        ("journal", "auto"),
        ("journal_in_force", "0"),
        ("bitmap", "internal"),
        ("bitmap_in_force", "1"),
        // The least there is.
        ("bitmap_chunk", "1048576"),
        ("degraded", "0"),
        ("mismatch_cnt", "0"),
        ("mismatches", ""),
        ("members/1/dev", "/dev/vdc"),
        ("members/1/slot", "1"),
        ("members/1/state", "in_sync"),
        ("members/1/size", "16777216"),
        ("members/1/read_errors", "0"),
        ("members/1/write_errors", "0"),
    ] {
        says(vm, file, wanted)?;
    }
    says(vm, "size", &(2 * DATA).to_string())?;
    vm.must("examine", "dev=/dev/vdc")?;
    let examined = vm.class("examine")?;
    let uuid = vm.attr(VOLUME, "uuid")?;
    for line in [
        format!("uuid: {uuid}"),
        "member: 1".into(),
        "set_0_level: raid5".into(),
        format!("name: {VOLUME}"),
    ] {
        ensure!(
            examined.lines().any(|l| l == line),
            "examine does not say {line:?}:\n{examined}"
        );
    }
    settings(vm)?;
    let tree = vm.ok("lsblk -n -o NAME /dev/vdb")?;
    ensure!(
        tree.contains(VOLUME),
        "lsblk does not show {VOLUME} under its member:\n{tree}"
    );
    ensure!(
        vm.sh("rmmod restripe")?.status != 0,
        "the module went under a volume"
    );
    resized(vm)
}

/// As many members as a volume can have: `examine` has more to say than a page holds.
fn widest(vm: &Vm) -> Result<()> {
    let members = (0..MOST).map(|n| format!("/dev/ram{n}"));
    let members = members.collect::<Vec<_>>().join(",");
    vm.must("create", &format!("level=raid0 members={members} name=restripe9"))?;
    vm.must("examine", "dev=/dev/ram15")?;
    let examined = vm.class("examine")?;
    ensure!(
        examined.len() > 4096,
        "that would have been a page:\n{examined}"
    );
    for id in 0..MOST {
        let uuid = vm.attr("restripe9", &format!("members/{id}/uuid"))?;
        let line = format!("member_{id}_uuid: {uuid}");
        ensure!(
            examined.lines().any(|l| l == line),
            "examine does not say {line:?}:\n{examined}"
        );
    }
    ensure!(
        examined.ends_with("\nmember_15_adopted: 0"),
        "examine ends early:\n{examined}"
    );
    vm.must("stop", "name=restripe9")
}

/// What `journal` and `bitmap` say is durable on members when they are in force; parity that is
/// journaled needs no bitmap.
fn settings(vm: &Vm) -> Result<()> {
    for (file, word, in_force) in [
        ("bitmap", "none", [("bitmap_in_force", "0"), ("bitmap_chunk", "0")]),
        ("bitmap", "internal", [("bitmap_in_force", "1"), ("bitmap_chunk", "1048576")]),
        ("journal", "always", [("journal_in_force", "1"), ("bitmap_in_force", "0")]),
        ("journal", "auto", [("journal_in_force", "0"), ("bitmap_in_force", "1")]),
    ] {
        vm.must_set(VOLUME, file, word)?;
        says(vm, file, word)?;
        for (file, wanted) in in_force {
            vm.wait_volume(VOLUME, file, |said| said == wanted)?;
        }
        vm.must("examine", "dev=/dev/vdc")?;
        let examined = vm.class("examine")?;
        let line = format!("{file}: {word}");
        ensure!(examined.lines().any(|l| l == line), "no {line:?} in:\n{examined}");
    }
    Ok(())
}

fn resized(vm: &Vm) -> Result<()> {
    for size in [DATA, 2 * DATA] {
        vm.must_set(VOLUME, "size", &size.to_string())?;
        vm.wait_volume(VOLUME, "size", |said| said == size.to_string())?;
        let disk = format!("/sys/block/{VOLUME}/size");
        vm.wait_attr(&disk, |sectors| sectors == (size / 512).to_string())?;
    }
    Ok(())
}

fn read_only(vm: &Vm, disks: &[Disk]) -> Result<()> {
    vm.must("stop", &format!("name={VOLUME}"))?;
    let members = "members=/dev/vdb,/dev/vdc,/dev/vdd";
    let before = sums(disks)?;
    vm.must("assemble", &format!("{members} read_only=1"))?;
    says(vm, "array_state", "read_only")?;
    vm.ok(&format!(
        "dd if=/dev/{VOLUME} of=/dev/null bs=1M status=none"
    ))?;
    let write = vm.sh(&format!(
        "dd if=/dev/zero of=/dev/{VOLUME} bs=4096 count=1 oflag=direct"
    ))?;
    ensure!(write.status != 0, "a read-only volume took a write");
    for (file, line) in [
        ("migrate", "level=raid0"),
        ("sync_action", "repair"),
        ("size", "4096"),
        ("journal", "off"),
        ("bitmap", "none"),
    ] {
        vm.set_refused(VOLUME, file, line)?;
    }
    vm.must("stop", &format!("name={VOLUME}"))?;
    ensure!(
        before == sums(disks)?,
        "a read-only assembly wrote to a disk"
    );
    vm.must("assemble", members)
}

/// Ends with the volume stopped.
fn degraded(vm: &Vm) -> Result<()> {
    vm.must("stop", &format!("name={VOLUME}"))?;
    vm.must("assemble", "members=/dev/vdb,/dev/vdc degraded=1")?;
    for (file, wanted) in [
        ("array_state", "degraded"),
        ("degraded", "1"),
        ("members/1/state", "in_sync"),
        ("members/2/dev", "none"),
        ("members/2/state", "missing"),
    ] {
        says(vm, file, wanted)?;
    }
    vm.must("stop", &format!("name={VOLUME}"))?;
    // What it missed is not asked for again: it comes back as one that left.
    vm.must("assemble", "members=/dev/vdb,/dev/vdc,/dev/vdd")?;
    says(vm, "degraded", "1")?;
    says(vm, "members/2/dev", "none")?;
    vm.must("stop", &format!("name={VOLUME}"))
}

fn adopted(vm: &Vm) -> Result<()> {
    vm.ok(
        "dd if=/dev/urandom of=/tmp/adopted bs=1M count=8 status=none
         dd if=/tmp/adopted of=/dev/vda bs=1M conv=fsync status=none",
    )?;
    vm.must("adopt", &format!("dev=/dev/vda size={ADOPTED}"))?;
    vm.ok(&format!("cmp -n {ADOPTED} /dev/{VOLUME} /tmp/adopted"))?;
    for (file, wanted) in [
        ("level", "linear"),
        ("chunk_size", "0"),
        ("raid_disks", "1"),
        ("members/0/dev", "/dev/vda"),
    ] {
        says(vm, file, wanted)?;
    }
    says(vm, "size", &ADOPTED.to_string())
}

/// A pause that outlives the volume, and settings made before there is a migration.
fn paused(vm: &Vm) -> Result<()> {
    let uevents: u64 = vm.ok("cat /sys/kernel/uevent_seqnum")?.trim().parse()?;
    vm.must_set(VOLUME, "sync_speed_max", "1048576")?;
    says(vm, "sync_speed_max", "1048576")?;
    vm.must_set(VOLUME, "sync_max", "8192")?;
    vm.must_set(
        VOLUME,
        "migrate",
        "level=raid5 add=/dev/vdb,/dev/vde force=1",
    )?;
    let state = vm.attr(VOLUME, "migrate_state")?;
    ensure!(
        state == "running",
        "migrate_state says {state} right after migrate"
    );
    vm.wait_volume(VOLUME, "migrate_position", |at| at == "8192")?;
    for (file, wanted) in [
        ("target_level", "raid5"),
        ("target_chunk_size", "65536"),
        ("target_raid_disks", "3"),
        ("sync_max", "8192"),
    ] {
        says(vm, file, wanted)?;
    }
    vm.wait_volume(VOLUME, "members/2/dev", |dev| dev == "/dev/vde")?;
    vm.must_set(VOLUME, "migrate_state", "pause")?;
    vm.wait_volume(VOLUME, "migrate_state", |state| state == "paused")?;
    let after: u64 = vm.ok("cat /sys/kernel/uevent_seqnum")?.trim().parse()?;
    ensure!(after > uevents, "nobody was told that a migration began");

    vm.must("stop", &format!("name={VOLUME}"))?;
    let members = "members=/dev/vda,/dev/vdb,/dev/vde";
    vm.must("assemble", members)?;
    vm.wait_volume(VOLUME, "migrate_state", |state| state == "paused")?;
    says(vm, "migrate_position", "8192")?;
    vm.ok(&format!("cmp -n {ADOPTED} /dev/{VOLUME} /tmp/adopted"))?;
    vm.must_set(VOLUME, "sync_max", "max")?;
    vm.must_set(VOLUME, "migrate_state", "resume")?;
    vm.wait_migrated(VOLUME)?;
    says(vm, "level", "raid5")?;
    vm.ok(&format!("cmp -n {ADOPTED} /dev/{VOLUME} /tmp/adopted"))?;
    ensure!(vm.check_parity(VOLUME)? == 0, "parity is not true");
    Ok(())
}
