//! A volume is a disk like others: it takes partitions, and they are there again after assembly.

use anyhow::Result;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

pub fn check(vm: &Vm, volume: &str) -> Result<()> {
    let shape = Shape::of("raid5", 3);
    vm.create(volume, &shape, &shape.devices())?;
    vm.ok(&format!(
        "wipefs -qa /dev/{volume}
         printf 'label: gpt\\nsize=16MiB\\nsize=+\\n' | sfdisk -q /dev/{volume}
         mkfs.ext4 -q /dev/{volume}p1
         mount /dev/{volume}p1 /mnt
         echo kept > /mnt/file
         umount /mnt"
    ))?;
    vm.stop_volume(volume)?;
    vm.assemble(volume, &shape.devices(), "")?;
    vm.ok(&format!(
        "mount -o ro /dev/{volume}p1 /mnt
         [ $(cat /mnt/file) = kept ]
         umount /mnt
         e2fsck -fn /dev/{volume}p1
         [ -b /dev/{volume}p2 ]"
    ))?;
    vm.stop_volume(volume)
}
