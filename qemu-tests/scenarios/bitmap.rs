//! Power cuts under load with the write-intent bitmap and without: how much the members are gone over after it, counted in
//! sectors that they read, and that all is alike afterwards.

use anyhow::{Result, ensure};
use qemu_tests::ctx::{Ctx, MIB};
use qemu_tests::ledger::Ledger;
use qemu_tests::shape::{Shape, devices};
use qemu_tests::vm::Vm;
use qemu_tests::wire::Region;
use qemu_tests::writer::cut_under_writes;

const SIZE: u64 = 32 * MIB;
/// What is written to, and where it begins: chunks of the bitmap are of 1 MiB.
const START: u64 = 9 * MIB;
const WRITTEN: u64 = 2 * MIB;
/// No member has more of the chunks written to, with what assembly and the partition scan read.
const MOST: u64 = 5 * MIB;

struct Volume {
    name: &'static str,
    level: &'static str,
    /// Disks by their numbers.
    disks: std::ops::Range<usize>,
    region: Region,
    ledger: Ledger,
}

impl Volume {
    fn written(&mut self) -> (&Region, &mut Ledger) {
        (&self.region, &mut self.ledger)
    }

    fn members(&self) -> Vec<String> {
        devices(self.disks.clone())
    }

    fn assemble(&self, vm: &Vm) -> Result<()> {
        vm.assemble(self.name, &self.members(), "")
    }

    /// Bytes that the member read most of has read since the machine was started.
    fn read(&self, vm: &Vm) -> Result<u64> {
        let mut most = 0;
        for member in self.members() {
            let stat = vm.ok(&format!("cat /sys/block/{}/stat", &member[5..]))?;
            let sectors: u64 = stat.split_whitespace().nth(2).unwrap_or("").parse()?;
            most = most.max(sectors * 512);
        }
        Ok(most)
    }

    /// Of a volume that was cut: how much is read until it is synced. All must be alike then.
    fn resync(&self, vm: &Vm) -> Result<u64> {
        let before = self.read(vm)?;
        self.assemble(vm)?;
        vm.wait_volume(self.name, "sync_action", |action| action == "idle")?;
        let read = self.read(vm)? - before;
        vm.verify(&self.region, self.ledger.acknowledged())?;
        vm.ensure_in_sync(self.name)?;
        Ok(read)
    }
}

pub fn run(ctx: &mut Ctx) -> Result<()> {
    let mut disks = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        disks.push(ctx.disk(name, SIZE)?);
    }
    let volume = |name: &'static str, level, disks| Volume {
        name,
        level,
        disks,
        region: Region {
            path: format!("/dev/{name}"),
            start: START,
            block_size: 4096,
            blocks: WRITTEN / 4096,
            run: ctx.seed,
        },
        ledger: Ledger::default(),
    };
    let mut volumes = [
        volume("restripe0", "raid1", 0..2),
        volume("restripe1", "raid5", 2..5),
    ];

    let vm = ctx.boot(&disks)?;
    for volume in &volumes {
        let members = volume.members();
        let shape = Shape::of(volume.level, members.len());
        vm.create(volume.name, &shape, &members)?;
        vm.settle(volume.name)?;
        // Marked all over when it was made; what is synced is cleared.
        vm.wait_volume(volume.name, "bitmap_dirty", |dirty| dirty == "0")?;
        vm.must("examine", &format!("dev={}", members[0]))?;
        let examined = vm.class("examine")?;
        for line in ["bitmap: internal", "bitmap_in_force: 1"] {
            ensure!(examined.lines().any(|l| l == line), "no {line:?} in:\n{examined}");
        }
    }
    cut_under_writes(vm, volumes.iter_mut().map(Volume::written))?;

    let vm = ctx.boot(&disks)?;
    for volume in &volumes {
        let read = volume.resync(&vm)?;
        ensure!(
            read <= MOST,
            "{}: {read} bytes of a member were read after a cut, of {WRITTEN} written to",
            volume.level
        );
        let dirty = vm.number(volume.name, "bitmap_dirty")?;
        ensure!(dirty <= 4, "{}: {dirty} chunks are marked", volume.level);
        vm.must_set(volume.name, "bitmap", "none")?;
        vm.wait_volume(volume.name, "bitmap_in_force", |is| is == "0")?;
    }
    cut_under_writes(vm, volumes.iter_mut().map(Volume::written))?;

    // Without it, all of it: so what is counted is the resync.
    let vm = ctx.boot(&disks)?;
    for volume in &volumes {
        let read = volume.resync(&vm)?;
        // Mirrors are read in turns, and of parity the data only.
        ensure!(
            read >= SIZE / 3,
            "{}: {read} bytes of a member were read after a cut without a bitmap",
            volume.level
        );
        vm.must_set(volume.name, "bitmap", "internal")?;
        vm.wait_volume(volume.name, "bitmap_in_force", |is| is == "1")?;
    }
    vm.shutdown()
}
