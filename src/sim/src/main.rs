// SPDX-License-Identifier: GPL-2.0
//! `make sim`: random volumes, schedules and crashes for as long as asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use restripe_core::rules::Rules;
use restripe_sim::run::{Effort, Runner};
use restripe_sim::scenario::Scenario;
use restripe_sim::small;
use restripe_sim::tally::Tally;
use restripe_sim::world::{Failure, Trace};

/// Crashes simulated volumes at every step and compares with an oracle.
#[derive(Parser)]
struct Arguments {
    /// Runs exactly this one volume, and shows its steps if it fails.
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
    /// How long to try random ones.
    #[arg(long, env = "SECONDS", default_value_t = 60)]
    seconds: u64,
    /// How many of the steps before a failure to show.
    #[arg(long, default_value_t = 300)]
    steps: usize,
    /// Where the random ones begin.
    #[arg(long, default_value_t = 0)]
    first: u64,
}

/// What random volumes hardly ever are: a member that gives its place to another, a disk that was full, heads that move.
fn rare(rng: &mut Rng) -> Scenario {
    if rng.u8(..4) == 0 {
        return Scenario::random_witnessed(rng);
    }
    let mut all = small::exchanges();
    all.extend(small::witnessed());
    all.extend(small::heads());
    let number = rng.usize(..all.len());
    all.swap_remove(number)
}

/// The volume and the effort that a seed stands for.
fn runner(seed: u64) -> Runner {
    let mut rng = Rng::with_seed(seed);
    let scenario = match seed % 4 {
        0 => Scenario::random(&mut rng, 8),
        1 if rng.bool() => rare(&mut rng),
        _ => Scenario::random(&mut rng, 4),
    };
    let effort = Effort {
        states: 12,
        every: rng.u32(1..100),
        crashes: rng.u32(0..5),
        branch: 2,
        requests: rng.u32(0..40),
        faults: rng.u8(..4) == 0,
        aborts: rng.u8(..2) == 0,
        spots: false,
        resizes: rng.u8(..4) == 0,
    };
    let scenario = match rng.u8(..4) {
        0 => scenario.wandering(&mut rng),
        _ => scenario,
    };
    Runner::new(scenario, effort, rng.u64(..), Rules::default())
}

fn show(seed: u64, failure: &str, trace: &[String], last: usize) {
    if trace.len() > last {
        eprintln!("({} steps before)", trace.len() - last);
    }
    for line in trace.iter().skip(trace.len().saturating_sub(last)) {
        eprintln!("{line}");
    }
    eprintln!("{failure}");
    eprintln!("seed {seed}: {}", runner(seed).scenario());
    eprintln!("run it again: make sim SEED={seed}");
}

/// Runs a seed; a panic of the core is a failure like any other.
fn attempt(runner: &mut Runner) -> Result<(), Failure> {
    catch_unwind(AssertUnwindSafe(|| runner.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// Runs a seed; gives what it did, or has said what is wrong.
fn run(seed: u64, last: usize) -> Option<Tally> {
    let mut first = runner(seed);
    if attempt(&mut first).is_ok() {
        return Some(first.tally);
    }
    // The same again, with its steps.
    let mut again = runner(seed);
    let trace = Trace::default();
    again.trace = Some(trace.clone());
    match attempt(&mut again) {
        Ok(()) => eprintln!("seed {seed} fails only once: the simulator is not deterministic"),
        Err(failure) => show(seed, &failure, &trace.borrow(), last),
    }
    None
}

/// Random volumes on all cores until the time is over or one fails; what was done, and how many volumes.
fn run_many(arguments: &Arguments, begun: Instant, bar: &ProgressBar) -> Option<(Tally, u64)> {
    let end = Duration::from_secs(arguments.seconds);
    let next = AtomicU64::new(arguments.first);
    let failed = AtomicBool::new(false);
    let sum = Mutex::new((Tally::default(), 0));
    let work = || {
        while begun.elapsed() < end && !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let Some(tally) = run(seed, arguments.steps) else {
                failed.store(true, Ordering::Relaxed);
                return;
            };
            let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
            sum.0.add(&tally);
            sum.1 += 1;
            bar.set_position(begun.elapsed().as_secs());
            bar.set_message(format!("{} crash states, {} volumes", sum.0.states, sum.1));
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    (!failed.into_inner()).then_some(sum)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.seed {
        let Some(tally) = run(seed, arguments.steps) else {
            return ExitCode::FAILURE;
        };
        println!(
            "seed {seed}: {} crash states in {} lives, all well\n{tally}",
            tally.states, tally.lives
        );
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let bar = ProgressBar::new(arguments.seconds);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} s  {msg}") {
        bar.set_style(style);
    }
    let Some((tally, volumes)) = run_many(&arguments, begun, &bar) else {
        bar.abandon();
        return ExitCode::FAILURE;
    };
    bar.finish();
    let rate = tally.states as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{volumes} volumes, {} lives, {} steps: {} crash states ({rate:.0}/s), all well\n{tally}",
        tally.lives, tally.steps, tally.states
    );
    ExitCode::SUCCESS
}
