// SPDX-License-Identifier: GPL-2.0
//! What may become of a disk, given what it holds (DESIGN section 5).

use super::{Content, Kind};
use crate::geometry::Sectors;
use crate::ondisk::{Geometry, UNIT};
use crate::refusal;
use crate::text::Refusal;

/// Size of the volume that the disk becomes when it is adopted: where its data
/// end, or `size` where the user says it, rounded up to 4096 bytes. `force`: what
/// a former life as a member left is not needed.
///
/// # Errors
/// Where that is not known, or leaves no room for the reserve.
pub fn adopt_check(
    name: &str,
    content: &Content,
    geometry: &Geometry,
    size: Option<Sectors>,
    force: bool,
) -> Result<Sectors, Refusal> {
    if content.is_member && !force {
        return Err(refusal!(
            EEXIST,
            "{} is a member of a restripe volume already; write it to assemble, or, without witness=, say force=1 if nobody needs that volume",
            name
        ));
    }
    if let Some(end) = content.data_end {
        if end > geometry.device {
            return Err(refusal!(
                EUCLEAN,
                "{} holds {} that says it ends at byte {}, behind the device's end at {}; check it first",
                name,
                content.kind.name(),
                end.bytes(),
                geometry.device.bytes()
            ));
        }
    }
    let end = match (size, content.data_end) {
        (Some(size), Some(end)) if size < end => {
            return Err(refusal!(
                EINVAL,
                "size={} is less than the data on {}: {} ends at byte {}; give at least that, or leave size= out",
                size.bytes(),
                name,
                content.kind.name(),
                end.bytes()
            ));
        }
        (Some(size), _) => size,
        (None, _) => end_of(name, content)?,
    };
    let volume = end.round_up(UNIT);
    if volume > geometry.data_len {
        return Err(no_room(name, content, geometry, volume));
    }
    Ok(volume)
}

/// Where the data end, when only the disk can tell.
fn end_of(name: &str, content: &Content) -> Result<Sectors, Refusal> {
    if let Some(second) = content.second {
        return Err(refusal!(
            EINVAL,
            "{} holds {} and {} both; remove the wrong one with wipefs, or give size= with the bytes to keep",
            name,
            content.kind.name(),
            second.name()
        ));
    }
    match (content.kind, content.data_end) {
        (Kind::Blank, _) => Err(refusal!(
            EINVAL,
            "{} holds nothing; give size= for the size of the volume, or use create",
            name
        )),
        (_, Some(end)) => Ok(end),
        (kind, None) => Err(refusal!(
            EINVAL,
            "{} holds {}, which does not tell where its data end; give size= with the bytes to keep",
            name,
            kind.name()
        )),
    }
}

/// The data reach into the reserve.
fn no_room(name: &str, content: &Content, geometry: &Geometry, volume: Sectors) -> Refusal {
    if geometry.data_len >= geometry.device {
        // A witness takes the end of whole blocks only.
        return refusal!(
            ENOSPC,
            "{} has {} bytes behind its last whole 4096, which no member keeps, and {} reaches into them; shrink it by that, or copy it to a larger disk",
            name,
            (geometry.device - geometry.device.round_down(UNIT)).bytes(),
            content.kind.name()
        );
    }
    let missing = (volume - geometry.data_len).bytes();
    let room = geometry.data_len.bytes();
    let how = match content.kind {
        Kind::Gpt => {
            // The table's copy, 33 blocks, belongs behind the last usable one.
            return refusal!(
                ENOSPC,
                "the GPT on {} reaches {} bytes into the reserve: end all partitions there, then set last-lba to {} (in the output of sfdisk --dump, and feed it back to sfdisk), or adopt a partition",
                name,
                missing,
                geometry.data_len.0.saturating_sub(34)
            );
        }
        Kind::Ext2 | Kind::Ext3 | Kind::Ext4 => "shrink it by that with resize2fs",
        Kind::Btrfs => "shrink it by that with btrfs filesystem resize",
        Kind::Ntfs => "shrink it by that with ntfsresize",
        Kind::Lvm => "shrink it by that with pvresize --setphysicalvolumesize",
        Kind::Swap => "make it again that much smaller with mkswap",
        Kind::Xfs => "XFS can't shrink, so copy the disk to one larger by that",
        _ => "shrink it by that, or copy the disk to a larger one",
    };
    refusal!(
        ENOSPC,
        "{} has room for {} bytes before the reserve and {} takes {} bytes more; {}, or name a blank disk as witness= that takes the end",
        name,
        room,
        content.kind.name(),
        missing,
        how
    )
}

/// Whether the disk may come in as a blank member.
///
/// # Errors
/// `EEXIST` where it holds something known and `force` is not said.
pub fn new_member_check(name: &str, content: &Content, force: bool) -> Result<(), Refusal> {
    match content.known() {
        Some(known) if !force => Err(refusal!(
            EEXIST,
            "{} holds {}, which would be overwritten; say force=1 if nobody needs it",
            name,
            known
        )),
        _ => Ok(()),
    }
}
