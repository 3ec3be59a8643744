//! Migrations of many shapes in one boot: each level over many numbers of members and sizes of chunks, with writes on both
//! sides of the cursor, compared block by block while it runs, at its end and after a restart.

use anyhow::{Context, Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::ledger::Ledger;
use qemu_tests::shape::devices;
use qemu_tests::vm::Vm;
use qemu_tests::wire::{Region, WriterSpec};

const VOLUME: &str = "restripe0";
/// Of each disk: 1 MiB before a blank one's data and 2 MiB of reserve are not data.
const SIZE: u64 = 12 * MIB;
const BLOCK: u64 = 4096;
/// Writes to wait for on either side of half-way.
const ACKS: u64 = 60;

/// Level, members and chunk in bytes. Every number of members and every chunk is there for each level that has them.
const SHAPES: [(&str, usize, u64); 16] = [
    ("raid1", 2, 65536),
    ("raid0", 2, 4096),
    ("raid5", 3, 65536),
    ("raid0", 3, 1 << 20),
    ("raid5", 4, 4096),
    ("raid1", 3, 65536),
    ("raid0", 4, 65536),
    ("raid5", 5, 1 << 20),
    ("raid0", 5, 4096),
    ("raid5", 6, 4096),
    ("raid0", 6, 1 << 20),
    ("raid1", 8, 65536),
    ("raid5", 7, 65536),
    ("raid0", 7, 65536),
    ("raid5", 8, 1 << 20),
    ("raid0", 8, 4096),
];

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        disks.push(ctx.disk(name, SIZE)?);
    }
    let vm = ctx.boot_for_leaks(&disks)?;
    for (number, (level, members, chunk)) in SHAPES.into_iter().enumerate() {
        // Sizes that end within a row, and within a chunk.
        let blocks = ctx.random.u64(6 * MIB / BLOCK..8 * MIB / BLOCK);
        let region = Region {
            path: format!("/dev/{VOLUME}"),
            start: 0,
            block_size: BLOCK as u32,
            blocks,
            run: ctx.random.u64(..),
        };
        one(&vm, level, members, chunk, &region).with_context(|| {
            format!(
                "{level} over {members} in chunks of {chunk} bytes, {blocks} blocks, number {number}"
            )
        })?;
    }
    vm.unload()?;
    vm.leak_check()?;
    vm.shutdown()
}

fn one(vm: &Vm, level: &str, members: usize, chunk: u64, region: &Region) -> Result<()> {
    let all = devices(0..members);
    let bytes = region.blocks * BLOCK;
    vm.must("adopt", &format!("dev={} size={bytes} force=1", all[0]))?;
    let spec = WriterSpec {
        span: 16,
        ..WriterSpec::over(region.clone(), region.run)
    };
    let mut writer = vm.writer(spec, Ledger::default())?;
    // All blocks are written once before any is again.
    writer.wait_acks(region.blocks + ACKS)?;

    // Half-way it stops, so that writes land below the cursor, above it and around it.
    let half = bytes / 512 / 2;
    vm.must_set(VOLUME, "sync_max", &half.to_string())?;
    let chunk = if level == "raid1" {
        String::new()
    } else {
        format!(" chunk={chunk}")
    };
    vm.must_set(
        VOLUME,
        "migrate",
        &format!(
            "level={level}{chunk} add={} force=1",
            all[1..].join(",")
        ),
    )?;
    writer.wait_acks(ACKS)?;
    vm.must_set(VOLUME, "sync_max", "max")?;
    vm.wait_migrated(VOLUME)?;
    writer.wait_acks(ACKS)?;
    let ledger = writer.stop(vm)?;
    vm.verify(region, ledger.acknowledged())?;

    ensure!(vm.attr(VOLUME, "level")? == level);
    ensure!(vm.number(VOLUME, "raid_disks")? == members as u64);
    vm.settle(VOLUME)?;
    if level != "raid0" {
        vm.ensure_in_sync(VOLUME)?;
    }
    vm.stop_volume(VOLUME)?;
    // In another order: each says by itself who it is.
    let others: Vec<_> = all.into_iter().rev().collect();
    vm.assemble(VOLUME, &others, "")?;
    vm.verify(region, ledger.acknowledged())?;
    vm.stop_volume(VOLUME)
}
