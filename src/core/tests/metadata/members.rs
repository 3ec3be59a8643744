// SPDX-License-Identifier: GPL-2.0
//! Members that come in the place of others.

use restripe_core::geometry::{MemberId, MemberMask, Sectors};
use restripe_core::layout::Level;
use restripe_core::ondisk::{MemberState, RegionKind, Superblock};
use restripe_core::shape::{self, Change, CreateWish, MigrationWish};
use restripe_core::text::Errno;

use crate::common::{blank, created, mib, migrating, stamp, uuid};

/// What comes of a blank device of so many MiB in the place of member 1, which has failed.
fn replace(
    sb: &mut Superblock,
    old: u8,
    size: u64,
) -> Result<Change, restripe_core::text::Refusal> {
    sb.members[usize::from(old)].state = MemberState::Faulty;
    shape::change_for(sb, &blank(5, mib(size)), Some(MemberId(old)))
        .and_then(|change| shape::check_change(sb, &change).map(|()| change))
}

#[test]
fn a_smaller_device_does_not_take_a_members_place() {
    let refusal = replace(&mut created(Level::Raid5, 3, true), 1, 8).expect_err("it is too small");
    assert_eq!(refusal.errno, Errno::ENOSPC);
    let sentence = refusal.sentence.as_str();
    assert!(
        sentence.contains("bytes") && sentence.contains("larger"),
        "{sentence}"
    );
}

/// A device that is a little smaller may have just room for the data, but a smaller reserve: its stash
/// does not take what a migration moves at once.
#[test]
fn a_device_whose_stash_is_too_small_does_not_take_a_members_place() {
    // Behind each 64 MiB the reserve grows by 1 MiB.
    let size = mib(64) + Sectors(1024);
    let wish = CreateWish {
        level: Level::Raid5,
        chunk: Sectors(128),
        size: None,
        assume_clean: true,
    };
    let members: Vec<_> = (0..3).map(|n| blank(n, size)).collect();
    let mut now = Superblock::default();
    shape::create(&mut now, &stamp(1), &wish, &members).expect("a shape that can be");
    let wish = MigrationWish {
        uuid: uuid(200),
        level: Level::Raid5,
        chunk: Some(Sectors(512)),
        added: &[blank(3, size), blank(4, size)],
        removed: MemberMask::EMPTY,
    };
    let mut sb = Superblock::default();
    shape::begin_migration(&now, &wish, &mut sb).expect("the stashes are large enough");
    let refusal = replace(&mut sb.clone(), 1, 64).expect_err("its stash is too small");
    assert_eq!(refusal.errno, Errno::ENOSPC);
    let sentence = refusal.sentence.as_str();
    // Rows of 128 KiB and of 1 MiB, and a stash of 1 MiB with a header of 4 KiB.
    for words in ["1048576 bytes", "1044480", "larger"] {
        assert!(sentence.contains(words), "{sentence}");
    }
    replace(&mut sb, 1, 65).expect("its stash is as large as the others'");
    replace(&mut now, 1, 64).expect("nothing is being moved");
}

#[test]
fn a_larger_device_takes_a_members_place() {
    for size in [64, 65, 1024] {
        let mut sb = created(Level::Raid5, 3, true);
        let change = replace(&mut sb, 1, size).expect("there is room");
        shape::make_change(&mut sb, &change);
        assert!(!sb.sets[0].members().has(MemberId(1)), "{size} MiB");
    }
}

/// The adopted member's head lies in the reserve, in front of none of whose places its data are.
#[test]
fn both_parts_of_an_adopted_members_slot_go_to_the_new_one() {
    let mut sb = migrating(Level::Raid1, 3);
    shape::finish_migration(&mut sb);
    assert!(replace(&mut sb.clone(), 0, 8).is_err());
    let change = replace(&mut sb, 0, 96).expect("there is room");
    shape::make_change(&mut sb, &change);
    let Change::Replace { id, row, .. } = change else {
        panic!("it is not a replacement: {change:?}");
    };
    let places: Vec<_> = sb.sets[0]
        .extents
        .iter()
        .filter(|e| e.member == id)
        .collect();
    assert_eq!(places.len(), 2, "the head and what follows it");
    for (place, kind) in places.into_iter().zip([RegionKind::Head, RegionKind::Data]) {
        let region = row.region(kind).expect("every member has it");
        assert!(region.start <= place.start && place.start + place.len <= region.end());
    }
}
