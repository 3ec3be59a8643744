// SPDX-License-Identifier: GPL-2.0
//! Placement: md's, block for block.

use std::collections::HashSet;

use proptest::prelude::*;
use restripe_core::geometry::{Logical, Offset, Sectors, SlotId, SlotMask};
use restripe_core::layout::{Layout, Level};

use super::sets::layout;

/// Chunks of the first rows of md's left-symmetric raid5 over 4 disks, as mdadm's
/// manual and `raid5_compute_sector` have them: row by row, disk by disk, P for parity.
const LEFT_SYMMETRIC: [[&str; 4]; 5] = [
    ["0", "1", "2", "P"],
    ["4", "5", "P", "3"],
    ["8", "P", "6", "7"],
    ["P", "9", "10", "11"],
    ["12", "13", "14", "P"],
];

#[test]
fn raid5_is_left_symmetric() {
    let raid5 = layout(Level::Raid5, 8, 4, 40);
    for (row, disks) in LEFT_SYMMETRIC.iter().enumerate() {
        for (slot, what) in disks.iter().enumerate() {
            let slot = SlotId(slot as u8);
            let Ok(chunk) = what.parse::<u64>() else {
                assert_eq!(raid5.parity_slot(row as u64), Some(slot));
                continue;
            };
            let spot = raid5.locate(Logical(chunk * 8 + 3));
            assert_eq!(
                (spot.slot, spot.offset),
                (slot, Offset(row as u64 * 8 + 3)),
                "chunk {chunk}"
            );
            assert_eq!(spot.run, Sectors(5));
            assert_eq!(raid5.data_slot(row as u64, chunk % 3), slot);
        }
    }
}

/// The same of raid6 over 5 disks: Q is behind P, data behind Q.
const LEFT_SYMMETRIC_6: [[&str; 5]; 6] = [
    ["Q", "0", "1", "2", "P"],
    ["3", "4", "5", "P", "Q"],
    ["7", "8", "P", "Q", "6"],
    ["11", "P", "Q", "9", "10"],
    ["P", "Q", "12", "13", "14"],
    ["Q", "15", "16", "17", "P"],
];

#[test]
fn raid6_is_left_symmetric() {
    let raid6 = layout(Level::Raid6, 8, 5, 48);
    for (row, disks) in (0..).zip(&LEFT_SYMMETRIC_6) {
        for (slot, what) in (0..).map(SlotId).zip(disks) {
            match *what {
                "P" => assert_eq!(raid6.parity_slot(row), Some(slot)),
                "Q" => assert_eq!(raid6.syndrome_slot(row), Some(slot)),
                chunk => {
                    let chunk: u64 = chunk.parse().expect("a number");
                    let spot = raid6.locate(Logical(chunk * 8 + 5));
                    assert_eq!((spot.slot, spot.offset), (slot, Offset(row * 8 + 5)));
                    assert_eq!(raid6.data_slot(row, chunk % 3), slot);
                }
            }
        }
    }
}

/// raid10 near as md(4) has it: rows of chunks by number, disk by disk.
#[test]
fn raid10_is_near() {
    let shapes: [(u8, &[&[u64]]); 4] = [
        (2, &[&[0, 0, 1, 1], &[2, 2, 3, 3]]),
        (2, &[&[0, 0, 1], &[1, 2, 2], &[3, 3, 4], &[4, 5, 5]]),
        (3, &[&[0, 0, 0, 1], &[1, 1, 2, 2], &[2, 3, 3, 3]]),
        (2, &[&[0, 0], &[1, 1]]),
    ];
    for (copies, rows) in shapes {
        let level = Level::Raid10 { copies };
        let slots = rows[0].len() as u8;
        let raid10 = layout(level, 8, slots, rows.len() as u64 * 8);
        assert_eq!(raid10.slot_len, Sectors(rows.len() as u64 * 8));
        let mut found = vec![vec![u64::MAX; rows[0].len()]; rows.len()];
        for x in (0..raid10.capacity().0).step_by(8) {
            for step in 0..copies {
                let copy = raid10.copy(Logical(x), step);
                found[copy.offset.0 as usize / 8][usize::from(copy.slot.0)] = x / 8;
            }
        }
        assert_eq!(found, rows);
    }
}

/// Copies take turns at being read by 1 MiB regions, and all legs are read of the same ones.
#[test]
fn raid10_copies_take_turns() {
    let raid10 = layout(Level::Raid10 { copies: 2 }, 2048, 4, 4096);
    let first = |x| raid10.locate(Logical(x)).slot.0;
    assert_eq!([0, 2048, 4096, 6144].map(first), [0, 3, 0, 3]);
    assert_eq!(raid10.copy(Logical(2048), 1).slot, SlotId(2));
}

/// Which slots are missing counts, not how many: two of a pair are too many, one of each is not.
#[test]
fn raid10_survives_one_of_each() {
    let mask = |slots: &[u8]| slots.iter().fold(0, |mask, slot| mask | 1 << slot);
    let pairs = layout(Level::Raid10 { copies: 2 }, 8, 4, 64);
    let ring = layout(Level::Raid10 { copies: 2 }, 8, 3, 64);
    for (of, missing, survives) in [
        (pairs, &[0, 2][..], true),
        (pairs, &[1, 2], true),
        (pairs, &[0, 1], false),
        (pairs, &[2, 3], false),
        (pairs, &[0, 2, 3], false),
        (ring, &[1], true),
        // In a ring of three any two have a chunk to themselves.
        (ring, &[0, 1], false),
        (ring, &[0, 2], false),
        (ring, &[1, 2], false),
    ] {
        assert_eq!(
            of.survives(SlotMask(mask(missing))),
            survives,
            "{missing:?}"
        );
    }
    assert!(pairs.has_two_copies(SlotMask(mask(&[0]))));
    assert!(!pairs.has_two_copies(SlotMask(mask(&[0, 3]))));
}

#[test]
fn raid0_goes_round() {
    let raid0 = layout(Level::Raid0, 16, 3, 64);
    let spots: Vec<_> = [0, 15, 16, 40, 48, 101]
        .map(|x| raid0.locate(Logical(x)))
        .map(|spot| (spot.slot.0, spot.offset.0, spot.run.0))
        .into();
    assert_eq!(
        spots,
        [
            (0, 0, 16),
            (0, 15, 1),
            (1, 0, 16),
            (2, 8, 8),
            (0, 16, 16),
            (0, 37, 11)
        ]
    );
}

#[test]
fn mirrors_take_turns_by_region() {
    let raid1 = layout(Level::Raid1, 1, 3, 10_000);
    for (x, slot) in [(0, 0), (2047, 0), (2048, 1), (4096, 2), (6144, 0)] {
        let spot = raid1.locate(Logical(x));
        assert_eq!((spot.slot, spot.offset), (SlotId(slot), Offset(x)));
    }
    assert_eq!(raid1.locate(Logical(2040)).run, Sectors(8));
}

#[test]
fn what_no_level_takes_is_refused() {
    for (level, chunk, slots, what) in [
        (
            Level::Raid5,
            128,
            2,
            "raid5 needs at least 3 members and 2 are given",
        ),
        (
            Level::Raid0,
            128,
            1,
            "raid0 needs at least 2 members and 1 are given",
        ),
        (
            Level::Linear,
            128,
            2,
            "linear takes at most 1 members and 2 are given",
        ),
        (
            Level::Raid6,
            128,
            3,
            "raid6 needs at least 4 members and 3 are given",
        ),
        (
            Level::Raid10 { copies: 3 },
            128,
            2,
            "raid10 needs at least 3 members and 2 are given",
        ),
        (
            Level::Raid10 { copies: 1 },
            128,
            4,
            "raid10 can't have 1 copies",
        ),
        (Level::Raid5, 24, 3, "a chunk of 12288 bytes can't be used"),
        (Level::Raid0, 4, 2, "a chunk of 2048 bytes can't be used"),
        (
            Level::Raid0,
            4096,
            2,
            "a chunk of 2097152 bytes can't be used",
        ),
        (
            Level::Raid1,
            128,
            17,
            "raid1 takes at most 16 members and 17 are given",
        ),
    ] {
        let made = Layout::new(level, Sectors(chunk), slots, Sectors(1024));
        let refusal = made.expect_err(what);
        assert!(refusal.to_string().starts_with(what), "{refusal}");
    }
}

fn any_layout() -> impl Strategy<Value = Layout> {
    let near = (2u8..5).prop_map(|copies| Level::Raid10 { copies });
    let level = prop_oneof![4 => prop::sample::select(&Level::ALL), 1 => near];
    (level, 3u32..6, 0u8..6, 1u64..6).prop_map(|(level, chunk, more, rows)| {
        let slots = if level == Level::Linear {
            1
        } else {
            level.min_slots() + more
        };
        // Room for a row of any raid10, which is at most one chunk for each copy.
        layout(level, 1 << chunk, slots, (rows + 4) << chunk)
    })
}

/// Every level with members from the fewest on, several chunks, and copies that divide them or not.
fn all_layouts() -> Vec<Layout> {
    let near = (2..=4).map(|copies| Level::Raid10 { copies });
    let mut all = Vec::new();
    for level in Level::ALL.into_iter().chain(near) {
        let most = if level == Level::Linear { 1 } else { 9 };
        for slots in level.min_slots()..=most {
            for chunk in [8, 16, 64] {
                all.push(layout(level, chunk, slots, chunk * 12));
            }
        }
    }
    all
}

/// Every sector of every slot is one copy of one sector of the volume, or parity: nothing
/// is used twice, and nothing is left over.
#[test]
fn one_to_one() {
    for layout in all_layouts() {
        let mut used = HashSet::new();
        for x in (0..layout.capacity().0).map(Logical) {
            assert_eq!(layout.locate(x), layout.copy(x, 0));
            for step in 0..layout.copies() {
                let copy = layout.copy(x, step);
                assert!(copy.slot.0 < layout.slots && copy.offset.0 < layout.slot_len.0);
                assert!(
                    used.insert((copy.slot, copy.offset)),
                    "{layout:?} at {}",
                    x.0
                );
            }
        }
        for offset in (0..layout.slot_len.0).map(Offset) {
            for slot in layout.parity_slots(offset.0 / layout.row_len().0) {
                assert!(used.insert((slot, offset)), "{layout:?} at {}", offset.0);
            }
        }
        let all = layout.slot_len.0 * u64::from(layout.slots);
        assert_eq!(used.len() as u64, all, "{layout:?}");
    }
}

/// What a row is: data up to it are in the offsets up to it, in every slot.
#[test]
fn rows_are_rows() {
    for layout in all_layouts() {
        for x in (0..layout.capacity().0).map(Logical) {
            let row = layout.row(x);
            let offsets = layout.row_offset(x).0..layout.used_below(x + Sectors(1)).0;
            assert_eq!(offsets.end - offsets.start, layout.row_len().0);
            for step in 0..layout.copies() {
                let copy = layout.copy(x, step);
                assert!(offsets.contains(&copy.offset.0), "{layout:?} at {}", x.0);
            }
            let index = (x.0 - row * layout.stripe().0) / layout.chunk.0;
            if !layout.level.has_copies() {
                assert_eq!(layout.data_slot(row, index), layout.locate(x).slot);
            }
        }
    }
}

proptest! {
    /// The run that a spot tells of is one.
    #[test]
    fn runs_follow_each_other(layout in any_layout(), at in any::<prop::sample::Index>()) {
        let x = Logical(at.index(layout.capacity().0 as usize) as u64);
        let spot = layout.locate(x);
        for i in 0..spot.run.0.min(layout.capacity().0 - x.0) {
            let next = layout.locate(x + Sectors(i));
            prop_assert_eq!((next.slot, next.offset), (spot.slot, spot.offset + Sectors(i)));
        }
    }
}
