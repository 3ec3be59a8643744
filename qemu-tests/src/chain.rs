//! One migration after another with a file system mounted and written to, as scenarios share it: each is planned, may be cut off
//! or turned round on its way, and ends as its plan said.

use anyhow::{Context, Result, ensure};

use crate::ctx::{Ctx, MIB};
use crate::content::Filesystem;
use crate::journey::{Journey, Load, Plan, VOLUME};
use crate::shape::{Shape, devices};
use crate::vm::Vm;

/// Bytes of the file system, of which the volume never becomes smaller, and of each disk.
const SIZE: u64 = 24 * MIB;
const DISK: u64 = 32 * MIB;
/// Bytes of a disk that came in blank where data can be: without 1 MiB before them and the reserve.
const DATA: u64 = DISK - 3 * MIB;
/// KiB per second of a migration that goes back, so that it is not back before it is turned again.
const SLOW: &str = "512";

/// A migration to be.
#[derive(Debug, Clone, Copy)]
pub struct Leg {
    /// What is written to `migrate`.
    pub line: &'static str,
    /// Where it leads to.
    pub target: Shape,
    /// Whether it has to take windows through the stash.
    pub stash: bool,
}

/// A mounted volume under load, between two migrations.
pub struct Chain {
    pub journey: Journey,
    pub vm: Vm,
    load: Load,
}

impl Chain {
    /// Adopts a disk with files on it, and has more disks at hand.
    pub fn start(ctx: &mut Ctx, disks: u8) -> Result<Self> {
        let plan = Plan {
            files: "process",
            filesystem_size: SIZE,
            disk_size: DISK,
            fio_size: MIB,
            acked_blocks: 256,
            ..Plan::small(Filesystem::Ext4, "", disks)
        };
        let mut journey = Journey::prepare(ctx, plan)?;
        let vm = ctx.boot(&journey.disks)?;
        journey.adopt(&vm)?;
        let load = journey.load(ctx, &vm)?;
        Ok(Self { journey, vm, load })
    }

    /// A migration from start to end.
    pub fn go(&self, leg: &Leg) -> Result<()> {
        let after = self.announce(leg)?;
        self.vm.must_set(VOLUME, "migrate", leg.line)?;
        self.arrive(leg, after)
    }

    /// The same, with the power cut in its middle.
    pub fn go_cut(mut self, ctx: &mut Ctx, leg: &Leg, members: usize) -> Result<Self> {
        let after = self.announce(leg)?;
        self.go_half(leg)?;
        let reached = self.vm.number(VOLUME, "migrate_position")?;
        self.journey.cut(self.vm, self.load)?;
        self.vm = ctx.boot_for_leaks(&self.journey.disks)?;
        self.journey
            .come_back_on(&self.vm, &devices(0..members))
            .with_context(|| format!("cut at sector {reached} of {}", leg.line))?;
        self.load = self.journey.load(ctx, &self.vm)?;
        ctx.notes.push(format!("cut at sector {reached} of {}", leg.line));
        self.arrive(leg, after)?;
        Ok(self)
    }

    /// Goes half of the way, and back to where it came from.
    pub fn go_back(&self, leg: &Leg, added: &[String]) -> Result<()> {
        let words = ["level", "raid_disks", "chunk_size", "size"];
        let now = || words.map(|word| self.vm.attr(VOLUME, word).unwrap_or_default());
        self.announce(leg)?;
        let before = now();
        self.go_half(leg)?;
        self.turn("aborting")?;
        self.vm.must_set(VOLUME, "sync_max", "max")?;
        self.vm.wait_migrated(VOLUME)?;
        let after = now();
        ensure!(before == after, "it came back as {after:?} and was {before:?}");
        let refusal = self.vm.set_refused(VOLUME, "migrate_state", "abort")?;
        ensure!(refusal.last_error.contains("no migration"), "{refusal}");
        self.vm.ensure_in_sync(VOLUME)?;
        added.iter().try_for_each(|device| self.is_free(device))
    }

    /// Goes half of the way, a little back, and forward again to the end.
    pub fn go_to_and_fro(&self, leg: &Leg) -> Result<()> {
        let after = self.announce(leg)?;
        self.go_half(leg)?;
        self.vm.must_set(VOLUME, "sync_speed_max", SLOW)?;
        self.turn("aborting")?;
        self.turn("running")?;
        self.vm.must_set(VOLUME, "sync_speed_max", "0")?;
        self.arrive(leg, after)
    }

    /// Makes the file system as large as the volume, and small again, for which it is taken out of use.
    pub fn grow_and_shrink(mut self, ctx: &mut Ctx) -> Result<Self> {
        let small = self.journey.capacity(&self.vm)?;
        self.journey.grow(&self.vm)?;
        let large = self.journey.capacity(&self.vm)?;
        ensure!(large > small, "the file system has {large} bytes and had {small}");
        self.journey.end_load(&self.vm, self.load)?;
        self.vm.ok(&format!(
            "umount /mnt
             e2fsck -fp /dev/{VOLUME}
             resize2fs /dev/{VOLUME} {}K",
            SIZE / 1024
        ))?;
        self.vm.must_set(VOLUME, "size", &SIZE.to_string())?;
        self.journey.mount(&self.vm)?;
        self.load = self.journey.load(ctx, &self.vm)?;
        Ok(self)
    }

    /// Ends the load, and checks all of it.
    pub fn end(mut self) -> Result<Journey> {
        self.journey.end_load(&self.vm, self.load)?;
        self.journey.check(&self.vm)?;
        self.journey.end(self.vm)?;
        Ok(self.journey)
    }

    /// Nothing is on a disk, and nobody has it.
    pub fn is_free(&self, device: &str) -> Result<()> {
        let refusal = self.vm.refused("examine", &format!("dev={device}"))?;
        ensure!(
            refusal.errno == 61 && refusal.last_error.contains("superblock"),
            "{device} has left: {refusal}"
        );
        let disk = device.trim_start_matches("/dev/");
        let holders = self.vm.ok(&format!("ls /sys/block/{disk}/holders"))?;
        ensure!(holders.trim().is_empty(), "{device} is held by {holders}");
        ensure!(!self.vm.finds(device)?, "blkid finds something on {device}");
        Ok(())
    }

    /// Makes the volume so small that any set can hold it, and looks at the plan; gives the bytes it will have.
    fn announce(&self, leg: &Leg) -> Result<u64> {
        self.vm.must_set(VOLUME, "size", &SIZE.to_string())?;
        self.vm
            .must_set(VOLUME, "migrate", &format!("{} dry_run=1", leg.line))?;
        let plan = self.vm.attr(VOLUME, "plan")?;
        let figure = |key: &str| {
            let lines = plan.lines().filter_map(|line| line.split_once(": "));
            let value = lines.filter(|(name, _)| *name == key).map(|(_, value)| value).next();
            value.with_context(|| format!("the plan of {} does not say {key}:\n{plan}", leg.line))
        };
        let (before, after): (u64, u64) =
            (figure("capacity_before")?.parse()?, figure("capacity_after")?.parse()?);
        ensure!(before == SIZE, "the volume has {SIZE} bytes:\n{plan}");
        // A disk by itself has no room before its data if it was adopted.
        let right = match leg.target.level {
            "linear" => after == DATA + MIB,
            _ => after == DATA * leg.target.data_slots() as u64,
        };
        ensure!(right, "that is not what {} holds:\n{plan}", leg.line);
        let windows = figure("stash_windows")?;
        ensure!(
            (windows != "0") == leg.stash,
            "stash windows of {}: {windows}",
            leg.line
        );
        Ok(after)
    }

    /// Starts a migration, which stays in its middle.
    fn go_half(&self, leg: &Leg) -> Result<()> {
        self.vm
            .must_set(VOLUME, "sync_max", &(SIZE / 512 * 2 / 3).to_string())?;
        self.vm.must_set(VOLUME, "migrate", leg.line)?;
        // `sync_completed` is that of a resync until then.
        self.vm
            .wait_volume(VOLUME, "sync_action", |action| action == "migrate")?;
        let under_way = self.vm.wait_done(VOLUME, SIZE / 512 / 2)?;
        ensure!(under_way, "it is over, where it was to stay in its middle: {}", leg.line);
        Ok(())
    }

    fn turn(&self, wanted: &str) -> Result<()> {
        self.vm.must_set(VOLUME, "migrate_state", "abort")?;
        let state = self.vm.attr(VOLUME, "migrate_state")?;
        ensure!(state == wanted, "a migration that was turned round is {state}");
        Ok(())
    }

    /// The migration ends where it was to.
    fn arrive(&self, leg: &Leg, size: u64) -> Result<()> {
        self.vm.must_set(VOLUME, "sync_max", "max")?;
        self.vm.wait_migrated(VOLUME)?;
        let now = (
            self.vm.attr(VOLUME, "level")?,
            self.vm.number(VOLUME, "raid_disks")? as usize,
            self.vm.number(VOLUME, "size")?,
        );
        let wanted = (leg.target.level.to_owned(), leg.target.members, size);
        ensure!(now == wanted, "{}: it is {now:?} and was to be {wanted:?}", leg.line);
        Ok(())
    }
}

impl Vm {
    /// Whether blkid says that a file system, or anything else, is on the device.
    pub fn finds(&self, device: &str) -> Result<bool> {
        let output = self.sh(&format!("blkid -p {device}"))?;
        match output.status {
            0 => Ok(true),
            // Nothing is there, and it could be read.
            2 => Ok(false),
            _ => anyhow::bail!("blkid -p {device}: {output}"),
        }
    }
}
