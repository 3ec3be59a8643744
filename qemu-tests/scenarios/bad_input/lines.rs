//! Before there is any volume: words that mean nothing, and devices that can't come in.

use anyhow::Result;

use super::judge::Errno::*;
use super::judge::Judge;
use super::setup::{ALIAS, BLANK, BLOCKS, EXT4, FULL, GPT, NOISE, TINY, ZONED};

pub fn run(judge: &mut Judge) -> Result<()> {
    words(judge)?;
    adopted_disks(judge)?;
    new_disks(judge)
}

fn words(judge: &mut Judge) -> Result<()> {
    let [a, b, c, _] = BLANK;
    judge.line("adopt", "", EINVAL, &["empty"])?;
    judge.line("adopt", "vda", EINVAL, &["vda", "key=value"])?;
    judge.line(
        "adopt",
        &format!("dev={a} colour=red"),
        EINVAL,
        &["colour", "size"],
    )?;
    judge.line(
        "adopt",
        &format!("dev={a} dev={b}"),
        EINVAL,
        &["dev=", "twice"],
    )?;
    judge.line("adopt", "size=4096", EINVAL, &["needs dev="])?;
    judge.line(
        "adopt",
        &format!("dev={a} size=4k"),
        EINVAL,
        &["size=", "4k", "number"],
    )?;
    judge.line(
        "adopt",
        &format!("dev={a} size=99999999999999999999"),
        EINVAL,
        &["size="],
    )?;
    judge.line(
        "adopt",
        &format!("dev={a} size=4096 name=sda"),
        EINVAL,
        &["sda", "restripe"],
    )?;
    judge.line(
        "create",
        &format!("level=raid7 members={a},{b}"),
        EINVAL,
        &["raid7"],
    )?;
    judge.line(
        "create",
        &format!("level=raid6 members={a},{b}"),
        EINVAL,
        &["raid6", "4", "2"],
    )?;
    judge.line(
        "create",
        &format!("level=raid10 copies=3 members={a},{b}"),
        EINVAL,
        &["raid10", "3", "2"],
    )?;
    judge.line(
        "create",
        &format!("level=raid1 copies=2 members={a},{b}"),
        EINVAL,
        &["copies=", "raid10"],
    )?;
    judge.line(
        "create",
        &format!("level=raid5 members={a},{b}"),
        EINVAL,
        &["raid5", "3", "2"],
    )?;
    judge.line(
        "create",
        &format!("level=raid1 members={a}"),
        EINVAL,
        &["raid1", "2", "1"],
    )?;
    for chunk in ["2097152", "2048", "65535", "0"] {
        let line = format!("level=raid0 members={a},{b} chunk={chunk}");
        judge.line("create", &line, EINVAL, &["chunk", chunk])?;
    }
    judge.line(
        "create",
        &format!("level=raid0 members={a},{b} force=yes"),
        EINVAL,
        &["force=", "yes"],
    )?;
    judge.line(
        "assemble",
        &format!("members={a} uuid=1234"),
        EINVAL,
        &["uuid="],
    )?;
    judge.line("stop", "name=restripe7", ENODEV, &["restripe7"])?;
    judge.line("examine", &format!("dev={c}"), ENODATA, &[c, "superblock"])?;
    // With the newline it is a page, and a line has to be shorter.
    let line = format!("dev={a} {}", "x".repeat(8192));
    judge.line("adopt", &line[..4095], E2BIG, &["4096"])?;
    judge.line("create", &line, E2BIG, &["4096"])
}

fn adopted_disks(judge: &mut Judge) -> Result<()> {
    judge.line(
        "adopt",
        "dev=/dev/none size=4096",
        ENOENT,
        &["/dev/none", "exist"],
    )?;
    judge.line(
        "adopt",
        "dev=/dev/null size=4096",
        EINVAL,
        &["/dev/null", "block device"],
    )?;
    judge.line(
        "adopt",
        &format!("dev={}", BLANK[0]),
        EINVAL,
        &[BLANK[0], "size="],
    )?;
    judge.line(
        "adopt",
        &format!("dev={NOISE}"),
        EINVAL,
        &[NOISE, "unknown", "size="],
    )?;
    // The reserve is the last 2 MiB of the 16 that the file system has all to itself.
    judge.line(
        "adopt",
        &format!("dev={FULL}"),
        ENOSPC,
        &[FULL, "2097152", "resize2fs"],
    )?;
    judge.line(
        "adopt",
        &format!("dev={EXT4} size=4096"),
        EINVAL,
        &[EXT4, "ext4", "12582912"],
    )?;
    judge.line(
        "adopt",
        &format!("dev={EXT4} size=15728640"),
        ENOSPC,
        &[EXT4, "1048576"],
    )?;
    judge.line(
        "adopt",
        &format!("dev={GPT}"),
        ENOSPC,
        &[GPT, "GPT", "sfdisk"],
    )?;
    judge.line(
        "adopt",
        &format!("dev={TINY} size=4096"),
        ENOSPC,
        &[TINY, "bytes"],
    )?;
    judge.line(
        "adopt",
        &format!("dev={ZONED} size=4096"),
        EOPNOTSUPP,
        &[ZONED, "zoned"],
    )?;
    judge.vm.ok(&format!("mount -o ro {EXT4} /mnt"))?;
    judge.line("adopt", &format!("dev={EXT4}"), EBUSY, &[EXT4, "mounted"])?;
    judge.vm.ok("umount /mnt")?;
    Ok(())
}

fn new_disks(judge: &mut Judge) -> Result<()> {
    let [a, b, c, _] = BLANK;
    judge.line(
        "create",
        &format!("level=raid1 members={a},/dev/none"),
        ENOENT,
        &["/dev/none"],
    )?;
    judge.line(
        "create",
        &format!("level=raid1 members={a},{a}"),
        EINVAL,
        &[a, "twice"],
    )?;
    judge.line(
        "create",
        &format!("level=raid1 members={a},{ALIAS}"),
        EINVAL,
        &[a, ALIAS, "same device"],
    )?;
    judge.line(
        "create",
        &format!("level=raid1 members={a},{TINY}"),
        ENOSPC,
        &[TINY, "bytes"],
    )?;
    judge.line(
        "create",
        &format!("level=raid1 members={a},{EXT4}"),
        EEXIST,
        &[EXT4, "ext4", "force=1"],
    )?;
    judge.line(
        "create",
        &format!("level=raid1 members={a},{GPT}"),
        EEXIST,
        &[GPT, "GPT", "force=1"],
    )?;
    judge.line(
        "create",
        &format!("level=raid1 members={a},{ZONED} force=1"),
        EOPNOTSUPP,
        &[ZONED, "zoned"],
    )?;
    judge.line(
        "create",
        &format!("level=raid0 members={a},{b} size=1073741824"),
        ENOSPC,
        &["1073741824"],
    )?;
    judge.line(
        "create",
        &format!("level=raid0 members={a},{BLOCKS} size=512"),
        EINVAL,
        &["512", "4096"],
    )?;
    judge.vm.ok(&format!("mount -o ro {EXT4} /mnt"))?;
    judge.line(
        "create",
        &format!("level=raid1 members={c},{EXT4} force=1"),
        EBUSY,
        &[EXT4, "mounted"],
    )?;
    judge.vm.ok("umount /mnt")?;
    Ok(())
}
