//! What `member_action` refuses: errno, a sentence, and all disks as they were.

use anyhow::{Result, ensure};
use qemu_tests::shape::{Shape, devices};
use qemu_tests::vm::Vm;

use super::VOLUME;

const EINVAL: i32 = 22;
const EBUSY: i32 = 16;
const ENOENT: i32 = 2;
const ENODEV: i32 = 19;
const ENOSPC: i32 = 28;
const EEXIST: i32 = 17;

pub fn check(vm: &Vm) -> Result<()> {
    let shape = Shape::of("raid5", 3);
    let all = shape.devices();
    vm.create(VOLUME, &shape, &all)?;
    vm.ok("for disk in d e f; do dd if=/dev/zero of=/dev/vd$disk bs=1M oflag=direct status=none || true; done; mkfs.ext4 -q /dev/vde && sync")?;
    vm.wait_volume(VOLUME, "array_state", |state| state == "clean")?;
    // Marks are cleared some seconds after the last write.
    vm.wait_volume(VOLUME, "bitmap_dirty", |dirty| dirty == "0")?;
    let before = hashes(vm)?;
    let line = |line: &str, errno: i32, words: &[&str]| -> Result<()> {
        let refusal = vm.set_refused(VOLUME, "member_action", line)?;
        let says = words.iter().all(|word| refusal.last_error.contains(word));
        ensure!(refusal.errno == errno && says, "`{line}`: {refusal}");
        Ok(())
    };
    line("", EINVAL, &["empty"])?;
    line("force=1", EINVAL, &["exactly one"])?;
    line("add=/dev/vdd remove=1", EINVAL, &["exactly one"])?;
    line("shrink=1", EINVAL, &["shrink"])?;
    line("fail=x", EINVAL, &["fail"])?;
    line("add=/dev/vdd with=/dev/vde", EINVAL, &["with="])?;
    line("replace=1", EINVAL, &["with"])?;
    line("add=/dev/nothing", ENOENT, &["/dev/nothing"])?;
    line(&format!("add={}", all[0]), EBUSY, &[&all[0], VOLUME])?;
    line("add=/dev/vde", EEXIST, &["ext4", "force=1"])?;
    line("remove=1", EBUSY, &["in_sync", "fail=1"])?;
    line("replace=1 with=/dev/vde", EEXIST, &["ext4", "force=1"])?;
    line("replace=1 with=/dev/vdf", ENOSPC, &["/dev/vdf", "bytes"])?;
    line("fail=9", ENODEV, &["9"])?;
    line("remove=9", ENODEV, &["9"])?;
    ensure!(hashes(vm)? == before, "a line that was refused changed a disk");

    // Short of a member, which the volume can bear only once.
    vm.must_set(VOLUME, "member_action", "fail=1")?;
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "1")?;
    vm.settle(VOLUME)?;
    vm.wait_volume(VOLUME, "members/1/state", |state| state == "faulty")?;
    // Short of a member it is journaled.
    vm.wait_volume(VOLUME, "journal_in_force", |is| is == "1")?;
    let before = hashes(vm)?;
    line("fail=1", EINVAL, &["faulty already"])?;
    line("fail=0", EBUSY, &["0", "lost"])?;
    line("replace=1 with=/dev/vdf", ENOSPC, &["bytes", "larger"])?;
    line(&format!("add={}", all[1]), EBUSY, &[&all[1]])?;
    ensure!(hashes(vm)? == before, "a line that was refused changed a disk");
    vm.stop_volume(VOLUME)?;

    vm.assemble(VOLUME, &[all[0].clone(), all[2].clone()], "read_only=1")?;
    let before = hashes(vm)?;
    line("add=/dev/vdd", 30, &["read-only"])?;
    ensure!(hashes(vm)? == before, "a line that was refused changed a disk");
    vm.stop_volume(VOLUME)?;
    Ok(())
}

/// Of all of every disk.
fn hashes(vm: &Vm) -> Result<Vec<String>> {
    devices(0..6).iter().map(|disk| vm.checksum(disk, u64::MAX)).collect()
}
