// SPDX-License-Identifier: GPL-2.0

//! `assemble`: a volume from the members it had, as the core finds it in their superblocks.

use kernel::{prelude::*, sync::Arc};
use restripe_core::{
    command,
    geometry::MemberId,
    ondisk::{
        FoundStash, Migration, Region, RegionKind, StashHeader, Superblock, STASH_HEADER_SIZE,
    },
    recover::{recover, Assembly},
    refusal,
    text::Refusal,
};

use super::{
    device::{Device, Opener},
    disks::{self, new_superblock, Superblocks, PIECE},
    last_error::no_memory,
    launch::{launch, Found},
    registry::Reservation,
    Shared,
};
use crate::sys::{block::member::Access, mem::Buffer, parity::crc32c};
use crate::volume::Present;
use crate::worker::read_through;

/// Decides first; the volume's start writes, unless it is read-only.
pub(super) fn assemble(shared: &Arc<Shared>, line: &[u8]) -> Result<(), Refusal> {
    let command = command::assemble(line)?;
    let options = command.options;
    let access = if options.read_only {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let devices = Opener::new(shared, access)?.open_all(&command.members)?;
    let mut superblock = new_superblock()?;
    let mut disks = Superblocks::of(&devices)?;
    let assembly = recover(&mut disks, &command.members, &options, &mut superblock)?;
    drop(disks);
    let stash = find_stash(&devices, &superblock, &assembly)?;
    let reservation = Reservation::new(shared, Some(superblock.name), superblock.uuid)?;
    let present = seats(&devices, &assembly)?;
    let name = reservation.name();
    let replay = assembly.unclean.then_some(assembly.epoch);
    let patches = match replay.filter(|_| options.read_only) {
        Some(epoch) => {
            let window = stash.map(|stash| stash.header.range);
            read_through(&superblock, &present, (epoch, window), options.force)?
        }
        None => KVVec::new(),
    };
    launch(
        shared,
        reservation,
        superblock,
        present,
        Found {
            stash,
            replay,
            patches,
        },
        options.read_only,
    )?;
    for note in &assembly.notes {
        let sentence = note.sentence(&command.members);
        pr_info!("{}: {}\n", name.as_str(), sentence.as_str());
    }
    Ok(())
}

/// The devices that take part, each as the member it is.
fn seats(devices: &[Device<'_>], assembly: &Assembly) -> Result<KVec<Present>, Refusal> {
    let mut members = KVec::with_capacity(devices.len(), GFP_KERNEL).map_err(no_memory)?;
    for (index, device) in assembly.device_of_member.iter().enumerate() {
        let Some(device) = device else {
            continue;
        };
        let present = Present {
            // CAST: There are as many as a superblock has rows.
            id: MemberId(index as u8),
            device: devices[usize::from(*device)].member.clone(),
            slot: assembly.last_slot[index].map(usize::from),
        };
        members.push(present, GFP_KERNEL).map_err(no_memory)?;
    }
    Ok(members)
}

/// The stashed window that is the truth for its range, if there is one (DESIGN I1).
fn find_stash(
    devices: &[Device<'_>],
    superblock: &Superblock,
    assembly: &Assembly,
) -> Result<Option<FoundStash>, Refusal> {
    let Some(migration) = &superblock.migration else {
        return Ok(None);
    };
    let mut buffer = Buffer::new(PIECE).map_err(no_memory)?;
    let mut newest = None;
    let mut unreadable = None;
    for (id, row) in superblock.rows() {
        let device = assembly.device_of_member[usize::from(id.0)];
        let (Some(device), Some(region)) = (device, row.region(RegionKind::Stash)) else {
            continue;
        };
        let device = &devices[usize::from(device)];
        match look(device, &region, migration, &mut buffer) {
            Ok(Some(header)) => newest = FoundStash::or_newer(newest, id, header),
            Ok(None) => {}
            Err(Unreadable) => unreadable = Some(device.name),
        }
    }
    match (newest, unreadable) {
        (None, Some(name)) => Err(refusal!(
            EIO,
            "the stash of {} can't be read, and it may hold the only copy of some data; mend the device, or copy it to another one and list that",
            name
        )),
        (newest, _) => Ok(newest),
    }
}

struct Unreadable;

/// The stash of one member, if it is valid.
fn look(
    device: &Device<'_>,
    region: &Region,
    migration: &Migration,
    buffer: &mut Buffer,
) -> Result<Option<StashHeader>, Unreadable> {
    let member = &*device.member;
    if !disks::read(member, region.start.0, buffer, STASH_HEADER_SIZE) {
        return Err(Unreadable);
    }
    let Some(header) = StashHeader::decode(buffer.as_slice(), crc32c) else {
        return Ok(None);
    };
    let end = header.data_at.0.checked_add(header.data_len.0);
    let within = header.data_at >= region.start && end.is_some_and(|end| end <= region.end().0);
    if !within || !header.is_current(migration) {
        return Ok(None);
    }
    let data = [(header.data_at, header.data_len)];
    let crc = disks::crc(member, &data, buffer).ok_or(Unreadable)?;
    Ok(header.valid(migration, crc).then_some(header))
}
