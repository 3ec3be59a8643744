// SPDX-License-Identifier: GPL-2.0

//! Reading and writing what control itself needs of devices: superblocks, stash headers, blocks
//! for the probe, the signature of a member that came in blank. Waits for the I/O.

use kernel::{page::PAGE_SIZE, prelude::*};
use restripe_core::{
    geometry::{MemberId, Physical, Sectors, SECTOR_SIZE},
    ondisk::{
        decode, encode_signature, known_by, superblock_places, DecodeError, Geometry, Serial,
        Signature, Superblock, Uuid, BLANK_DATA_START, SUPERBLOCK_SIZE,
    },
    recover::{Devices, Piece},
    refusal,
    text::Refusal,
};

use super::{
    device::{serial, Device},
    last_error::no_memory,
};
use crate::sys::{
    block::{bio, member::Member, Flags},
    mem::Buffer,
    parity::{crc32c, crc32c_update},
};

/// An empty superblock. It is too large for a kernel stack: made in place.
pub(super) fn new_superblock() -> Result<KBox<Superblock>, Refusal> {
    crate::superblock::empty().map_err(no_memory)
}

/// Fills the first `bytes` of the buffer from `sector` on; says whether it could be read.
pub(super) fn read(member: &Member, sector: u64, buffer: &mut Buffer, bytes: usize) -> bool {
    let outcome = bio::scope(|io| io.read(member, sector, buffer.slice_mut(0..bytes), 0));
    outcome.is_ok()
}

/// CRC-32C of these pieces of the device, one after the other, if they can be read.
pub(super) fn crc(
    member: &Member,
    pieces: &[(Physical, Sectors)],
    buffer: &mut Buffer,
) -> Option<u32> {
    crc_of(pieces.iter().map(|&(at, len)| (member, at, len)), buffer)
}

/// The same of pieces of several devices.
fn crc_of<'m>(
    pieces: impl Iterator<Item = (&'m Member, Physical, Sectors)>,
    buffer: &mut Buffer,
) -> Option<u32> {
    let most = Sectors::from_bytes(buffer.len() as u64);
    let mut crc = !0;
    for (member, mut at, mut left) in pieces {
        while left > Sectors::ZERO {
            let len = left.min(most);
            // CAST: At most a buffer.
            let bytes = len.bytes() as usize;
            if !read(member, at.0, buffer, bytes) {
                return None;
            }
            crc = crc32c_update(crc, &buffer.as_slice()[..bytes]);
            at += len;
            left = left - len;
        }
    }
    Some(!crc)
}

/// CRC-32C of what a disk is known by that has no superblock yet, if that can be read.
pub(super) fn known_crc(member: &Member, buffer: &mut Buffer) -> Option<u32> {
    crc(member, &known_by(Sectors(member.sectors()))?, buffer)
}

/// Bytes that are read at once.
pub(super) const PIECE: usize = 64 * PAGE_SIZE;

/// The listed devices' superblocks.
pub(super) struct Superblocks<'a, 'd> {
    devices: &'a [Device<'d>],
    buffer: Buffer,
}

impl<'a, 'd> Superblocks<'a, 'd> {
    pub(super) fn of(devices: &'a [Device<'d>]) -> Result<Self, Refusal> {
        Ok(Superblocks {
            devices,
            buffer: Buffer::new(PIECE).map_err(no_memory)?,
        })
    }
}

impl Devices for Superblocks<'_, '_> {
    fn sectors(&self, device: usize) -> Sectors {
        self.devices[device].sectors()
    }

    fn serial(&self, device: usize) -> Serial {
        serial(&self.devices[device].member)
    }

    fn crc(&mut self, pieces: &[Piece]) -> Option<u32> {
        let devices = self.devices;
        let parts = pieces
            .iter()
            .map(|piece| (&*devices[piece.device].member, piece.at, piece.len));
        crc_of(parts, &mut self.buffer)
    }

    fn read_superblock(
        &mut self,
        device: usize,
        slot: usize,
        into: &mut Superblock,
    ) -> Result<MemberId, DecodeError> {
        let device = &self.devices[device];
        let places = superblock_places(device.sectors()).ok_or(DecodeError::Absent)?;
        if !read(
            &device.member,
            places[slot].0,
            &mut self.buffer,
            SUPERBLOCK_SIZE,
        ) {
            return Err(DecodeError::Unreadable);
        }
        decode(self.buffer.as_slice(), into, crc32c)
    }
}

/// Makes a device a blank member: no superblock or stash of former times, and, unless its data
/// stay where they are, a signature at its start in place of whatever was before the data.
pub(super) fn prepare(
    device: &Device<'_>,
    geometry: &Geometry,
    volume: Uuid,
    uuid: Uuid,
) -> Result<(), Refusal> {
    let zeroes = Buffer::new(SUPERBLOCK_SIZE).map_err(no_memory)?;
    let mut start = Buffer::new(BLANK_DATA_START.0 as usize * SECTOR_SIZE).map_err(no_memory)?;
    let signature = Signature {
        volume,
        member: uuid,
    };
    encode_signature(&signature, start.as_mut_slice(), crc32c);
    let member = &*device.member;
    let outcome = bio::scope(|io| {
        for place in geometry.superblocks {
            io.write(
                member,
                place.0,
                zeroes.slice(0..SUPERBLOCK_SIZE),
                Flags::SYNC,
                0,
            );
        }
        let stash = geometry.stash.start.0;
        io.write(member, stash, zeroes.slice(0..PAGE_SIZE), Flags::SYNC, 0);
        if !geometry.adopted {
            io.write(member, 0, start.slice(0..start.len()), Flags::SYNC, 0);
        }
    });
    let flushed = bio::scope(|io| io.flush(member, 0));
    if outcome.is_ok() && flushed.is_ok() {
        return Ok(());
    }
    Err(refusal!(
        EIO,
        "{} failed while it was written to; choose another device",
        device.name
    ))
}
