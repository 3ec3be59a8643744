// SPDX-License-Identifier: GPL-2.0
//! What a full disk is known by while it is being adopted with a witness.
//!
//! Until it holds a superblock nothing but the first of those is written to it, which is left out. Then,
//! and until a later superblock says that it is a member like any other, its head is copied to where its
//! reserve is to be, and its second superblock is written: what lay there is on the witness by then.
//! Nobody can write to the volume before, so whatever else differs was written without restripe.

use super::{AssembleOptions, Assembly, Devices, Note, Piece};
use crate::geometry::{MemberId, Physical, Sectors};
use crate::ondisk::{known_by, superblock_places, Superblock, HEAD_LEN, SUPERBLOCK_SECTORS};
use crate::refusal;
use crate::text::Refusal;

/// CRC-32C of what a disk without a superblock is known by, if it can be read.
pub(super) fn crc_without_superblock(
    devices: &mut dyn Devices,
    device: usize,
    sectors: Sectors,
) -> Option<u32> {
    let pieces = known_by(sectors)?.map(|(at, len)| Piece { device, at, len });
    devices.crc(&pieces)
}

/// Where that is now of a disk that holds a superblock; nothing where the witness does not have all of
/// what may have been written over.
fn pieces(sb: &Superblock, member: MemberId, assembly: &Assembly) -> Option<[Piece; 6]> {
    let sectors = sb.members[usize::from(member.0)].device_sectors;
    let [(head, head_len), (reserve, _), _] = known_by(sectors)?;
    let [slot_a, slot_b] = superblock_places(sectors)?;
    let set = &sb.sets[usize::from(sb.present_set())];
    let copy = set.extents.iter().find(|e| e.member != member)?;
    if copy.len < slot_b + SUPERBLOCK_SECTORS - reserve {
        return None;
    }
    let seat = |member: MemberId| assembly.device_of_member[usize::from(member.0)].map(usize::from);
    let (disk, witness) = (seat(member)?, seat(copy.member)?);
    let kept = |at: Physical, end: Physical| Piece {
        device: disk,
        at,
        len: end - at,
    };
    let copied = |at: Physical, len| Piece {
        device: witness,
        at: copy.start + (at - reserve),
        len,
    };
    Some([
        kept(head, head + head_len),
        copied(reserve, HEAD_LEN),
        kept(reserve + HEAD_LEN, slot_a),
        kept(slot_a + SUPERBLOCK_SECTORS, slot_b),
        copied(slot_b, SUPERBLOCK_SECTORS),
        kept(slot_b + SUPERBLOCK_SECTORS, Physical::ZERO + sectors),
    ])
}

/// Why a disk is not taken that holds no superblock and other content than the one that was being adopted;
/// `witness` is the device that has a copy of that one's end. Its first superblock may have been on its way:
/// then there is something to be put back before the disk is used by itself.
pub(super) fn other_content(
    devices: &mut dyn Devices,
    names: &[&str],
    sb: &Superblock,
    (device, member): (usize, MemberId),
    witness: impl Fn(MemberId) -> Option<usize>,
) -> Refusal {
    let name = names[device];
    let spoilt = spoilt(sb, device, member, witness).filter(|[there, copy]| {
        let mut crc = |piece: &Piece| devices.crc(core::slice::from_ref(piece));
        let (found, wanted) = (crc(there), crc(copy));
        found.is_none() || found != wanted
    });
    match spoilt {
        None => refusal!(
            ESTALE,
            "{name} was written to since it began to be adopted, or is another disk: its start and end have another checksum; it holds all of its data: use it by itself, or adopt it anew with force=1"
        ),
        Some([there, copy]) => refusal!(
            ESTALE,
            "{name} was written to since it began to be adopted, or is another disk; its {} bytes from byte {} on may be spoilt, and are on {} from byte {} on: copy them back, then use it by itself, or adopt it anew with force=1",
            there.len.bytes(),
            Sectors(there.at.0).bytes(),
            names[copy.device],
            Sectors(copy.at.0).bytes()
        ),
    }
}

/// What of the volume lies where a full disk's first superblock goes: there, and its copy.
fn spoilt(
    sb: &Superblock,
    device: usize,
    member: MemberId,
    witness: impl Fn(MemberId) -> Option<usize>,
) -> Option<[Piece; 2]> {
    let sectors = sb.members[usize::from(member.0)].device_sectors;
    let [_, (reserve, before), _] = known_by(sectors)?;
    let set = &sb.sets[usize::from(sb.present_set())];
    let copy = set.extents.iter().find(|e| e.member != member)?;
    let len = Sectors(copy.len.0.saturating_sub(before.0)).min(SUPERBLOCK_SECTORS);
    let piece = |device, at| Piece { device, at, len };
    let there = piece(device, reserve + before);
    let copied = piece(witness(copy.member)?, copy.start + before);
    (len > Sectors::ZERO).then_some([there, copied])
}

/// A disk that holds a superblock and is not a member like any other yet can still be mounted as what it
/// was. Only what is certainly different speaks against it: what can't be read may be as it was.
pub(super) fn refuse_used_meanwhile(
    devices: &mut dyn Devices,
    names: &[&str],
    options: &AssembleOptions,
    sb: &Superblock,
    assembly: &mut Assembly,
) -> Result<(), Refusal> {
    for (member, row) in sb.rows() {
        let seat = usize::from(member.0);
        let (Some(crc), Some(device)) = (row.unmarked, assembly.device_of_member[seat]) else {
            continue;
        };
        if assembly.last_slot[seat].is_none() {
            continue;
        }
        let found = pieces(sb, member, assembly).and_then(|pieces| devices.crc(&pieces));
        match found {
            Some(found) if found != crc && !options.force => {
                return Err(refusal!(
                    ESTALE,
                    "{} was written to without restripe while it was being adopted: its start and end have the checksum {found:#010x} and not {crc:#010x}; say force=1 to take it as it is, with its end as it was before (add read_only=1 to look first), and check its file system",
                    names[usize::from(device)]
                ));
            }
            Some(found) if found != crc => {
                let _ = assembly.notes.try_push(Note::UsedMeanwhile { device });
            }
            _ => {}
        }
    }
    Ok(())
}
