//! The main job, shown: a disk in use becomes a RAID5 over three disks, and the power fails on the way.

mod screen;

use anyhow::{Context, Result, bail, ensure};
use restripe_scripts::kernel::Flavour;

use crate::content::Filesystem;
use crate::ctx::{Bench, Ctx, MIB};
use crate::journey::{Journey, Load, Plan, VOLUME};
use crate::runner::{Runs, seed};
use crate::vm::Vm;
use screen::{Screen, mib};

/// What each disk does, as bytes per second: so that there is something to see.
const BPS: u64 = 40 * MIB;

fn plan() -> Plan {
    Plan {
        filesystem: Filesystem::Ext4,
        files: "",
        filesystem_size: 240 * MIB,
        disk_size: 256 * MIB,
        bps: BPS,
        members: 3,
        target: "level=raid5".into(),
        fio_size: 8 * MIB,
        acked_blocks: 2048,
    }
}

/// Runs it; true if every byte was right.
pub fn run() -> Result<bool> {
    let screen = Screen::new();
    screen.step("Getting ready: kernel, module, guest system");
    let bench = Bench::set_up(Flavour::Lean)?;
    ensure!(
        bench.kernel.module.is_some(),
        "there is no restripe.ko to show"
    );
    let runs = Runs::new()?;
    let seed = seed()?;
    let mut ctx = Ctx::new(&bench, seed, &runs.dir)?;
    let result = show(&mut ctx, &screen);
    let (splats, tail) = (ctx.splats(), ctx.tail());
    ctx.remove_disks()?;
    match result {
        Ok(()) if splats.is_empty() => {
            runs.end(0)?;
            screen.step("Every byte is right");
            Ok(true)
        }
        result => {
            let logs = runs.dir.display().to_string();
            runs.end(1)?;
            let e = result
                .err()
                .unwrap_or_else(|| anyhow::anyhow!("the kernel log tells of trouble"));
            bail!(
                "{e:#}\n{}\n{tail}logs: {logs}\nseed: {seed}",
                splats.join("\n")
            )
        }
    }
}

fn show(ctx: &mut Ctx, screen: &Screen) -> Result<()> {
    let mut journey = Journey::prepare(ctx, plan())?;
    let files = journey.tree.manifest.len();
    screen.step(&format!(
        "A disk of {} with ext4 and {files} files of the Linux documentation ({}); two blank disks beside it, {} a second each",
        mib(journey.plan.disk_size),
        mib(journey.tree.bytes()),
        mib(BPS)
    ));
    let vm = ctx.boot(&journey.disks)?;
    screen.step(&format!(
        "Booted Linux {} and loaded restripe.ko",
        vm.release()
    ));
    screen.command(&format!(
        "echo dev=/dev/vda name={VOLUME} > /sys/class/restripe/adopt; mount /dev/{VOLUME} /mnt"
    ));
    journey.adopt(&vm)?;
    let before = journey.capacity(&vm)?;
    let size = vm.number(VOLUME, "size")?;

    screen.step("From now on the file system stays mounted; fio writes and verifies, and a writer notes every acknowledgement outside the VM");
    let load = journey.load(ctx, &vm)?;
    screen.command(&format!(
        "echo level=raid5 add=/dev/vdb,/dev/vdc > /sys/block/{VOLUME}/restripe/migrate"
    ));
    journey.migrate(&vm)?;
    // Somewhere in the middle, elsewhere with each seed.
    let point = size / 512 * ctx.random.u64(35..65) / 100;
    let at = follow(screen, &vm, size, Some(point))?;
    ensure!(
        at.is_some(),
        "the migration was over before the power could be cut"
    );
    journey.cut(vm, load)?;
    screen.step("POWER CUT: the VM is killed in the middle of the migration, under load");

    let (vm, load) = back(ctx, screen, &mut journey)?;
    follow(screen, &vm, size, None)?;
    vm.wait_migrated(VOLUME)?;
    let (level, disks) = (vm.attr(VOLUME, "level")?, vm.number(VOLUME, "raid_disks")?);
    ensure!(
        (&*level, disks) == ("raid5", 3),
        "the volume is {level} over {disks} disks"
    );
    screen.step("The volume is a RAID5 over three disks; growing the mounted file system");
    screen.command(&format!("resize2fs /dev/{VOLUME}"));
    journey.grow(&vm)?;
    let after = journey.capacity(&vm)?;
    ensure!(after > before, "the file system did not grow");
    screen.step("Ending the load; fio verifies what it wrote last");
    journey.end_load(&vm, load)?;

    screen.step("Checking: sha256 of every file, every acknowledged block, e2fsck -fn, parity of every stripe");
    let found = journey.check(&vm)?;
    journey.end(vm)?;
    screen.table(&[
        ("files verified by sha256", found.files.to_string()),
        (
            "acknowledged blocks verified",
            found.acked_blocks.to_string(),
        ),
        ("parity mismatches", found.mismatches.to_string()),
        ("bytes moved", mib(size)),
        ("power cuts survived", "1".into()),
        ("capacity before", mib(before)),
        ("capacity after", mib(after)),
    ]);
    Ok(())
}

/// Boots again and goes on.
fn back(ctx: &mut Ctx, screen: &Screen, journey: &mut Journey) -> Result<(Vm, Load)> {
    let vm = ctx.boot_for_leaks(&journey.disks)?;
    screen.command("echo members=/dev/vda,/dev/vdb,/dev/vdc > /sys/class/restripe/assemble");
    journey.come_back(&vm)?;
    screen.step("Booted again; all that had been acknowledged is there, and the migration goes on by itself");
    let load = journey.load(ctx, &vm)?;
    Ok((vm, load))
}

/// Shows the cursor until it is at sector `until` or the migration is over; gives where it was, if it still ran.
fn follow(screen: &Screen, vm: &Vm, size: u64, until: Option<u64>) -> Result<Option<u64>> {
    let bar = screen.bar(size);
    let mut at = None;
    vm.wait_volume(VOLUME, "migrate_position", |text| {
        at = text.parse::<u64>().ok();
        match at {
            Some(sector) => {
                bar.at(sector * 512);
                until.is_some_and(|until| sector >= until)
            }
            None => true,
        }
    })
    .context("follow the migration")?;
    bar.end(at.map_or(size, |sector| sector * 512));
    Ok(at)
}
