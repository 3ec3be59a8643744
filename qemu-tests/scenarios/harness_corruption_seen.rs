//! The harness itself: its checkers go red for each kind of wrong content, and a splat is seen in the console.

use anyhow::{Result, ensure};
use qemu_tests::content::{Filesystem, Tree};
use qemu_tests::ctx::{Boot, Ctx, MIB};
use qemu_tests::disk::Disk;
use qemu_tests::ledger::Ledger;
use qemu_tests::stamp;
use qemu_tests::vm::Vm;
use qemu_tests::wire::{Region, WriterSpec};

const BLOCK: u64 = 4096;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let boot = Boot { without_module: true, ..Boot::default() };
    let tree = Tree::documentation("filesystems")?;
    let image = tree.image(Filesystem::Ext4, 128 * MIB)?;
    let disks = [ctx.disk("bare", 16 * MIB)?, ctx.disk_with("tree", &image, 128 * MIB)?];
    let region = Region { path: "/dev/vda".into(), start: 0, block_size: BLOCK as u32, blocks: 256, run: ctx.seed };

    let vm = ctx.boot_as(&disks, &boot)?;
    let spec = WriterSpec { writes: 500, ..WriterSpec::over(region.clone(), ctx.seed) };
    let mut writer = vm.writer(spec, Ledger::default())?;
    writer.wait_acks(256)?;
    let ledger = writer.stop(&vm)?;
    vm.verify(&region, ledger.acknowledged())?;
    vm.ok("mount -o ro /dev/vdb /mnt")?;
    vm.check_tree("/mnt", &tree)?;
    vm.power_cut()?;

    // One block of each kind of wrong: a flipped bit, a lost write, an old write, a torn one, one in the wrong place.
    let good = disks[0].bytes()?;
    let at = |block: u64| (block * BLOCK) as usize..((block + 1) * BLOCK) as usize;
    let mut flipped = good[at(10)].to_vec();
    flipped[1000] ^= 4;
    let mut old = vec![0; BLOCK as usize];
    stamp::fill(&mut old, region.run, 30, 1);
    let mut torn = good[at(40)].to_vec();
    let newer = ledger.newest() + 1;
    stamp::fill(&mut torn, region.run, 40, newer);
    torn[..2048].copy_from_slice(&good[at(40)][..2048]);
    let wrongs: [(u64, &[u8], &str); 5] = [
        (10, &flipped, "damaged"),
        (20, &[0; BLOCK as usize], "lost"),
        (30, &old, "went back"),
        (40, &torn, "torn"),
        (50, &good[at(51)], "holds block 51"),
    ];
    for (block, bytes, _) in wrongs {
        disks[0].corrupt(block * BLOCK, bytes)?;
    }
    let name = corrupt_a_file(&disks[1], &tree)?;

    let vm = ctx.boot_as(&disks, &boot)?;
    let said = red(vm.verify(&region, ledger.acknowledged()))?;
    ensure!(said.contains("5 of 256 blocks are wrong"), "{said}");
    for (block, _, word) in wrongs {
        let told = said.lines().any(|line| line.contains(&format!("block {block} ")) && line.contains(word));
        ensure!(told, "block {block} is not said to be {word}: {said}");
    }
    vm.ok("mount -o ro /dev/vdb /mnt")?;
    let said = red(vm.check_tree("/mnt", &tree))?;
    ensure!(said.contains("1 of ") && said.contains(&name), "{said}");
    splat_is_seen(ctx, vm)
}

/// Changes one byte in the middle of a file's content, found on the raw disk by its first block.
fn corrupt_a_file(disk: &Disk, tree: &Tree) -> Result<String> {
    let whole = disk.bytes()?;
    for line in tree.manifest.iter().filter(|line| line.size > 2 * BLOCK) {
        let content = tree.read(line)?;
        let head = &content[..BLOCK as usize];
        let places: Vec<_> = whole.chunks_exact(BLOCK as usize).enumerate().filter(|(_, b)| *b == head).collect();
        if let [(block, bytes)] = places[..] {
            disk.corrupt(block as u64 * BLOCK + 100, &[bytes[100] ^ 1])?;
            return Ok(line.path.clone());
        }
    }
    anyhow::bail!("no file of the tree was found on the raw disk")
}

fn red<T>(result: Result<T>) -> Result<String> {
    match result {
        Ok(_) => anyhow::bail!("a checker stayed green over wrong content"),
        Err(e) => Ok(format!("{e:#}")),
    }
}

/// The words come from a write to the kernel's log; the runner must not see them, so they are taken from the log here.
fn splat_is_seen(ctx: &mut Ctx, vm: Vm) -> Result<()> {
    ensure!(ctx.splats().is_empty(), "trouble before it was made: {:?}", ctx.splats());
    vm.ok("echo '<4>WARNING: made on purpose' > /dev/kmsg")?;
    vm.shutdown()?;
    let splats = ctx.take_splats();
    ensure!(splats.len() == 1 && splats[0].contains("made on purpose"), "{splats:?}");
    Ok(())
}
