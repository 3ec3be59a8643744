// SPDX-License-Identifier: GPL-2.0
//! What the found superblocks mean together.

use super::find::{by_uuid, holds_none, Find, Finds};
use super::known::{crc_without_superblock, other_content, refuse_used_meanwhile};
use super::{AssembleOptions, Assembly, Devices, Note};
use crate::geometry::{Logical, MemberId, MemberMask, MAX_MEMBERS};
use crate::list::List;
use crate::ondisk::{Digest, MemberState, Superblock, RO_COMPAT_KNOWN};
use crate::placement::Set;
use crate::refusal;
use crate::text::Refusal;

/// Finds the truth and what is to be done about it.
#[inline(never)]
pub(super) fn judge(
    devices: &mut dyn Devices,
    names: &[&str],
    options: &AssembleOptions,
    finds: &Finds,
    sb: &mut Superblock,
) -> Result<Assembly, Refusal> {
    let mut assembly = Assembly {
        device_of_member: [None; MAX_MEMBERS],
        last_slot: [None; MAX_MEMBERS],
        missing: MemberMask::EMPTY,
        unclean: false,
        epoch: 0,
        notes: List::new(),
    };
    let everyone = |_: &Digest| true;
    let Some(mut truth) = newest(finds, everyone) else {
        return Err(refusal!(
            EUCLEAN,
            "no superblock is whole; nothing can be assembled"
        ));
    };
    load(devices, names, &truth, sb)?;
    if let Some(old) = before_the_start(finds, sb) {
        if is_complete(finds, sb) {
            let _ = assembly.notes.try_push(Note::MigrationGoesOn);
        } else {
            // Nothing relies on the newer one yet: no old member has it (I4).
            truth = old;
            load(devices, names, &truth, sb)?;
        }
    }
    refuse_features(names, options, &truth, sb)?;
    for find in finds {
        seat(
            devices,
            names,
            (options, finds),
            (&truth, find),
            sb,
            &mut assembly,
        )?;
    }
    refuse_missing(options, sb, &mut assembly)?;
    refuse_used_meanwhile(devices, names, options, sb, &mut assembly)?;
    refuse_write_hole(options, sb, &mut assembly)?;
    update(options, sb, &mut assembly)?;
    Ok(assembly)
}

/// The find whose superblock is the newest of those that `counts`.
fn newest(finds: &Finds, counts: impl Fn(&Digest) -> bool) -> Option<Find> {
    let mut best: Option<Find> = None;
    for find in finds {
        let Some((digest, _)) = &find.newest else {
            continue;
        };
        let newer = best.is_none_or(|b| b.newest.is_none_or(|(d, _)| digest.age() > d.age()));
        if counts(digest) && newer {
            best = Some(*find);
        }
    }
    best
}

/// Reads the superblock of a find again, in full.
fn load(
    devices: &mut dyn Devices,
    names: &[&str],
    find: &Find,
    sb: &mut Superblock,
) -> Result<(), Refusal> {
    let device = usize::from(find.device);
    let slot = find.newest.map_or(0, |(_, slot)| usize::from(slot));
    match devices.read_superblock(device, slot, sb) {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal!(
            EIO,
            "the superblock of {} can't be read a second time: {}; check the device",
            names[device],
            error
        )),
    }
}

/// Where the newest superblock begins a migration and no old member has it: the newest that the
/// old members have. Only they can say so: a disk that left before knows nothing of the
/// migration either, and where none of them is found, the target may hold all there is.
fn before_the_start(finds: &Finds, sb: &Superblock) -> Option<Find> {
    let migration = sb.migration?;
    let old = sb.live() & sb.sets[usize::from(migration.source)].members();
    let is_old = |digest: &Digest| {
        let member = sb.member_by_uuid(digest.member_uuid);
        member.is_some_and(|member| old.has(member))
    };
    let last = newest(finds, is_old)?;
    let (digest, _) = last.newest?;
    (digest.migration != migration.uuid).then_some(last)
}

/// Whether every member that takes part was found.
fn is_complete(finds: &Finds, sb: &Superblock) -> bool {
    sb.live().iter().all(|member| {
        let uuid = sb.members[usize::from(member.0)].uuid;
        by_uuid(finds, uuid).is_some()
    })
}

fn refuse_features(
    names: &[&str],
    options: &AssembleOptions,
    truth: &Find,
    sb: &Superblock,
) -> Result<(), Refusal> {
    if sb.ro_compat & !RO_COMPAT_KNOWN != 0 && !options.read_only {
        return Err(refusal!(
            EROFS,
            "{} has features {:#x} that this version can only read past; say read_only=1 or use a newer restripe",
            names[usize::from(truth.device)],
            sb.ro_compat
        ));
    }
    Ok(())
}

/// Gives a device the place that the truth has for it, if any.
fn seat(
    devices: &mut dyn Devices,
    names: &[&str],
    (options, finds): (&AssembleOptions, &Finds),
    (truth, find): (&Find, &Find),
    sb: &Superblock,
    assembly: &mut Assembly,
) -> Result<(), Refusal> {
    let (device, name) = (find.device, names[usize::from(find.device)]);
    let Some((digest, slot)) = find.newest else {
        return seat_unmarked(devices, names, (finds, find), options, sb, assembly);
    };
    if find.damaged != 0 {
        let _ = assembly.notes.try_push(Note::DamagedSlot {
            device,
            slot: 1 - slot,
        });
    }
    let Some(member) = sb.member_by_uuid(digest.member_uuid) else {
        if !digest.migration.is_nil() && sb.migration.is_none_or(|m| m.uuid != digest.migration) {
            let _ = assembly.notes.try_push(Note::LeftOver { device });
            return Ok(());
        }
        return Err(refusal!(
            EINVAL,
            "{name} was a member of this volume and is none any more; leave it out"
        ));
    };
    let row = &sb.members[usize::from(member.0)];
    if devices.sectors(usize::from(device)) < row.device_sectors {
        return Err(refusal!(
            ENOSPC,
            "{name} has {} bytes and had {} when it became a member; restore its size",
            devices.sectors(usize::from(device)).bytes(),
            row.device_sectors.bytes()
        ));
    }
    let truth_name = names[usize::from(truth.device)];
    if !row.state.is_live() {
        if digest.epoch > row.left_epoch {
            return Err(ran_alone(name, truth_name));
        }
        let _ = assembly.notes.try_push(Note::OutOfDate { device, member });
        return Ok(());
    }
    // Equally old and of different opinion: each went its own way after a cut.
    if digest.age() == sb.age() && digest.live != sb.live() {
        return Err(ran_alone(name, truth_name));
    }
    assembly.device_of_member[usize::from(member.0)] = Some(device);
    assembly.last_slot[usize::from(member.0)] = Some(slot);
    Ok(())
}

/// A device without a superblock that is whole: it was perhaps being adopted when none was on it yet.
fn seat_unmarked(
    devices: &mut dyn Devices,
    names: &[&str],
    (finds, find): (&Finds, &Find),
    options: &AssembleOptions,
    sb: &Superblock,
    assembly: &mut Assembly,
) -> Result<(), Refusal> {
    let device = usize::from(find.device);
    let name = names[device];
    let lost = sb.rows().find_map(|(id, row)| {
        let crc = row.unmarked?;
        let waits = row.state.is_live() && by_uuid(finds, row.uuid).is_none();
        (waits && assembly.device_of_member[usize::from(id.0)].is_none()).then_some((id, row, crc))
    });
    let Some((member, row, crc)) = lost else {
        return match find.damage {
            None => Err(holds_none(name)),
            Some(error) if !options.degraded => Err(refusal!(
                EUCLEAN,
                "{name} has no superblock that is whole: {error}; say degraded=1 to go on without it"
            )),
            Some(_) => {
                let device = find.device;
                let _ = assembly.notes.try_push(Note::Damaged { device });
                Ok(())
            }
        };
    };
    let sectors = devices.sectors(device);
    if sectors != row.device_sectors {
        return Err(refusal!(
            EINVAL,
            "{name} holds no superblock and has {} bytes, and the disk that was being adopted has {}; list that one",
            sectors.bytes(),
            row.device_sectors.bytes()
        ));
    }
    let serial = devices.serial(device);
    if serial != row.serial {
        return Err(refusal!(
            EINVAL,
            "{name} holds no superblock and has the serial \"{serial}\", and the disk that was being adopted has \"{}\"; list that one",
            row.serial
        ));
    }
    match crc_without_superblock(devices, device, sectors) {
        None => Err(refusal!(
            EIO,
            "{name} can't be read where it would show whether it is the disk that was being adopted; mend it"
        )),
        Some(found) if found != crc => {
            let witness = |id: MemberId| {
                let uuid = sb.members[usize::from(id.0)].uuid;
                by_uuid(finds, uuid).map(|find| usize::from(find.device))
            };
            Err(other_content(devices, names, sb, (device, member), witness))
        }
        Some(_) => {
            let device = find.device;
            assembly.device_of_member[usize::from(member.0)] = Some(device);
            let _ = assembly.notes.try_push(Note::AdoptionGoesOn { device });
            Ok(())
        }
    }
}

fn ran_alone(one: &str, other: &str) -> Refusal {
    refusal!(
        ESTALE,
        "{one} and {other} were each written without the other, so their data differ; list only the one whose data you want, with degraded=1"
    )
}

/// Members of sets that should be there and are not.
fn refuse_missing(
    options: &AssembleOptions,
    sb: &Superblock,
    assembly: &mut Assembly,
) -> Result<(), Refusal> {
    let mut missing = MemberMask::EMPTY;
    for (id, row) in sb.rows() {
        let found = assembly.device_of_member[usize::from(id.0)].is_some();
        if row.state.is_live() && row.state != MemberState::Spare && !found {
            missing.insert(id);
        }
    }
    assembly.missing = missing;
    let alive = sb.in_sync() & !missing;
    let absent = sb.rows().map(|(id, _)| id).find(|id| !alive.has(*id));
    let Some(first) = missing.iter().next().or(absent) else {
        return Ok(());
    };
    let row = &sb.members[usize::from(first.0)];
    for set in used_sets(sb).filter(|set| held_end(sb, set) > Logical::ZERO) {
        if !set.survives(alive) {
            return Err(refusal!(
                ENODEV,
                "member {} ({}, serial \"{}\") is missing and {} can't do without it; list its device too",
                first.0,
                row.uuid,
                row.serial,
                set.layout.level.name()
            ));
        }
    }
    if !missing.is_empty() && !options.degraded {
        return Err(refusal!(
            ENODEV,
            "member {} ({}, serial \"{}\") is missing; list its device too, or say degraded=1 to go on without it",
            first.0,
            row.uuid,
            row.serial
        ));
    }
    for member in missing.iter() {
        let _ = assembly.notes.try_push(Note::Without { member });
    }
    Ok(())
}

/// Sets that hold some of the volume: one that a migration has not come to, or has left, may lack
/// what it likes.
fn used_sets(sb: &Superblock) -> impl Iterator<Item = &Set> {
    sb.sets
        .iter()
        .enumerate()
        .filter(|(index, _)| {
            sb.ranges
                .iter()
                .any(|range| usize::from(range.set) == *index)
        })
        .map(|(_, set)| set)
}

/// A parity set short of a member needs parity that is true: where it may not be,
/// the missing member's data are rebuilt wrong. A journal makes it true: it is replayed, or, where
/// nothing may be written, read through.
fn refuse_write_hole(
    options: &AssembleOptions,
    sb: &Superblock,
    assembly: &mut Assembly,
) -> Result<(), Refusal> {
    let alive = sb.in_sync() & !assembly.missing;
    let doubtful = used_sets(sb).any(|set| {
        let short = set.layout.level.has_parity() && set.missing(alive) > 0;
        let end = held_end(sb, set);
        let torn = !sb.clean && !sb.journal.in_force;
        short && end > Logical::ZERO && (torn || !set.tells_up_to(end))
    });
    if !doubtful {
        return Ok(());
    }
    if !(options.degraded && options.force) {
        return Err(refusal!(
            EUCLEAN,
            "the volume was not stopped in order and is short of a member: what was being written then may read as garbage; list all members, or say degraded=1 force=1 to take the risk"
        ));
    }
    let _ = assembly.notes.try_push(Note::Forced);
    Ok(())
}

/// End of what the set holds of the volume.
fn held_end(sb: &Superblock, set: &Set) -> Logical {
    let holds = |index: u8| core::ptr::eq(set, &sb.sets[usize::from(index)]);
    sb.ranges
        .iter()
        .filter(|range| holds(range.set))
        .map(|range| range.end)
        .max()
        .unwrap_or(Logical::ZERO)
}

/// Makes of the superblock found the one to be committed.
fn update(
    options: &AssembleOptions,
    sb: &mut Superblock,
    assembly: &mut Assembly,
) -> Result<(), Refusal> {
    assembly.unclean = !sb.clean;
    assembly.epoch = sb.epoch;
    let journaled = sb.journal.in_force;
    let left = sb.epoch;
    for (index, row) in sb.members.iter_mut().enumerate() {
        let id = MemberId(index as u8);
        let lost_spare = row.is_used()
            && row.state == MemberState::Spare
            && assembly.device_of_member[index].is_none();
        if assembly.missing.has(id) || lost_spare {
            row.state = MemberState::Missing;
            row.left_epoch = left;
        }
    }
    let (alive, rebuilding) = (sb.in_sync(), sb.rebuilding());
    for set in sb.sets.iter_mut() {
        resync_after(set, (alive, rebuilding), assembly.unclean, journaled);
    }
    if options.paused {
        if let Some(migration) = &mut sb.migration {
            migration.paused = true;
        }
    }
    if let Some(name) = options.name {
        sb.name = name;
    }
    if !options.read_only {
        let Some(epoch) = sb.epoch.checked_add(1) else {
            return Err(refusal!(
                EOVERFLOW,
                "the volume has been assembled more often than can be counted; assemble it with read_only=1 and copy its data"
            ));
        };
        sb.epoch = epoch;
    }
    Ok(())
}

/// Where a set's copies and parity are to be relied on now (DESIGN I6, I8).
fn resync_after(
    set: &mut Set,
    (alive, rebuilding): (MemberMask, MemberMask),
    unclean: bool,
    journaled: bool,
) {
    let layout = set.layout;
    let has_parity = layout.level.has_parity();
    let is_torn = unclean && !(journaled && has_parity);
    // What a rebuild has made so far are copies, or data, like any others.
    let kept = alive | rebuilding;
    let is_short = has_parity && set.missing(alive) > 0;
    if is_short && set.missing(kept) < layout.max_missing() {
        // Short of a slot parity is believed, because the caller found it true or was forced to;
        // where there is some to spare P is, and Q made anew as soon as there is all of a row.
        set.is_fresh = true;
        if is_torn {
            set.resync = Logical::ZERO;
        }
    } else if is_short || !set.can_compare(kept) {
        // One leg is all the copies there are, and no parity is left that says otherwise.
        set.resync = Logical(layout.capacity().0);
    } else if is_torn {
        (set.resync, set.is_fresh) = (Logical::ZERO, false);
    }
}
