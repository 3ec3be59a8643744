//! Every level to every other one, there and back.

use restripe_core::footprint::overwrites;
use restripe_core::geometry::{Logical, MemberId, MemberMask, Range, Sectors};
use restripe_core::layout::Level;
use restripe_core::ondisk::{check, Superblock};
use restripe_core::placement::Set;
use restripe_core::shape::{
    self, common_row, finish_migration, reach, turn_migration, MigrationWish, Reach,
};

use super::common::*;
use restripe_core::way::Way;

/// Levels with a number of members of each.
const SETS: [(Level, u8); 9] = [
    (Level::Linear, 1),
    (Level::Raid0, 2),
    (Level::Raid0, 4),
    (Level::Raid1, 2),
    (Level::Raid1, 3),
    (Level::Raid5, 3),
    (Level::Raid5, 4),
    (Level::Raid6, 5),
    (Level::Raid10 { copies: 2 }, 4),
];

/// A volume of that level, small enough for a lone disk, on its way to another.
fn pair(from: (Level, u8), to: (Level, u8), chunk: u64) -> Superblock {
    let mut now = created(from.0, from.1, true);
    shape::resize(&mut now, mib(40).bytes()).expect("less");
    let mut removed = MemberMask::EMPTY;
    for id in to.1..from.1 {
        removed.insert(MemberId(id));
    }
    let added: Vec<_> = (from.1..to.1).map(|n| blank(n, mib(64))).collect();
    let wish = MigrationWish {
        uuid: uuid(200),
        level: to.0,
        chunk: Some(Sectors(chunk)),
        added: &added,
        removed,
    };
    let mut sb = Superblock::default();
    shape::begin_migration(&now, &wish, &mut sb)
        .unwrap_or_else(|refusal| panic!("{from:?} to {to:?}: {refusal}"));
    assert_eq!(check(&sb), Ok(()), "{from:?} to {to:?}");
    sb
}

/// A level and its members, twice, and the target's chunk.
type Pair = ((Level, u8), (Level, u8), u64);

fn all_pairs() -> Vec<Pair> {
    let mut all = Vec::new();
    for from in SETS {
        for to in SETS {
            for chunk in [128, 32] {
                if to != from || (chunk != 128 && from.0.is_striped()) {
                    all.push((from, to, chunk));
                }
            }
        }
    }
    all
}

#[test]
fn there_and_back() {
    for (from, to, chunk) in all_pairs() {
        let mut sb = pair(from, to, chunk);
        let old = sb.sets[0];
        let middle = common_row(&sb.sets[0].layout, &sb.sets[1].layout);
        let migration = sb.migration.as_mut().expect("it migrates");
        migration.cursor = Logical(middle.0);
        sb.map_from_cursor();
        assert_eq!(check(&sb), Ok(()));
        let ranges = sb.ranges;
        // The map stays what it is, whoever reads it.
        turn_migration(&mut sb);
        assert_eq!(
            (check(&sb), sb.ranges),
            (Ok(()), ranges),
            "{from:?} to {to:?}"
        );
        let back = sb.migration.expect("it goes back");
        assert!(back.aborting);
        let (volume, kept) = (
            sb.volume_sectors,
            sb.sets[usize::from(back.target)].members(),
        );
        let leaving = finish_migration(&mut sb);
        assert_eq!(check(&sb), Ok(()), "{from:?} to {to:?}");
        assert_eq!(
            (sb.sets[0].layout, sb.sets[0].extents),
            (old.layout, old.extents)
        );
        assert_eq!((sb.volume_sectors, sb.live()), (volume, kept));
        assert!((leaving & kept).is_empty());
    }
}

#[test]
fn an_abort_of_an_abort_goes_forward() {
    let mut sb = pair((Level::Raid5, 4), (Level::Raid0, 2), 128);
    let before = sb.clone();
    turn_migration(&mut sb);
    turn_migration(&mut sb);
    assert_eq!(sb.migration, before.migration);
    for (set, old) in sb.sets.iter().zip(&before.sets) {
        assert_eq!((set.layout, set.extents), (old.layout, old.extents));
    }
    let leaving = finish_migration(&mut sb);
    assert_eq!(leaving, MemberMask(0b1100));
    assert_eq!((sb.live(), check(&sb)), (MemberMask(0b0011), Ok(())));
    assert!(sb.volume_sectors > before.volume_sectors);
}

/// How a set is reached, by every row of it.
fn reach_by_all_rows(
    (source, target, way): (&Set, &Set, Way),
    volume: Sectors,
    most: Sectors,
) -> Reach {
    let end = Logical(volume.0);
    let row = common_row(&source.layout, &target.layout);
    let last = way.end(end);
    let clear =
        |from, piece: Range| !overwrites(source, way.between(from, last), end, target, piece);
    let (mut at, mut found) = (way.begin(end), Reach::Free);
    while at != last {
        let next = way.step(at, row, row, last);
        if clear(at, way.between(at, next)) {
            at = next;
            continue;
        }
        found = Reach::Stash;
        let limit = way.step(at, most, row, last);
        let mut to = next;
        while !clear(to, way.between(at, to)) {
            if to == limit {
                return Reach::Never(at);
            }
            to = way.step(to, row, row, limit);
        }
        at = to;
    }
    found
}

/// The few rows that are looked at tell of all.
#[test]
fn no_row_is_overlooked() {
    let kind = |reach| match reach {
        Reach::Never(_) => Reach::Never(Logical::ZERO),
        other => other,
    };
    for (from, to, chunk) in all_pairs() {
        let mut sb = pair(from, to, chunk);
        // One sector at a time takes too long here.
        if !from.0.is_striped() && !to.0.is_striped() {
            continue;
        }
        for shift in [0, 128, 1000, 4000] {
            let (source, target) = (sb.sets[0], &mut sb.sets[1]);
            for extent in target.extents.iter_mut() {
                extent.start += Sectors(shift);
            }
            // An abort goes against the way that suits it best.
            for (most, way) in [1024, 8192]
                .map(|most| [(most, Way::Up), (most, Way::Down)])
                .concat()
            {
                let row = common_row(&source.layout, &target.layout);
                let (most, size) = (Sectors(most).max(row).round_down(row), sb.volume_sectors);
                assert_eq!(
                    kind(reach(&source, target, way, size, most)),
                    kind(reach_by_all_rows((&source, target, way), size, most)),
                    "{from:?} to {to:?} {way:?}, chunk {chunk}, shift {shift}, windows of {}",
                    most.0
                );
            }
        }
    }
}
