// SPDX-License-Identifier: GPL-2.0
//! The oracle can fail: every rule that is broken on purpose is caught, and the
//! same runs pass when none is.

use std::panic::{AssertUnwindSafe, catch_unwind};

use restripe_core::layout::Level;
use restripe_core::rules::{Rule, Rules};
use restripe_sim::run::{Effort, Runner};
use restripe_sim::scenario::Scenario;
use restripe_sim::small;

const EFFORT: Effort = Effort {
    states: 16,
    every: 1,
    crashes: 2,
    branch: 0,
    requests: 30,
    faults: false,
    aborts: false,
    spots: false,
    resizes: false,
};

/// What the first failure says, and how many runs passed before it.
fn hunt(
    scenarios: &[Scenario],
    seeds: u64,
    effort: Effort,
    rules: Rules,
) -> Result<u64, (u64, String)> {
    let mut passed = 0;
    for seed in 0..seeds {
        for scenario in scenarios {
            let mut runner = Runner::new(scenario.clone(), effort, seed, rules);
            let result = catch_unwind(AssertUnwindSafe(|| runner.run()));
            match result {
                Ok(Ok(())) => passed += 1,
                Ok(Err(failure)) => {
                    return Err((passed, format!("{scenario}, seed {seed}: {failure}")));
                }
                Err(_) => {
                    return Err((
                        passed,
                        format!("{scenario}, seed {seed}: an assertion of the core"),
                    ));
                }
            }
        }
    }
    Ok(passed)
}

/// Scenarios in which a rule matters most.
fn where_it_matters(rule: Rule) -> Vec<Scenario> {
    match rule {
        Rule::I1 | Rule::I2 | Rule::I5 => small::windows(),
        Rule::I6 | Rule::I8 | Rule::Marks | Rule::Sweep | Rule::Stale => small::at_rest(),
        Rule::Journal | Rule::Through => small::write_holes(),
        Rule::Turn => small::windows(),
        Rule::Leave => small::exchanges(),
        Rule::Seen => small::copies(),
        Rule::Return => small::lost_windows(),
        Rule::Part => {
            let mut exchanges = small::exchanges();
            exchanges.retain(|s| s.source.level.has_parity());
            exchanges
        }
        _ => small::growths(),
    }
}

fn is_caught(rule: Rule) {
    is_caught_in(rule, &where_it_matters(rule));
}

fn is_caught_in(rule: Rule, scenarios: &[Scenario]) {
    const SEEDS: u64 = 400;
    let effort = match rule {
        Rule::Turn => Effort {
            aborts: true,
            ..EFFORT
        },
        Rule::Return => Effort {
            faults: true,
            ..EFFORT
        },
        Rule::Part => Effort {
            faults: true,
            states: 1,
            every: 200,
            requests: 60,
            ..EFFORT
        },
        _ => EFFORT,
    };
    let Err((passed, failure)) = hunt(scenarios, SEEDS, effort, Rules::without(rule)) else {
        panic!("{rule:?} is broken and nothing noticed");
    };
    println!("{rule:?} was caught after {passed} runs: {failure}");
    // The very same runs are well as long as the rule holds.
    let seeds = passed / scenarios.len() as u64 + 1;
    if let Err((_, failure)) = hunt(scenarios, seeds, effort, Rules::default()) {
        panic!("{failure}");
    }
}

/// No reader of a head's old place is left when a signature takes it. On mirrors nothing else
/// is overwritten.
#[test]
fn a_signature_waits_for_readers() {
    let mut mirrors = small::heads();
    mirrors.retain(|s| s.target.as_ref().is_some_and(|t| t.level == Level::Raid1));
    is_caught_in(Rule::I5, &mirrors);
}

macro_rules! caught {
    ($($name:ident: $rule:ident,)*) => {
        $(#[test]
        fn $name() {
            is_caught(Rule::$rule);
        })*
    };
}

caught! {
    one_truth: I1,
    no_truth_is_overwritten: I2,
    the_gap: I3,
    order: I4,
    waiting: I5,
    acknowledged_means_kept: I6,
    superblocks: I7,
    parity_is_true: I8,
    the_write_hole: Journal,
    reading_through: Through,
    marked_before_written: Marks,
    cleared_when_durable: Sweep,
    bitmaps_of_earlier_assemblies: Stale,
    turning_round: Turn,
    leaving: Leave,
    what_was_seen: Seen,
    going_back: Return,
    taking_part: Part,
}
