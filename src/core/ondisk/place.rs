// SPDX-License-Identifier: GPL-2.0
//! Where things lie on a member. Fixed in version 1: it is how a superblock is
//! found from nothing but a device's size.
//!
//! Let E be the device's end, rounded down to 4096 bytes, and R the reserve:
//! `clamp(round_up(device / 32, 1 MiB), 2 MiB, 128 MiB)` bytes before E.
//!
//! ```text
//! 0           an adopted member's data, or: restripe's signature (4 KiB)
//! 1 MiB       a blank member's data
//! E - R       head: 128 KiB
//!             stash: R / 2, its first 4 KiB are the header
//!             bitmap: 64 KiB
//!             journal: all that is left, R / 2 - 448 KiB
//! E - 256 KiB superblock, slot A: 16 KiB
//! E - 128 KiB superblock, slot B: 16 KiB
//! ```
//! What is behind each slot stays unused: the last 64 KiB may hold a backup GPT
//! that a user wants back.

use super::{Region, RegionKind, MAX_REGIONS, SUPERBLOCK_SIZE};
use crate::geometry::{Physical, Sectors};
use crate::list::List;
use crate::refusal;
use crate::text::Refusal;

/// Everything restripe places is a multiple of this (4096 bytes).
pub const UNIT: Sectors = Sectors::from_bytes(4096);
/// First sector of a blank member's data (1 MiB).
pub const BLANK_DATA_START: Physical = Physical(2048);
/// The head of an adopted disk that gives way to a signature (128 KiB).
pub const HEAD_LEN: Sectors = Sectors::from_bytes(128 << 10);
/// The write-intent bitmap (64 KiB).
pub const BITMAP_LEN: Sectors = Sectors::from_bytes(64 << 10);
/// Sectors of a superblock.
pub const SUPERBLOCK_SECTORS: Sectors = Sectors::from_bytes(SUPERBLOCK_SIZE as u64);

const MIB: u64 = 1 << 20;
const SLOT_A_FROM_END: Sectors = Sectors::from_bytes(256 << 10);
const SLOT_B_FROM_END: Sectors = Sectors::from_bytes(128 << 10);
/// Less room for data than this is not worth a member (1 MiB).
const LEAST_DATA: Sectors = Sectors::from_bytes(MIB);

/// What a member of a given size has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    pub device: Sectors,
    pub adopted: bool,
    pub data_start: Physical,
    pub data_len: Sectors,
    pub superblocks: [Physical; 2],
    pub head: Region,
    /// Its first 4 KiB are the header.
    pub stash: Region,
    pub regions: List<Region, MAX_REGIONS>,
}

impl Geometry {
    /// First sector behind the data, where the reserve begins.
    pub fn data_end(&self) -> Physical {
        self.data_start + self.data_len
    }

    /// Room for stashed data, without the header.
    pub fn stash_data(&self) -> Sectors {
        self.stash.len - UNIT
    }
}

fn usable_end(device: Sectors) -> Sectors {
    device.round_down(UNIT)
}

fn reserve_len(device: Sectors) -> Sectors {
    let part = (device.bytes() / 32).div_ceil(MIB) * MIB;
    Sectors::from_bytes(part.clamp(2 * MIB, 128 * MIB))
}

/// First sector of the reserve, or nothing where the device is too small for one.
pub fn reserve_start(device: Sectors) -> Option<Physical> {
    if device.0 > 1 << 54 {
        return None;
    }
    let start = usable_end(device).0.checked_sub(reserve_len(device).0)?;
    Some(Physical(start))
}

/// Where the two superblocks of a device of that size are.
pub fn superblock_places(device: Sectors) -> Option<[Physical; 2]> {
    reserve_start(device)?;
    let end = usable_end(device);
    Some([
        Physical((end - SLOT_A_FROM_END).0),
        Physical((end - SLOT_B_FROM_END).0),
    ])
}

/// What a disk that has no superblock yet, because it is just being adopted with a witness, is
/// known by, beside its size and its serial: its first 128 KiB, in which whoever writes to a file
/// system writes too, and all that is to be its reserve, a copy of which is in use. The place of
/// its first superblock is left out, since a cut may have torn that.
pub fn known_by(device: Sectors) -> Option<[(Physical, Sectors); 3]> {
    let (start, [slot, _]) = (reserve_start(device)?, superblock_places(device)?);
    let behind = slot + SUPERBLOCK_SECTORS;
    Some([
        (Physical::ZERO, HEAD_LEN),
        (start, slot - start),
        (behind, device - behind.from_start()),
    ])
}

/// The slot to write next: never the one that holds the last durable superblock
/// (DESIGN I7).
pub fn next_slot(last_durable: Option<usize>) -> usize {
    match last_durable {
        Some(0) => 1,
        _ => 0,
    }
}

/// The places on a member of `device` sectors.
///
/// # Errors
/// `ENOSPC` where the device is too small, `EFBIG` where it is larger than Linux takes.
pub fn member_geometry(device: Sectors, adopted: bool) -> Result<Geometry, Refusal> {
    if device.0 > 1 << 54 {
        return Err(refusal!(
            EFBIG,
            "a device of {} sectors is larger than Linux can address; use a smaller one",
            device.0
        ));
    }
    let data_start = if adopted {
        Physical::ZERO
    } else {
        BLANK_DATA_START
    };
    let least = Sectors::from_bytes(2 * MIB) + data_start.from_start() + LEAST_DATA;
    let (Some(reserve), Some(superblocks)) = (reserve_start(device), superblock_places(device))
    else {
        return Err(too_small(device, least));
    };
    if reserve < data_start + LEAST_DATA {
        return Err(too_small(device, least));
    }
    let reserve_len = reserve_len(device);
    let head = Region {
        kind: RegionKind::Head,
        start: reserve,
        len: HEAD_LEN,
    };
    let stash = Region {
        kind: RegionKind::Stash,
        start: head.end(),
        len: Sectors(reserve_len.0 / 2),
    };
    let bitmap = Region {
        kind: RegionKind::Bitmap,
        start: stash.end(),
        len: BITMAP_LEN,
    };
    let slot = |kind, start| Region {
        kind,
        start,
        len: SUPERBLOCK_SECTORS,
    };
    let mut regions = List::new();
    regions.push(Region {
        kind: RegionKind::Data,
        start: data_start,
        len: reserve - data_start,
    });
    regions.push(head);
    regions.push(stash);
    regions.push(bitmap);
    regions.push(Region {
        kind: RegionKind::Journal,
        start: bitmap.end(),
        len: superblocks[0] - bitmap.end(),
    });
    regions.push(slot(RegionKind::SuperblockA, superblocks[0]));
    regions.push(slot(RegionKind::SuperblockB, superblocks[1]));
    Ok(Geometry {
        device,
        adopted,
        data_start,
        data_len: reserve - data_start,
        superblocks,
        head,
        stash,
        regions,
    })
}

fn too_small(device: Sectors, least: Sectors) -> Refusal {
    refusal!(
        ENOSPC,
        "the device has {} bytes and a member needs at least {}; use a larger one",
        device.bytes(),
        least.bytes()
    )
}
