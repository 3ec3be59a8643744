//! The main job as a user does it, in steps that scenarios and the demo share: a disk with files on it is
//! adopted, mounted, loaded, migrated under load and power cuts, grown and checked.

use anyhow::{Context, Result, ensure};

use crate::content::{Filesystem, Tree};
use crate::ctx::{Boot, Ctx, MIB};
use crate::disk::Disk;
use crate::ledger::Ledger;
use crate::vm::{Command, Vm};
use crate::wire::{Region, WriterSpec};
use crate::writer::AckWriter;

pub const VOLUME: &str = "restripe0";

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Plan {
    pub filesystem: Filesystem,
    /// The part of the documentation that lies on the disk, "" for all.
    pub files: &'static str,
    /// Bytes of the file system. The disk is larger by what adopting needs.
    pub filesystem_size: u64,
    /// Bytes of every disk.
    pub disk_size: u64,
    /// Bytes per second that each disk does, 0 for no limit.
    pub bps: u64,
    /// How many disks there are at the end.
    pub members: u8,
    /// The words of the `migrate` line before `add=`, such as `level=raid5`.
    pub target: String,
    /// Bytes that fio writes and verifies over and over.
    pub fio_size: u64,
    /// Blocks of 4 KiB whose every acknowledgement is kept on the host.
    pub acked_blocks: u64,
}

impl Plan {
    /// The job of scenarios: small, with the whole documentation all the same.
    pub fn small(filesystem: Filesystem, target: &str, members: u8) -> Self {
        // mkfs.xfs makes nothing smaller than 300 MiB.
        let filesystem_size = match filesystem {
            Filesystem::Ext4 => 192 * MIB,
            Filesystem::Xfs => 304 * MIB,
        };
        Self {
            filesystem,
            files: "",
            filesystem_size,
            disk_size: filesystem_size + 32 * MIB,
            bps: 0,
            members,
            target: target.into(),
            fio_size: 4 * MIB,
            acked_blocks: 1024,
        }
    }
}

/// The job under way; it outlives every boot.
pub struct Journey {
    pub plan: Plan,
    pub tree: Tree,
    pub disks: Vec<Disk>,
    ledger: Ledger,
    region: Region,
    filled: bool,
}

/// What runs on the volume meanwhile.
pub struct Load {
    fio: Command,
    writer: AckWriter,
}

impl Load {
    /// Waits until so many more writes are acknowledged.
    pub fn wait_acks(&mut self, n: u64) -> Result<()> {
        self.writer.wait_acks(n)
    }
}

/// What was found in the end.
#[derive(Debug, Clone)]
pub struct Found {
    pub files: usize,
    pub acked_blocks: usize,
    pub mismatches: u64,
}

impl Journey {
    /// Makes the disks: the first with a file system full of files, the others blank.
    pub fn prepare(ctx: &Ctx, plan: Plan) -> Result<Self> {
        let tree = Tree::documentation(plan.files)?;
        let image = tree.image(plan.filesystem, plan.filesystem_size)?;
        let mut disks = vec![
            ctx.disk_with("live", &image, plan.disk_size)?
                .throttled(plan.bps, 0),
        ];
        for n in 1..plan.members {
            disks.push(
                ctx.disk(&format!("new{n}"), plan.disk_size)?
                    .throttled(plan.bps, 0),
            );
        }
        let region = Region {
            path: "/mnt/acked".into(),
            start: 0,
            block_size: 4096,
            blocks: plan.acked_blocks,
            run: ctx.seed,
        };
        Ok(Self {
            plan,
            tree,
            disks,
            ledger: Ledger::default(),
            region,
            filled: false,
        })
    }

    /// The guest's names of the disks.
    pub fn devices(&self) -> Vec<String> {
        ('a'..='z')
            .take(self.disks.len())
            .map(|letter| format!("/dev/vd{letter}"))
            .collect()
    }

    /// Makes the disk a volume and mounts it.
    pub fn adopt(&self, vm: &Vm) -> Result<()> {
        vm.must("adopt", &format!("dev=/dev/vda name={VOLUME}"))?;
        self.mount(vm)
    }

    pub fn mount(&self, vm: &Vm) -> Result<()> {
        vm.ok(&format!("mount /dev/{VOLUME} /mnt"))?;
        Ok(())
    }

    /// Starts fio and the writer whose acknowledgements are kept.
    pub fn load(&mut self, ctx: &mut Ctx, vm: &Vm) -> Result<Load> {
        if !self.filled {
            vm.ok(&format!(
                "truncate -s {} /mnt/acked",
                self.plan.acked_blocks * 4096
            ))?;
        }
        let spec = WriterSpec {
            prefill: !self.filled,
            ..WriterSpec::over(self.region.clone(), ctx.random.u64(..))
        };
        let mut writer = vm.writer(spec, std::mem::take(&mut self.ledger))?;
        if !self.filled {
            // Before that, blocks of the file may not be the file's yet after a cut, which is no fault of the disk's.
            writer.wait_acks(self.plan.acked_blocks)?;
            self.filled = true;
        }
        let fio = vm.spawn(&format!(
            "rm -f /tmp/enough
             while [ ! -e /tmp/enough ]; do
                 fio --name=load --filename=/mnt/fio --size={} --rw=randwrite --bsrange=4k-64k --blockalign=4k --ioengine=libaio \
                     --iodepth=8 --direct=1 --verify=crc32c --verify_fatal=1 --randseed=$RANDOM --output-format=terse
             done",
            self.plan.fio_size
        ))?;
        Ok(Load { fio, writer })
    }

    /// Starts the migration onto all disks.
    pub fn migrate(&self, vm: &Vm) -> Result<()> {
        let added = self.devices()[1..].join(",");
        vm.must_set(
            VOLUME,
            "migrate",
            &format!("{} add={added}", self.plan.target),
        )
    }

    /// Cuts the power under load; what had been acknowledged by then is kept.
    pub fn cut(&mut self, vm: Vm, load: Load) -> Result<()> {
        vm.power_cut()?;
        self.ledger = load.writer.after_cut()?;
        Ok(())
    }

    /// After a boot: assembles, mounts and checks what was acknowledged before.
    pub fn come_back(&self, vm: &Vm) -> Result<()> {
        self.come_back_on(vm, &self.devices())
    }

    /// The same, of the volume that lies on these disks.
    pub fn come_back_on(&self, vm: &Vm, devices: &[String]) -> Result<()> {
        vm.must(
            "assemble",
            &format!("members={} name={VOLUME}", devices.join(",")),
        )?;
        self.mount(vm)?;
        self.check_acked(vm)?;
        Ok(())
    }

    fn check_acked(&self, vm: &Vm) -> Result<usize> {
        let floors = self.ledger.acknowledged();
        let blocks = floors.len();
        vm.verify(&self.region, floors)
            .context("what was acknowledged is not there")?;
        Ok(blocks)
    }

    /// Ends the load; fio must have verified all that it wrote.
    pub fn end_load(&mut self, vm: &Vm, load: Load) -> Result<()> {
        self.ledger = load.writer.stop(vm)?;
        vm.ok("touch /tmp/enough")?;
        load.fio.ok()?;
        Ok(())
    }

    /// Grows the file system onto the whole volume, online.
    pub fn grow(&self, vm: &Vm) -> Result<()> {
        match self.plan.filesystem {
            Filesystem::Ext4 => vm.ok(&format!("resize2fs /dev/{VOLUME}"))?,
            Filesystem::Xfs => vm.ok("xfs_growfs /mnt")?,
        };
        Ok(())
    }

    /// Bytes that the mounted file system offers in all.
    pub fn capacity(&self, vm: &Vm) -> Result<u64> {
        let text = vm.ok("stat -f -c '%b %S' /mnt")?;
        let numbers: Vec<u64> = text
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        match numbers[..] {
            [blocks, size] => Ok(blocks * size),
            _ => anyhow::bail!("stat -f said {text:?}"),
        }
    }

    /// With the load ended: every file, every acknowledged block, the file system's own check and the parity.
    pub fn check(&self, vm: &Vm) -> Result<Found> {
        // Read from the disks and not from memory.
        vm.ok("sync; echo 3 > /proc/sys/vm/drop_caches")?;
        let files = vm.check_tree("/mnt", &self.tree)?;
        let acked_blocks = self.check_acked(vm)?;
        vm.ok("umount /mnt")?;
        match self.plan.filesystem {
            Filesystem::Ext4 => vm.ok(&format!("e2fsck -fn /dev/{VOLUME}"))?,
            Filesystem::Xfs => vm.ok(&format!("xfs_repair -n /dev/{VOLUME}"))?,
        };
        // Copies and parity agree; without them there is nothing to compare.
        let mismatches = match &*vm.attr(VOLUME, "level")? {
            "linear" | "raid0" => 0,
            _ => vm.check_parity(VOLUME)?,
        };
        ensure!(
            mismatches == 0,
            "{mismatches} sectors of parity or mirrors differ"
        );
        Ok(Found {
            files,
            acked_blocks,
            mismatches,
        })
    }

    /// Stops the volume, unloads the module and looks for leaks.
    pub fn end(&self, vm: Vm) -> Result<()> {
        vm.must("stop", &format!("name={VOLUME}"))?;
        vm.unload()?;
        vm.leak_check()?;
        vm.shutdown()
    }
}

/// KiB per second that a migration under cuts is held to, so that there is a middle to cut it in.
const PACE: u64 = 6144;

/// How far beyond its point a migration may get before the cut, as a part of the volume: the cut finds it under way,
/// and can't find it done, however slow the machine is.
const LEASH: u64 = 15;

/// The whole job with power cuts at points the seed decides.
pub fn with_cuts(ctx: &mut Ctx, plan: Plan, cuts: u32) -> Result<()> {
    let mut journey = Journey::prepare(ctx, plan)?;
    let mut vm = ctx.boot(&journey.disks)?;
    journey.adopt(&vm)?;
    let before = journey.capacity(&vm)?;
    let mut load = journey.load(ctx, &vm)?;
    vm.must_set(VOLUME, "sync_speed_max", &PACE.to_string())?;
    let sectors = vm.number(VOLUME, "size")? / 512;
    let mut points: Vec<_> = (0..cuts)
        .map(|_| ctx.random.u64(..sectors * 9 / 10))
        .collect();
    points.sort_unstable();
    let leash = |point: u64| (point + sectors / LEASH).to_string();
    vm.must_set(VOLUME, "sync_max", &leash(points[0]))?;
    journey.migrate(&vm)?;
    let mut cursors = Vec::new();
    for (cut, point) in points.into_iter().enumerate() {
        vm.must_set(VOLUME, "sync_max", &leash(point))?;
        ensure!(
            vm.wait_done(VOLUME, point)?,
            "the migration was over before cut {}",
            cut + 1
        );
        // A cut between two commits as often as right after one.
        load.wait_acks(ctx.random.u64(1..200))?;
        let reached = vm.number(VOLUME, "migrate_position")?;
        ensure!(
            vm.attr(VOLUME, "migrate_state")? == "running",
            "cut {} would find no migration under way",
            cut + 1
        );
        journey.cut(vm, load)?;
        // Only the last one lives to be asked what it left behind.
        let boot = Boot { leaks: cut + 1 == cuts as usize, ..Boot::default() };
        vm = ctx.boot_as(&journey.disks, &boot)?;
        let context = || {
            format!(
                "after cut {}, due at sector {point}, with the cursor at {reached}",
                cut + 1
            )
        };
        journey.come_back(&vm).with_context(context)?;
        load = journey.load(ctx, &vm)?;
        cursors.push(reached.to_string());
    }
    ctx.notes.push(format!(
        "{cuts} cuts with the migration under way, of {sectors} sectors at {}",
        cursors.join(" ")
    ));
    vm.must_set(VOLUME, "sync_max", "max")?;
    vm.must_set(VOLUME, "sync_speed_max", "0")?;
    vm.wait_migrated(VOLUME)?;
    ensure!(
        vm.number(VOLUME, "raid_disks")? == u64::from(journey.plan.members),
        "not all disks are in use"
    );
    journey.grow(&vm)?;
    journey.end_load(&vm, load)?;
    let after = journey.capacity(&vm)?;
    ensure!(
        after >= before,
        "the file system shrank from {before} to {after} bytes"
    );
    journey.check(&vm)?;
    journey.end(vm)
}
