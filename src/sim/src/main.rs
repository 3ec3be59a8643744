// SPDX-License-Identifier: GPL-2.0
//! `make sim`: random volumes, schedules and crashes for as long as asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};
use restripe_core::rules::Rules;
use restripe_sim::run::{Effort, Runner, Tally};
use restripe_sim::scenario::Scenario;
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

/// The volume and the effort that a seed stands for.
fn runner(seed: u64) -> Runner {
    let mut rng = Rng::with_seed(seed);
    let most = if seed.is_multiple_of(4) { 8 } else { 4 };
    let scenario = Scenario::random(&mut rng, most);
    let effort = Effort {
        states: 12,
        every: rng.u32(1..100),
        crashes: rng.u32(0..5),
        branch: 2,
        requests: rng.u32(0..40),
        faults: rng.u8(..4) == 0,
        aborts: rng.u8(..2) == 0,
        spots: false,
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

fn run(seed: u64, tally: &mut Tally, last: usize) -> bool {
    let mut first = runner(seed);
    let result = attempt(&mut first);
    tally.add(&first.tally);
    if result.is_ok() {
        return true;
    }
    // The same again, with its steps.
    let mut again = runner(seed);
    let trace = Trace::default();
    again.trace = Some(trace.clone());
    match attempt(&mut again) {
        Ok(()) => eprintln!("seed {seed} fails only once: the simulator is not deterministic"),
        Err(failure) => show(seed, &failure, &trace.borrow(), last),
    }
    false
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut tally = Tally::default();
    if let Some(seed) = arguments.seed {
        if !run(seed, &mut tally, arguments.steps) {
            return ExitCode::FAILURE;
        }
        println!(
            "seed {seed}: {} crash states in {} lives, all well",
            tally.states, tally.lives
        );
        return ExitCode::SUCCESS;
    }
    let begun = Instant::now();
    let end = Duration::from_secs(arguments.seconds);
    let bar = ProgressBar::new(arguments.seconds);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} s  {msg}") {
        bar.set_style(style);
    }
    let mut seed = arguments.first;
    while begun.elapsed() < end {
        if !run(seed, &mut tally, arguments.steps) {
            bar.abandon();
            return ExitCode::FAILURE;
        }
        seed += 1;
        bar.set_position(begun.elapsed().as_secs());
        bar.set_message(format!(
            "{} crash states, {} volumes",
            tally.states,
            seed - arguments.first
        ));
    }
    bar.finish();
    let rate = tally.states as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{} volumes, {} lives, {} steps: {} crash states ({rate:.0}/s), {} of them in stash windows, {} assemblies without a member, all well",
        seed - arguments.first,
        tally.lives,
        tally.steps,
        tally.states,
        tally.windows,
        tally.degraded
    );
    ExitCode::SUCCESS
}
