// SPDX-License-Identifier: GPL-2.0
//! An adopted disk must not pass for the file system it was (DESIGN section 4): while its
//! volume is more than a lone linear disk, its first 128 KiB live in its reserve and a
//! signature stands in their place.
//!
//! The order that makes this safe is the engine's: with writes held, the head is copied and
//! flushed; then the superblocks that place it in the reserve are committed; and only when that
//! is durable and no read of the old place is under way, the signature is written. Until the
//! commit the truth is where it was, after it in the copy, and neither is written to meanwhile.

use crate::geometry::{MemberId, MemberMask, Physical};
use crate::layout::Level;
use crate::ondisk::{Member, RegionKind, Superblock, HEAD_LEN};
use crate::placement::{Extent, Set};

/// Where an adopted member's head goes.
fn refuge(member: &Member) -> Option<Physical> {
    let head = member.region(RegionKind::Head);
    head.filter(|_| member.adopted).map(|region| region.start)
}

/// Places the heads of adopted members in their reserves, in every set.
pub fn move_heads(into: &mut Superblock) {
    let members = &into.members;
    for set in into.sets.iter_mut() {
        let at_home = set.extents.iter().position(|extent| {
            let member = &members[usize::from(extent.member.0)];
            extent.start == Physical::ZERO && refuge(member).is_some()
        });
        if let Some(index) = at_home {
            let member = usize::from(set.extents[index].member.0);
            if let Some(to) = refuge(&members[member]) {
                move_out(set, index, to);
            }
        }
    }
}

/// Parts the extent at `index` in two, of which the first is the head at `to`.
fn move_out(set: &mut Set, index: usize, to: Physical) {
    let whole = set.extents[index];
    if whole.len > HEAD_LEN {
        if !set.extents.try_push(Extent::default()) {
            return;
        }
        set.extents[index + 1..].rotate_right(1);
        set.extents[index + 1] = Extent {
            start: Physical::ZERO + HEAD_LEN,
            len: whole.len - HEAD_LEN,
            ..whole
        };
    }
    set.extents[index] = Extent {
        start: to,
        len: whole.len.min(HEAD_LEN),
        ..whole
    };
}

/// Whether `set` has the head of `member` at `at`.
fn has_head(set: &Set, member: MemberId, at: Physical) -> bool {
    set.extents
        .iter()
        .any(|extent| extent.member == member && extent.start == at)
}

/// Members whose head `now` has at their start, and `next` in their reserve.
pub fn heads_leaving(now: &Superblock, next: &Superblock) -> MemberMask {
    let set = |sb: &Superblock| usize::from(sb.present_set());
    let (from, to) = (&now.sets[set(now)], &next.sets[set(next)]);
    let mut leaving = MemberMask::EMPTY;
    for (id, member) in now.rows() {
        if let Some(refuge) = refuge(member) {
            if has_head(from, id, Physical::ZERO) && has_head(to, id, refuge) {
                leaving.insert(id);
            }
        }
    }
    leaving
}

/// The member that is all the volume lies on when its migration has ended, and whose head is to
/// be put back before that, so that it is a plain disk again.
pub fn head_coming_home(sb: &Superblock) -> Option<MemberId> {
    let migration = sb.migration?;
    let set = &sb.sets[usize::from(migration.target)];
    let first = set.extents.first()?;
    let alone = set.extents.iter().all(|e| e.member == first.member);
    let refuge = refuge(&sb.members[usize::from(first.member.0)])?;
    let is_lone = set.layout.level == Level::Linear && set.layout.slots == 1 && alone;
    (is_lone && first.start == refuge).then_some(first.member)
}

/// Gives the set of a lone linear disk the extents of a plain one.
pub(super) fn put_back(set: &mut Set) {
    let head = &mut set.extents[0];
    head.start = Physical::ZERO;
    let end = head.start + head.len;
    if let Some(rest) = set.extents.get(1).copied().filter(|rest| rest.start == end) {
        set.extents[0].len = set.extents[0].len + rest.len;
        set.extents.remove(1);
    }
}
