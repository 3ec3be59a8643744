//! The harness itself: on a plain disk a power cut loses nothing that was acknowledged, in a file and on a bare device.

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Boot, Ctx, MIB};
use qemu_tests::ledger::Ledger;
use qemu_tests::wire::{Region, WriterSpec};

const CUTS: u32 = 2;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let boot = Boot { without_module: true, ..Boot::default() };
    let disks = [ctx.disk("files", 64 * MIB)?, ctx.disk("bare", 64 * MIB)?];
    let file = Region { path: "/mnt/f".into(), start: 0, block_size: 4096, blocks: 2048, run: ctx.seed };
    let bare = Region { path: "/dev/vdb".into(), start: MIB, block_size: 4096, blocks: 1024, run: ctx.seed + 1 };
    let mut ledgers = [Ledger::default(), Ledger::default()];

    for cut in 0..CUTS {
        let vm = ctx.boot_as(&disks, &boot)?;
        if cut == 0 {
            vm.ok("mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && truncate -s 8M /mnt/f")?;
        } else {
            vm.ok("mount /dev/vda /mnt")?;
        }
        let mut writers = Vec::new();
        for (region, ledger) in [&file, &bare].into_iter().zip(ledgers) {
            let spec = WriterSpec { prefill: cut == 0, ..WriterSpec::over(region.clone(), ctx.random.u64(..)) };
            writers.push(vm.writer(spec, ledger)?);
        }
        for writer in &mut writers {
            // Past what the first filling acknowledges.
            writer.wait_acks(3000 + ctx.random.u64(..1000))?;
        }
        vm.power_cut()?;

        let vm = ctx.boot_as(&disks, &boot)?;
        vm.ok("mount /dev/vda /mnt")?;
        let mut left = Vec::new();
        for (writer, region) in writers.into_iter().zip([&file, &bare]) {
            let ledger = writer.after_cut()?;
            ensure!(!ledger.flushed().is_empty(), "no flush was seen");
            vm.verify(region, ledger.acknowledged())?;
            vm.verify(region, ledger.flushed())?;
            left.push(ledger);
        }
        ledgers = left.try_into().expect("as many as before");
        vm.ok("umount /mnt; e2fsck -fn /dev/vda")?;
        vm.shutdown()?;
    }
    Ok(())
}
