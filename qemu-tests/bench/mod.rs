//! `qemu-tests bench [filter]`: restripe beside md, each pair of figures from one boot of one VM.
//!
//! The first part counts the guest's instructions for an I/O, which no load of the host can change. The second takes the time of
//! one disk's way to a RAID5 over three, on disks of a known speed, and what a light load feels of it. What it prints also lies in
//! `target/bench/bench.md`; the figures are in `target/bench/bench.json`, described in [`report`]. A missed mark is told, but is no
//! failure: only what keeps a figure from being taken is.

mod cost;
mod cost_table;
mod fio;
mod latency;
mod md;
mod migration;
mod migration_table;
mod report;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use qemu_tests::console;
use qemu_tests::ctx::Bench;
use qemu_tests::qemu::Machine;
use qemu_tests::runner::Runs;
use qemu_tests::vm::Vm;
use restripe_scripts::kernel::Flavour;

use report::{About, Report};

/// Says what is under way, with the time since the start.
pub struct Progress {
    begun: Instant,
}

impl Progress {
    pub fn say(&self, text: &str) {
        println!("{:6.1} s  {text}", self.begun.elapsed().as_secs_f32());
    }
}

/// What a part of the bench works with.
pub struct Setting<'a> {
    pub bench: &'a Bench,
    /// For disks and console logs.
    pub dir: &'a Path,
    pub progress: &'a Progress,
    pub filter: &'a str,
    /// What the guest's kernel says it is.
    pub release: OnceCell<String>,
}

impl Setting<'_> {
    /// Whether the filter lets a part through, by its name.
    pub fn wants(&self, name: &str) -> bool {
        name.contains(self.filter)
    }

    /// Boots a VM whose console goes to `NAME.log`.
    pub fn boot(&self, name: &str, machine: &Machine) -> Result<Vm> {
        let vm = Vm::boot(machine, &self.log(name))?;
        self.release.get_or_init(|| vm.release().to_owned());
        Ok(vm)
    }

    /// Ends a VM. Figures of a kernel in trouble are worth nothing.
    pub fn end(&self, name: &str, vm: Vm) -> Result<()> {
        vm.shutdown()?;
        let log = console::read(&self.log(name));
        let splats = console::splats(&log);
        ensure!(
            splats.is_empty(),
            "the guest's kernel was in trouble:\n{}",
            splats.join("\n")
        );
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }
}

/// Takes the figures whose names hold `filter`; true if all could be taken.
pub fn run(filter: &str) -> Result<bool> {
    let progress = Progress {
        begun: Instant::now(),
    };
    progress.say("getting ready: kernel, module, guest system");
    let bench = Bench::set_up(Flavour::Lean)?;
    ensure!(
        bench.kernel.module.is_some(),
        "there is no restripe.ko to measure: RESTRIPE_KERNEL needs RESTRIPE_MODULE beside it"
    );
    let runs = Runs::new()?;
    let setting = Setting {
        bench: &bench,
        dir: &runs.dir,
        progress: &progress,
        filter,
        release: OnceCell::new(),
    };
    let report = measure(&setting);
    let logs = runs.dir.clone();
    runs.end(usize::from(report.is_err()))?;
    let report = report.with_context(|| format!("the guest's console is in {}", logs.display()))?;

    let markdown = report.write()?;
    progress.say("done; the figures are in target/bench/bench.json");
    print!("\n{markdown}");
    Ok(true)
}

fn measure(setting: &Setting) -> Result<Report> {
    let costs = cost::measure(setting)?;
    let migration = migration::measure(setting)?;
    ensure!(
        !costs.rows.is_empty() || migration.is_some(),
        "no figure's name holds {:?}; they are like raid5/4k-random-write, and migration",
        setting.filter
    );
    Ok(Report::new(About::gather(setting)?, costs, migration))
}
