// SPDX-License-Identifier: GPL-2.0
//! What members have more than the smallest of them.

use crate::geometry::{MemberId, Sectors};
use crate::ondisk::{RegionKind, Superblock};
use crate::placement::Set;

/// What `set` leaves unused of the room that a member has for data, because others have less: 0 of
/// members that it does not lie on, and of a set that is laid end to end.
pub fn trimmed(superblock: &Superblock, set: &Set, member: MemberId) -> Sectors {
    let row = &superblock.members[usize::from(member.0)];
    let data = row.regions.iter().filter(|r| r.kind == RegionKind::Data);
    let room = data.map(|region| region.len.0).sum();
    let used = set.extents.iter().filter(|extent| extent.member == member);
    match used.map(|extent| extent.len.0).sum() {
        0 => Sectors::ZERO,
        used => Sectors(u64::saturating_sub(room, used)),
    }
}
