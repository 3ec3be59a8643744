//! Sectors that can't be read: what they held is written anew, and the member stays; until it happens too often.

use anyhow::{Result, ensure};
use qemu_tests::ctx::MIB;
use qemu_tests::dust::Dust;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

use super::VOLUME;

/// Blocks of 4096 bytes before a blank member's data.
const DATA: u64 = 256;
/// Blocks of a chunk, and of a row's data on three disks.
const CHUNK: u64 = 16;
const ROW: u64 = 2 * CHUNK;

pub fn check(vm: &Vm) -> Result<()> {
    let bad = Dust::new(vm, "vdb")?;
    let devices = ["/dev/vda".to_owned(), bad.path(), "/dev/vdc".to_owned()];
    vm.create(VOLUME, &Shape::of("raid5", 3), &devices)?;
    let device = format!("/dev/{VOLUME}");
    vm.ok(&format!(
        "dd if=/dev/urandom of={device} bs=1M count=4 oflag=direct status=none"
    ))?;

    // In left-symmetric order the second chunk of rows 0, 3, 6 lies on the second disk, at the rows' own offset. A small
    // write to the first one has to read it.
    bad.spoil(vm, DATA)?;
    write(vm, 0)?;
    ensure!(
        vm.number(VOLUME, "members/1/read_errors")? > 0,
        "no error was counted"
    );
    stays(vm)?;
    bad.read(vm, DATA)?;

    // A read finds it elsewhere, and a check writes it anew.
    let before = vm.checksum(&device, 4 * MIB)?;
    bad.spoil(vm, DATA + 1)?;
    ensure!(vm.checksum(&device, 4 * MIB)? == before, "it reads something else");
    vm.ensure_in_sync(VOLUME)?;
    stays(vm)?;
    bad.read(vm, DATA + 1)?;

    // More than twenty times is too often.
    for block in 0..2 * CHUNK {
        let row = block / CHUNK * 3;
        bad.spoil(vm, DATA + row * CHUNK + block % CHUNK)?;
        write(vm, row * ROW + block % CHUNK)?;
    }
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "1")?;
    vm.wait_volume(VOLUME, "members/1/state", |state| state == "faulty")?;
    vm.stop_volume(VOLUME)?;
    bad.remove(vm)
}

fn write(vm: &Vm, block: u64) -> Result<()> {
    vm.ok(&format!(
        "dd if=/dev/urandom of=/dev/{VOLUME} bs=4096 seek={block} count=1 oflag=direct conv=notrunc status=none"
    ))?;
    Ok(())
}

fn stays(vm: &Vm) -> Result<()> {
    let state = vm.attr(VOLUME, "members/1/state")?;
    ensure!(state == "in_sync", "it is {state}");
    Ok(())
}
