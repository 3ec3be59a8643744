// SPDX-License-Identifier: GPL-2.0
//! What a migration overwrites, against a model that looks at every sector.

use std::collections::HashMap;

use proptest::prelude::*;
use restripe_core::footprint::{for_each_write, is_in_place, overwrites};
use restripe_core::geometry::{Logical, MemberId, Offset, Range, Sectors, SlotId};
use restripe_core::layout::Level;
use restripe_core::placement::Set;

use super::sets::{layout, set};

fn range(start: u64, end: u64) -> Range {
    Range::new(Logical(start), Logical(end))
}

/// From one disk to three, the old one first: the first row keeps its first chunk and
/// writes parity elsewhere, so nothing that is needed is touched; the second row's
/// chunk on the old disk lies where the first row's second chunk was.
#[test]
fn growing_frees_what_it_uses() {
    let one = set(layout(Level::Linear, 1, 1, 96), &[0], 0);
    let three = set(layout(Level::Raid5, 8, 3, 48), &[0, 1, 2], 0);
    let live = |from| range(from, 96);
    assert!(!overwrites(
        &one,
        live(0),
        Logical(96),
        &three,
        range(0, 16)
    ));
    assert!(overwrites(
        &one,
        live(0),
        Logical(96),
        &three,
        range(16, 32)
    ));
    assert!(!overwrites(
        &one,
        live(16),
        Logical(96),
        &three,
        range(16, 32)
    ));
    let end = Logical(96);
    assert!(is_in_place(
        &one,
        end,
        &three,
        Some(Logical(0)),
        (SlotId(0), Offset(0)),
        Sectors(8)
    ));
    assert!(!is_in_place(
        &one,
        end,
        &three,
        Some(Logical(8)),
        (SlotId(1), Offset(0)),
        Sectors(8)
    ));
}

/// The old disk last: its first row would take the place of what comes later.
#[test]
fn another_slot_needs_a_window() {
    let one = set(layout(Level::Linear, 1, 1, 96), &[0], 0);
    let two = set(layout(Level::Raid0, 8, 2, 48), &[1, 0], 0);
    assert!(overwrites(
        &one,
        range(0, 96),
        Logical(96),
        &two,
        range(0, 16)
    ));
    assert!(!overwrites(
        &one,
        range(16, 96),
        Logical(96),
        &two,
        range(0, 16)
    ));
}

/// What lies behind the volume's end has to be written, even on a chunk that is in its place.
#[test]
fn padding_is_never_in_its_place() {
    let one = set(layout(Level::Linear, 1, 1, 96), &[0], 0);
    let two = set(layout(Level::Raid0, 8, 2, 48), &[0, 1], 0);
    let at = (SlotId(0), Offset(0));
    assert!(is_in_place(
        &one,
        Logical(8),
        &two,
        Some(Logical(0)),
        at,
        Sectors(8)
    ));
    assert!(!is_in_place(
        &one,
        Logical(7),
        &two,
        Some(Logical(0)),
        at,
        Sectors(8)
    ));
    assert!(!overwrites(
        &one,
        range(0, 7),
        Logical(7),
        &two,
        range(0, 7)
    ));
    // A linear set ends where the volume does; in a row there is parity of what lies behind too.
    let old = set(layout(Level::Raid5, 8, 3, 48), &[0, 1, 2], 0);
    let new = set(layout(Level::Raid5, 8, 3, 48), &[0, 1, 3], 0);
    let hits = |end| overwrites(&old, range(0, end), Logical(end), &new, range(0, end));
    assert!(!hits(16) && hits(6));
}

/// A leg of a mirror that is not synced is not the truth, although it is one of the copies.
#[test]
fn a_stale_leg_is_not_in_its_place() {
    let mut mirror = set(layout(Level::Raid1, 1, 2, 96), &[0, 1], 0);
    let linear = set(layout(Level::Linear, 1, 1, 96), &[1], 0);
    let at = (SlotId(0), Offset(0));
    assert!(is_in_place(
        &mirror,
        Logical(96),
        &linear,
        Some(Logical(0)),
        at,
        Sectors(8)
    ));
    mirror.resync = Logical(4);
    assert!(!is_in_place(
        &mirror,
        Logical(96),
        &linear,
        Some(Logical(0)),
        at,
        Sectors(8)
    ));
}

/// A member gives its place to another: the parity of the others stays, where it is known to be
/// true of what the row holds.
#[test]
fn parity_stays_in_its_place() {
    let mut old = set(layout(Level::Raid5, 8, 3, 48), &[0, 1, 2], 0);
    let new = set(layout(Level::Raid5, 8, 3, 56), &[0, 3, 2], 0);
    let (end, all) = (Logical(96), range(0, 96));
    let free =
        |old: &Set, end, row: u64| !overwrites(old, all, end, &new, range(row * 16, row * 16 + 16));
    // Left-symmetric: the parity of rows 0, 1, 2 lies on slots 2, 1, 0.
    let kept = |old: &Set, end, row: u64, slot| {
        let at = (SlotId(slot), Offset(row * 8));
        is_in_place(old, end, &new, None, at, Sectors(8))
    };
    assert!(kept(&old, end, 0, 2) && kept(&old, end, 2, 0));
    assert!(!kept(&old, end, 1, 1), "the new disk holds nothing yet");
    assert!((0..6).all(|row| free(&old, end, row)));
    // The padding of the last row is to be zeroed.
    assert!(!kept(&old, Logical(95), 5, 0) && !free(&old, Logical(95), 5));
    // Nobody knows whether it is true.
    old.resync = Logical(32);
    assert!(!kept(&old, end, 2, 0) && !free(&old, end, 2));
    assert!(kept(&old, end, 0, 2));
    // Of other rows it is something else.
    let wide = set(layout(Level::Raid5, 16, 3, 48), &[0, 1, 2], 0);
    assert!(!kept(&wide, end, 0, 2));
}

type Place = (u8, u64);

#[derive(PartialEq)]
enum Content {
    Data(u64),
    /// Of all rows there is this one.
    Parity(SlotId, Offset),
}

/// Every place that a set needs to read `live` with its redundancy.
fn needed(of: &Set, live: Range) -> HashMap<Place, Content> {
    let mut places = HashMap::new();
    let layout = &of.layout;
    let mut put = |slot: SlotId, offset: Offset, content| {
        let place = of.place(slot, offset);
        places.insert((place.member.0, place.at.0), content);
    };
    let rows = live.start.round_down(layout.stripe()).0..live.end.round_up(layout.stripe()).0;
    for x in rows.map(Logical) {
        for step in 0..layout.copies() {
            let copy = layout.copy(x, step);
            put(copy.slot, copy.offset, Content::Data(x.0));
        }
    }
    for offset in layout.row_offset(live.start).0..layout.used_below(live.end).0 {
        for slot in layout.parity_slots(offset / layout.chunk.0) {
            put(slot, Offset(offset), Content::Parity(slot, Offset(offset)));
        }
    }
    places
}

fn any_set() -> impl Strategy<Value = Set> {
    let level = prop::sample::select(&Level::ALL);
    (level, 3u32..5, 0u64..20, 0u8..4).prop_map(|(level, chunk, start, turn)| {
        let slots = if level == Level::Linear {
            1
        } else {
            level.min_slots().max(3)
        };
        let members: Vec<u8> = (0..slots).map(|s| (s + turn) % 4).collect();
        set(layout(level, 1 << chunk, slots, 96), &members, start)
    })
}

/// Two sets, every second time the same but for a member that gave its place to another.
fn any_pair() -> impl Strategy<Value = (Set, Set)> {
    (any_set(), any_set(), any::<bool>()).prop_map(|(source, other, alike)| {
        let mut target = if alike { source } else { other };
        for extent in target.extents.iter_mut().filter(|_| alike) {
            if extent.slot == SlotId(0) {
                extent.member = MemberId(9);
            }
        }
        (source, target)
    })
}

proptest! {
    /// It never says "free" of a piece that takes away something needed.
    #[test]
    fn nothing_needed_is_called_free(
        (source, target) in any_pair(),
        end in 80u64..97,
        from in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
    ) {
        let row = restripe_core::shape::common_row(&source.layout, &target.layout).0;
        let at = at.index(end.div_ceil(row) as usize) as u64;
        let from = from.index(at as usize + 1) as u64;
        let start = at * row;
        let piece = range(start, (start + row).min(end));
        let live = range(from * row, end);
        let needed = needed(&source, live);
        let mut hit = false;
        for_each_write(&target, piece, |x, slot, offset, len| {
            for i in 0..len.0 {
                let place = target.place(slot, offset + Sectors(i));
                let x = x.map(|x| x.0 + i);
                let held = needed.get(&(place.member.0, place.at.0));
                // Its own content in its own place may be written, or left.
                let own = match x {
                    Some(x) => x < end && held == Some(&Content::Data(x)),
                    None => {
                        let here = Content::Parity(slot, offset + Sectors(i));
                        source.layout == target.layout && piece.end.0 - start == row && held == Some(&here)
                    }
                };
                hit |= held.is_some() && !own;
            }
        });
        if hit {
            prop_assert!(overwrites(&source, live, Logical(end), &target, piece));
        }
        if needed.is_empty() {
            prop_assert!(!overwrites(&source, live, Logical(end), &target, piece));
        }
    }
}
