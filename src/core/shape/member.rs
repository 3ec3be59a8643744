// SPDX-License-Identifier: GPL-2.0
//! Members that come, go, and take each other's place in a volume.

use super::migration::check_stash;
use super::NewMember;
use crate::geometry::{MemberId, Physical, MAX_MEMBERS};
use crate::ondisk::{Member, MemberState, RegionKind, Superblock};
use crate::placement::Extent;
use crate::refusal;
use crate::text::Refusal;

/// What happens to the members of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A spare comes in at a row that nobody has.
    Add { id: MemberId, row: Member },
    /// A member that was missing is back; all of it is written anew.
    Return { id: MemberId },
    /// `id` comes in at a row that nobody has, in the place of `old`, which does not work.
    Replace {
        old: MemberId,
        id: MemberId,
        row: Member,
    },
    /// It leaves, and takes nothing along.
    Remove { id: MemberId },
}

/// The row of a device that comes in, and what becomes of it: back to its own if it is a
/// member that was missing, else into the first free one, or into the place of `old`.
///
/// # Errors
/// What speaks against the device, or against that place.
pub fn change_for(
    sb: &Superblock,
    new: &NewMember<'_>,
    old: Option<MemberId>,
) -> Result<Change, Refusal> {
    new.check_device()?;
    if new.logical_block > sb.logical_block {
        return Err(refusal!(
            EINVAL,
            "{} has logical blocks of {} bytes and the volume has {}, which can't grow; use a disk with smaller ones",
            new.name,
            new.logical_block,
            sb.logical_block
        ));
    }
    if let (Some(id), None) = (sb.member_by_uuid(new.uuid), old) {
        return Ok(Change::Return { id });
    }
    let free = sb.members.iter().position(|row| !row.is_used());
    let index = free.unwrap_or(sb.members.len());
    if index == MAX_MEMBERS {
        return Err(refusal!(
            ENOSPC,
            "the volume has {} members, which is the most; remove some first",
            MAX_MEMBERS
        ));
    }
    let id = MemberId(index as u8);
    let row = new.row();
    Ok(match old {
        None => Change::Add { id, row },
        Some(old) => Change::Replace { old, id, row },
    })
}

/// Whether a change can be made now.
///
/// # Errors
/// Why not.
pub fn check_change(sb: &Superblock, change: &Change) -> Result<(), Refusal> {
    match change {
        Change::Add { id, .. } => check_free(sb, *id),
        Change::Return { id } => {
            let row = row(sb, *id)?;
            if row.state == MemberState::Missing {
                return Ok(());
            }
            Err(refusal!(
                EEXIST,
                "that is member {} of the volume already, which is {}; remove it first",
                id.0,
                row.state.name()
            ))
        }
        Change::Replace { old, id, row: new } => {
            let gone = row(sb, *old)?;
            if gone.state.is_live() {
                return Err(refusal!(
                    EBUSY,
                    "member {} is {}; write fail={} first, if the volume can do without it",
                    old.0,
                    gone.state.name(),
                    old.0
                ));
            }
            if !is_placed(sb, *old) {
                return Err(refusal!(
                    EINVAL,
                    "member {} has no place in the volume that another could take; write add= to have a spare",
                    old.0
                ));
            }
            if !sb.rebuilding().is_empty() {
                return Err(refusal!(
                    EBUSY,
                    "another member is being rebuilt; wait until it is in_sync, or write add= to have a spare meanwhile"
                ));
            }
            check_free(sb, *id)?;
            check_room(sb, *old, new)
        }
        Change::Remove { id } => {
            let row = row(sb, *id)?;
            match row.state {
                MemberState::Spare | MemberState::Faulty => Ok(()),
                MemberState::Missing if !is_placed(sb, *id) => Ok(()),
                MemberState::Missing => Err(refusal!(
                    ENODEV,
                    "member {} is missing, and its place waits for another; write add= or replace= with a device for it",
                    id.0
                )),
                state => Err(refusal!(
                    EBUSY,
                    "member {} is {} and in use; write fail={} first, if the volume can do without it",
                    id.0,
                    state.name(),
                    id.0
                )),
            }
        }
    }
}

/// Makes a change that [`check_change`] has nothing against.
pub fn make_change(sb: &mut Superblock, change: &Change) {
    match change {
        Change::Add { id, row } => {
            let mut row = *row;
            row.state = MemberState::Spare;
            *seat(sb, *id) = row;
        }
        Change::Return { id } => {
            let placed = is_placed(sb, *id) && sb.rebuilding().is_empty();
            let row = &mut sb.members[usize::from(id.0)];
            // A spare that has a place already takes that one, in its turn.
            row.state = if placed {
                MemberState::Rebuilding
            } else {
                MemberState::Spare
            };
            (row.recovery, row.left_epoch) = (Default::default(), 0);
        }
        Change::Replace { old, id, row } => {
            *seat(sb, *id) = *row;
            take_place(sb, *old, *id);
        }
        Change::Remove { id } => {
            let placed = is_placed(sb, *id);
            let epoch = sb.epoch;
            let row = &mut sb.members[usize::from(id.0)];
            if placed {
                if row.state == MemberState::Spare {
                    row.left_epoch = epoch;
                }
                row.state = MemberState::Missing;
            } else {
                *row = Member::default();
            }
        }
    }
}

/// A spare for every member that does not work, as far as they fit. Says whether any was taken.
pub fn take_spares(sb: &mut Superblock) -> bool {
    if !sb.rebuilding().is_empty() {
        return false;
    }
    let mut taken = false;
    for spare in 0..sb.members.len() {
        let id = MemberId(spare as u8);
        let row = sb.members[spare];
        if !row.is_used() || row.state != MemberState::Spare {
            continue;
        }
        if is_placed(sb, id) {
            let row = &mut sb.members[spare];
            (row.state, row.recovery) = (MemberState::Rebuilding, Default::default());
            taken = true;
            continue;
        }
        let dead = |old: &MemberId| {
            let row = &sb.members[usize::from(old.0)];
            row.is_used() && !row.state.is_live()
        };
        let wanting = (0..sb.members.len())
            .map(|index| MemberId(index as u8))
            .find(|old| dead(old) && is_placed(sb, *old) && check_room(sb, *old, &row).is_ok());
        if let Some(old) = wanting {
            take_place(sb, old, id);
            taken = true;
        }
    }
    taken
}

fn row(sb: &Superblock, id: MemberId) -> Result<&Member, Refusal> {
    let row = sb.members.get(usize::from(id.0));
    row.filter(|row| row.is_used()).ok_or_else(|| {
        refusal!(
            ENODEV,
            "the volume has no member {}; look at what its folder members holds",
            id.0
        )
    })
}

fn check_free(sb: &Superblock, id: MemberId) -> Result<(), Refusal> {
    let row = sb.members.get(usize::from(id.0));
    if row.is_none_or(|row| !row.is_used()) {
        return Ok(());
    }
    Err(refusal!(
        EBUSY,
        "another member came in meanwhile; write the line again"
    ))
}

/// Whether a member works and holds what is its own: another takes its place by a migration that
/// moves nothing else, and not by a rebuild.
pub fn is_at_work(sb: &Superblock, id: MemberId) -> bool {
    let is_whole = |row: &Member| row.is_used() && row.state == MemberState::InSync;
    sb.members.get(usize::from(id.0)).is_some_and(is_whole) && is_placed(sb, id)
}

/// Whether any slot lies on it.
pub fn is_placed(sb: &Superblock, id: MemberId) -> bool {
    let mut extents = sb.sets.iter().flat_map(|set| set.extents.iter());
    extents.any(|extent| extent.member == id)
}

/// Whether `new` has room for all that lies on `old`, and for what a migration puts there meanwhile.
fn check_room(sb: &Superblock, old: MemberId, new: &Member) -> Result<(), Refusal> {
    let from = &sb.members[usize::from(old.0)];
    let extents = sb.sets.iter().flat_map(|set| set.extents.iter());
    for extent in extents.filter(|extent| extent.member == old) {
        if moved(from, new, extent).is_some() {
            continue;
        }
        let start = |row: &Member| row.region(RegionKind::Data).unwrap_or_default();
        let needed = (extent.start + extent.len)
            .0
            .saturating_sub(start(from).start.0);
        return Err(refusal!(
            ENOSPC,
            "the new device has room for {} bytes of data and {} are needed in the place of member {}; use a larger one",
            start(new).len.bytes(),
            crate::geometry::Sectors(needed).bytes(),
            old.0
        ));
    }
    check_stash(sb, new)
}

/// Where on `to` is kept what `extent` keeps on `from`: as far into the region of the same kind.
fn moved(from: &Member, to: &Member, extent: &Extent) -> Option<Physical> {
    let kinds = [RegionKind::Data, RegionKind::Head];
    let end = extent.start + extent.len;
    kinds.into_iter().find_map(|kind| {
        let (here, there) = (from.region(kind)?, to.region(kind)?);
        if extent.start < here.start || here.end() < end {
            return None;
        }
        let start = there.start + (extent.start - here.start);
        (start + extent.len <= there.end()).then_some(start)
    })
}

/// The row of a new member.
fn seat(sb: &mut Superblock, id: MemberId) -> &mut Member {
    let index = usize::from(id.0);
    while sb.members.len() <= index {
        sb.members.push(Member::default());
    }
    &mut sb.members[index]
}

/// All that lies on `old` is to lie on `new`, which has yet to be written.
fn take_place(sb: &mut Superblock, old: MemberId, new: MemberId) {
    let (from, to) = (
        sb.members[usize::from(old.0)],
        sb.members[usize::from(new.0)],
    );
    for set in sb.sets.iter_mut() {
        for extent in set.extents.iter_mut().filter(|e| e.member == old) {
            let Some(start) = moved(&from, &to, extent) else {
                unreachable!("it was found to have room");
            };
            (extent.member, extent.start) = (new, start);
        }
    }
    if from.state == MemberState::Missing {
        // Nothing is left of it.
        sb.members[usize::from(old.0)] = Member::default();
    }
    let row = &mut sb.members[usize::from(new.0)];
    (row.state, row.recovery) = (MemberState::Rebuilding, Default::default());
}
