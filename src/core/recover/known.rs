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
