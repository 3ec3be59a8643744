// SPDX-License-Identifier: GPL-2.0
//! Placement: md's, block for block.

use std::collections::HashSet;

use proptest::prelude::*;
use restripe_core::geometry::{Logical, Offset, Sectors, SlotId};
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
    let level = prop_oneof![
        Just(Level::Linear),
        Just(Level::Raid0),
        Just(Level::Raid1),
        Just(Level::Raid5)
    ];
    (level, 3u32..6, 0u8..6, 1u64..6).prop_map(|(level, chunk, more, rows)| {
        let slots = if level == Level::Linear {
            1
        } else {
            level.min_slots() + more
        };
        layout(level, 1 << chunk, slots, rows << chunk)
    })
}

proptest! {
    /// No two sectors of the volume share a place, none lies on parity, and together they fill the slots.
    #[test]
    fn one_to_one(layout in any_layout()) {
        let mut places = HashSet::new();
        for x in 0..layout.capacity().0 {
            let spot = layout.locate(Logical(x));
            prop_assert!(spot.offset.0 < layout.slot_len.0);
            prop_assert!(spot.slot.0 < layout.slots);
            prop_assert!(spot.run > Sectors::ZERO);
            let row = spot.offset.0 / layout.chunk.0;
            prop_assert!(layout.parity_slot(row) != Some(spot.slot));
            let place = (if layout.level == Level::Raid1 { 0 } else { spot.slot.0 }, spot.offset.0);
            prop_assert!(places.insert(place));
        }
        prop_assert_eq!(places.len() as u64, layout.slot_len.0 * layout.data_slots());
    }

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
