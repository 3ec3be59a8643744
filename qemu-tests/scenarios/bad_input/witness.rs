//! A full disk and its witness: lines that are refused, and disks that are not the one that was being adopted.

use anyhow::{Result, ensure};

use super::judge::Errno::*;
use super::judge::Judge;
use super::setup::{BLANK, BLOCKS, EXT4, FULL, NOISE, SIZE, TINY, ZONED};

/// A part of a blank disk, with 1 MiB of room for data, where the end of the full one takes 2.
const SMALL: &str = "/dev/mapper/small";
/// The full disk, and no write to it succeeds.
const DYING: &str = "/dev/mapper/dying";
/// The full disk, but for its last 4096 bytes.
const SHORT: &str = "/dev/mapper/short";
const VOLUME: &str = "restripe0";
/// Sectors before the full disk's reserve, and of the head that goes to where it begins.
const RESERVE: u64 = SIZE / 512 - 4096;
const HEAD: u64 = 256;

/// Before anything was done to any disk.
pub fn lines(judge: &mut Judge) -> Result<()> {
    let [a, b, ..] = BLANK;
    judge.vm.ok(&format!(
        "echo 0 8192 linear {b} 0 | dmsetup create small; dmsetup mknodes"
    ))?;
    for (witness, errno, words) in [
        (FULL.to_owned(), EINVAL, [FULL, "twice"]),
        ("/dev/none".to_owned(), ENOENT, ["/dev/none", "exist"]),
        ("vdb".to_owned(), EINVAL, ["vdb", "path"]),
        (TINY.to_owned(), ENOSPC, [TINY, "bytes"]),
        (SMALL.to_owned(), ENOSPC, [SMALL, "larger witness"]),
        (EXT4.to_owned(), EEXIST, [EXT4, "force=1"]),
        (BLOCKS.to_owned(), EINVAL, [BLOCKS, "4096"]),
        (format!("{ZONED} force=1"), EOPNOTSUPP, [ZONED, "zoned"]),
    ] {
        let line = format!("dev={FULL} witness={witness}");
        judge.line("adopt", &line, errno, &words)?;
    }
    judge.line(
        "adopt",
        &format!("dev={EXT4} witness={a}"),
        EINVAL,
        &[EXT4, "needs no witness"],
    )?;
    judge.line(
        "adopt",
        &format!("dev={NOISE} witness={a}"),
        EINVAL,
        &[NOISE, "size="],
    )?;
    judge.vm.ok(&format!("mount -o ro {FULL} /mnt"))?;
    judge.line(
        "adopt",
        &format!("dev={FULL} witness={a}"),
        EBUSY,
        &[FULL, "mounted"],
    )?;
    judge.vm.ok("umount /mnt; dmsetup remove --retry small")?;
    Ok(())
}

/// After all else: the full disk takes no superblock, so that only its witness tells that it is being adopted.
pub fn between(judge: &mut Judge) -> Result<()> {
    let [a, b, c, d] = BLANK;
    judge.vm.ok(&format!(
        "echo 0 {} flakey {FULL} 0 0 1 1 error_writes | dmsetup create dying; dmsetup mknodes",
        SIZE / 512
    ))?;
    let before = judge.vm.checksum(FULL, SIZE)?;
    let line = format!("dev={DYING} witness={a} force=1");
    judge.line_but("adopt", &line, EIO, &["takes no superblock", "to assemble"], &["blank-a"])?;
    judge.vm.ok("dmsetup remove --retry dying")?;
    let both = format!("members={FULL},{a}");

    // In its first 128 KiB, and in what is to be its reserve.
    let last = SIZE / 512 - 1;
    written_to(judge, &both, &[1, 255, RESERVE, last])?;
    judge.line("assemble", &format!("members={a}"), ENODEV, &["missing"])?;
    judge.line(
        "assemble",
        &format!("members={FULL}"),
        EINVAL,
        &[FULL, "no restripe superblock"],
    )?;
    judge.vm.ok(&format!(
        "echo 0 {} linear {FULL} 0 | dmsetup create short; dmsetup mknodes",
        SIZE / 512 - 8
    ))?;
    judge.line(
        "assemble",
        &format!("members={SHORT},{a}"),
        EINVAL,
        &[SHORT, "bytes"],
    )?;
    judge.vm.ok("dmsetup remove --retry short")?;
    judge.line(
        "assemble",
        &format!("members={BLOCKS},{a}"),
        ESTALE,
        &[BLOCKS, "another disk"],
    )?;
    judge.line(
        "adopt",
        &format!("dev={FULL} witness={a}"),
        EEXIST,
        &[a, "force=1"],
    )?;

    judge.line(
        "adopt",
        &format!("dev={FULL} witness={a} force=1"),
        EEXIST,
        &[FULL, a, "assemble"],
    )?;

    let line = format!("{both} read_only=1 name={VOLUME}");
    judge.vm.must("assemble", &line)?;
    let device = format!("/dev/{VOLUME}");
    ensure!(judge.vm.checksum(&device, SIZE)? == before);
    judge.vm.must("stop", &format!("name={VOLUME}"))?;
    judge.line("assemble", &format!("members={FULL}"), EINVAL, &[FULL])?;

    held(judge)?;
    // Its head may have been on its way to the reserve, and be there in part.
    judge.vm.ok(&flip(RESERVE + 3, true))?;
    written_to(judge, &both, &[2, RESERVE + HEAD, last])?;
    judge.vm.must("assemble", &format!("{both} name={VOLUME}"))?;
    ensure!(judge.vm.checksum(&device, SIZE)? == before);
    judge
        .vm
        .wait_volume(VOLUME, "array_state", |state| state == "clean")?;
    judge.look_again()?;
    // They are as large as the disk, and have no more room before the reserve than it.
    for line in [
        format!("level=raid1 add={b} force=1"),
        "level=linear remove=1".to_owned(),
        format!("level=linear add={b} remove=0,1 force=1"),
    ] {
        judge.volume_line(VOLUME, "migrate", &line, ENOSPC, &["reduce size"])?;
    }
    let dry = format!("level=raid5 add={c},{d} force=1 dry_run=1");
    judge.vm.must_set(VOLUME, "migrate", &dry)?;
    let plan = judge.vm.attr(VOLUME, "plan")?;
    for words in [
        "members: 2 to 4",
        "capacity_before: 16777216",
        "failures_survived_before: 0",
        "failures_survived_after: 1",
    ] {
        ensure!(plan.contains(words), "the plan does not say {words}:\n{plan}");
    }
    judge.vm.must("stop", &format!("name={VOLUME}"))?;
    // From now on it has superblocks.
    judge.look_again()?;
    judge.line(
        "assemble",
        &format!("members={FULL}"),
        ENODEV,
        &["missing"],
    )?;
    judge.vm.must("assemble", &format!("{both} name={VOLUME}"))?;
    ensure!(judge.vm.checksum(&device, SIZE)? == before);
    judge.vm.must("stop", &format!("name={VOLUME}"))
}

/// The full disk takes its first superblock, and then its head can't be copied to its reserve: it looks like a file system
/// still.
fn held(judge: &mut Judge) -> Result<()> {
    let (behind, [a, ..]) = (RESERVE + HEAD, BLANK);
    judge.vm.ok(&format!(
        "{{ echo 0 {RESERVE} linear {FULL} 0
            echo {RESERVE} {HEAD} flakey {FULL} {RESERVE} 0 1 1 error_writes
            echo {behind} {} linear {FULL} {behind}; }} | dmsetup create dying; dmsetup mknodes",
        SIZE / 512 - behind
    ))?;
    let line = format!("members={DYING},{a}");
    judge.line_but("assemble", &line, EIO, &["can't be started"], &["full", "blank-a"])?;
    judge.vm.ok("dmsetup remove --retry dying")?;
    judge.line("adopt", &format!("dev={FULL}"), EEXIST, &[FULL])?;
    judge.line("assemble", &format!("members={FULL}"), ENODEV, &["missing"])
}

/// Who writes to the disk meanwhile makes what is on the witness worthless.
fn written_to(judge: &mut Judge, both: &str, sectors: &[u64]) -> Result<()> {
    for &sector in sectors {
        judge.vm.ok(&flip(sector, true))?;
        judge.look_again()?;
        judge.line("assemble", both, ESTALE, &[FULL, "written to"])?;
        judge.vm.ok(&flip(sector, false))?;
        judge.look_again()?;
    }
    Ok(())
}

/// Adds one to every byte of a sector of the full disk, or takes it off again.
fn flip(sector: u64, up: bool) -> String {
    let (all, next) = (r"'\000-\377'", r"'\001-\377\000'");
    let (from, to) = if up { (all, next) } else { (next, all) };
    format!(
        "dd if={FULL} bs=512 skip={sector} count=1 iflag=direct status=none | tr {from} {to} |
         dd of={FULL} bs=512 seek={sector} count=1 oflag=direct conv=notrunc status=none"
    )
}
