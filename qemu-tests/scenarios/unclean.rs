//! Power cuts under plain writes: what was acknowledged is there, copies and parity are made equal again before they are
//! relied on, and a volume at rest needs nothing of that.

use anyhow::{Context, Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::ledger::Ledger;
use qemu_tests::shape::{Shape, devices};
use qemu_tests::vm::Vm;
use qemu_tests::wire::Region;
use qemu_tests::writer::cut_under_writes;

/// So many bytes a second that a resync is seen under way.
const BPS: u64 = 6 * MIB;

struct Volume {
    name: &'static str,
    members: Vec<String>,
    region: Region,
    ledger: Ledger,
}

impl Volume {
    fn written(&mut self) -> (&Region, &mut Ledger) {
        (&self.region, &mut self.ledger)
    }
}

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        disks.push(ctx.disk(name, 24 * MIB)?.throttled(BPS, 0));
    }
    let volume = |name: &'static str, numbers| Volume {
        name,
        members: devices(numbers),
        region: Region {
            path: format!("/dev/{name}"),
            start: 3 * MIB + 4096,
            block_size: 4096,
            blocks: 512,
            run: ctx.seed,
        },
        ledger: Ledger::default(),
    };
    let mut volumes = [volume("restripe0", 0..3), volume("restripe1", 3..5)];

    let vm = ctx.boot(&disks)?;
    vm.create("restripe0", &Shape::of("raid5", 3), &volumes[0].members)?;
    vm.create("restripe1", &Shape::of("raid1", 2), &volumes[1].members)?;
    // All of them is resynced, so that it is seen under way: the bitmap has a scenario of its own.
    for volume in &volumes {
        vm.must_set(volume.name, "bitmap", "none")?;
        vm.wait_volume(volume.name, "bitmap_in_force", |is| is == "0")?;
    }
    cut_under_writes(vm, volumes.iter_mut().map(Volume::written))?;

    // A cut again, in the middle of the resync: it goes on where it was or begins anew, but it is not forgotten.
    let vm = ctx.boot(&disks)?;
    for volume in &volumes {
        vm.assemble(volume.name, &volume.members, "")?;
        ensure!(
            vm.attr(volume.name, "sync_action")? == "resync",
            "{} does not resync",
            volume.name
        );
    }
    vm.power_cut()?;

    let vm = ctx.boot(&disks)?;
    for volume in &volumes {
        vm.assemble(volume.name, &volume.members, "")?;
        ensure!(
            vm.attr(volume.name, "sync_action")? == "resync",
            "{} forgot to resync",
            volume.name
        );
        vm.verify(&volume.region, volume.ledger.acknowledged())?;
    }
    for volume in &volumes {
        vm.settle(volume.name)?;
        vm.ensure_in_sync(volume.name)?;
        vm.verify(&volume.region, volume.ledger.acknowledged())?;
        at_rest(&vm, volume)?;
    }
    vm.power_cut()?;

    let vm = ctx.boot(&disks)?;
    for volume in &volumes {
        vm.assemble(volume.name, &volume.members, "")?;
        ensure!(
            vm.attr(volume.name, "sync_action")? == "idle",
            "{} was at rest and resyncs all the same",
            volume.name
        );
        vm.ensure_in_sync(volume.name)?;
    }
    cut_under_writes(vm, volumes.iter_mut().map(Volume::written))?;

    let vm = ctx.boot(&disks)?;
    short_of_a_member(&vm, &volumes[0])?;
    vm.shutdown()
}

/// Says by itself on every member that nothing is under way.
fn at_rest(vm: &Vm, volume: &Volume) -> Result<()> {
    vm.wait_volume(volume.name, "array_state", |state| state == "clean")?;
    for member in &volume.members {
        let clean = vm.field(member, "clean")?;
        ensure!(clean == "1", "{member} says clean: {clean}");
    }
    Ok(())
}

/// Parity that may be stale can't stand in for a member that is missing, unless the user takes the risk.
fn short_of_a_member(vm: &Vm, volume: &Volume) -> Result<()> {
    let two = volume.members[..2].join(",");
    for words in ["degraded=1", "force=1"] {
        let refusal = vm.refused("assemble", &format!("members={two} {words}"))?;
        ensure!(
            refusal.last_error.contains("degraded=1"),
            "{words}: {refusal}"
        );
    }
    let refusal = vm.refused("assemble", &format!("members={two} degraded=1"))?;
    ensure!(
        refusal.last_error.contains("force=1") && refusal.last_error.contains("garbage"),
        "{refusal}"
    );
    vm.assemble(volume.name, &volume.members[..2], "degraded=1 force=1")
        .context("force=1 takes the risk")?;
    ensure!(vm.attr(volume.name, "array_state")? == "degraded");
    vm.stop_volume(volume.name)
}
