// SPDX-License-Identifier: GPL-2.0
//! Small volumes for exhaustive trials, of every level, in every relation of old
//! and new places that matters.

use restripe_core::layout::Level;
use restripe_core::ondisk::JournalMode;
use restripe_core::way::Way;

use crate::scenario::{ExtentSpec, Scenario, SetSpec};

/// What a lone disk may become.
const MIGRATED: [Level; 6] = [
    Level::Raid0,
    Level::Raid1,
    Level::Raid5,
    Level::Raid6,
    Level::Raid10 { copies: 2 },
    Level::Raid10 { copies: 3 },
];

/// One disk to `members` at a level, the old disk as slot number `at` of them and its
/// data where they were, or `shift` sectors from there.
fn from_linear(level: Level, members: u8, at: u8, shift: u64) -> Scenario {
    let mut order: Vec<u8> = (1..members).collect();
    order.insert(usize::from(at), 0);
    let size = 61;
    let source = SetSpec::new(Level::Linear, 8, &[0], shift, size, 0);
    let target = SetSpec::new(level, 8, &order, 0, size, 1);
    Scenario::new(members, size, source, Some(target), 8)
}

/// What users do: from one disk to n, the old one first, nothing shifted.
pub fn growths() -> Vec<Scenario> {
    let mut all = Vec::new();
    for level in MIGRATED {
        for members in level.min_slots()..=4 {
            all.push(from_linear(level, members, 0, 0));
        }
    }
    all
}

/// Targets that lie over what the source still holds, so that windows go through the stash.
pub fn windows() -> Vec<Scenario> {
    let mut all = Vec::new();
    for level in [Level::Raid0, Level::Raid5] {
        for members in level.min_slots()..=4 {
            for at in [1, members - 1] {
                all.push(from_linear(level, members, at, 0));
            }
        }
    }
    let size = 61;
    let three = [0, 1, 2];
    let shapes = [
        // A change of chunk on the same disks.
        (Level::Raid0, 8, Level::Raid0, 16),
        (Level::Raid5, 8, Level::Raid5, 16),
        // A change of level on the same disks.
        (Level::Raid0, 8, Level::Raid1, 8),
        (Level::Raid1, 8, Level::Raid5, 8),
    ];
    for (from, chunk, to, other) in shapes {
        let source = SetSpec::new(from, chunk, &three, 0, size, 0);
        let target = SetSpec::new(to, other, &three, 0, size, 0);
        all.push(Scenario::new(3, size, source, Some(target), 8));
    }
    // The same disks in another order.
    let source = SetSpec::new(Level::Raid5, 8, &three, 0, size, 0);
    let target = SetSpec::new(Level::Raid5, 8, &[2, 0, 1], 0, size, 0);
    all.push(Scenario::new(3, size, source, Some(target), 8));
    all.retain(Scenario::can_migrate);
    all
}

/// Onto fewer slots' worth of data, from the volume's end to its start: each of `shapes` is a
/// level and number of members, of which a smaller set keeps the first ones.
pub fn shrinks() -> Vec<Scenario> {
    let size = 61;
    let shapes = [
        (Level::Raid0, 2, Level::Linear, 1),
        (Level::Raid0, 3, Level::Raid0, 2),
        (Level::Raid0, 4, Level::Raid1, 2),
        (Level::Raid0, 3, Level::Raid5, 3),
        (Level::Raid5, 3, Level::Linear, 1),
        (Level::Raid5, 4, Level::Raid5, 3),
        (Level::Raid5, 3, Level::Raid1, 3),
        (Level::Raid5, 4, Level::Raid0, 2),
    ];
    let mut all = Vec::new();
    for (from, many, to, few) in shapes {
        for chunk in [8, 16] {
            let order: Vec<u8> = (0..many).collect();
            let source = SetSpec::new(from, 8, &order, 0, size, 1);
            let target = SetSpec::new(to, chunk, &order[..few], 0, size, 0);
            all.push(Scenario::new(many, size, source, Some(target), 8));
        }
    }
    all.retain(|scenario| scenario.can_migrate() && scenario.way() == Way::Down);
    all
}

/// An adopted disk, whose head makes way for a signature and comes back.
pub fn heads() -> Vec<Scenario> {
    let mut all = Vec::new();
    for level in [Level::Raid0, Level::Raid1, Level::Raid5] {
        for members in [level.min_slots(), 4] {
            all.push(from_linear(level, members, 0, 0).adopting(0));
        }
        // On both sides of the head's end.
        let order: Vec<u8> = (0..level.min_slots()).collect();
        let source = SetSpec::new(Level::Linear, 8, &[0], 0, 600, 0);
        let target = SetSpec::new(level, 16, &order, 0, 600, 0);
        all.push(Scenario::new(level.min_slots(), 600, source, Some(target), 64).adopting(0));
        for size in [61, 300] {
            // Back to a plain disk.
            let source = SetSpec::new(level, 8, &order, 0, size, 0);
            let target = SetSpec::new(Level::Linear, 8, &[0], 0, size, 0);
            all.push(Scenario::new(level.min_slots(), size, source, Some(target), 64).adopting(0));
        }
    }
    all.retain(Scenario::can_migrate);
    all
}

/// One member after the other gives its place to a disk that comes in, and nothing else moves.
pub fn exchanges() -> Vec<Scenario> {
    let shapes = [
        (Level::Linear, 1),
        (Level::Raid0, 2),
        (Level::Raid1, 2),
        (Level::Raid10 { copies: 2 }, 3),
        (Level::Raid5, 3),
        (Level::Raid6, 4),
    ];
    let (size, mut all) = (61, Vec::new());
    for (level, members) in shapes {
        for old in [0, members - 1] {
            let mut order: Vec<u8> = (0..members).collect();
            let source = SetSpec::new(level, 8, &order, 0, size, 1);
            order[usize::from(old)] = members;
            let target = SetSpec::new(level, 8, &order, 0, size, 1);
            let exchange = Scenario::new(members + 1, size, source, Some(target), 8);
            if old == 0 && level != Level::Linear {
                all.push(exchange.clone().adopting(0));
            }
            all.push(exchange);
        }
    }
    all
}

/// From one set to the next, several times: down to a disk and up again, the same disks through the stash,
/// members that leave and come back, an adopted disk that becomes a plain one in between.
pub fn chains() -> Vec<Scenario> {
    use Level::{Linear, Raid0, Raid1, Raid5, Raid6};
    let raid10 = Level::Raid10 { copies: 2 };
    let of = |(level, chunk, members): (Level, u64, &[u8])| {
        SetSpec::new(level, chunk, members, 0, 61, 1)
    };
    let one: &[u8] = &[0];
    let chains: [&[(Level, u64, &[u8])]; 7] = [
        &[
            (Raid1, 8, &[0, 1]),
            (Raid5, 8, &[0, 1, 2]),
            (Raid6, 8, &[0, 1, 2, 3]),
            (Linear, 8, one),
        ],
        &[
            (Linear, 8, one),
            (raid10, 8, &[0, 1, 2]),
            (Raid5, 16, &[0, 1, 2, 3]),
            (Raid0, 8, &[0, 1]),
        ],
        &[
            (Raid5, 8, &[0, 1, 2]),
            (Raid5, 16, &[0, 1, 2]),
            (Raid5, 8, &[0, 1, 2]),
        ],
        &[
            (Raid6, 16, &[0, 1, 2, 3]),
            (Raid5, 8, &[0, 1, 2, 3]),
            (Raid6, 8, &[3, 1, 2, 0]),
        ],
        &[
            (Raid1, 8, &[0, 1]),
            (Raid1, 8, &[1, 2]),
            (Raid1, 8, &[2, 0]),
            (Raid1, 8, &[0, 1]),
        ],
        &[
            (Raid0, 8, &[0, 1, 2]),
            (Raid1, 8, &[0, 1, 2]),
            (Raid0, 16, &[0, 1, 2]),
        ],
        &[
            (Linear, 8, one),
            (Raid5, 8, &[0, 1, 2]),
            (Linear, 8, one),
            (Raid1, 8, &[0, 1]),
        ],
    ];
    let mut all = Vec::new();
    for chain in chains {
        let members = chain
            .iter()
            .flat_map(|set| set.2)
            .max()
            .map_or(1, |most| most + 1);
        let mut sets = chain.iter().map(|set| of(*set));
        let source = sets.next().unwrap_or_else(|| of((Linear, 8, one)));
        let scenario = Scenario::new(members, 61, source, sets.next(), 8).then(sets.collect());
        if chain[0].0 == Linear {
            all.push(scenario.clone().adopting(0));
        }
        all.push(scenario);
    }
    assert!(all.iter().all(Scenario::can_migrate));
    all
}

/// A volume of `size` sectors from some members at one level to others at another, in chunks of 8 and
/// pieces of `piece` sectors.
fn migration(
    (from, old, to, new): (Level, Vec<u8>, Level, Vec<u8>),
    size: u64,
    piece: u64,
) -> Scenario {
    let members = old.iter().chain(&new).max().map_or(1, |most| most + 1);
    let source = SetSpec::new(from, 8, &old, 0, size, 1);
    let target = SetSpec::new(to, 8, &new, 0, size, 1);
    Scenario::new(members, size, source, Some(target), piece)
}

/// What has redundancy to what has none, on the same disks: the first window of it bears no loss where
/// it goes to, and goes back.
pub fn lost_windows() -> Vec<Scenario> {
    let shapes = [
        (Level::Raid1, vec![0, 1], Level::Raid0, vec![0, 1]),
        (Level::Raid1, vec![0, 1, 2], Level::Raid0, vec![2, 0, 1]),
        (Level::Raid5, vec![0, 1, 2], Level::Raid0, vec![0, 1, 2]),
        (Level::Raid6, vec![0, 1, 2, 3], Level::Raid0, vec![0, 1, 2]),
    ];
    shapes.map(|shape| migration(shape, 61, 8)).into()
}

/// Onto other disks, and what shares places with what it comes from: until the cursor is committed,
/// which nothing asks for, what was copied is a gap.
pub fn gaps() -> Vec<Scenario> {
    let size = 253;
    let shapes = [
        (Level::Linear, vec![0], Level::Raid5, vec![1, 2, 3]),
        (Level::Raid5, vec![0, 1, 2], Level::Raid5, vec![0, 1, 3]),
        (Level::Raid5, vec![0, 1, 2], Level::Raid6, vec![3, 4, 5, 6]),
        (Level::Raid6, vec![0, 1, 2, 3], Level::Raid5, vec![4, 5, 6]),
        (Level::Raid1, vec![0, 1], Level::Raid5, vec![0, 2, 3]),
        (Level::Raid0, vec![0, 1], Level::Raid5, vec![2, 3, 4]),
        (Level::Linear, vec![0], Level::Raid6, vec![1, 2, 3, 4]),
    ];
    shapes.map(|shape| migration(shape, size, 16)).into()
}

/// Copies that become other copies, in the same places, where the first of the new ones is not the first
/// of the old ones, and elsewhere.
pub fn copies() -> Vec<Scenario> {
    let (size, two, three) = (
        125,
        Level::Raid10 { copies: 2 },
        Level::Raid10 { copies: 3 },
    );
    let shapes = [
        (Level::Raid1, vec![1, 0], two, vec![0, 1]),
        (Level::Raid1, vec![1, 0], Level::Raid1, vec![0, 1, 2]),
        (three, vec![2, 0, 1], Level::Raid1, vec![0, 1]),
        (Level::Raid1, vec![0, 1], Level::Raid1, vec![2, 3]),
        (two, vec![1, 0], two, vec![0, 1]),
    ];
    shapes.map(|shape| migration(shape, size, 8)).into()
}

/// A full disk, adopted with a witness, that may become something else: the volume lies at its start,
/// before the reserve to be, and where head and superblock are to be.
pub fn witnessed() -> Vec<Scenario> {
    let mut targets = vec![(2, None)];
    for (level, members) in [
        (Level::Raid0, vec![0, 1]),
        (Level::Raid5, vec![0, 1, 2]),
        (Level::Raid5, vec![0, 2, 3]),
        (Level::Raid1, vec![1, 2]),
        (Level::Linear, vec![1]),
    ] {
        let count = members.iter().max().map_or(2, |most| most + 1);
        targets.push((
            count.max(2),
            Some(SetSpec::new(level, 8, &members, 0, 61, 0)),
        ));
    }
    let mut all = Vec::new();
    for (members, target) in targets {
        let mut source = SetSpec::new(Level::Linear, 8, &[0], 0, 61, 0);
        source.slots[0] = vec![
            ExtentSpec::new(0, 0, 20),
            ExtentSpec::new(0, 12278, 10),
            ExtentSpec::new(1, 600, 31),
        ];
        let scenario = Scenario::new(members, 61, source, target, 8);
        all.push(scenario.witnessed(&[(12288, 11), (15867, 20)]));
    }
    assert!(all.iter().all(Scenario::can_migrate));
    all
}

/// Volumes that stay as they are.
pub fn at_rest() -> Vec<Scenario> {
    let mut all = Vec::new();
    for level in [Level::Linear].into_iter().chain(MIGRATED) {
        let (least, most) = match level {
            Level::Linear => (1, 1),
            Level::Raid6 => (4, 5),
            other => (other.min_slots(), 4),
        };
        for members in least..=most {
            let order: Vec<u8> = (0..members).collect();
            let set = SetSpec::new(level, 8, &order, 0, 45, 1);
            all.push(Scenario::new(members, 45, set, None, 8));
        }
    }
    let set = SetSpec::concatenation(&[1, 0, 2], 0, 45);
    all.push(Scenario::new(3, 45, set, None, 8));
    all
}

/// Sets of many regions, with copies or parity.
pub fn of_many_regions() -> Vec<Scenario> {
    let mut all = Vec::new();
    for (level, members) in [
        (Level::Raid1, 2),
        (Level::Raid1, 3),
        (Level::Raid10 { copies: 2 }, 3),
        (Level::Raid5, 3),
        (Level::Raid6, 4),
    ] {
        let order: Vec<u8> = (0..members).collect();
        let set = SetSpec::new(level, 8, &order, 0, 500, 1);
        all.push(Scenario::new(members, 500, set, None, 8));
    }
    all
}

/// Parity sets short of a member from the start, each member in turn: what a crash leaves half
/// written must not take with it what the missing member held.
pub fn write_holes() -> Vec<Scenario> {
    let mut all = Vec::new();
    for members in 3..=4 {
        let order: Vec<u8> = (0..members).collect();
        for absent in [0, members - 1] {
            for mode in [JournalMode::Auto, JournalMode::Always] {
                let set = SetSpec::new(Level::Raid5, 8, &order, 0, 61, 1);
                let mut scenario = Scenario::new(members, 61, set, None, 8);
                scenario.absent = Some(absent);
                scenario.journal = mode;
                all.push(scenario);
            }
        }
    }
    all
}

/// The same volumes with all members there, always journaled, so that any one may be missing
/// after a crash.
pub fn journaled() -> Vec<Scenario> {
    let mut all = Vec::new();
    for mut scenario in at_rest().into_iter().chain(growths()) {
        let target = scenario.target.as_ref();
        if scenario.source.level.has_parity() || target.is_some_and(|t| t.level.has_parity()) {
            scenario.journal = JournalMode::Always;
            all.push(scenario);
        }
    }
    all
}

/// A disk that is full to its last sector, and a witness as large, with all the room that there is: both
/// in their true proportions, and with fewer data, so that the target never comes to where the end is.
pub fn full_disks() -> Vec<Scenario> {
    const KEPT: u64 = 12_288;
    const ROOM: u64 = 10_240;
    let mut all = Vec::new();
    for (start, len) in [(0, KEPT), (KEPT - 4096, 4096)] {
        let tail = 4096;
        let size = len + tail;
        let mut source = SetSpec::new(Level::Linear, 8, &[0], 0, size, 0);
        source.slots[0] = vec![
            ExtentSpec::new(0, start, len),
            ExtentSpec::new(1, ROOM - tail, tail),
        ];
        let mut target = SetSpec::new(Level::Raid5, 128, &[0, 1, 2], 0, size, 0);
        for slot in &mut target.slots {
            slot[0].len = ROOM;
        }
        let scenario = Scenario::new(3, size, source, Some(target), 1024);
        all.push(scenario.witnessed(&[(KEPT, tail)]));
    }
    all
}
