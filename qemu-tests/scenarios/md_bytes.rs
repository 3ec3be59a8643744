//! The layouts are md's: the same data written through md and through restripe leave the same bytes on the members,
//! parity included.

use anyhow::{Context, Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::shape::devices;
use qemu_tests::vm::Vm;

const VOLUME: &str = "restripe0";
/// Where a blank member's data begin, in bytes. md's begin at 0 with metadata of version 1.0.
const DATA: u64 = MIB;
/// What a striped or mirrored volume uses of each member, in bytes: whole rows of every case.
const USED: u64 = 768 << 10;
/// So many disks for restripe, and then as many for md.
const DISKS: usize = 6;
/// Random bytes in the guest, more than any of the volumes holds.
const PATTERN: &str = "/tmp/pattern";

struct Case {
    level: &'static str,
    members: usize,
    /// KiB; 0 where the level has none.
    chunk: u64,
    /// Of raid10.
    copies: usize,
}

impl Case {
    /// Bytes of the volume that uses [`USED`] of each member.
    fn size(&self) -> u64 {
        let members = self.members as u64;
        match self.level {
            "raid1" => USED,
            "raid5" => USED * (members - 1),
            "raid6" => USED * (members - 2),
            "raid10" => USED * members / self.copies as u64,
            _ => USED * members,
        }
    }
}

const fn case(level: &'static str, members: usize, chunk: u64) -> Case {
    Case {
        level,
        members,
        chunk,
        copies: 0,
    }
}

const fn near(copies: usize, members: usize, chunk: u64) -> Case {
    Case {
        level: "raid10",
        members,
        chunk,
        copies,
    }
}

const CASES: [Case; 16] = [
    case("linear", 2, 0),
    case("linear", 3, 0),
    case("raid0", 2, 64),
    case("raid0", 5, 4),
    case("raid1", 2, 0),
    case("raid1", 3, 0),
    case("raid5", 3, 64),
    case("raid5", 4, 4),
    case("raid6", 4, 64),
    case("raid6", 5, 4),
    case("raid6", 6, 128),
    near(2, 2, 64),
    near(2, 3, 64),
    near(2, 5, 4),
    near(3, 4, 64),
    near(3, 6, 128),
];

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for number in 0..2 * DISKS {
        disks.push(ctx.disk(&format!("d{number}"), 5 * MIB)?);
    }
    let vm = ctx.boot_for_leaks(&disks)?;
    vm.ok(&format!(
        "head -c {} /dev/urandom > {PATTERN}",
        16 * MIB
    ))?;
    let mut compared = 0;
    for case in &CASES {
        let what = format!(
            "{} of {} members, chunks of {} KiB, copies {}",
            case.level, case.members, case.chunk, case.copies
        );
        compared += compare(&vm, case).context(what)?;
    }
    ctx.notes.push(format!(
        "{} layouts, {compared} KiB of members alike",
        CASES.len()
    ));
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}

/// Returns the KiB of members that were compared.
fn compare(vm: &Vm, case: &Case) -> Result<u64> {
    let (ours, theirs) = (
        devices(0..case.members),
        devices(DISKS..DISKS + case.members),
    );
    vm.ok(&format!(
        "for disk in {}; do blkdiscard -z $disk; done",
        theirs.join(" ")
    ))?;
    let mut words = String::new();
    if case.level != "linear" {
        words += &format!(" size={}", case.size());
    }
    if case.chunk > 0 {
        words += &format!(" chunk={}", case.chunk * 1024);
    }
    if case.copies > 0 {
        words += &format!(" copies={}", case.copies);
    }
    vm.must(
        "create",
        &format!(
            "level={} members={}{words} name={VOLUME} force=1",
            case.level,
            ours.join(",")
        ),
    )?;
    vm.settle(VOLUME)?;
    ensure!(vm.number(VOLUME, "raid_disks")? == case.members as u64);
    let size = vm.number(VOLUME, "size")?;
    let used = used(vm, case, &ours)?;
    make_array(vm, case, &theirs, &used)?;
    let offered: u64 = vm.ok("blockdev --getsize64 /dev/md0")?.trim().parse()?;
    ensure!(
        offered >= size,
        "md offers {offered} bytes and restripe {size}"
    );
    for device in ["/dev/md0".to_owned(), format!("/dev/{VOLUME}")] {
        write(vm, &device, size)?;
    }
    vm.ok("mdadm --stop --quiet /dev/md0")?;
    if case.level == "linear" {
        vm.ok("dmsetup remove_all --retry")?;
    }
    vm.stop_volume(VOLUME)?;
    let mut compared = 0;
    for ((our, their), bytes) in ours.iter().zip(&theirs).zip(&used) {
        vm.ok(&format!(
            "blockdev --flushbufs {our}; blockdev --flushbufs {their}
             cmp --ignore-initial={DATA}:0 --bytes={bytes} {our} {their}"
        ))
        .with_context(|| format!("{our} is not what md makes of {their}"))?;
        compared += bytes / 1024;
    }
    Ok(compared)
}

/// The bytes of each member that hold the volume.
fn used(vm: &Vm, case: &Case, members: &[String]) -> Result<Vec<u64>> {
    if case.level != "linear" {
        return Ok(vec![USED; members.len()]);
    }
    // One slot, with an extent on each: `member 1, sectors 2048 + 10240`.
    vm.must("examine", &format!("dev={}", members[0]))?;
    let text = vm.class("examine")?;
    let extents = text.lines().filter(|line| line.starts_with("set_0_slot_0: "));
    let used: Vec<u64> = extents
        .map(|line| {
            let (_, len) = line.rsplit_once("+ ").context("an extent has a length")?;
            Ok(len.parse::<u64>()? * 512)
        })
        .collect::<Result<_>>()?;
    ensure!(used.len() == members.len(), "the extents are:\n{text}");
    Ok(used)
}

fn make_array(vm: &Vm, case: &Case, members: &[String], used: &[u64]) -> Result<()> {
    let count = members.len();
    if case.level == "linear" {
        // It takes all of its members, so these are made just as long; and it has no use for metadata.
        let mut names = Vec::new();
        for (disk, bytes) in members.iter().zip(used) {
            let name = format!("md_{}", disk.trim_start_matches("/dev/"));
            vm.ok(&format!(
                "echo 0 {} linear {disk} 0 | dmsetup create {name}; dmsetup mknodes",
                bytes / 512
            ))?;
            names.push(format!("/dev/mapper/{name}"));
        }
        vm.ok(&format!(
            "mdadm --build /dev/md0 --quiet --level=linear --rounding=4 --raid-devices={count} {}",
            names.join(" ")
        ))?;
        return Ok(());
    }
    let mut words = String::new();
    if case.chunk > 0 {
        words += &format!(" --chunk={}", case.chunk);
    }
    if case.level != "raid0" {
        // Blank disks are in sync: their copies are alike, and their parity is zero.
        words += &format!(" --size={} --assume-clean --bitmap=none", used[0] / 1024);
    }
    if case.copies > 0 {
        words += &format!(" --layout=n{}", case.copies);
    }
    vm.ok(&format!(
        "mdadm --create /dev/md0 --run --quiet --metadata=1.0 --level={}{words} --raid-devices={count} {}",
        case.level,
        members.join(" ")
    ))?;
    Ok(())
}

/// All of the device, and then parts of every kind over it: within a sector's neighbours, over chunks, over stripes.
fn write(vm: &Vm, device: &str, size: u64) -> Result<()> {
    let mut script = format!(
        "set -e; dd if={PATTERN} of={device} bs=1M iflag=count_bytes count={size} oflag=direct conv=notrunc status=none\n"
    );
    let sectors = size / 512;
    for (number, count) in [1, 7, 8, 100, 300, 1111].into_iter().enumerate() {
        let seek = (sectors - count) / 7 * (number as u64 + 1);
        let skip = seek + 12_345 * 8 % sectors;
        script += &format!(
            "dd if={PATTERN} of={device} bs=$((512 * {count})) count=1 skip={} iflag=skip_bytes seek={} oflag=direct,seek_bytes conv=notrunc status=none\n",
            skip * 512,
            seek * 512
        );
    }
    vm.ok(&script)?;
    Ok(())
}
