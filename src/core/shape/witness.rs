// SPDX-License-Identifier: GPL-2.0
//! Adopting a disk that is full to its last sector, with a blank one at hand: the witness.
//!
//! The part of its data that lies where the reserve is to be is copied to the end of the
//! witness's data area, so that the volume is linear over both. Then superblocks are committed,
//! the witness's first: until that is durable the disk is what it was, from then on the copy is
//! the truth. Only then is the disk's reserve written to. A cut before its own superblock is
//! whole leaves a disk without one, which is known by its size, its serial and a checksum.
//!
//! Nothing else is special about such a volume: the target of a migration leaves the disk's
//! reserve alone, as any does, and so the witness's copy is needed only until that is done.

use super::{move_heads, NewMember, Stamp};
use crate::geometry::{Logical, MemberId, Offset, Physical, Sectors, SlotId};
use crate::layout::{Layout, Level};
use crate::ondisk::{Geometry, MapRange, Superblock};
use crate::placement::{Extent, Set};
use crate::refusal;
use crate::text::Refusal;

/// What of the disk goes to the witness.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    pub from: Physical,
    pub to: Physical,
    pub len: Sectors,
}

/// The room for data that a disk of `geometry` has with a witness: all of it.
pub fn with_witness(geometry: &Geometry) -> Geometry {
    Geometry {
        data_len: Sectors(geometry.device.0),
        ..*geometry
    }
}

/// The volume that `disk` becomes with its first `size` sectors as they are, the last of
/// them on `witness`; and what has to be copied and durable before `into` is committed.
/// `crc` is the CRC-32C of what the disk is known by.
///
/// # Errors
/// For devices that can't be members, and where a witness is too small or not needed.
pub fn adopt_full(
    into: &mut Superblock,
    stamp: &Stamp,
    (disk, witness): (&NewMember<'_>, &NewMember<'_>),
    size: Sectors,
    crc: u32,
) -> Result<Tail, Refusal> {
    witness.check_device()?;
    let kept = disk.geometry.data_len;
    if size <= kept {
        return Err(refusal!(
            EINVAL,
            "{} has room for the reserve behind its data and needs no witness; leave witness= out",
            disk.name
        ));
    }
    if witness.logical_block > disk.logical_block {
        return Err(refusal!(
            EINVAL,
            "{} has logical blocks of {} bytes and {} has {}; use a witness with smaller ones",
            witness.name,
            witness.logical_block,
            disk.name,
            disk.logical_block
        ));
    }
    let len = size - kept;
    let room = witness.geometry.data_len;
    if room < len {
        return Err(refusal!(
            ENOSPC,
            "{} has room for {} bytes and the end of {} takes {}; use a larger witness",
            witness.name,
            room.bytes(),
            disk.name,
            len.bytes()
        ));
    }
    super::adopt(into, stamp, disk, kept)?;
    let block = Sectors::from_bytes(u64::from(into.logical_block));
    if size.round_down(block) != size {
        return Err(refusal!(
            EINVAL,
            "{} bytes is not a whole number of logical blocks of {} bytes; give size= as one",
            size.bytes(),
            into.logical_block
        ));
    }
    into.members[0].unmarked = Some(crc);
    into.members.push(witness.row());
    let to = witness.geometry.data_start + (room - len);
    let set: &mut Set = &mut into.sets[0];
    set.layout = Layout::new(Level::Linear, Sectors(1), 1, size)?;
    set.extents.push(Extent {
        slot: SlotId(0),
        member: MemberId(1),
        start: to,
        len,
    });
    set.resync = Logical(size.0);
    into.volume_sectors = size;
    into.ranges.clear();
    into.ranges.push(MapRange {
        start: Logical::ZERO,
        end: Logical(size.0),
        set: 0,
    });
    let from = set.place(SlotId(0), Offset::ZERO).at + kept;
    Ok(Tail { from, to, len })
}

/// Makes of a volume whose members all hold superblocks what it is from then on.
pub fn settle(into: &mut Superblock) {
    for index in 0..into.members.len() {
        into.members[index].unmarked = None;
    }
    move_heads(into);
}
