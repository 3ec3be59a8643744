//! Runs scenarios and says how they went.

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use crate::cache;
use crate::ctx::{Bench, Ctx};
use crate::limit;

/// One file in scenarios/.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub run: fn(&mut Ctx) -> Result<()>,
}

/// Splats shown of a scenario; the log has them all.
const SPLATS_SHOWN: usize = 10;

/// Runs those whose name holds `filter`; true if all passed.
pub fn run(scenarios: &[Scenario], filter: &str, bench: &Bench) -> Result<bool> {
    let chosen: Vec<_> = scenarios
        .iter()
        .filter(|s| s.name.contains(filter))
        .collect();
    ensure!(!chosen.is_empty(), "no scenario's name holds {filter:?}");
    let seed = seed()?;
    let jobs = number("JOBS")?.unwrap_or_else(one_per_core).max(1);
    let runs = Runs::new()?;
    println!(
        "{} scenarios, {} kernel, {}, SEED={seed}",
        chosen.len(),
        bench.flavour.name(),
        bench.accel.option()
    );
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    let out = Mutex::new(());
    thread::scope(|s| {
        for _ in 0..jobs {
            s.spawn(|| {
                while let Some(scenario) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    println!("     {} ...", scenario.name);
                    let report = one(scenario, bench, seed, &runs.dir.join(scenario.name));
                    if !report.passed {
                        failed.fetch_add(1, Ordering::SeqCst);
                    }
                    let _out = out.lock();
                    println!("{}", report.text);
                }
            });
        }
    });
    let failed = failed.into_inner();
    runs.end(failed)?;
    println!("{} passed, {failed} failed", chosen.len() - failed);
    Ok(failed == 0)
}

/// KiB that a VM takes: its memory, and what QEMU keeps of translated code.
const OF_A_VM: u64 = 3 << 20;

/// Scenarios side by side where nobody says how many: one a core, as far as there is memory.
fn one_per_core() -> u64 {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get().min(4) as u64);
    match available() {
        Some(available) => cores.min(available / OF_A_VM),
        None => cores,
    }
}

/// KiB of memory that may be taken.
fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

struct Report {
    passed: bool,
    text: String,
}

fn one(scenario: &Scenario, bench: &Bench, seed: u64, dir: &Path) -> Report {
    let begun = Instant::now();
    let (mut tail, mut notes) = (String::new(), String::new());
    let result = Ctx::new(bench, own_seed(seed, scenario.name), dir).and_then(|mut ctx| {
        let within = limit::allowed()?;
        ensure!(!within.is_zero(), "the time for the whole run was over before it began");
        let limit = ctx.limit.clone();
        let run = AssertUnwindSafe(|| limit.bound(within, || (scenario.run)(&mut ctx)));
        let result = catch_unwind(run);
        let mut result = result.unwrap_or_else(|panic| Err(anyhow!("it panicked: {}", words(&*panic))));
        if limit.was_over() {
            let over = || format!("it was ended, since it was not over in {} s", within.as_secs());
            result = result.with_context(over);
        }
        let splats = ctx.splats();
        tail = ctx.tail();
        notes = ctx.notes.iter().map(|note| format!(", {note}")).collect();
        if env::var_os("KEEP").is_none() {
            ctx.remove_disks()?;
        }
        judge(result, &splats)
    });
    let time = begun.elapsed().as_secs_f32();
    let name = scenario.name;
    match result {
        Ok(()) => Report {
            passed: true,
            text: format!("PASS {name} ({time:.1} s{notes})"),
        },
        Err(e) => {
            let again = format!("SEED={seed} cargo run --release -p qemu-tests -- test {name}");
            let logs = dir.display();
            let text =
                format!("FAIL {name} ({time:.1} s{notes})\n{e:#}\n{tail}logs: {logs}\nagain: {again}");
            Report {
                passed: false,
                text,
            }
        }
    }
}

/// A splat fails a scenario that is happy otherwise, and is told beside any other failure.
fn judge(result: Result<()>, splats: &[String]) -> Result<()> {
    if splats.is_empty() {
        return result;
    }
    let shown = splats[..splats.len().min(SPLATS_SHOWN)].join("\n");
    let said = format!(
        "the kernel log holds {} lines of trouble:\n{shown}",
        splats.len()
    );
    Err(match result {
        Ok(()) => anyhow!(said),
        Err(e) => e.context(said),
    })
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no words".into())
}

/// Each scenario has its own numbers, the same whether it runs alone or with others.
pub fn own_seed(seed: u64, name: &str) -> u64 {
    let digest = cache::key([seed.to_le_bytes().as_slice(), name.as_bytes()]);
    u64::from_str_radix(&digest[..16], 16).expect("a digest is hexadecimal")
}

/// `SEED` or a new one.
pub fn seed() -> Result<u64> {
    Ok(number("SEED")?.unwrap_or_else(|| fastrand::u64(1..1 << 32)))
}

/// A number from the environment.
pub fn number(name: &str) -> Result<Option<u64>> {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .map(Some)
            .with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(None),
    }
}

/// The folder of this run's disks and logs.
pub struct Runs {
    pub dir: PathBuf,
}

impl Runs {
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("restripe-")
            .tempdir()
            .context("make a folder for the run")?;
        Ok(Self { dir: dir.keep() })
    }

    /// Keeps the logs only where something failed.
    pub fn end(self, failed: usize) -> Result<()> {
        if failed == 0 && env::var_os("KEEP").is_none() {
            fs::remove_dir_all(&self.dir)
                .with_context(|| format!("remove {}", self.dir.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_splat_fails_a_scenario() {
        let splat = ["boot 1: BUG: KASAN".to_owned()];
        assert!(judge(Ok(()), &[]).is_ok());
        assert!(format!("{:#}", judge(Ok(()), &splat).unwrap_err()).contains("KASAN"));
        let both = format!(
            "{:#}",
            judge(Err(anyhow!("a file is wrong")), &splat).unwrap_err()
        );
        assert!(
            both.contains("KASAN") && both.contains("a file is wrong"),
            "{both}"
        );
    }

    #[test]
    fn seeds_are_kept_apart_and_come_again() {
        assert_eq!(own_seed(7, "boot"), own_seed(7, "boot"));
        assert_ne!(own_seed(7, "boot"), own_seed(8, "boot"));
        assert_ne!(own_seed(7, "boot"), own_seed(7, "run"));
    }
}
