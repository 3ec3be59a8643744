//! With volumes that run: what their files and their members refuse.

use anyhow::Result;

use super::judge::Errno::*;
use super::judge::Judge;
use super::setup::{BLANK, BLOCKS, EXT4, FULL, TINY, ZONED};

/// An adopted disk, linear.
const LINEAR: &str = "restripe0";
/// Two blank ones.
const MIRROR: &str = "restripe1";

pub fn run(judge: &mut Judge) -> Result<()> {
    let [a, b, c, d] = BLANK;
    judge.vm.must("adopt", &format!("dev={EXT4}"))?;
    judge.vm.must(
        "create",
        &format!("level=raid1 members={a},{b} assume_clean=1"),
    )?;
    rest(judge, &[LINEAR, MIRROR])?;

    judge.line("adopt", &format!("dev={a} size=4096"), EBUSY, &[a, MIRROR])?;
    judge.line(
        "create",
        &format!("level=raid1 members={b},{c}"),
        EBUSY,
        &[b, MIRROR],
    )?;
    judge.line(
        "assemble",
        &format!("members={EXT4}"),
        EBUSY,
        &[EXT4, LINEAR],
    )?;
    judge.line(
        "create",
        &format!("level=raid1 members={c},{d} name={LINEAR}"),
        EEXIST,
        &[LINEAR],
    )?;
    migrations(judge)?;
    values(judge)?;

    let mut open = judge.vm.spawn(&format!(
        "exec 3< /dev/{LINEAR}; echo open; tail -f /dev/null"
    ))?;
    open.wait_output("open")?;
    judge.line("stop", &format!("name={LINEAR}"), EBUSY, &[LINEAR, "open"])?;
    judge.vm.stop(open)?;
    judge.vm.ok(&format!("mount -o ro /dev/{LINEAR} /mnt"))?;
    judge.line("stop", &format!("name={LINEAR}"), EBUSY, &[LINEAR, "mount"])?;
    judge.vm.ok("umount /mnt")?;
    migrating(judge)?;
    judge.vm.must("stop", &format!("name={LINEAR}"))?;
    judge.vm.must("stop", &format!("name={MIRROR}"))?;
    judge.look_again()
}

/// Waits until the volumes have nothing to write down any more.
fn rest(judge: &mut Judge, volumes: &[&str]) -> Result<()> {
    for volume in volumes {
        judge
            .vm
            .wait_volume(volume, "sync_action", |action| action == "idle")?;
        judge
            .vm
            .wait_volume(volume, "array_state", |state| state == "clean")?;
        judge
            .vm
            .wait_volume(volume, "bitmap_dirty", |dirty| dirty == "0")?;
    }
    judge.look_again()
}

fn migrations(judge: &mut Judge) -> Result<()> {
    let [a, _, c, d] = BLANK;
    let mut migrate = |line: &str, errno, words: &[&str]| {
        judge.volume_line(LINEAR, "migrate", line, errno, words)
    };
    migrate("level=raid5", EINVAL, &["raid5", "3", "1"])?;
    migrate(
        &format!("level=raid5 add={c}"),
        EINVAL,
        &["raid5", "3", "2"],
    )?;
    migrate(&format!("level=raid9 add={c}"), EINVAL, &["raid9"])?;
    migrate("level=linear", EINVAL, &["linear", "already"])?;
    migrate(
        &format!("level=raid0 add={c} remove=7"),
        EINVAL,
        &["remove=7", "members"],
    )?;
    migrate(
        &format!("level=raid0 add={c} chunk=3000"),
        EINVAL,
        &["chunk", "3000"],
    )?;
    migrate(&format!("level=raid0 add={c},{c}"), EINVAL, &[c, "twice"])?;
    migrate("level=raid0 add=/dev/none", ENOENT, &["/dev/none"])?;
    migrate(&format!("level=raid0 add={EXT4}"), EBUSY, &[EXT4, LINEAR])?;
    migrate(&format!("level=raid0 add={a}"), EBUSY, &[a, MIRROR])?;
    migrate(
        &format!("level=raid0 add={FULL}"),
        EEXIST,
        &[FULL, "ext4", "force=1"],
    )?;
    migrate(&format!("level=raid0 add={TINY}"), ENOSPC, &[TINY, "bytes"])?;
    migrate(
        &format!("level=raid1 add={BLOCKS}"),
        EINVAL,
        &[BLOCKS, "4096", "512"],
    )?;
    migrate(
        &format!("level=raid1 add={ZONED}"),
        EOPNOTSUPP,
        &[ZONED, "zoned"],
    )?;
    judge.vm.ok(&format!("mount -o ro {FULL} /mnt"))?;
    judge.volume_line(
        LINEAR,
        "migrate",
        &format!("level=raid1 add={FULL} force=1"),
        EBUSY,
        &[FULL, "mounted"],
    )?;
    judge.vm.ok("umount /mnt")?;
    let dry = format!("level=raid5 add={c},{d} dry_run=1");
    judge.vm.must_set(LINEAR, "migrate", &dry)?;
    let plan = judge.vm.attr(LINEAR, "plan")?;
    for words in [
        "capacity_before: 12582912",
        "capacity_after: ",
        "failures_survived_after: 1",
        "bytes_to_move: 12582912",
    ] {
        anyhow::ensure!(
            plan.contains(words),
            "the plan does not say {words}:\n{plan}"
        );
    }
    // Nothing was changed by that either.
    judge.volume_line(
        LINEAR,
        "migrate",
        "level=raid5 dry_run=1",
        EINVAL,
        &["raid5"],
    )
}

fn values(judge: &mut Judge) -> Result<()> {
    for (file, line, errno, words) in [
        ("migrate_state", "pause", ENODATA, "migration"),
        ("migrate_state", "abort", ENODATA, "abort"),
        ("migrate_state", "stop", EINVAL, "pause"),
        ("sync_action", "check", EINVAL, "parity"),
        ("sync_action", "destroy", EINVAL, "check"),
        ("sync_speed_max", "-1", EINVAL, "number"),
        ("sync_speed_max", "4294967296", EINVAL, "4294967295"),
        ("sync_max", "all", EINVAL, "number"),
        ("journal", "on", EINVAL, "always"),
        ("journal", "", EINVAL, "empty"),
        ("bitmap", "external", EINVAL, "internal"),
        ("bitmap", "1", EINVAL, "none"),
        ("latency_target_us", "100", EOPNOTSUPP, "latency"),
        ("member_action", "fail=0", EBUSY, "lost"),
        ("member_action", "eat=0", EINVAL, "eat"),
        ("size", "1000", EINVAL, "512"),
        ("size", "1073741824", ENOSPC, "1073741824"),
    ] {
        judge.volume_line(LINEAR, file, line, errno, &[words])?;
    }
    Ok(())
}

fn migrating(judge: &mut Judge) -> Result<()> {
    let [_, _, c, d] = BLANK;
    // It stops where it began, so that nothing moves while disks are compared.
    judge.vm.must_set(LINEAR, "sync_max", "0")?;
    judge
        .vm
        .must_set(LINEAR, "migrate", &format!("level=raid5 add={c},{d}"))?;
    judge.vm.must_set(LINEAR, "migrate_state", "pause")?;
    judge
        .vm
        .wait_volume(LINEAR, "migrate_state", |state| state == "paused")?;
    judge.look_again()?;
    judge.volume_line(
        LINEAR,
        "migrate",
        &format!("level=raid1 add={BLOCKS}"),
        EBUSY,
        &["migration"],
    )?;
    judge.volume_line(LINEAR, "size", "8388608", EBUSY, &["migration"])?;
    judge.volume_line(LINEAR, "sync_action", "check", EBUSY, &["migration"])?;
    judge.vm.must_set(LINEAR, "sync_max", "max")?;
    judge.vm.must_set(LINEAR, "migrate_state", "resume")?;
    judge.vm.wait_migrated(LINEAR)?;
    rest(judge, &[LINEAR])
}
