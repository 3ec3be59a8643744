// SPDX-License-Identifier: GPL-2.0
//! Who the listed devices say they are.

use super::{AssembleOptions, Devices, MAX_DEVICES};
use crate::list::List;
use crate::ondisk::{DecodeError, Digest, Superblock, Uuid};
use crate::refusal;
use crate::text::Refusal;

/// What a listed device holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Find {
    /// Index in the list.
    pub(super) device: u8,
    /// Its newest superblock and the slot that is in; nothing where both are damaged.
    pub(super) newest: Option<(Digest, u8)>,
    /// Slots that hold a damaged superblock, one bit each.
    pub(super) damaged: u8,
    /// What is wrong with one of those.
    pub(super) damage: Option<DecodeError>,
}

pub(super) type Finds = List<Find, MAX_DEVICES>;

/// The device that says it is the member of that uuid.
pub(super) fn by_uuid(finds: &Finds, uuid: Uuid) -> Option<&Find> {
    let is_it = |find: &&Find| find.newest.is_some_and(|(d, _)| d.member_uuid == uuid);
    finds.iter().find(is_it)
}

/// Nothing found yet.
#[inline(never)]
pub(super) fn none() -> Finds {
    List::new()
}

/// Looks at every listed device; fills `finds`, which is too large to be handed about.
pub(super) fn find(
    devices: &mut dyn Devices,
    names: &[&str],
    options: &AssembleOptions,
    scratch: &mut Superblock,
    finds: &mut Finds,
) -> Result<(), Refusal> {
    if names.len() > MAX_DEVICES {
        return Err(refusal!(
            EINVAL,
            "{} devices are listed and a volume has at most {}; leave some out",
            names.len(),
            MAX_DEVICES
        ));
    }
    let mut volume = options.uuid;
    for (device, name) in names.iter().enumerate() {
        let find = look(devices, names, device, &mut volume, scratch)?;
        if let Some((digest, _)) = &find.newest {
            refuse_twins(names, finds, digest, name)?;
        }
        finds.push(find);
    }
    if finds.iter().all(|find| find.newest.is_none()) {
        if let Some(find) = finds.iter().find(|find| find.damaged == 0) {
            return Err(holds_none(names[usize::from(find.device)]));
        }
        return Err(refusal!(
            EUCLEAN,
            "no listed device has a superblock that is whole; restore one from a copy of its last 256 KiB"
        ));
    }
    Ok(())
}

#[inline(never)]
fn look(
    devices: &mut dyn Devices,
    names: &[&str],
    device: usize,
    volume: &mut Option<Uuid>,
    scratch: &mut Superblock,
) -> Result<Find, Refusal> {
    let name = names[device];
    let mut find = Find {
        device: device as u8,
        ..Find::default()
    };
    let mut errors = [DecodeError::Absent; 2];
    let mut other_volume = None;
    for (slot, found) in errors.iter_mut().enumerate() {
        let digest = match devices.read_superblock(device, slot, scratch) {
            Ok(member) => Digest::of(scratch, member),
            Err(error) => {
                *found = error;
                if is_damage(error) {
                    find.damaged |= 1 << slot;
                }
                continue;
            }
        };
        if *volume.get_or_insert(digest.volume) != digest.volume {
            other_volume = Some(digest.volume);
            continue;
        }
        if find
            .newest
            .is_none_or(|(best, _)| digest.age() > best.age())
        {
            find.newest = Some((digest, slot as u8));
        }
    }
    if find.newest.is_some() {
        return Ok(find);
    }
    if let (Some(other), Some(wanted)) = (other_volume, *volume) {
        return Err(refusal!(
            EINVAL,
            "{name} belongs to volume {other} and not to {wanted}; leave it out, or say uuid= of the one you want"
        ));
    }
    if let Some(error) = errors.iter().find(|error| is_newer(error)) {
        return Err(refusal!(
            EOPNOTSUPP,
            "the superblock of {name} can't be used: {error}"
        ));
    }
    find.damage = errors.into_iter().find(|error| is_damage(*error));
    Ok(find)
}

pub(super) fn holds_none(name: &str) -> Refusal {
    refusal!(EINVAL, "{name} holds no restripe superblock; leave it out")
}

fn is_damage(error: DecodeError) -> bool {
    matches!(
        error,
        DecodeError::Torn | DecodeError::Inconsistent(_) | DecodeError::Unreadable
    )
}

fn is_newer(error: &DecodeError) -> bool {
    matches!(error, DecodeError::Version(_) | DecodeError::Incompat(_))
}

/// Two devices with one member uuid: one of them is a copy, and who knows which.
fn refuse_twins(names: &[&str], finds: &Finds, digest: &Digest, name: &str) -> Result<(), Refusal> {
    match by_uuid(finds, digest.member_uuid) {
        None => Ok(()),
        Some(find) => Err(refusal!(
            EEXIST,
            "{} and {} are both member {} ({}); one is a copy: leave it out",
            names[usize::from(find.device)],
            name,
            digest.member.0,
            digest.member_uuid
        )),
    }
}
