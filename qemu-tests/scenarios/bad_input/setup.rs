//! The disks, and what is on them.

use anyhow::Result;
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::disk::Disk;
use qemu_tests::vm::Vm;

/// Bytes of most disks. The reserve of a disk so small is its last 2 MiB.
pub const SIZE: u64 = 16 * MIB;

/// Nothing is on these.
pub const BLANK: [&str; 4] = ["/dev/vda", "/dev/vdb", "/dev/vdc", "/dev/vdd"];
/// Too small for any member.
pub const TINY: &str = "/dev/vde";
/// Logical blocks of 4096 bytes.
pub const BLOCKS: &str = "/dev/vdf";
/// ext4 that leaves room for the reserve.
pub const EXT4: &str = "/dev/vdg";
/// ext4 up to the last byte.
pub const FULL: &str = "/dev/vdh";
/// Nothing that has a name.
pub const NOISE: &str = "/dev/vdi";
/// A GPT that uses the whole disk.
pub const GPT: &str = "/dev/vdj";
/// A disk in zones; it is no file of the host's.
pub const ZONED: &str = "/dev/nullb1";
/// Another name of the first blank one.
pub const ALIAS: &str = "/dev/alias";

pub fn disks(ctx: &Ctx) -> Result<Vec<Disk>> {
    let mut disks = Vec::new();
    for name in ["blank-a", "blank-b", "blank-c", "blank-d"] {
        disks.push(ctx.disk(name, SIZE)?);
    }
    disks.push(ctx.disk("tiny", 2 * MIB)?);
    disks.push(ctx.disk("blocks", SIZE)?.logical_block(4096));
    for name in ["ext4", "full", "noise", "gpt"] {
        disks.push(ctx.disk(name, SIZE)?);
    }
    Ok(disks)
}

pub fn fill(vm: &Vm) -> Result<()> {
    vm.ok(&format!(
        "mkfs.ext4 -q {EXT4} 12M
         mkfs.ext4 -q {FULL}
         dd if=/dev/urandom of={NOISE} bs=64k count=4 conv=fsync status=none
         echo 'label: gpt' | sfdisk -q {GPT}
         ln -s vda {ALIAS}
         zoned=/sys/kernel/config/nullb/nullb1
         mkdir $zoned
         for setting in size=64 zoned=1 zone_size=4 memory_backed=1 power=1; do
             echo ${{setting#*=}} > $zoned/${{setting%=*}}
         done
         [ -b {ZONED} ]
         sync"
    ))?;
    Ok(())
}
