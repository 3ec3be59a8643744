//! md's arrays, made with mdadm.

use anyhow::Result;
use qemu_tests::vm::Vm;

/// Makes an array that is in sync from the start and has no bitmap; chunk of 64 KiB.
pub fn create(vm: &Vm, device: &str, level: &str, members: &[String]) -> Result<()> {
    let more = match level {
        "raid0" => "--chunk=64",
        "raid1" => "--assume-clean --bitmap=none",
        _ => "--chunk=64 --assume-clean --bitmap=none",
    };
    let (count, members) = (members.len(), members.join(" "));
    vm.ok(&format!("mdadm --create {device} --run --quiet --metadata=1.2 --level={level} --raid-devices={count} {more} {members}"))?;
    Ok(())
}

/// Ends an array and forgets it.
pub fn stop(vm: &Vm, device: &str, members: &[String]) -> Result<()> {
    vm.ok(&format!(
        "mdadm --stop --quiet {device}; mdadm --zero-superblock {}",
        members.join(" ")
    ))?;
    Ok(())
}
