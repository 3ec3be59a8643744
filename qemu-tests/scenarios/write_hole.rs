//! The write hole: a raid5 that is short of a member loses power in the middle of writes, and with it nothing that was
//! acknowledged: what the missing member held lives in the parity alone, and the journal keeps that true, whether it is
//! replayed or, read-only, read through.

mod half_replay;

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::disk::{Disk, sums};
use qemu_tests::ledger::Ledger;
use qemu_tests::shape::{Shape, devices};
use qemu_tests::vm::Vm;
use qemu_tests::wire::{Region, WriterSpec};

const VOLUME: &str = "restripe0";
/// Power cuts while short of a member.
const CUTS: u64 = 4;

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c"] {
        disks.push(ctx.disk(name, 24 * MIB)?);
    }
    let all = devices(0..3);
    let region = Region {
        path: format!("/dev/{VOLUME}"),
        start: MIB + 4096,
        block_size: 4096,
        blocks: 1024,
        run: ctx.seed,
    };
    let mut ledger = Ledger::default();

    let vm = ctx.boot(&disks)?;
    vm.create(VOLUME, &Shape::of("raid5", 3), &all)?;
    vm.settle(VOLUME)?;
    modes(&vm)?;
    // All there and always journaled: cut, and then one of them is gone.
    vm.must_set(VOLUME, "journal", "always")?;
    vm.wait_volume(VOLUME, "journal_in_force", |is| is == "1")?;
    ledger = write_and_cut(vm, &region, ledger)?;

    let two = &all[..2];
    let mut spoilt = 0;
    for cut in 0..CUTS {
        // As if an assembly had been cut off while it replayed what the cut before left.
        spoilt += half_replay::make(if cut == 0 { &disks } else { &disks[..2] })?;
        let vm = ctx.boot(&disks)?;
        if cut == 0 {
            read_only(&vm, &disks, &all, "read_only=1", (&region, &ledger))?;
            let refusal = vm.refused("assemble", &format!("members={}", two.join(",")))?;
            ensure!(refusal.last_error.contains("degraded=1"), "{refusal}");
        }
        let words = "degraded=1 read_only=1";
        read_only(&vm, &disks, two, words, (&region, &ledger))?;
        vm.assemble(VOLUME, two, "degraded=1")?;
        vm.verify(&region, ledger.acknowledged())?;
        if cut == 0 {
            // From here on it journals for being degraded.
            vm.must_set(VOLUME, "journal", "auto")?;
        }
        ensure!(vm.attr(VOLUME, "journal_in_force")? == "1");
        ledger = write_and_cut(vm, &region, ledger)?;
    }
    ensure!(spoilt > 0, "no cut left a record that counts");

    let vm = ctx.boot(&disks)?;
    vm.assemble(VOLUME, two, "degraded=1")?;
    vm.verify(&region, ledger.acknowledged())?;
    // Turned off, it asks again.
    vm.must_set(VOLUME, "journal", "off")?;
    vm.wait_volume(VOLUME, "journal_in_force", |is| is == "0")?;
    ledger = write_and_cut(vm, &region, ledger)?;
    drop(ledger);
    let vm = ctx.boot(&disks)?;
    let refusal = vm.refused("assemble", &format!("members={} degraded=1", two.join(",")))?;
    ensure!(refusal.last_error.contains("force=1"), "{refusal}");
    vm.shutdown()
}

/// The file takes its three words, and the journal is in force only where it is wanted.
fn modes(vm: &Vm) -> Result<()> {
    ensure!(vm.attr(VOLUME, "journal")? == "auto");
    ensure!(vm.attr(VOLUME, "journal_in_force")? == "0");
    let refusal = vm.set_refused(VOLUME, "journal", "on")?;
    ensure!(
        refusal.errno == 22 && refusal.last_error.contains("always"),
        "{refusal}"
    );
    for (word, in_force) in [("always", "1"), ("off", "0"), ("always", "1"), ("auto", "0")] {
        vm.must_set(VOLUME, "journal", word)?;
        vm.wait_volume(VOLUME, "journal_in_force", |is| is == in_force)?;
        // All ways to write, small and large, zeroes, and several at once.
        vm.fio_overlap(&format!("/dev/{VOLUME}"), MIB, 50)?;
        vm.ok(&format!(
            "dd if=/dev/urandom of=/dev/{VOLUME} bs=4M count=2 oflag=direct status=none
             blkdiscard -z -o 65536 -l 5242880 /dev/{VOLUME}"
        ))?;
    }
    vm.ensure_in_sync(VOLUME)
}

/// Who may write nothing reads through the journal.
fn read_only(
    vm: &Vm,
    disks: &[Disk],
    members: &[String],
    words: &str,
    (region, ledger): (&Region, &Ledger),
) -> Result<()> {
    let before = sums(disks)?;
    vm.assemble(VOLUME, members, words)?;
    vm.verify(region, ledger.acknowledged())?;
    vm.stop_volume(VOLUME)?;
    ensure!(before == sums(disks)?, "`{words}` wrote to a disk");
    Ok(())
}

fn write_and_cut(vm: Vm, region: &Region, ledger: Ledger) -> Result<Ledger> {
    let spec = WriterSpec {
        prefill: ledger.acknowledged().is_empty(),
        ..WriterSpec::over(region.clone(), 1)
    };
    let mut writer = vm.writer(spec, ledger)?;
    writer.wait_acks(1500)?;
    vm.power_cut()?;
    writer.after_cut()
}
