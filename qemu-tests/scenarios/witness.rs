//! A disk whose file system fills it to its last sector is adopted with a blank one at hand, and becomes a RAID5 under load,
//! with the power cut on the way: while a disk is being adopted, at rest on the two, and in the migration.

use anyhow::{Result, ensure};
use qemu_tests::content::Filesystem;
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::journey::{Journey, Plan, VOLUME};
use qemu_tests::vm::Vm;

/// Bytes of every disk; 2 MiB of it are to be the reserve.
const SIZE: u64 = 24 * MIB;
/// Bytes of the disk, and of its witness, in whose adoption the power is cut.
const CUT: u64 = 6 * MIB;
/// Bytes per second that they do: reading the end of one and writing it to the other takes a second.
const SLOW: u64 = 4 * MIB;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let plan = Plan {
        files: "process",
        filesystem_size: SIZE,
        disk_size: SIZE,
        fio_size: 2 * MIB,
        acked_blocks: 256,
        ..Plan::small(Filesystem::Ext4, "level=raid5", 3)
    };
    let mut journey = Journey::prepare(ctx, plan)?;
    for name in ["cut", "witness"] {
        journey.disks.push(ctx.disk(name, CUT)?.throttled(SLOW, 0));
    }
    let vm = ctx.boot(&journey.disks)?;
    fill(&vm)?;
    let before = vm.checksum("/dev/vda", SIZE)?;
    vm.must(
        "adopt",
        &format!("dev=/dev/vda witness=/dev/vdb name={VOLUME}"),
    )?;
    ensure!(
        vm.number(VOLUME, "size")? == SIZE,
        "the volume is not as large as the disk"
    );
    ensure!(
        vm.checksum(&format!("/dev/{VOLUME}"), SIZE)? == before,
        "the volume does not hold what the disk held"
    );
    journey.mount(&vm)?;
    check_filler(&vm)?;
    let mut load = journey.load(ctx, &vm)?;
    // That there is such a file is not durable yet, only what is in it.
    vm.ok("sync")?;
    vm.ok(&format!("dd if=/dev/urandom of=/dev/vdd bs=1M count={} oflag=direct status=none", CUT / MIB))?;
    let cut = vm.checksum("/dev/vdd", CUT)?;
    let adopting = vm.spawn(&format!(
        "echo dev=/dev/vdd size={CUT} witness=/dev/vde force=1 name=restripe1 > /sys/class/restripe/adopt"
    ))?;
    // In the middle of it, or soon after.
    if ctx.random.bool() {
        adopting.ok()?;
    }
    load.wait_acks(ctx.random.u64(1..500))?;
    journey.cut(vm, load)?;
    for disk in &mut journey.disks[3..] {
        *disk = disk.clone().throttled(0, 0);
    }

    let vm = ctx.boot(&journey.disks)?;
    ctx.notes.push(after_cut(&vm, &cut)?);
    page_cache(&vm)?;
    // At rest on the disk and its witness.
    ensure!(
        vm.sh("blkid -p /dev/vda")?.status == 2,
        "the full disk is still taken for a file system"
    );
    let pair: Vec<_> = journey.devices()[..2].to_vec();
    journey.come_back_on(&vm, &pair)?;
    check_filler(&vm)?;
    let load = journey.load(ctx, &vm)?;
    vm.must_set(VOLUME, "sync_speed_max", "4096")?;
    vm.must_set(VOLUME, "migrate", "level=raid5 add=/dev/vdc")?;
    let reached = vm.wait_position(VOLUME, SIZE / 512 / 3)?;
    ensure!(reached != "none", "the migration was over before it was cut");
    journey.cut(vm, load)?;

    let vm = ctx.boot_for_leaks(&journey.disks)?;
    let three: Vec<_> = journey.devices()[..3].to_vec();
    journey.come_back_on(&vm, &three)?;
    let load = journey.load(ctx, &vm)?;
    vm.must_set(VOLUME, "sync_speed_max", "0")?;
    vm.wait_migrated(VOLUME)?;
    journey.grow(&vm)?;
    journey.end_load(&vm, load)?;
    check_filler(&vm)?;
    journey.check(&vm)?;
    journey.end(vm)
}

/// Fills the file system with one more file, up to the disk's end, and leaves room for the load elsewhere. Every line of
/// 8 bytes tells where it is.
fn fill(vm: &Vm) -> Result<()> {
    vm.ok(
        "mount /dev/vda /mnt
         echo 0 > /sys/fs/ext4/vda/reserved_clusters
         fallocate -l 6M /mnt/room
         seq 1000000 9999999 | dd of=/mnt/filler bs=64k iflag=fullblock oflag=direct status=none || true
         rm /mnt/room
         umount /mnt",
    )?;
    let last = vm.ok("tail -c 65536 /dev/vda | tr -d '\\000' | wc -c")?;
    let last: u64 = last.trim().parse()?;
    ensure!(last > 60_000, "the file system does not use the disk's end");
    Ok(())
}

/// Whether the file still holds what it was filled with.
fn check_filler(vm: &Vm) -> Result<()> {
    vm.ok(
        "echo 3 > /proc/sys/vm/drop_caches
         size=$(stat -c %s /mnt/filler)
         [ $size -gt $((8 << 20)) ]
         seq 1000000 $((999999 + size / 8)) | cmp - /mnt/filler",
    )?;
    Ok(())
}

/// The cut found an adoption somewhere: the disk is what it was, or a volume that holds what the disk held. Says which.
fn after_cut(vm: &Vm, checksum: &str) -> Result<String> {
    let pair = ["/dev/vdd".to_owned(), "/dev/vde".to_owned()];
    let Err(refusal) = vm.control("assemble", &format!("members={} name=restripe1", pair.join(",")))? else {
        ensure!(vm.checksum("/dev/restripe1", CUT)? == checksum, "the volume lost data");
        vm.stop_volume("restripe1")?;
        return Ok("the adoption that was cut off went on".into());
    };
    ensure!(refusal.last_error.contains("no restripe superblock"), "{refusal}");
    ensure!(vm.checksum("/dev/vdd", CUT)? == checksum, "the disk lost data");
    vm.must("adopt", &format!("dev=/dev/vdd size={CUT} witness=/dev/vde force=1 name=restripe1"))?;
    ensure!(vm.checksum("/dev/restripe1", CUT)? == checksum, "the volume lost data");
    vm.stop_volume("restripe1")?;
    Ok("the disk whose adoption was cut off was what it was, and was adopted anew".into())
}

/// What others wrote to a disk through the page cache counts when it comes in, and never comes over what is written to the
/// volume, though they have the disk open still: on the disk itself, and behind where its superblock is, of which its witness has
/// a copy.
fn page_cache(vm: &Vm) -> Result<()> {
    let blocks = [300, CUT / 4096 - 1];
    let dd = "dd bs=4096 count=1 status=none";
    let put = |letter: char, to: &str, block: u64, how: &str| {
        format!("head -c 4096 /dev/zero | tr '\\0' {letter} | {dd} iflag=fullblock of={to} seek={block} {how} conv=notrunc\n")
    };
    let is = |letter: char, block: u64| {
        format!("[ \"$({dd} if=/dev/restripe1 skip={block} iflag=direct | tr -d {letter} | wc -c)\" = 0 ]\n")
    };
    let all = |line: &dyn Fn(u64) -> String| blocks.map(line).concat();
    vm.ok("dd if=/dev/zero of=/dev/vdd bs=1M oflag=direct status=none || true")?;
    vm.ok(&format!(
        "exec 9<>/dev/vdd
         {cached}
         echo dev=/dev/vdd size={CUT} witness=/dev/vde force=1 name=restripe1 > /sys/class/restripe/adopt
         {seen}
         {written}
         blockdev --flushbufs /dev/vdd
         {kept}",
        cached = all(&|block| put('A', "/dev/vdd", block, "")),
        seen = all(&|block| is('A', block)),
        written = all(&|block| put('B', "/dev/restripe1", block, "oflag=direct")),
        kept = all(&|block| is('B', block)),
    ))?;
    vm.stop_volume("restripe1")
}
