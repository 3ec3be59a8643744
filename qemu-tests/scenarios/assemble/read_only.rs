//! A read-only assembly writes nothing at all.

use anyhow::{Result, ensure};
use qemu_tests::disk::{Disk, sums};
use qemu_tests::ledger::Ledger;
use qemu_tests::vm::Vm;
use qemu_tests::wire::Region;

use super::VOLUME;

/// Assembles, reads all of it against what was acknowledged, tries to change it in every way, and compares the disks.
pub fn check(
    vm: &Vm,
    disks: &[Disk],
    members: &[String],
    region: &Region,
    ledger: &Ledger,
) -> Result<()> {
    let before = sums(disks)?;
    vm.assemble(VOLUME, members, "read_only=1")?;
    ensure!(vm.attr(VOLUME, "array_state")? == "read_only");
    let position = vm.attr(VOLUME, "migrate_position")?;
    vm.verify(region, ledger.acknowledged())?;
    for write in [
        "dd if=/dev/zero of=/dev/{} bs=4096 count=1 oflag=direct",
        "blkdiscard -f /dev/{}",
        "blkdiscard -z -f /dev/{}",
    ] {
        let script = write.replace("{}", VOLUME);
        ensure!(vm.sh(&script)?.status != 0, "`{script}` was taken");
    }
    for (file, line) in [
        ("migrate_state", "resume"),
        ("sync_max", "max"),
        ("sync_speed_max", "1"),
        ("sync_action", "check"),
        ("size", "4096"),
    ] {
        let refusal = vm.set_refused(VOLUME, file, line)?;
        // EROFS
        ensure!(
            refusal.errno == 30 && refusal.last_error.contains("read-only"),
            "{file}: {refusal}"
        );
    }
    ensure!(
        vm.attr(VOLUME, "migrate_position")? == position,
        "it migrates"
    );
    vm.stop_volume(VOLUME)?;
    ensure!(
        before == sums(disks)?,
        "a read-only assembly wrote to a disk"
    );
    Ok(())
}
