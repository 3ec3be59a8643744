// SPDX-License-Identifier: GPL-2.0
//! Crash states by the hundred thousand; nothing may be lost in any of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use restripe_core::rules::Rules;
use restripe_sim::run::{Effort, Runner};
use restripe_sim::scenario::Scenario;
use restripe_sim::small;
use restripe_sim::tally::Tally;
use restripe_sim::world::Trace;

/// Steps before a failure that are shown.
const STEPS: usize = 150;

/// Every step of every schedule, all subsets of what was not flushed where they are at most 32.
const EVERY_STEP: Effort = Effort {
    states: 32,
    every: 1,
    crashes: 2,
    branch: 0,
    requests: 24,
    faults: false,
    aborts: false,
    spots: false,
    resizes: false,
};

/// A failure with the steps that led to it.
fn story(scenario: &Scenario, effort: Effort, seed: u64, failure: &str) -> String {
    let mut again = Runner::new(scenario.clone(), effort, seed, Rules::default());
    let trace = Trace::default();
    again.trace = Some(trace.clone());
    let again = catch_unwind(AssertUnwindSafe(|| again.run()));
    let same = again.is_ok_and(|result| result.is_err_and(|why| why == failure));
    let steps = trace.borrow();
    let last = &steps[steps.len().saturating_sub(STEPS)..];
    let again = if same { "" } else { " (not the second time)" };
    format!(
        "{}\n{scenario}, seed {seed}{again}: {failure}",
        last.join("\n")
    )
}

fn try_all(what: &str, scenarios: &[Scenario], effort: Effort, seeds: u64, least: u64) -> Tally {
    let mut tally = Tally::default();
    for scenario in scenarios {
        for seed in 0..seeds {
            let mut runner = Runner::new(scenario.clone(), effort, seed, Rules::default());
            if let Err(failure) = runner.run() {
                panic!("{}", story(scenario, effort, seed, &failure));
            }
            tally.add(&runner.tally);
        }
    }
    println!(
        "{what}: {} crash states in {} lives, {} of them in stash windows, {} in {} rebuilds, {} without a member",
        tally.states, tally.lives, tally.windows, tally.rebuilding, tally.rebuilt, tally.degraded
    );
    assert!(tally.read_only > 0, "nothing was assembled read-only");
    if effort.faults {
        assert!(tally.rebuilt > 0, "no member was ever rebuilt");
    }
    assert!(
        tally.states >= least,
        "only {} crash states were tried",
        tally.states
    );
    tally
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
fn shrinking() {
    try_all("shrink", &small::shrinks(), EVERY_STEP, 3, 100_000);
}

/// Back, and forward again, at any moment.
#[test]
fn turning_round() {
    let effort = Effort {
        aborts: true,
        ..EVERY_STEP
    };
    let mut all = small::growths();
    all.extend(small::windows());
    all.extend(small::heads());
    all.extend(small::shrinks());
    try_all("turning", &all, effort, 2, 100_000);
}

#[test]
fn heads_of_adopted_disks() {
    try_all("heads", &small::heads(), EVERY_STEP, 3, 50_000);
}

#[test]
fn full_disks() {
    try_all("full disks", &small::witnessed(), EVERY_STEP, 6, 100_000);
}

/// With their ends, the copies of those, and targets anywhere.
#[test]
fn any_full_disks() {
    let mut rng = fastrand::Rng::with_seed(7);
    let all: Vec<_> = (0..60)
        .map(|_| Scenario::random_witnessed(&mut rng))
        .collect();
    let effort = Effort {
        states: 16,
        every: 4,
        crashes: 3,
        aborts: true,
        ..EVERY_STEP
    };
    try_all("any full disks", &all, effort, 2, 20_000);
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
    all.extend(small::shrinks());
    all.extend(small::heads());
    all.extend(small::witnessed());
    try_all("nested", &all, effort, 3, 10_000);
}

/// Short of a member and cut in mid-write, with no word of force.
#[test]
fn write_holes() {
    try_all("write holes", &small::write_holes(), EVERY_STEP, 4, 50_000);
}

/// Always journaled: cut, and then short of a member.
#[test]
fn journaled() {
    try_all("journaled", &small::journaled(), EVERY_STEP, 4, 50_000);
}

/// A crash in the middle of a replay, and one in the replay after that.
#[test]
fn crashes_in_replay() {
    let effort = Effort {
        states: 8,
        every: 10,
        crashes: 4,
        branch: 3,
        ..EVERY_STEP
    };
    let mut all = small::write_holes();
    all.extend(small::journaled());
    try_all("replay", &all, effort, 3, 10_000);
}

/// Members die on the way, and others take their place.
#[test]
fn members_fail() {
    let effort = Effort {
        states: 8,
        every: 8,
        faults: true,
        ..EVERY_STEP
    };
    let mut all = small::growths();
    all.extend(small::shrinks());
    all.extend(small::at_rest());
    all.extend(small::heads());
    all.extend(small::journaled());
    try_all("faults", &all, effort, 20, 10_000);
}

/// Several in a row, turned round now and then; the size is reduced in between where the next set holds less.
#[test]
fn one_migration_after_the_other() {
    let chains = small::chains();
    let tally = try_all("chains", &chains, EVERY_STEP, 2, 100_000);
    assert!(4 * tally.went_on > tally.states, "{tally}");
    let effort = Effort {
        every: 4,
        aborts: true,
        resizes: true,
        ..EVERY_STEP
    };
    let tally = try_all("chains, turning", &chains, effort, 4, 50_000);
    assert!(4 * tally.went_on > tally.states, "{tally}");
}

/// Smaller and larger, at rest and between migrations.
#[test]
fn sizes_change() {
    let effort = Effort {
        every: 2,
        requests: 60,
        resizes: true,
        ..EVERY_STEP
    };
    let mut all = small::at_rest();
    all.extend(small::growths());
    let tally = try_all("sizes", &all, effort, 2, 50_000);
    assert!(4 * tally.resized > tally.states, "{tally}");
}

/// A member gives its place to another while it serves, turns round, and either of them dies.
#[test]
fn members_are_exchanged() {
    try_all("exchange", &small::exchanges(), EVERY_STEP, 2, 50_000);
    let effort = Effort {
        states: 8,
        every: 8,
        aborts: true,
        faults: true,
        ..EVERY_STEP
    };
    try_all("exchange, faults", &small::exchanges(), effort, 20, 10_000);
}

/// Members that can't be read in places: what they held there is written anew, and they stay.
fn try_spots(what: &str, scenarios: &[Scenario], effort: Effort, seeds: u64) -> Tally {
    let mut tally = Tally::default();
    for scenario in scenarios {
        for seed in 0..seeds {
            let mut runner = Runner::new(scenario.clone(), effort, seed, Rules::default());
            if let Err(failure) = runner.run() {
                panic!("{}", story(scenario, effort, seed, &failure));
            }
            tally.add(&runner.tally);
        }
    }
    println!(
        "{what}: {} writes and {} pieces mended, {} gaps given back, {} crash states, {} rebuilds",
        tally.mended, tally.mended_by_jobs, tally.given_back, tally.states, tally.rebuilt
    );
    tally
}

/// A member is lost in the first window of what bears no loss.
#[test]
fn a_window_goes_back_when_its_target_is_lost() {
    let effort = Effort {
        states: 8,
        every: 4,
        faults: true,
        ..EVERY_STEP
    };
    let returned = try_spots("returned", &small::lost_windows(), effort, 80).returned;
    assert!(returned > 10, "only {returned} windows went back");
}

const SPOTS: Effort = Effort {
    states: 8,
    every: 8,
    requests: 60,
    spots: true,
    ..EVERY_STEP
};

#[test]
fn what_can_not_be_read_is_mended() {
    let parity = |s: &Scenario| s.source.level.has_parity();
    let all: Vec<_> = small::at_rest().into_iter().filter(parity).collect();
    let mended = try_spots("spots", &all, SPOTS, 40).mended;
    assert!(mended > 20, "only {mended} writes had something mended");
}

#[test]
fn full_disks_in_their_true_proportions() {
    let effort = Effort {
        states: 1,
        every: 200,
        crashes: 3,
        requests: 300,
        ..EVERY_STEP
    };
    try_all("full disks", &small::full_disks(), effort, 12, 200);
}

/// From the first write on, cut and cut again: whatever a cut leaves is taken, while users write to where
/// the disk was known by as soon as they may, and a disk that was used elsewhere meanwhile never is.
#[test]
fn full_disks_that_are_used_while_they_are_adopted() {
    let effort = Effort {
        states: 8,
        crashes: 3,
        branch: 3,
        requests: 6,
        ..EVERY_STEP
    };
    let mut all = small::full_disks();
    for scenario in &mut all {
        scenario.target = None;
    }
    let tally = try_all("used", &all, effort, 16, 5000);
    println!(
        "{} refused without a superblock, {} with one",
        tally.used, tally.used_later
    );
    assert!(tally.used > 100 && tally.used_later > 300);
}

/// After a crash no more than what is marked is resynced (the world says so where it is more), and
/// what is not written to any more is marked no longer.
#[test]
fn marks_bound_a_resync() {
    let effort = Effort {
        states: 8,
        every: 4,
        crashes: 4,
        requests: 12,
        ..EVERY_STEP
    };
    let mut tally = Tally::default();
    for scenario in small::of_many_regions() {
        for seed in 0..10 {
            let mut runner = Runner::new(scenario.clone(), effort, seed, Rules::default());
            if let Err(failure) = runner.run() {
                panic!("{}", story(&scenario, effort, seed, &failure));
            }
            tally.add(&runner.tally);
        }
    }
    println!(
        "{} sweeps; {} lives of {} began with less than half marked",
        tally.swept, tally.spared, tally.lives
    );
    assert!(tally.swept > 100, "marks are cleared");
    assert!(tally.spared > 10, "little is resynced");
}

/// By writes of a volume that migrates: of the source, of the gap and of what is moved.
#[test]
fn writes_of_a_migration_mend_what_they_can_not_read() {
    let mut all = small::windows();
    all.retain(|s| s.source.level.has_parity());
    all.extend(small::gaps());
    let tally = try_spots("migration", &all, SPOTS, 16);
    let (mended, given_back) = (tally.mended, tally.given_back);
    assert!(mended > 20, "only {mended} writes had something mended");
    assert!(given_back > 20, "only {given_back} gaps were given back");
}

/// By the mover too, which reads all of it.
#[test]
fn the_mover_mends_what_it_can_not_read() {
    let redundant = |s: &Scenario| s.source.level.is_redundant();
    let mut all = small::exchanges();
    all.extend(small::shrinks());
    all.extend(small::windows());
    all.retain(redundant);
    let mended = try_spots("mover", &all, SPOTS, 12).mended_by_jobs;
    assert!(mended > 20, "only {mended} pieces had something mended");
}

/// And by a rebuild, where more is left than it needs.
#[test]
fn a_rebuild_mends_what_it_can_not_read() {
    let effort = Effort {
        faults: true,
        ..SPOTS
    };
    let spare = |s: &Scenario| s.source.set().layout.max_missing() > 1;
    let all: Vec<_> = small::at_rest().into_iter().filter(spare).collect();
    let mended = try_spots("rebuild", &all, effort, 24).mended_by_jobs;
    assert!(mended > 20, "only {mended} pieces had something mended");
}

/// Of members that a rebuild needs one can't be read: it is blocked and forgotten, while writes are under
/// way to what it has made.
#[test]
fn a_rebuild_is_taken_back_under_writes() {
    let effort = Effort {
        faults: true,
        spots: false,
        ..SPOTS
    };
    let mut all = small::windows();
    all.extend(small::exchanges());
    all.retain(|s| s.source.level.has_parity());
    let stumbled = try_spots("taken back", &all, effort, 24).stumbled;
    assert!(stumbled > 20, "only {stumbled} rebuilds were blocked");
}
