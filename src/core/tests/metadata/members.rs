// SPDX-License-Identifier: GPL-2.0
//! Members that come in the place of others.

use restripe_core::geometry::MemberId;
use restripe_core::layout::Level;
use restripe_core::ondisk::{MemberState, RegionKind, Superblock};
use restripe_core::shape::{self, Change};
use restripe_core::text::Errno;

use crate::common::{blank, created, mib, migrating};

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
