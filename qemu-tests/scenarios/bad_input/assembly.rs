//! Of volumes that were stopped: members that are missing, damaged, foreign, doubled or of another opinion.

use anyhow::Result;

use super::judge::Errno::*;
use super::judge::Judge;
use super::setup::{BLANK, EXT4, NOISE, SIZE};

/// Where a member's two superblocks are: so far before its end.
const SLOTS: [u64; 2] = [256 << 10, 128 << 10];

/// After `volumes`: a mirror of a and b, and a raid5 of the ext4 disk, c and d.
pub fn run(judge: &mut Judge) -> Result<()> {
    missing(judge)?;
    foreign(judge)?;
    damaged(judge)?;
    alone(judge)?;
    doubled(judge)?;
    striped(judge)
}

fn assemble_and_stop(judge: &mut Judge, line: &str) -> Result<()> {
    judge.vm.must("assemble", line)?;
    let volume = judge.vm.class("volumes")?;
    judge
        .vm
        .wait_volume(&volume, "sync_action", |action| action == "idle")?;
    judge.vm.must("stop", &format!("name={volume}"))?;
    judge.look_again()
}

fn missing(judge: &mut Judge) -> Result<()> {
    let [a, _, c, d] = BLANK;
    judge.line("assemble", "members=/dev/none", ENOENT, &["/dev/none"])?;
    judge.line(
        "assemble",
        &format!("members={a}"),
        ENODEV,
        &["missing", "degraded=1"],
    )?;
    judge.line(
        "assemble",
        &format!("members={c},{d}"),
        ENODEV,
        &["missing", "degraded=1"],
    )?;
    judge.line(
        "assemble",
        &format!("members={c} degraded=1"),
        ENODEV,
        &["missing", "raid5"],
    )
}

fn foreign(judge: &mut Judge) -> Result<()> {
    let [a, b, c, _] = BLANK;
    judge.line(
        "assemble",
        &format!("members={a},{b},{c}"),
        EINVAL,
        &[c, "leave it out"],
    )?;
    judge.line(
        "assemble",
        &format!("members={a},{b},{NOISE}"),
        EINVAL,
        &[NOISE, "no restripe superblock"],
    )?;
    judge.line(
        "assemble",
        &format!("members={a},{b} uuid=00000000-0000-4000-8000-000000000000"),
        EINVAL,
        &[a],
    )?;
    judge.line(
        "adopt",
        &format!("dev={EXT4} size=8388608"),
        EEXIST,
        &[EXT4, "member"],
    )?;
    judge.line(
        "create",
        &format!("level=raid1 members={a},{b}"),
        EEXIST,
        &[a, "restripe", "force=1"],
    )
}

/// Overwrites most of a superblock with noise.
fn damage(judge: &mut Judge, device: &str, from_end: u64) -> Result<()> {
    let at = (SIZE - from_end) / 4096 + 1;
    judge.vm.ok(&format!(
        "dd if=/dev/urandom of={device} bs=4096 seek={at} count=3 conv=notrunc,fsync oflag=direct status=none"
    ))?;
    judge.look_again()
}

fn damaged(judge: &mut Judge) -> Result<()> {
    let [a, b, ..] = BLANK;
    // Only the second commit fills the second place.
    assemble_and_stop(judge, &format!("members={a},{b}"))?;
    // One of the two on one member: nothing is lost.
    damage(judge, a, SLOTS[0])?;
    assemble_and_stop(judge, &format!("members={a},{b}"))?;
    damage(judge, a, SLOTS[1])?;
    assemble_and_stop(judge, &format!("members={a},{b}"))?;
    // Both on one member: the other one tells what the volume is.
    damage(judge, a, SLOTS[0])?;
    damage(judge, a, SLOTS[1])?;
    judge.line(
        "assemble",
        &format!("members={a},{b}"),
        EUCLEAN,
        &[a, "degraded=1"],
    )?;
    assemble_and_stop(judge, &format!("members={a},{b} degraded=1"))?;
    // All of them.
    damage(judge, b, SLOTS[0])?;
    damage(judge, b, SLOTS[1])?;
    judge.line(
        "assemble",
        &format!("members={a},{b} degraded=1"),
        EUCLEAN,
        &["superblock"],
    )?;
    judge.line(
        "assemble",
        &format!("members={b}"),
        EUCLEAN,
        &["superblock"],
    )
}

fn alone(judge: &mut Judge) -> Result<()> {
    let [a, b, ..] = BLANK;
    judge.vm.must(
        "create",
        &format!("level=raid1 members={a},{b} assume_clean=1 force=1 name=restripe0"),
    )?;
    judge.vm.must("stop", "name=restripe0")?;
    for member in [a, b] {
        judge
            .vm
            .must("assemble", &format!("members={member} degraded=1"))?;
        judge
            .vm
            .ok("dd if=/dev/urandom of=/dev/restripe0 bs=4096 count=1 oflag=direct status=none")?;
        judge.vm.must("stop", "name=restripe0")?;
    }
    judge.look_again()?;
    judge.line("assemble", &format!("members={a},{b}"), ESTALE, &[a, b])?;
    judge.line(
        "assemble",
        &format!("members={a},{b} degraded=1 force=1"),
        ESTALE,
        &[a, b],
    )
}

fn doubled(judge: &mut Judge) -> Result<()> {
    let [a, b, ..] = BLANK;
    judge.vm.must(
        "create",
        &format!("level=raid1 members={a},{b} assume_clean=1 force=1 name=restripe0"),
    )?;
    judge.vm.must("stop", "name=restripe0")?;
    judge.vm.ok(&format!(
        "dd if={a} of={NOISE} bs=1M conv=fsync status=none"
    ))?;
    judge.look_again()?;
    judge.line(
        "assemble",
        &format!("members={a},{NOISE}"),
        EEXIST,
        &[a, NOISE, "copy"],
    )?;
    judge.line(
        "assemble",
        &format!("members={a},{b},{NOISE}"),
        EEXIST,
        &[a, NOISE, "copy"],
    )?;
    // The same volume twice, from copies of its members.
    judge.vm.must("assemble", &format!("members={a},{b}"))?;
    // A mark that is cleared is a write.
    judge
        .vm
        .wait_volume("restripe0", "bitmap_dirty", |dirty| dirty == "0")?;
    judge.look_again()?;
    judge.line(
        "assemble",
        &format!("members={NOISE} degraded=1 name=restripe1"),
        EEXIST,
        &["restripe0", "uuid"],
    )?;
    judge.vm.must("stop", "name=restripe0")?;
    judge.look_again()
}

fn striped(judge: &mut Judge) -> Result<()> {
    let [a, b, ..] = BLANK;
    judge.vm.must(
        "create",
        &format!("level=raid0 members={a},{b} force=1 name=restripe0"),
    )?;
    judge.vm.must("stop", "name=restripe0")?;
    judge.look_again()?;
    for line in [
        format!("members={a}"),
        format!("members={b} degraded=1 force=1"),
    ] {
        judge.line("assemble", &line, ENODEV, &["missing", "raid0"])?;
    }
    Ok(())
}
