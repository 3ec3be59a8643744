//! What the queue tells mkfs and the block layer, and the counters of iostat.

use anyhow::{Context, Result, ensure};
use qemu_tests::shape::Shape;
use qemu_tests::vm::Vm;

pub fn check(vm: &Vm, volume: &str, shape: &Shape) -> Result<()> {
    let limit = |name: &str| -> Result<u64> {
        let text = vm.ok(&format!("cat /sys/block/{volume}/queue/{name}"))?;
        text.trim()
            .parse()
            .with_context(|| format!("{name} says {text:?}"))
    };
    ensure!(vm.attr(volume, "level")? == shape.level);
    ensure!(vm.number(volume, "raid_disks")? == shape.members as u64);
    ensure!(
        limit("logical_block_size")? == 512,
        "the members' logical blocks have 512 bytes"
    );
    ensure!(limit("fua")? == 1, "FUA is not passed on");
    ensure!(
        vm.ok(&format!("cat /sys/block/{volume}/queue/write_cache"))?
            .trim()
            == "write back"
    );
    if shape.is_striped() {
        let stripe = shape.chunk * shape.data_slots() as u64;
        ensure!(vm.number(volume, "chunk_size")? == shape.chunk);
        ensure!(
            limit("minimum_io_size")? == shape.chunk,
            "minimum_io_size is not the chunk"
        );
        ensure!(
            limit("optimal_io_size")? == stripe,
            "optimal_io_size is not the stripe of {stripe} bytes"
        );
    }
    ensure!(
        limit("discard_max_bytes")? > 0 && limit("write_zeroes_max_bytes")? > 0,
        "the members can discard"
    );
    counters(vm, volume)
}

fn counters(vm: &Vm, volume: &str) -> Result<()> {
    let stat = || -> Result<Vec<u64>> {
        let text = vm.ok(&format!("cat /sys/block/{volume}/stat"))?;
        text.split_whitespace()
            .map(|word| Ok(word.parse()?))
            .collect()
    };
    let before = stat()?;
    vm.ok(&format!(
        "dd if=/dev/{volume} of=/dev/null bs=4k count=50 iflag=direct status=none
         dd if=/dev/zero of=/dev/{volume} bs=8k count=20 oflag=direct status=none"
    ))?;
    let after = stat()?;
    // Reads, sectors read, writes, sectors written.
    let counted = [0, 2, 4, 6].map(|n| after[n] - before[n]);
    ensure!(
        counted == [50, 400, 20, 320],
        "50 reads and 20 writes are counted as {counted:?}"
    );
    Ok(())
}
