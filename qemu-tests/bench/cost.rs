//! The cost of an I/O: guest instructions from fio's system call to its end, on RAM disks, with md and restripe side by side.

use anyhow::{Context, Result};
use qemu_tests::accel::Accel;
use qemu_tests::qemu::{Life, Machine};
use qemu_tests::vm::Vm;
use serde::Serialize;

use super::fio::{WORKS, Work};
use super::{Setting, md};

/// Level, members.
const LEVELS: [(&str, usize); 3] = [("raid0", 3), ("raid1", 2), ("raid5", 3)];

/// MiB of each RAM disk.
const DISK: u64 = 32;
/// md's disks come first, restripe's after them, then one that is measured by itself.
const DISKS_EACH: usize = 3;
/// MiB: the guest's system, and all RAM disks full.
const MEMORY: u32 = 768;

const MD: &str = "/dev/md100";
const VOLUME: &str = "restripe0";
const LOG: &str = "cost";
/// The work that a bitmap and a journal cost most.
const SAFE: &str = "4k-random-write";

/// Figures of the first part.
#[derive(Debug, Default, Serialize)]
pub struct Costs {
    /// The RAM disk with nothing over it.
    pub floor: Vec<Floor>,
    pub rows: Vec<Cost>,
    /// The same small writes with what bounds, or spares, a resync after a cut.
    pub safe: Vec<Safe>,
}

#[derive(Debug, Serialize)]
pub struct Floor {
    pub work: &'static str,
    /// Instructions for an I/O.
    pub instructions: u64,
}

/// One load on one level.
#[derive(Debug, Serialize)]
pub struct Cost {
    pub level: &'static str,
    pub members: usize,
    pub work: &'static str,
    /// Instructions for an I/O through md.
    pub md: u64,
    /// Instructions for an I/O through restripe.
    pub restripe: u64,
    /// restripe / md.
    pub ratio: f64,
    /// The ratio is to be this at most.
    pub mark: f64,
    pub met: bool,
}

/// 4 KiB random writes with a bitmap, or with a journal.
#[derive(Debug, Serialize)]
pub struct Safe {
    pub level: &'static str,
    pub members: usize,
    pub by: &'static str,
    /// Instructions for an I/O without and with it; md has no journal beside the data.
    pub md: Option<(u64, u64)>,
    pub restripe: (u64, u64),
}

impl Cost {
    fn new(level: &'static str, members: usize, work: &Work, md: u64, restripe: u64) -> Self {
        let mark = if level == "raid5" && !work.reads() {
            1.0
        } else {
            1.2
        };
        let ratio = restripe as f64 / md as f64;
        Self {
            level,
            members,
            work: work.name,
            md,
            restripe,
            ratio,
            mark,
            met: ratio <= mark,
        }
    }
}

/// Counts what the filter lets through.
pub fn measure(setting: &Setting) -> Result<Costs> {
    let mut costs = Costs::default();
    let wanted: Vec<_> = LEVELS
        .iter()
        .map(|&(level, members)| (level, members, works(setting, level)))
        .collect();
    if wanted.iter().all(|(_, _, works)| works.is_empty()) {
        return Ok(costs);
    }
    setting
        .progress
        .say("the cost of an I/O: booting one CPU whose clock counts instructions");
    let vm = boot(setting)?;
    fill(&vm, &disk(2 * DISKS_EACH))?;
    for work in WORKS {
        let instructions = work.instructions(&vm, &disk(2 * DISKS_EACH))?;
        costs.floor.push(Floor {
            work: work.name,
            instructions,
        });
    }
    for (level, members, works) in wanted {
        if !works.is_empty() {
            of_level(setting, &vm, level, members, &works, &mut costs)
                .with_context(|| format!("count the cost of {level}"))?;
        }
    }
    setting.end(LOG, vm)?;
    Ok(costs)
}

fn works(setting: &Setting, level: &str) -> Vec<Work> {
    WORKS
        .into_iter()
        .filter(|work| setting.wants(&format!("{level}/{}", work.name)))
        .collect()
}

fn boot(setting: &Setting) -> Result<Vm> {
    let machine = Machine {
        accel: Accel::Counted,
        kernel: setting.bench.kernel.image.clone(),
        initramfs: setting.bench.initramfs.clone(),
        module: setting.bench.kernel.module.clone(),
        disks: Vec::new(),
        memory: MEMORY,
        cpus: 1,
        leaks: false,
        append: format!(
            "brd.rd_nr={} brd.rd_size={}",
            2 * DISKS_EACH + 1,
            DISK << 10
        ),
        life: Life::Boots,
    };
    setting.boot(LOG, &machine)
}

fn disk(number: usize) -> String {
    format!("/dev/ram{number}")
}

/// Writes all of a device: a RAM disk makes a page when it is first written, which must not count.
fn fill(vm: &Vm, device: &str) -> Result<()> {
    vm.ok(&format!("head -c $(blockdev --getsize64 {device}) /dev/zero | dd of={device} bs=1M iflag=fullblock oflag=direct status=none"))?;
    Ok(())
}

fn of_level(
    setting: &Setting,
    vm: &Vm,
    level: &'static str,
    members: usize,
    works: &[Work],
    costs: &mut Costs,
) -> Result<()> {
    let disks = |first| (first..first + members).map(disk).collect::<Vec<_>>();
    let (of_md, of_restripe) = (disks(0), disks(DISKS_EACH));
    md::create(vm, MD, level, &of_md)?;
    fill(vm, MD)?;
    // The RAM disks hold what the level before has left.
    let chunk = if level == "raid1" { "" } else { "chunk=65536 " };
    vm.must(
        "create",
        &format!(
            "level={level} {chunk}members={} assume_clean=1 force=1 name={VOLUME}",
            of_restripe.join(",")
        ),
    )?;
    // As md has it here.
    switch(vm, "bitmap", "none", "0")?;
    let volume = format!("/dev/{VOLUME}");
    fill(vm, &volume)?;

    for work in works {
        let cost = Cost::new(
            level,
            members,
            work,
            work.instructions(vm, MD)?,
            work.instructions(vm, &volume)?,
        );
        setting.progress.say(&format!(
            "{level} over {members}, {}: md {}, restripe {} instructions, ratio {:.2}",
            work.name, cost.md, cost.restripe, cost.ratio
        ));
        if level != "raid0" && work.name == SAFE {
            safe(setting, vm, work, &cost, &mut costs.safe)?;
        }
        costs.rows.push(cost);
    }
    md::stop(vm, MD, &of_md)?;
    vm.must("stop", &format!("name={VOLUME}"))
}

/// Sets how the volume keeps itself safe, and waits until it is so.
fn switch(vm: &Vm, file: &str, word: &str, in_force: &str) -> Result<()> {
    vm.must_set(VOLUME, file, word)?;
    vm.wait_volume(VOLUME, &format!("{file}_in_force"), |is| is == in_force)?;
    Ok(())
}

/// Counts a work once more with a bitmap, and where there is parity with the journal. `cost`: without both.
fn safe(setting: &Setting, vm: &Vm, work: &Work, cost: &Cost, rows: &mut Vec<Safe>) -> Result<()> {
    let volume = format!("/dev/{VOLUME}");
    vm.ok(&format!("mdadm --grow --quiet --bitmap=internal {MD}"))?;
    switch(vm, "bitmap", "internal", "1")?;
    rows.push(Safe {
        level: cost.level,
        members: cost.members,
        by: "bitmap",
        md: Some((cost.md, work.instructions(vm, MD)?)),
        restripe: (cost.restripe, work.instructions(vm, &volume)?),
    });
    vm.ok(&format!("mdadm --grow --quiet --bitmap=none {MD}"))?;
    switch(vm, "bitmap", "none", "0")?;
    if cost.level == "raid5" {
        switch(vm, "journal", "always", "1")?;
        rows.push(Safe {
            level: cost.level,
            members: cost.members,
            by: "journal=always",
            md: None,
            restripe: (cost.restripe, work.instructions(vm, &volume)?),
        });
        switch(vm, "journal", "auto", "0")?;
    }
    for row in rows.iter().filter(|row| row.level == cost.level) {
        setting.progress.say(&format!(
            "{} over {}, {} with {}: md {:?}, restripe {:?} instructions without and with",
            row.level, row.members, work.name, row.by, row.md, row.restripe
        ));
    }
    Ok(())
}

/// The floor under a row.
impl Costs {
    pub fn with_floor(&self) -> impl Iterator<Item = (&Cost, u64)> {
        self.rows.iter().map(|row| {
            let floor = self.floor.iter().find(|floor| floor.work == row.work);
            (row, floor.map_or(0, |floor| floor.instructions))
        })
    }
}
