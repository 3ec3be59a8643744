// SPDX-License-Identifier: GPL-2.0
//! Reads of sets whose members can't be read in places, and what becomes of those members.

use std::collections::BTreeSet;

use proptest::prelude::*;
use restripe_core::geometry::{Logical, MemberId, MemberMask, Physical, Range, Sectors};
use restripe_core::layout::Level;
use restripe_core::mend::{verdict, Detour, Verdict, MAX_READ_ERRORS};
use restripe_core::ondisk::UNIT;
use restripe_core::placement::Set;
use restripe_core::stripe::{plan_rebuild, read, Read};

use super::sets::{layout, set};

/// Units of members, by their numbers from the first, that can't be read.
type Spots = BTreeSet<(MemberId, u64)>;

/// Members of which some of what lies there can't be read.
fn failing(spots: &Spots, member: MemberId, at: Physical, len: Sectors) -> MemberMask {
    let units = at.0 / UNIT.0..(at + len).0.div_ceil(UNIT.0);
    let mut failed = MemberMask::EMPTY;
    for unit in units {
        if spots.contains(&(member, unit)) {
            failed.insert(member);
        }
    }
    failed
}

/// Reads as the driver does; how often it tried, and whether it came to the end.
fn reads(
    set: &Set,
    alive: MemberMask,
    spots: &Spots,
    hint: MemberMask,
    range: Range,
) -> (u64, bool) {
    let (mut detour, mut x, mut tries) = (Detour::new(hint), range.start, 0);
    while x < range.end {
        detour.begin();
        let run = loop {
            tries += 1;
            let part = detour.part(Range::new(x, range.end));
            let left = alive & !detour.avoided();
            let (run, failed) = match read(set, left, x, part.len()) {
                Read::Direct(place) => (
                    Some(place.run),
                    failing(spots, place.member, place.at, place.run),
                ),
                Read::Rebuild(run) => {
                    let plan = plan_rebuild(set, left, x, run, Sectors::ZERO);
                    let reads = plan.reads.iter();
                    let failed = reads.map(|read| failing(spots, read.member, read.at, read.len));
                    (
                        Some(run),
                        failed.fold(MemberMask::EMPTY, |all, one| all | one),
                    )
                }
                Read::Lost(_) => (None, MemberMask::EMPTY),
            };
            match run.filter(|_| failed.is_empty()) {
                Some(run) => break run,
                None if detour.goes_on(set, failed) => {}
                None => return (tries, false),
            }
        };
        x += run;
    }
    (tries, true)
}

/// Whether what can be read of every unit of the range tells what it is.
fn is_told(set: &Set, alive: MemberMask, spots: &Spots, range: Range) -> bool {
    (range.start.0 / UNIT.0..range.end.0.div_ceil(UNIT.0)).all(|unit| {
        let x = Logical(unit * UNIT.0);
        let mut bad = MemberMask::EMPTY;
        let spot = set.layout.locate(x);
        let slots = set.layout.slots;
        let row = (0..slots).map(|slot| (restripe_core::geometry::SlotId(slot), spot.offset));
        let copies = (0..set.layout.copies()).map(|step| set.layout.copy(x, step));
        let copies = copies.map(|copy| (copy.slot, copy.offset));
        let places: Vec<_> = match set.layout.level.has_parity() {
            true => row.collect(),
            false => copies.collect(),
        };
        for (slot, offset) in places {
            let place = set.place(slot, offset);
            bad = bad | failing(spots, place.member, place.at, UNIT);
        }
        !matches!(read(set, alive & !bad, x, UNIT), Read::Lost(_))
    })
}

/// Members that fail in one request may do so in different rows: none is given up for that.
#[test]
fn several_that_fail_are_mended_row_by_row() {
    let set = shape(4);
    let (alive, range) = (set.members(), Range::new(Logical(0), Logical(64)));
    let (one, two) = (MemberMask(1), MemberMask(3));
    let said = |failed, errors| verdict(&set, range, (alive, failed), errors);
    assert_eq!(said(one, MAX_READ_ERRORS), Verdict::Mend);
    assert_eq!(said(two, MAX_READ_ERRORS), Verdict::Mend);
    assert_eq!(said(one, MAX_READ_ERRORS + 1), Verdict::Fault);
    assert_eq!(said(two, MAX_READ_ERRORS + 1), Verdict::Lost);
    let short = verdict(&set, range, (alive & !one, two & !one), 1);
    assert_eq!(short, Verdict::Lost);
}

const SHAPES: [(Level, u8); 6] = [
    (Level::Linear, 1),
    (Level::Raid1, 2),
    (Level::Raid1, 3),
    (Level::Raid10 { copies: 2 }, 4),
    (Level::Raid5, 3),
    (Level::Raid6, 5),
];

fn shape(index: usize) -> Set {
    let (level, slots) = SHAPES[index];
    let members: Vec<u8> = (0..slots).collect();
    set(layout(level, 256, slots, 1024), &members, 64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// What can be read somewhere is read, however many members can't be read elsewhere; and what can't is
    /// found to be lost without trying for ever.
    #[test]
    fn what_is_told_is_read(
        index in 0..SHAPES.len(),
        spots in proptest::collection::btree_set((0..5u8, 8..48u64), 0..12),
        hint in 0..32u32,
        dead in 0..6u8,
        (start, len) in (0..1024u64, 1..1024u64),
    ) {
        let set = shape(index);
        let mut alive = set.members();
        alive.remove(MemberId(dead));
        prop_assume!(set.survives(alive));
        let end = set.layout.capacity().0.min(start + len);
        let range = Range::new(Logical(start), Logical(end));
        let spots: Spots = spots.into_iter().map(|(member, unit)| (MemberId(member), unit)).collect();
        let (tries, read) = reads(&set, alive, &spots, MemberMask(hint), range);
        prop_assert_eq!(read, is_told(&set, alive, &spots, range));
        prop_assert!(tries <= 16 + 6 * len.div_ceil(UNIT.0));
    }
}
