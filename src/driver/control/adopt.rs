// SPDX-License-Identifier: GPL-2.0

//! `adopt`: a disk with data on it becomes a volume, its data where they are; but where they
//! leave no room for the reserve, their end goes to another disk, the witness.

use kernel::{prelude::*, sync::Arc};
use restripe_core::{
    command,
    geometry::Sectors,
    recover::{recover, AssembleOptions},
    refusal,
    shape::{self, Tail},
    text::{Errno, Refusal},
};

use super::{
    device::{Device, Opener},
    disks::{self, new_superblock, prepare, Superblocks},
    last_error::no_memory,
    launch::{in_order, launch, Found},
    new_stamp,
    registry::Reservation,
    Shared,
};
use crate::sys::{
    block::{bio, member::Access, Flags},
    mem::{Buffer, MAX_BUFFER},
};

/// Checks everything, then writes to the reserve.
pub(super) fn adopt(shared: &Arc<Shared>, line: &[u8]) -> Result<(), Refusal> {
    let command = command::adopt(line)?;
    if let Some(witness) = command.witness {
        return adopt_full(shared, &command, witness);
    }
    let device = Opener::new(shared, Access::ReadWrite)?.open(command.dev, &[])?;
    let member = device.as_new(true)?;
    let size = device.adopted_size(&member.geometry, command.size, command.force)?;
    let stamp = new_stamp();
    let mut superblock = new_superblock()?;
    shape::adopt(&mut superblock, &stamp, &member, size)?;
    let reservation = Reservation::new(shared, command.name, stamp.uuid)?;
    prepare(&device, &member.geometry, stamp.uuid, member.uuid)?;
    let present = in_order(core::slice::from_ref(&device))?;
    launch(
        shared,
        reservation,
        superblock,
        present,
        Found::default(),
        false,
    )
}

/// The same with a witness. Nothing is written to the disk itself before the volume's start has
/// made the witness's superblock durable.
fn adopt_full(
    shared: &Arc<Shared>,
    command: &command::Adopt<'_>,
    witness: &str,
) -> Result<(), Refusal> {
    let names = [command.dev, witness];
    let devices = Opener::new(shared, Access::ReadWrite)?.open_all(&names)?;
    let [disk, witness] = &devices[..] else {
        unreachable!("two names are two devices");
    };
    let new = [disk.as_new(true)?, witness.as_new(false)?];
    let room = shape::with_witness(&new[0].geometry);
    let size = disk.adopted_size(&room, command.size, false)?;
    witness.refuse_content(command.force)?;
    refuse_unfinished(&devices, &names)?;
    let mut buffer = Buffer::new(MAX_BUFFER).map_err(no_memory)?;
    let stamp = new_stamp();
    let mut superblock = new_superblock()?;
    let crc = known_crc(disk, &mut buffer)?;
    let tail = shape::adopt_full(&mut superblock, &stamp, (&new[0], &new[1]), size, crc)?;
    let reservation = Reservation::new(shared, command.name, stamp.uuid)?;
    copy(disk, witness, &tail, &mut buffer)?;
    // It flushes, too.
    prepare(witness, &new[1].geometry, stamp.uuid, new[1].uuid)?;
    let present = in_order(&devices)?;
    launch(
        shared,
        reservation,
        superblock,
        present,
        Found::default(),
        false,
    )
    .map_err(|refusal| unfinished(&refusal, &names))
}

/// A start that failed may have come so far that the witness has a superblock, and the disk is a part of the volume.
fn unfinished(refusal: &Refusal, names: &[&str; 2]) -> Refusal {
    if refusal.errno != Errno::EIO {
        return *refusal;
    }
    refusal!(
        EIO,
        "{}; nothing is lost: when both work, write members={},{} to assemble and it goes on; {} is as it was if that finds no superblock",
        refusal,
        names[0],
        names[1],
        names[0]
    )
}

/// What the witness has of an adoption that was cut off may be the only copy of it: it is not written over.
fn refuse_unfinished(devices: &[Device<'_>], names: &[&str; 2]) -> Result<(), Refusal> {
    let mut superblock = new_superblock()?;
    let mut found = Superblocks::of(devices)?;
    let options = AssembleOptions::default();
    match recover(&mut found, names, &options, &mut superblock) {
        // Nobody knows what it has.
        Err(refusal) if refusal.errno == Errno::EIO => Err(refusal),
        Err(_) => Ok(()),
        Ok(_) => Err(refusal!(
            EEXIST,
            "{} was being adopted with {}, which has its end; write members={},{} to assemble, and that goes on",
            names[0],
            names[1],
            names[0],
            names[1]
        )),
    }
}

/// CRC-32C of what the disk is known by until it has a superblock.
fn known_crc(device: &Device<'_>, buffer: &mut Buffer) -> Result<u32, Refusal> {
    disks::known_crc(&device.member, buffer).ok_or_else(|| {
        refusal!(
            EIO,
            "{} can't be read at its start or its end; see the kernel's log",
            device.name
        )
    })
}

/// Copies the end of the disk to its witness.
fn copy(
    disk: &Device<'_>,
    witness: &Device<'_>,
    tail: &Tail,
    buffer: &mut Buffer,
) -> Result<(), Refusal> {
    let mut done = Sectors::ZERO;
    while done < tail.len {
        let len = (tail.len - done).min(Sectors::from_bytes(MAX_BUFFER as u64));
        // CAST: At most a buffer.
        let bytes = len.bytes() as usize;
        if !disks::read(&disk.member, (tail.from + done).0, buffer, bytes) {
            return Err(refusal!(
                EIO,
                "{} can't be read at sector {}; see the kernel's log",
                disk.name,
                (tail.from + done).0
            ));
        }
        let at = (tail.to + done).0;
        let from = buffer.slice(0..bytes);
        let outcome = bio::scope(|io| io.write(&witness.member, at, from, Flags::SYNC, 0));
        if !outcome.is_ok() {
            return Err(refusal!(
                EIO,
                "{} failed while it was written to; choose another witness",
                witness.name
            ));
        }
        done = done + len;
    }
    Ok(())
}
