//! Each kind of request: writes of all sizes, flushes, FUA, discards, zeroes, and writes that overlap.

use anyhow::{Result, ensure};
use qemu_tests::ctx::MIB;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

pub fn check(vm: &Vm, volume: &str, shape: &Shape) -> Result<()> {
    let device = format!("/dev/{volume}");
    vm.fio_verify(&device, 2 * MIB)?;
    zeroes(vm, &device)?;
    trim(vm, &device)?;
    vm.fio_overlap(&device, MIB, 300)?;
    if shape.is_redundant() {
        vm.ensure_in_sync(volume)?;
    }
    Ok(())
}

/// Zeroes and discards with odd edges, in the middle of data that must stay.
fn zeroes(vm: &Vm, device: &str) -> Result<()> {
    // 3 MiB of noise; zeroes from 512 * 777 on, 1 MiB less 512 bytes of them; a discard of the last MiB.
    vm.ok(&format!(
        "dd if=/dev/urandom of=/tmp/noise bs=1M count=3 status=none
         dd if=/tmp/noise of={device} bs=1M oflag=direct status=none
         blkdiscard -z -o $((512 * 777)) -l $((1048576 - 512)) {device}
         dd if=/dev/zero of=/tmp/noise bs=512 seek=777 count=2047 conv=notrunc status=none
         dd if={device} of=/tmp/found bs=1M count=3 iflag=direct status=none
         cmp /tmp/noise /tmp/found
         blkdiscard -o 2097152 -l 1048576 {device}
         dd if={device} of=/tmp/found bs=1M count=2 iflag=direct status=none
         cmp -n 2097152 /tmp/noise /tmp/found
         dd if=/dev/urandom of={device} bs=1M seek=2 count=1 oflag=direct status=none"
    ))?;
    Ok(())
}

/// A file system that discards what it does not use.
fn trim(vm: &Vm, device: &str) -> Result<()> {
    let said = vm.ok(&format!(
        "mkfs.ext4 -q -F {device}
         mount {device} /mnt
         dd if=/dev/urandom of=/mnt/stays bs=1M count=4 conv=fsync status=none
         dd if=/dev/urandom of=/mnt/goes bs=1M count=4 conv=fsync status=none
         before=$(sha256sum < /mnt/stays)
         rm /mnt/goes
         sync
         fstrim -v /mnt
         echo 3 > /proc/sys/vm/drop_caches
         [ \"$before\" = \"$(sha256sum < /mnt/stays)\" ]
         umount /mnt
         e2fsck -fn {device} 2>&1"
    ))?;
    ensure!(
        said.contains("trimmed") && !said.contains(" 0 B (0 bytes)"),
        "fstrim did nothing: {said}"
    );
    Ok(())
}
