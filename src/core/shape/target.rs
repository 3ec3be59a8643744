// SPDX-License-Identifier: GPL-2.0
//! The set that a migration goes to: which members it keeps, which it takes in, and where its slots lie.
//!
//! Kept members stay in the order of the source's slots, and each lies where it lay. Added ones
//! take the places of those that leave, and further ones come behind. So as much as can be is in
//! its place already, and the rest moves one way; a member that only gives its place to another
//! moves nothing but its own.

use super::{MigrationWish, NewMember};
use crate::geometry::{Logical, MemberId, MemberMask, Sectors, SlotId, MAX_MEMBERS};
use crate::layout::{Layout, Level, DEFAULT_CHUNK};
use crate::list::List;
use crate::ondisk::{Member, MemberState, RegionKind, Superblock};
use crate::placement::{Extent, Set, MAX_EXTENTS};
use crate::refusal;
use crate::text::{Refusal, Text};

/// Where a member's part of a set lies, in the order of its offsets; the slot is not said yet.
type Part = List<Extent, MAX_EXTENTS>;

fn room(part: &Part) -> Sectors {
    Sectors(part.iter().map(|extent| extent.len.0).sum())
}

/// Makes the last set of `into` the target, and puts its new members in the table; says what
/// its smallest member is called.
#[inline(never)]
pub(super) fn make_target(
    wish: &MigrationWish<'_>,
    from: usize,
    into: &mut Superblock,
) -> Result<Text<64>, Refusal> {
    let seats = seats(wish, &into.sets[from], into)?;
    let (mut disks, mut added) = (List::<MemberId, MAX_MEMBERS>::new(), wish.added.iter());
    for seat in &seats {
        if !wish.removed.has(*seat) {
            disks.push(*seat);
        } else if let Some(member) = added.next() {
            disks.push(take_in(into, member)?);
        }
    }
    for member in added {
        disks.push(take_in(into, member)?);
    }
    let (mut least, mut all) = (None, Sectors::ZERO);
    for id in &disks {
        let room = room(&part(into, from, *id));
        all = all + room;
        if least.is_none_or(|(_, smallest)| room < smallest) {
            least = Some((*id, room));
        }
    }
    let (smallest, slot_len) = least.unwrap_or_default();
    let smallest = name_of(wish, into, smallest);
    let slot_len = match wish.level {
        Level::Linear => all,
        _ => slot_len,
    };
    let present = into.sets[from].layout;
    let chunk = wish.chunk.unwrap_or(match present.level.is_striped() {
        true => present.chunk,
        false => DEFAULT_CHUNK,
    });
    let layout = Layout::new(
        wish.level,
        chunk,
        wish.level.slots_of(disks.len()),
        slot_len,
    )?;
    if layout.slot_len == Sectors::ZERO {
        return Err(refusal!(
            ENOSPC,
            "{} has no room for one chunk; use a larger one",
            smallest
        ));
    }
    let to = into.sets.len() - 1;
    into.sets[to].layout = layout;
    for (index, id) in disks.iter().enumerate() {
        let part = part(into, from, *id);
        let (slot, mut left) = match wish.level {
            Level::Linear => (0, room(&part)),
            _ => (index as u8, layout.slot_len),
        };
        for extent in &part {
            let len = extent.len.min(left);
            left = left - len;
            let extent = Extent {
                slot: SlotId(slot),
                len,
                ..*extent
            };
            if len > Sectors::ZERO {
                add_extent(&mut into.sets[to], extent)?;
            }
        }
    }
    refuse_same(&into.sets[from], &into.sets[to])?;
    refuse_missing(into, to)?;
    Ok(smallest)
}

/// Members of the source in the order of its slots, those that leave too.
fn seats(
    wish: &MigrationWish<'_>,
    source: &Set,
    sb: &Superblock,
) -> Result<List<MemberId, MAX_MEMBERS>, Refusal> {
    for id in wish.removed.iter() {
        if !source.members().has(id) {
            return Err(refusal!(
                EINVAL,
                "remove={}: the volume does not lie on a member {}; look at what its folder members holds",
                id.0,
                id.0
            ));
        }
    }
    let (mut seats, mut seen) = (List::new(), MemberMask::EMPTY);
    for extent in &source.extents {
        if seen.has(extent.member) {
            continue;
        }
        seen.insert(extent.member);
        seats.push(extent.member);
        let row = &sb.members[usize::from(extent.member.0)];
        if row.state == MemberState::Rebuilding && !wish.removed.has(extent.member) {
            return Err(refusal!(
                EBUSY,
                "member {} is being rebuilt; let it be in_sync before migrating",
                extent.member.0
            ));
        }
    }
    Ok(seats)
}

/// Puts a new member in the first row that nobody has.
fn take_in(into: &mut Superblock, member: &NewMember<'_>) -> Result<MemberId, Refusal> {
    if into.member_by_uuid(member.uuid).is_some() {
        return Err(refusal!(
            EEXIST,
            "{} has the uuid of a member of the volume",
            member.name
        ));
    }
    let free = into.members.iter().position(|row| !row.is_used());
    let index = free.unwrap_or(into.members.len());
    if index == MAX_MEMBERS {
        return Err(refusal!(
            ENOSPC,
            "the volume has {} members, which is the most; remove some first",
            MAX_MEMBERS
        ));
    }
    if free.is_none() {
        into.members.push(Member::default());
    }
    into.members[index] = member.row();
    Ok(MemberId(index as u8))
}

/// All that a member has for a set: where it lies in the source, and on to the end of its data
/// area; of one that is new, that area.
fn part(sb: &Superblock, from: usize, id: MemberId) -> Part {
    let Some(data) = sb.members[usize::from(id.0)].region(RegionKind::Data) else {
        return Part::new();
    };
    let mut part = Part::new();
    for extent in sb.sets[from].extents.iter().filter(|e| e.member == id) {
        part.push(*extent);
    }
    // A witness has a full disk's end at its own, and nothing before that.
    if part.len() == 1 && data.start < part[0].start && part[0].start < data.end() {
        part.clear();
    }
    match part.last_mut() {
        Some(last) if data.start <= last.start && last.start < data.end() => {
            last.len = data.end() - last.start;
        }
        Some(_) => {}
        None => part.push(Extent {
            member: id,
            start: data.start,
            len: data.len,
            ..Extent::default()
        }),
    }
    part
}

/// What the user calls a member.
fn name_of(wish: &MigrationWish<'_>, sb: &Superblock, id: MemberId) -> Text<64> {
    let uuid = sb.members.get(usize::from(id.0)).map(|row| row.uuid);
    let added = wish.added.iter().find(|member| Some(member.uuid) == uuid);
    let mut name = Text::new();
    // Writing to a Text never fails: it cuts.
    let _ = match added {
        Some(member) => core::fmt::Write::write_str(&mut name, member.name),
        None => core::fmt::Write::write_fmt(&mut name, format_args!("member {}", id.0)),
    };
    name
}

fn add_extent(set: &mut Set, extent: Extent) -> Result<(), Refusal> {
    if set.extents.try_push(extent) {
        return Ok(());
    }
    Err(refusal!(
        ENOSPC,
        "the slots would be in more than {} pieces; use fewer members",
        MAX_EXTENTS
    ))
}

fn refuse_same(source: &Set, target: &Set) -> Result<(), Refusal> {
    if source.layout == target.layout && source.extents == target.extents {
        return Err(refusal!(
            EINVAL,
            "the volume is {} on these members already; give another level, chunk or other members",
            source.layout.level.name()
        ));
    }
    Ok(())
}

/// Members that failed or are missing may be kept only where the target can do without them.
fn refuse_missing(sb: &Superblock, to: usize) -> Result<(), Refusal> {
    let (target, alive) = (&sb.sets[to], sb.in_sync());
    let missing: MemberMask = target.members() & !alive;
    let Some(first) = missing.iter().next() else {
        return Ok(());
    };
    if target.survives(alive) {
        return Ok(());
    }
    Err(refusal!(
        EBUSY,
        "member {} is {} and {} can't do without it; say remove={}, or replace it first",
        first.0,
        sb.members[usize::from(first.0)].state.name(),
        target.layout.level.name(),
        first.0
    ))
}

/// Whether the target holds the volume.
pub(super) fn refuse_small(
    target: &Layout,
    volume: Sectors,
    most: Sectors,
    smallest: &Text<64>,
) -> Result<(), Refusal> {
    if target.capacity() >= volume {
        return Ok(());
    }
    let needed = target.used_below(Logical(volume.0));
    Err(refusal!(
        ENOSPC,
        "{} is too small: {} bytes of every member are needed and it has {}; use a larger one or more members, or reduce size, which is {} bytes, to {}",
        smallest,
        Sectors(needed.0).bytes(),
        target.slot_len.bytes(),
        volume.bytes(),
        most.bytes()
    ))
}
