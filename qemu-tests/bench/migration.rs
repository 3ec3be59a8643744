//! The time of one disk's way to a RAID5 over three, on disks of a known speed: restripe's, and md's by a mirror first.

use std::fs;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use qemu_tests::ctx::MIB;
use qemu_tests::disk::Disk;
use qemu_tests::qemu::{Life, Machine};
use qemu_tests::vm::Vm;
use restripe_scripts::kernel::Flavour;
use serde::Serialize;

use super::Setting;
use super::latency::{Feel, Load, Moment, now};

/// Bytes of a disk, and of what is on the first.
const DISK: u64 = 256 * MIB;
const DATA: u64 = 240 * MIB;
/// Bytes a second that a disk does.
const SPEED: u64 = 64 * MIB;
/// The share of that speed that is to be reached.
const MARK: f64 = 0.85;

const MD: &str = "md101";
const VOLUME: &str = "restripe0";
const LOG: &str = "migration";

/// Figures of the second part.
#[derive(Debug, Serialize)]
pub struct Migration {
    pub disk_bytes: u64,
    pub data_bytes: u64,
    /// Of each disk.
    pub bytes_per_second: u64,
    /// The first disk is the busiest: all of it is read, and half as much written. No way that starts from one disk is faster.
    pub limit_seconds: f64,
    /// The host's load average over the minute before the first of them: with more than it has CPUs, times are too long.
    pub host_load: f64,
    pub md: Way,
    pub restripe: Way,
    /// Limit / restripe's time.
    pub share: f64,
    /// The share is to be this at least.
    pub mark: f64,
    pub met: bool,
}

/// How one of them went.
#[derive(Debug, Serialize)]
pub struct Way {
    pub seconds: f64,
    /// What the time went to.
    pub steps: Vec<Step>,
    pub before: Feel,
    pub during: Feel,
}

#[derive(Debug, Serialize)]
pub struct Step {
    pub name: &'static str,
    pub seconds: f64,
}

pub fn measure(setting: &Setting) -> Result<Option<Migration>> {
    if !setting.wants("migration") {
        return Ok(None);
    }
    setting
        .progress
        .say("one disk to a RAID5 over three: booting");
    let host_load = host_load()?;
    let vm = boot(setting)?;
    let md = way(
        setting,
        &vm,
        "md",
        ["/dev/vda", "/dev/vdb", "/dev/vdc"],
        begin_md,
        through_md,
    )?;
    vm.ok(&format!("mdadm --stop --quiet /dev/{MD}"))?;
    let restripe = way(
        setting,
        &vm,
        "restripe",
        ["/dev/vdd", "/dev/vde", "/dev/vdf"],
        begin_restripe,
        through_restripe,
    )?;
    vm.wait_volume(VOLUME, "sync_action", |action| action == "idle")?;
    vm.must("stop", &format!("name={VOLUME}"))?;
    setting.end(LOG, vm)?;

    let limit_seconds = DATA as f64 * 1.5 / SPEED as f64;
    let share = limit_seconds / restripe.seconds;
    Ok(Some(Migration {
        disk_bytes: DISK,
        data_bytes: DATA,
        bytes_per_second: SPEED,
        limit_seconds,
        host_load,
        md,
        restripe,
        share,
        mark: MARK,
        met: share >= MARK,
    }))
}

fn host_load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg").context("read the host's load")?;
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse()
        .with_context(|| format!("/proc/loadavg says {text:?}"))
}

fn boot(setting: &Setting) -> Result<Vm> {
    let disk = |n| -> Result<Disk> {
        let name = format!("disk{n}");
        Ok(Disk::blank(&setting.dir.join(&name).with_extension("img"), DISK)?.throttled(SPEED, 0))
    };
    let machine = Machine {
        accel: setting.bench.accel,
        kernel: setting.bench.kernel.image.clone(),
        initramfs: setting.bench.initramfs.clone(),
        module: setting.bench.kernel.module.clone(),
        disks: (0..6).map(disk).collect::<Result<_>>()?,
        memory: qemu_tests::kernel::memory(Flavour::Lean),
        cpus: 2,
        leaks: false,
        append: String::new(),
        life: Life::Boots,
    };
    setting.boot(LOG, &machine)
}

type Disks = [&'static str; 3];

/// When each step of a way ended.
type Ends = Vec<(&'static str, Moment)>;

/// The same for both: a load on a lone disk, and then the way.
fn way(
    setting: &Setting,
    vm: &Vm,
    whose: &str,
    disks: Disks,
    begin: fn(&Vm, Disks) -> Result<String>,
    through: fn(&Vm, Disks) -> Result<Ends>,
) -> Result<Way> {
    let work = || -> Result<Way> {
        let device = begin(vm, disks)?;
        setting
            .progress
            .say(&format!("{whose}: a light load on a lone disk"));
        let (load, before) = Load::start(vm, &device, DATA)?;
        setting
            .progress
            .say(&format!("{whose}: on the way to a RAID5 over three"));
        let start = now(vm)?;
        let steps = through(vm, disks)?;
        let during = start..steps.last().context("a way has steps")?.1;
        let [before, during_feel] = load.end(vm, [before, during.clone()])?;
        let way = Way {
            seconds: seconds(&during),
            steps: each(start, &steps),
            before,
            during: during_feel,
        };
        setting
            .progress
            .say(&format!("{whose}: {:.2} s", way.seconds));
        Ok(way)
    };
    work().with_context(|| format!("the way of {whose}"))
}

fn seconds(time: &Range<Moment>) -> f64 {
    (time.end - time.start) as f64 / 1000.0
}

fn each(mut start: Moment, ends: &[(&'static str, Moment)]) -> Vec<Step> {
    let mut steps = Vec::new();
    for &(name, end) in ends {
        steps.push(Step {
            name,
            seconds: seconds(&(start..end)),
        });
        start = end;
    }
    steps
}

/// md can't take a disk as it is, so it starts from a mirror of which one half is missing.
fn begin_md(vm: &Vm, [first, _, _]: Disks) -> Result<String> {
    vm.ok(
        "echo 2000000 | tee /proc/sys/dev/raid/speed_limit_min /proc/sys/dev/raid/speed_limit_max",
    )?;
    vm.ok(&format!(
        "mdadm --create /dev/{MD} --run --quiet --metadata=1.2 --level=1 --raid-devices=2 --bitmap=none --size={} {first} missing",
        DATA >> 10
    ))?;
    Ok(format!("/dev/{MD}"))
}

fn through_md(vm: &Vm, [_, second, third]: Disks) -> Result<Ends> {
    let attr = |name: &str| format!("/sys/block/{MD}/md/{name}");
    vm.ok(&format!("mdadm /dev/{MD} --quiet --add {second}"))?;
    vm.wait_attr(&attr("degraded"), |text| text == "0")?;
    vm.wait_attr(&attr("sync_action"), |text| text == "idle")?;
    let mirrored = now(vm)?;
    vm.ok(&format!(
        "mdadm --grow /dev/{MD} --level=5 && mdadm --grow /dev/{MD} --raid-devices=3 --add {third}"
    ))?;
    vm.wait_attr(&attr("reshape_position"), |text| text == "none")?;
    vm.wait_attr(&attr("sync_action"), |text| text == "idle")?;
    let reshaped = now(vm)?;
    let level = vm.ok(&format!("cat {} {}", attr("level"), attr("raid_disks")))?;
    ensure!(level == "raid5\n3\n", "the array is {level}");
    Ok(vec![("mirror", mirrored), ("reshape", reshaped)])
}

fn begin_restripe(vm: &Vm, [first, _, _]: Disks) -> Result<String> {
    vm.must("adopt", &format!("dev={first} size={DATA} name={VOLUME}"))?;
    Ok(format!("/dev/{VOLUME}"))
}

fn through_restripe(vm: &Vm, [_, second, third]: Disks) -> Result<Ends> {
    vm.must_set(
        VOLUME,
        "migrate",
        &format!("level=raid5 chunk=65536 add={second},{third}"),
    )?;
    vm.wait_migrated(VOLUME)?;
    let migrated = now(vm)?;
    let (level, disks) = (vm.attr(VOLUME, "level")?, vm.number(VOLUME, "raid_disks")?);
    ensure!(
        (&*level, disks) == ("raid5", 3),
        "the volume is {level} over {disks} disks"
    );
    Ok(vec![("migrate", migrated)])
}
