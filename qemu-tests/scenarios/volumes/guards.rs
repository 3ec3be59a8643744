//! Members are held: lsblk shows by whom, and nobody else gets to write to them; nor does the module go.

use anyhow::{Result, ensure};
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

pub fn check(vm: &Vm, volume: &str, shape: &Shape) -> Result<()> {
    for member in shape.devices() {
        let tree = vm.ok(&format!("lsblk -rno NAME {member}"))?;
        ensure!(
            tree.lines().any(|line| line == volume),
            "lsblk shows {member} so: {tree}"
        );
    }
    let busy = shape.devices().pop().unwrap_or_default();
    for (what, script) in [
        ("mkfs", format!("mkfs.ext4 -q -F -F {busy} 2>&1")),
        ("mount", format!("mount {busy} /mnt 2>&1")),
        (
            "md",
            format!("mdadm --create /dev/md9 --run --force --level=1 --raid-devices=1 {busy} 2>&1"),
        ),
    ] {
        let tried = vm.sh(&script)?;
        let said = tried.stdout.to_lowercase();
        ensure!(tried.status != 0, "{what} took {busy}: {said}");
        ensure!(
            ["busy", "in use", "already mounted"]
                .iter()
                .any(|words| said.contains(words)),
            "{what} on {busy}: {said}"
        );
    }
    ensure!(
        !vm.ok("cat /proc/mdstat")?.contains("md9"),
        "md took a member"
    );
    ensure!(
        vm.sh("rmmod restripe")?.status != 0,
        "the module went from under a volume"
    );
    ensure!(vm.class("volumes")? == volume);
    Ok(())
}
