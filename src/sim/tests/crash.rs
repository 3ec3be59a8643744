// SPDX-License-Identifier: GPL-2.0
//! Crash states by the hundred thousand; nothing may be lost in any of them.

use restripe_core::rules::Rules;
use restripe_sim::run::{Effort, Runner, Tally};
use restripe_sim::scenario::Scenario;
use restripe_sim::small;

/// Every step of every schedule, all subsets of what was not flushed where they are at most 32.
const EVERY_STEP: Effort = Effort {
    states: 32,
    every: 1,
    crashes: 2,
    branch: 0,
    requests: 24,
    faults: false,
};

fn try_all(what: &str, scenarios: &[Scenario], effort: Effort, seeds: u64, least: u64) {
    let mut tally = Tally::default();
    for scenario in scenarios {
        for seed in 0..seeds {
            let mut runner = Runner::new(scenario.clone(), effort, seed, Rules::default());
            if let Err(failure) = runner.run() {
                panic!("{scenario}, seed {seed}: {failure}");
            }
            tally.add(&runner.tally);
        }
    }
    println!(
        "{what}: {} crash states in {} lives, {} of them in stash windows, {} without a member",
        tally.states, tally.lives, tally.windows, tally.degraded
    );
    assert!(
        tally.states >= least,
        "only {} crash states were tried",
        tally.states
    );
}

#[test]
fn growing_from_one_disk() {
    try_all("growth", &small::growths(), EVERY_STEP, 5, 100_000);
}

#[test]
fn through_the_stash() {
    try_all("stash", &small::windows(), EVERY_STEP, 4, 100_000);
}

#[test]
fn at_rest() {
    try_all("at rest", &small::at_rest(), EVERY_STEP, 3, 20_000);
}

/// A crash, a recovery, a crash in that, and so on, from many steps.
#[test]
fn crashes_in_recovery() {
    let effort = Effort {
        states: 8,
        every: 10,
        crashes: 3,
        branch: 3,
        ..EVERY_STEP
    };
    let mut all = small::windows();
    all.extend(small::growths());
    try_all("nested", &all, effort, 3, 10_000);
}

/// Members die on the way.
#[test]
fn members_fail() {
    let effort = Effort {
        states: 8,
        every: 8,
        faults: true,
        ..EVERY_STEP
    };
    let mut all = small::growths();
    all.extend(small::at_rest());
    try_all("faults", &all, effort, 4, 10_000);
}
