//! Every level to every other one, run: with requests, crashes, turns and lost members. What the
//! runs show of each pair is the table in the README, which must say the same.

use std::fmt::Write;

use restripe_core::geometry::Sectors;
use restripe_core::layout::Level;
use restripe_core::rules::Rules;
use restripe_core::shape::{Reach, reach};
use restripe_core::way::Way;
use restripe_sim::run::{Effort, Runner};
use restripe_sim::scenario::{Scenario, SetSpec};
use restripe_sim::tally::Tally;

/// Levels, what the table calls them, and members.
const KINDS: [(Level, &str, u8); 6] = [
    (Level::Linear, "linear (1 disk)", 1),
    (Level::Raid0, "raid0 (3)", 3),
    (Level::Raid1, "raid1 (3)", 3),
    (Level::Raid10 { copies: 2 }, "raid10 (4)", 4),
    (Level::Raid5, "raid5 (4)", 4),
    (Level::Raid6, "raid6 (5)", 5),
];

const SIZE: u64 = 93;

const EFFORT: Effort = Effort {
    states: 8,
    every: 4,
    crashes: 2,
    branch: 0,
    requests: 20,
    faults: false,
    aborts: false,
    spots: false,
    resizes: false,
};

/// A volume that keeps the disks it can, and takes in or leaves the rest.
fn pair(from: (Level, u8, u64), to: (Level, u8, u64)) -> Scenario {
    let set = |(level, members, chunk): (Level, u8, u64)| {
        let order: Vec<u8> = (0..members).collect();
        SetSpec::new(level, chunk, &order, 0, SIZE, 1)
    };
    let members = from.1.max(to.1);
    Scenario::new(members, SIZE, set(from), Some(set(to)), 16)
}

/// Runs a pair in all ways; what the table says of it.
fn run(scenario: &Scenario, tally: &mut Tally) -> String {
    assert!(scenario.can_migrate(), "{scenario} can't be reached");
    for (aborts, faults) in [(false, false), (true, false), (true, true)] {
        for seed in 0..2 {
            let effort = Effort {
                aborts,
                faults,
                ..EFFORT
            };
            let mut runner = Runner::new(scenario.clone(), effort, seed, Rules::default());
            if let Err(failure) = runner.run() {
                panic!("{scenario}, {effort:?}, seed {seed}: {failure}");
            }
            tally.add(&runner.tally);
        }
    }
    let target = scenario.target.as_ref().expect("a pair has a target");
    let (source, target) = (scenario.source.set(), target.set());
    let word = match scenario.way() {
        Way::Up => "up",
        Way::Down => "down",
    };
    match reach(
        &source,
        &target,
        scenario.way(),
        Sectors(SIZE),
        Sectors(SIZE),
    ) {
        Reach::Free => word.to_owned(),
        Reach::Stash => format!("{word}, stash"),
        Reach::Never(at) => panic!("{scenario} can't be reached at {at:?}, and was"),
    }
}

fn table(tally: &mut Tally) -> String {
    let mut text = String::from("| from \\ to |");
    for (_, name, _) in KINDS {
        let _ = write!(text, " {name} |");
    }
    text += "\n|---|";
    text += &"---|".repeat(KINDS.len());
    for (from, name, members) in KINDS {
        let _ = write!(text, "\n| {name} |");
        for (to, _, others) in KINDS {
            // A level to itself: with another chunk where it has one, else with a disk more.
            let (others, chunk) = match (from == to, to.is_striped()) {
                (true, false) => (others + 1, 8),
                (true, true) => (others, 16),
                (false, _) => (others, 8),
            };
            let cell = if from == Level::Linear && to == from {
                "-".to_owned()
            } else {
                run(&pair((from, members, 8), (to, others, chunk)), tally)
            };
            let _ = write!(text, " {cell} |");
        }
    }
    text
}

#[test]
fn the_table_in_the_readme_is_what_runs_show() {
    let mut tally = Tally::default();
    let table = table(&mut tally);
    println!("{} crash states in {} lives", tally.states, tally.lives);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(path).expect("the README is at the top");
    assert!(
        readme.contains(&table),
        "README.md has another table of pairs; the runs show:\n\n{table}\n"
    );
}

/// One disk more and one less, for every level that has members to spare.
#[test]
fn a_disk_more_and_a_disk_less() {
    let mut tally = Tally::default();
    for (level, _, members) in KINDS.into_iter().skip(1) {
        for (from, to) in [(members, members + 1), (members + 1, members)] {
            run(&pair((level, from, 8), (level, to, 8)), &mut tally);
        }
    }
    println!("{} crash states in {} lives", tally.states, tally.lives);
    assert!(tally.states > 5_000, "only {} states", tally.states);
}
