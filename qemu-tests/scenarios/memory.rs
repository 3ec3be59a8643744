//! The driver's memory: what a volume sets aside, and what a migration takes on top, whatever the volume's size.
//!
//! The measure is MemAvailable once the caches are dropped: pages, slab and vmalloc alike are missing in it, whoever
//! took them, and nothing else runs in the guest. What is counted is what came with a line and goes with its end.

use anyhow::{Context, Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::vm::Vm;

const VOLUME: &str = "restripe0";
/// The first disk, and with it the volume, of the two rounds: bytes.
const SIZES: [u64; 2] = [64 * MIB, 16384 * MIB];
/// Where the migration is held: sectors, whole rows of the new layout.
const HELD: u64 = 32 * MIB / 512;
/// KiB that a migration may take.
const MIGRATION: i64 = 64 << 10;
/// KiB that a volume may set aside, as the README says.
const RESERVES: i64 = 20 << 10;
/// KiB by which two measures of the same thing may differ: per-CPU lists of pages, slabs in part, and what KASAN keeps
/// back of what was freed; 2 to 3 MiB where it was looked at.
const NOISE: i64 = 6 << 10;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut taken = Vec::new();
    for size in SIZES {
        let mut disks = Vec::new();
        for name in ["a", "b", "c"] {
            disks.push(ctx.disk(name, size)?);
        }
        let vm = ctx.boot(&disks)?;
        taken.push(one(&vm, size).with_context(|| format!("a volume of {size} bytes"))?);
        vm.shutdown()?;
    }
    let [small, large] = taken[..] else {
        anyhow::bail!("there are two rounds")
    };
    ctx.notes.push(format!(
        "KiB for a volume {} and {}, for its migration {} and {}",
        small.0, large.0, small.1, large.1
    ));
    for (what, small, large) in [
        ("a volume", small.0, large.0),
        ("a migration", small.1, large.1),
    ] {
        ensure!(
            (small - large).abs() <= NOISE,
            "{what} takes {small} KiB where it is small and {large} KiB where it is large"
        );
    }
    Ok(())
}

/// KiB that a volume takes at rest, and those that its migration takes on top at the most.
fn one(vm: &Vm, size: u64) -> Result<(i64, i64)> {
    // Free pages that a CPU keeps for itself are not in MemAvailable, and left alone it keeps tens of MiB.
    vm.ok("echo 1000 > /proc/sys/vm/percpu_pagelist_high_fraction")?;
    // All that comes with the first use of anything is there already.
    let data = size - 4 * MIB - size / 32;
    let adopt = format!("dev=/dev/vda size={data} force=1");
    vm.must("adopt", &adopt)?;
    write(vm)?;
    vm.stop_volume(VOLUME)?;

    let without = available(vm)?;
    vm.must("adopt", &adopt)?;
    write(vm)?;
    let with = available(vm)?;
    vm.must_set(VOLUME, "sync_max", &HELD.to_string())?;
    vm.must_set(VOLUME, "sync_speed_max", "32768")?;
    vm.must_set(
        VOLUME,
        "migrate",
        "level=raid5 chunk=1048576 add=/dev/vdb,/dev/vdc",
    )?;
    write(vm)?;
    vm.wait_position(VOLUME, HELD)?;
    let running = available(vm)?;
    vm.must_set(VOLUME, "migrate_state", "pause")?;
    vm.wait_volume(VOLUME, "migrate_state", |state| state == "paused")?;
    let least = running.min(available(vm)?);
    vm.stop_volume(VOLUME)?;
    let after = available(vm)?;

    let (volume, migration) = (without - with, with - least);
    ensure!(
        volume <= RESERVES + NOISE,
        "the volume takes {volume} KiB where {RESERVES} are promised"
    );
    ensure!(
        migration <= MIGRATION,
        "the migration takes {migration} KiB, more than {MIGRATION}"
    );
    // It must be seen at all: four pieces of a MiB are the least there can be.
    ensure!(
        migration > 4 << 10,
        "the migration takes {migration} KiB, so they are not measured: available are {without} KiB without the volume, {with} with it, {least} at the least, {after} after it"
    );
    ensure!(
        without - after <= NOISE,
        "{} KiB are not given back",
        without - after
    );
    Ok((volume, migration))
}

fn write(vm: &Vm) -> Result<()> {
    vm.ok(&format!(
        "fio --name=load --filename=/dev/{VOLUME} --size=16m --rw=randwrite --bs=64k --ioengine=libaio --iodepth=32 \
             --direct=1 --output-format=terse"
    ))?;
    Ok(())
}

/// KiB that are free or would be if asked for, when what is given back late (by RCU, by workers) has been: the most that is seen
/// until for seconds there has not been more, nor in some looks, each of which may take a slow guest as long. What KASAN keeps back
/// of what was freed goes with a cache's shrinking. No process is started between two looks: it would take and give back more than
/// what is looked for.
fn available(vm: &Vm) -> Result<i64> {
    let text = vm.ok(
        "most=0; since=$SECONDS; looks=0
         [ -p /tmp/silent ] || mkfifo /tmp/silent
         exec 3<> /tmp/silent
         sync
         while [ $((SECONDS - since)) -lt 3 ] || [ $looks -lt 5 ]; do
             looks=$((looks + 1))
             echo 3 > /proc/sys/vm/drop_caches
             for cache in /sys/kernel/slab/*; do [ -h $cache ] || echo 1 > $cache/shrink; done
             while read -r name now _; do [ $name != MemAvailable: ] || break; done < /proc/meminfo
             if [ $((now - most)) -gt 64 ]; then most=$now; since=$SECONDS; looks=0; fi
             read -r -t 0.05 -u 3 _ || true
         done
         echo $most",
    )?;
    text.trim()
        .parse()
        .with_context(|| format!("MemAvailable is {text:?}"))
}
