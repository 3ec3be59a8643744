// SPDX-License-Identifier: GPL-2.0
//! The first and the last superblock of a migration.

use super::head::{head_coming_home, move_heads, put_back};
use super::reach::{reach, Reach};
use super::target::{make_target, refuse_small};
use super::{volume_of, NewMember};
use crate::geometry::{div, gcd, Logical, MemberMask, Sectors};
use crate::layout::{Layout, Level};
use crate::ondisk::{MapRange, Member, Migration, RegionKind, Superblock, Uuid, UNIT};
use crate::placement::Set;
use crate::refusal;
use crate::text::Refusal;
use crate::way::Way;

/// Longest common row of source and target that is moved: a piece of the mover's
/// memory holds one (16 MiB).
pub const MAX_ROW: Sectors = Sectors::from_bytes(16 << 20);
/// Data that a piece of the mover aims at; it is longer where one common row of source and
/// target is (512 KiB).
pub const PIECE: Sectors = Sectors(1024);

/// What a volume shall become.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Of the migration, made just now.
    pub uuid: Uuid,
    pub level: Level,
    /// That of the present set, or the default, where none is said.
    pub chunk: Option<Sectors>,
    /// Become the last slots, in this order.
    pub added: &'a [NewMember<'a>],
    /// Leave the volume at the end.
    pub removed: MemberMask,
}

/// Data sectors of the smallest piece that is whole rows of both: what cursors lie on.
pub fn common_row(source: &Layout, target: &Layout) -> Sectors {
    let (a, b) = (source.stripe().0, target.stripe().0);
    Sectors(div(a, gcd(a, b)) * b)
}

/// Makes of `now` what it is when the migration has begun.
///
/// # Errors
/// Everything that speaks against it; `into` then holds nothing to go by.
pub fn begin_migration(
    now: &Superblock,
    wish: &Wish<'_>,
    into: &mut Superblock,
) -> Result<(), Refusal> {
    let from = may_begin(now, wish)?;
    into.copy_from(now);
    move_heads(into);
    let to = into.sets.len();
    if !into.sets.try_push(Set::default()) {
        return Err(refusal!(
            EBUSY,
            "the volume lies on as many sets as it can; wait until another migration is done"
        ));
    }
    let smallest = make_target(wish, from, into)?;
    let volume = now.volume_sectors;
    let layout = into.sets[to].layout;
    let most = volume_of(&layout, now.logical_block);
    refuse_small(&layout, volume, most, &smallest)?;
    check_row(into, from, to)?;
    let end = Logical(volume.0);
    let way = way_of(&into.sets[from], &into.sets[to]);
    if way == Way::Down {
        // Nothing is on it yet, and what will be is made true row by row from its end on.
        into.sets[to].resync = Logical(layout.capacity().0);
    }
    into.migration = Some(Migration {
        uuid: wish.uuid,
        source: from as u8,
        target: to as u8,
        descending: way == Way::Down,
        cursor: way.begin(end),
        ..Migration::default()
    });
    into.map_from_cursor();
    Ok(())
}

/// Whether the volume is one that can migrate, by itself; the set it is on.
fn may_begin(now: &Superblock, wish: &Wish<'_>) -> Result<usize, Refusal> {
    if now.migration.is_some() {
        return Err(refusal!(
            EBUSY,
            "a migration is running already; wait until migrate_state says none"
        ));
    }
    let from = usize::from(now.present_set());
    if now.ranges.len() != 1 {
        return Err(refusal!(
            EOPNOTSUPP,
            "the volume lies on several sets and can't be migrated by this version"
        ));
    }
    for member in wish.added {
        member.check_device()?;
        if member.logical_block > now.logical_block {
            return Err(refusal!(
                EINVAL,
                "{} has logical blocks of {} bytes and the volume has {}, which can't grow; use a disk with smaller ones",
                member.name,
                member.logical_block,
                now.logical_block
            ));
        }
    }
    Ok(from)
}

/// Whether the least that can be moved at once fits the memory, and the stash where one is needed.
#[inline(never)]
fn check_row(into: &Superblock, from: usize, to: usize) -> Result<(), Refusal> {
    let (source, target) = (&into.sets[from], &into.sets[to]);
    let row = common_row(&source.layout, &target.layout);
    let stashes = into.rows().map(|(_, member)| stash_of(member));
    let stash = stashes.min().unwrap_or(Sectors::ZERO);
    let way = way_of(source, target);
    let reach = reach(source, target, way, into.volume_sectors, longest_piece(row));
    if row > MAX_ROW || (row > stash && reach != Reach::Free) {
        return Err(refusal!(
            ENOSPC,
            "{} bytes would have to be moved at once, where the memory takes {} and the stash {}; choose a smaller chunk or fewer members",
            row.bytes(),
            MAX_ROW.bytes(),
            stash.bytes()
        ));
    }
    if let Reach::Never(at) = reach {
        return Err(refusal!(
            ENOSPC,
            "at sector {} the new layout lies over more of the old one than the {} bytes that are moved at once, of {} in the stash; choose another level or chunk, or move to other disks with add= and remove=",
            at.0,
            longest_piece(row).bytes(),
            stash.bytes()
        ));
    }
    Ok(())
}

/// Whether the stash of a device that comes in during a migration takes the least that is moved
/// through it at once.
#[inline(never)]
pub(super) fn check_stash(sb: &Superblock, new: &Member) -> Result<(), Refusal> {
    let Some(migration) = &sb.migration else {
        return Ok(());
    };
    let [source, target] =
        [migration.source, migration.target].map(|set| &sb.sets[usize::from(set)]);
    let (row, stash) = (common_row(&source.layout, &target.layout), stash_of(new));
    let way = Way::of(migration.descending);
    if row <= stash || !needs_stash(source, target, way, sb.volume_sectors) {
        return Ok(());
    }
    Err(refusal!(
        ENOSPC,
        "the migration moves {} bytes at once through the stash and the new device's takes {}; use a larger device, or wait until migrate_state says none",
        row.bytes(),
        stash.bytes()
    ))
}

/// Room for data in a member's stash.
fn stash_of(member: &Member) -> Sectors {
    let region = member.region(RegionKind::Stash);
    region.map_or(Sectors::ZERO, |region| region.len - UNIT)
}

/// The longest piece that is moved at once, where a common row has `row` sectors.
fn longest_piece(row: Sectors) -> Sectors {
    PIECE.max(row).round_down(row)
}

/// The way on which the target overwrites what the source does not need any more: from the
/// end where every slot holds less of the volume than before, so that its rows lie behind
/// those they come from.
pub fn way_of(source: &Set, target: &Set) -> Way {
    let (from, to) = (&source.layout, &target.layout);
    // Data in as many sectors of a slot.
    let (before, after) = (
        from.stripe().0 * to.row_len().0,
        to.stripe().0 * from.row_len().0,
    );
    Way::of(after < before)
}

/// Whether some rows of the target have to go through the stash, going that way.
pub fn needs_stash(source: &Set, target: &Set, way: Way, volume: Sectors) -> bool {
    let row = common_row(&source.layout, &target.layout);
    reach(source, target, way, volume, longest_piece(row)) != Reach::Free
}

/// Members that the volume's migration leaves behind.
pub fn leavers(superblock: &Superblock) -> MemberMask {
    superblock.migration.map_or(MemberMask::EMPTY, |migration| {
        let [source, target] = [migration.source, migration.target]
            .map(|set| superblock.sets[usize::from(set)].members());
        source & !target
    })
}

/// Turns the volume's migration round where its durable cursor is: it goes back the way it came,
/// or, where it goes back already, forward again. The map stays the same.
///
/// # Panics
/// Without a migration: a bug of the caller.
pub fn turn_migration(superblock: &mut Superblock) {
    let migration = superblock
        .migration
        .as_mut()
        .expect("only a migration can be turned");
    core::mem::swap(&mut migration.source, &mut migration.target);
    migration.descending = !migration.descending;
    migration.aborting = !migration.aborting;
    // It was meant for the other way.
    migration.sync_max = None;
    let target = &mut superblock.sets[usize::from(migration.target)];
    if !migration.descending {
        // What lies behind the cursor was overwritten.
        let held = migration.cursor.round_up(target.layout.stripe());
        target.resync = target.resync.min(held);
    }
    superblock.map_from_cursor();
}

/// Makes the target the volume's only set, and takes those out of the table that are not on it
/// and were on the source: it returns them. The volume grows to what the target holds, unless
/// it came back to that.
///
/// Copies and parity are true up to the end of the rows that were moved; what
/// comes behind them is there at once and synced later (DESIGN I8).
///
/// # Panics
/// Without a migration: a bug of the caller.
pub fn finish_migration(superblock: &mut Superblock) -> MemberMask {
    let leaving = leavers(superblock);
    let goes_home = head_coming_home(superblock).is_some();
    let migration = superblock
        .migration
        .take()
        .expect("only a migration can be finished");
    let mut set = superblock.sets[usize::from(migration.target)];
    if goes_home {
        put_back(&mut set);
    }
    let layout = set.layout;
    let moved = Logical(superblock.volume_sectors.0).round_up(layout.stripe());
    set.resync = if layout.level.is_redundant() {
        moved
    } else {
        Logical(layout.capacity().0)
    };
    if !migration.aborting {
        // An adopted volume may have a size that is no multiple of 4096 bytes; it never shrinks here.
        superblock.volume_sectors =
            volume_of(&layout, superblock.logical_block).max(superblock.volume_sectors);
    }
    superblock.sets.clear();
    superblock.sets.push(set);
    superblock.ranges.clear();
    superblock.ranges.push(MapRange {
        start: Logical::ZERO,
        end: Logical(superblock.volume_sectors.0),
        set: 0,
    });
    for member in leaving.iter() {
        superblock.members[usize::from(member.0)] = Member::default();
    }
    leaving
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{MemberId, Physical, SlotId};
    use crate::ondisk::Region;
    use crate::placement::Extent;
    use crate::text::Errno;

    /// Two striped sets on the same places of one member with a small stash.
    fn superblock(chunks: [u64; 2], slots: [u8; 2], stash: Sectors) -> Superblock {
        let mut sb = Superblock {
            volume_sectors: Sectors(1 << 20),
            ..Superblock::default()
        };
        for (chunk, slots) in chunks.into_iter().zip(slots) {
            let layout = Layout::new(Level::Raid0, Sectors(chunk), slots, Sectors(1 << 20));
            let mut set = Set {
                layout: layout.expect("a layout"),
                ..Set::default()
            };
            for slot in (0..slots).map(SlotId) {
                set.extents.push(Extent {
                    slot,
                    member: MemberId(slot.0),
                    start: Physical(0),
                    len: Sectors(1 << 20),
                });
            }
            sb.sets.push(set);
        }
        let mut member = Member {
            uuid: Uuid([1; 16]),
            ..Member::default()
        };
        member.regions.push(Region {
            kind: RegionKind::Stash,
            start: Physical(1 << 21),
            len: stash + UNIT,
        });
        sb.members.push(member);
        sb
    }

    #[test]
    fn a_common_row_has_to_fit_the_memory() {
        let stash = Sectors(1 << 20);
        let fits = superblock([2048, 2048], [4, 8], stash);
        assert_eq!(check_row(&fits, 0, 1), Ok(()));
        // 15 and 16 MiB have nothing in common but 1 MiB: 240 MiB.
        let large = superblock([2048, 2048], [15, 16], stash);
        let refusal = check_row(&large, 0, 1).expect_err("240 MiB at once");
        assert_eq!(refusal.errno, Errno::ENOSPC);
        assert!(refusal.sentence.as_str().contains("251658240 bytes"));
    }

    #[test]
    fn a_common_row_has_to_fit_the_stash_where_one_is_needed() {
        let row = Sectors(8 * 128);
        let enough = superblock([64, 128], [8, 8], row);
        assert!(needs_stash(
            &enough.sets[0],
            &enough.sets[1],
            Way::Up,
            Sectors(1 << 20)
        ));
        assert_eq!(check_row(&enough, 0, 1), Ok(()));
        let short = superblock([64, 128], [8, 8], row - Sectors(1));
        let refusal = check_row(&short, 0, 1).expect_err("the stash is too small");
        assert!(refusal.sentence.as_str().contains("524288 bytes"));
        // In place already: no stash is needed.
        let same = superblock([128, 128], [8, 8], Sectors(1));
        assert_eq!(check_row(&same, 0, 1), Ok(()));
    }
}
