//! Assembly in all its ways, of a volume at rest, in mid-migration and after a power cut; and what its users are told
//! meanwhile, by the kernel's own wake-ups and uevents.

mod read_only;
mod stale;
mod told;

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::ledger::Ledger;
use qemu_tests::restripe::attr_path;
use qemu_tests::shape::devices;
use qemu_tests::wire::{Region, WriterSpec};

/// Not the first free one: it is given.
const VOLUME: &str = "restripe3";
/// Of each of the disks.
const SIZE: u64 = 24 * MIB;
const ADOPTED: u64 = 16 * MIB;
/// Where the migration is held first, and later: sectors.
const HELD: [u64; 2] = [8192, 20480];

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c", "d"] {
        disks.push(ctx.disk(name, SIZE)?);
    }
    let region = Region {
        path: format!("/dev/{VOLUME}"),
        start: 0,
        block_size: 4096,
        blocks: ADOPTED / 4096,
        run: ctx.random.u64(..),
    };
    let load = |seed| WriterSpec {
        span: 16,
        ..WriterSpec::over(region.clone(), seed)
    };
    let members = devices(0..3);

    let vm = ctx.boot(&disks)?;
    vm.must(
        "adopt",
        &format!("dev=/dev/vda size={ADOPTED} name={VOLUME}"),
    )?;
    told::activity(&vm)?;
    let mut writer = vm.writer(load(1), Ledger::default())?;
    writer.wait_acks(region.blocks)?;
    let uuid = vm.attr(VOLUME, "uuid")?;
    told::migration(&vm, &mut writer)?;
    let mut ledger = writer.stop(&vm)?;
    told::pause(&vm)?;
    vm.stop_volume(VOLUME)?;

    // Paused, in mid-migration, stopped in order.
    read_only::check(&vm, &disks, &members, &region, &ledger)?;
    let line = format!("members={} uuid={uuid}", members.join(","));
    vm.must("assemble", &line)?;
    ensure!(
        vm.class("volumes")? == VOLUME,
        "it does not keep its name: {}",
        vm.class("volumes")?
    );
    ensure!(vm.attr(VOLUME, "uuid")? == uuid);
    // A pause outlives the volume, and an assembly that says nothing of it.
    vm.wait_volume(VOLUME, "migrate_state", |state| state == "paused")?;

    let mut writer = vm.writer(
        WriterSpec {
            prefill: false,
            ..load(2)
        },
        std::mem::take(&mut ledger),
    )?;
    vm.must_set(VOLUME, "sync_max", &HELD[1].to_string())?;
    vm.must_set(VOLUME, "migrate_state", "resume")?;
    ensure!(vm.wait_done(VOLUME, HELD[0] + 1024)?);
    writer.wait_acks(100)?;
    vm.power_cut()?;
    ledger = writer.after_cut()?;

    // Not stopped in order: it is to be resynced, resumed and marked, and nothing of that is written.
    let vm = ctx.boot(&disks)?;
    read_only::check(&vm, &disks, &members, &region, &ledger)?;
    vm.must(
        "assemble",
        &format!("{line} paused=1 name=restripe0"),
    )?;
    ensure!(vm.class("volumes")? == "restripe0", "name= is not kept to");
    vm.wait_attr(&attr_path("restripe0", "migrate_state"), |state| {
        state == "paused"
    })?;
    let position = vm.number("restripe0", "migrate_position")?;
    ensure!(
        (HELD[0]..=HELD[1]).contains(&position),
        "it is at {position}"
    );
    vm.stop_volume("restripe0")?;
    vm.must("assemble", &format!("{line} name={VOLUME}"))?;
    vm.verify(&region, ledger.acknowledged())?;
    told::the_end(&vm)?;
    vm.verify(&region, ledger.acknowledged())?;
    told::loss(&vm)?;
    vm.verify(&region, ledger.acknowledged())?;
    vm.stop_volume(VOLUME)?;
    vm.shutdown()?;

    stale::check(ctx, &disks)
}
