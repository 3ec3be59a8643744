//! Sectors that can't be read: what they held is written anew, and the member stays; until it happens too often.

use anyhow::{Result, ensure};
use qemu_tests::ctx::MIB;
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

use super::VOLUME;

/// Blocks of 4096 bytes before a blank member's data.
const DATA: u64 = 256;
/// Blocks of a chunk, and of a row's data on three disks.
const CHUNK: u64 = 16;
const ROW: u64 = 2 * CHUNK;

pub fn check(vm: &Vm) -> Result<()> {
    vm.ok("echo 0 $(blockdev --getsz /dev/vdb) dust /dev/vdb 0 4096 | dmsetup create vdb; dmsetup mknodes; dmsetup message vdb 0 enable")?;
    let devices = ["/dev/vda", "/dev/mapper/vdb", "/dev/vdc"].map(str::to_owned);
    vm.create(VOLUME, &Shape::of("raid5", 3), &devices)?;
    let device = format!("/dev/{VOLUME}");
    vm.ok(&format!(
        "dd if=/dev/urandom of={device} bs=1M count=4 oflag=direct status=none"
    ))?;

    // In left-symmetric order the second chunk of rows 0, 3, 6 lies on the second disk, at the rows' own offset. A small
    // write to the first one has to read it.
    spoil(vm, DATA)?;
    write(vm, 0)?;
    ensure!(
        vm.number(VOLUME, "members/1/read_errors")? > 0,
        "no error was counted"
    );
    stays(vm)?;
    vm.ok(&read_block(DATA))?;

    // A read finds it elsewhere, and a check writes it anew.
    let before = vm.checksum(&device, 4 * MIB)?;
    spoil(vm, DATA + 1)?;
    ensure!(vm.checksum(&device, 4 * MIB)? == before, "it reads something else");
    vm.ensure_in_sync(VOLUME)?;
    stays(vm)?;
    vm.ok(&read_block(DATA + 1))?;

    // More than twenty times is too often.
    for block in 0..2 * CHUNK {
        let row = block / CHUNK * 3;
        spoil(vm, DATA + row * CHUNK + block % CHUNK)?;
        write(vm, row * ROW + block % CHUNK)?;
    }
    vm.wait_volume(VOLUME, "degraded", |degraded| degraded == "1")?;
    vm.wait_volume(VOLUME, "members/1/state", |state| state == "faulty")?;
    vm.stop_volume(VOLUME)?;
    vm.ok("dmsetup remove --retry vdb; rm -f /dev/mapper/vdb")?;
    Ok(())
}

/// A block of the second disk can't be read until it is written.
fn spoil(vm: &Vm, block: u64) -> Result<()> {
    vm.ok(&format!("dmsetup message vdb 0 addbadblock {block}"))?;
    ensure!(vm.ok(&read_block(block)).is_err(), "block {block} can still be read");
    Ok(())
}

fn read_block(block: u64) -> String {
    format!("dd if=/dev/mapper/vdb of=/dev/null bs=4096 skip={block} count=1 iflag=direct status=none")
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
