// SPDX-License-Identifier: GPL-2.0
//! Partition tables.

use super::view::{sectors_of, Blocks, View};
use super::{Claim, Content, Kind};
use crate::geometry::Sectors;
use crate::text::Errno;

/// Type of the one partition of a protective MBR.
const PROTECTIVE: u8 = 0xee;
/// Bytes of a GPT header that its CRC covers, in every version there is.
const HEADER: usize = 92;
/// More entries than this no tool makes.
const MAX_ENTRIES: u32 = 1024;

/// Adds what partition table is there.
pub(super) fn probe<B: Blocks>(view: &mut View<'_, B>, content: &mut Content) -> Result<(), Errno> {
    let mbr = mbr(view)?;
    for shift in [9, 12] {
        if let Some(claim) = gpt(view, shift, 1)? {
            content.add(claim);
            return Ok(());
        }
    }
    if !content.has_known_kind() {
        // Only a copy is left: it counts where nothing came after it.
        for shift in [9, 12] {
            let last = (view.end() >> shift).saturating_sub(1);
            if let Some(claim) = gpt(view, shift, last)? {
                content.add(claim);
                return Ok(());
            }
        }
    }
    // In the boot sector of these there is code where a table would be.
    if matches!(content.kind, Kind::Fat | Kind::ExFat | Kind::Ntfs) {
        return Ok(());
    }
    if let Some(claim) = mbr {
        content.add(claim);
    }
    Ok(())
}

/// A GPT whose header is in block `at`, of `1 << shift` bytes. Its end is behind the copy that belongs
/// behind the last usable block: header and entries.
fn gpt<B: Blocks>(view: &mut View<'_, B>, shift: u32, at: u64) -> Result<Option<Claim>, Errno> {
    let block = 1u64 << shift;
    let Some(start) = at.checked_mul(block) else {
        return Ok(None);
    };
    let mut header = view.bytes::<HEADER>(start)?;
    if &header[..8] != b"EFI PART" || view.le64(start + 24)? != at {
        return Ok(None);
    }
    let sum = view.le32(start + 16)?;
    header[16..20].fill(0);
    if view.le32(start + 12)? != HEADER as u32 || crc32(&header) != sum {
        return Ok(None);
    }
    let last_usable = view.le64(start + 48)?;
    let entries = view.le64(start + 72)?;
    let (count, size) = (view.le32(start + 80)?, view.le32(start + 84)?);
    let unknown = Ok(Some(Claim {
        kind: Kind::Gpt,
        end: None,
    }));
    if count > MAX_ENTRIES || !size.is_power_of_two() || !(128..=4096).contains(&size) {
        return unknown;
    }
    let mut last = last_usable;
    for index in 0..u64::from(count) {
        let Some(entry) = entries
            .checked_mul(block)
            .and_then(|byte| byte.checked_add(index * u64::from(size)))
        else {
            return unknown;
        };
        if view.bytes::<16>(entry)? != [0; 16] {
            last = last.max(view.le64(entry + 40)?);
        }
    }
    let copy = 1 + ((u64::from(count) * u64::from(size) + block - 1) >> shift);
    let end = last
        .checked_add(1 + copy)
        .and_then(|blocks| sectors_of(blocks, block));
    Ok(Some(Claim {
        kind: Kind::Gpt,
        end,
    }))
}

/// An MBR with at least one partition. Where the only thing it says is that a GPT
/// has to be there, no end is known.
fn mbr<B: Blocks>(view: &mut View<'_, B>) -> Result<Option<Claim>, Errno> {
    if !view.has(510, b"\x55\xaa")? {
        return Ok(None);
    }
    let mut end = Sectors::ZERO;
    let mut protective = false;
    for at in [446u64, 462, 478, 494] {
        let entry = view.bytes::<16>(at)?;
        if entry[0] & 0x7f != 0 {
            return Ok(None);
        }
        if entry[4] == 0 {
            continue;
        }
        protective |= entry[4] == PROTECTIVE;
        let (start, len) = (view.le32(at + 8)?, view.le32(at + 12)?);
        end = end.max(Sectors(u64::from(start) + u64::from(len)));
    }
    if end == Sectors::ZERO {
        return Ok(None);
    }
    let (kind, end) = match protective {
        true => (Kind::Gpt, None),
        false => (Kind::Mbr, Some(end)),
    };
    Ok(Some(Claim { kind, end }))
}

/// CRC-32 as in zlib; a header is short enough for a plain loop.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc >>= 1;
            if carry != 0 {
                crc ^= 0xedb8_8320;
            }
        }
    }
    !crc
}
