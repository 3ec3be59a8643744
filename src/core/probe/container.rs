// SPDX-License-Identifier: GPL-2.0
//! What carries other things: md, LVM, LUKS, ZFS, bcachefs and bcache.

use super::view::{sectors_of, Blocks, View};
use super::{Claim, Content, Kind};
use crate::geometry::Sectors;
use crate::text::Errno;

type Found = Result<Option<Claim>, Errno>;

/// Adds what containers are there.
pub(super) fn probe<B: Blocks>(view: &mut View<'_, B>, content: &mut Content) -> Result<(), Errno> {
    let found = [
        md(view)?,
        lvm(view)?,
        luks(view)?,
        zfs(view)?,
        bcache(view)?,
    ];
    for claim in found.into_iter().flatten() {
        content.add(claim);
    }
    Ok(())
}

fn claim(kind: Kind, end: Option<Sectors>) -> Found {
    Ok(Some(Claim { kind, end }))
}

/// include/uapi/linux/raid/md_p.h: version 1 at the start (1.1), 4 KiB from it
/// (1.2) or near the end (1.0), version 0.90 in the last whole 64 KiB.
fn md<B: Blocks>(view: &mut View<'_, B>) -> Found {
    const MAGIC: u32 = 0xa92b_4efc;
    let sectors = view.sectors().0;
    let near_end = sectors.checked_sub(16).map(|at| at & !7);
    for at in [Some(0), Some(8), near_end].into_iter().flatten() {
        let byte = at << 9;
        let is_here = view.le32(byte)? == MAGIC && view.le32(byte + 4)? == 1;
        if is_here && view.le64(byte + 144)? == at {
            let (start, len) = (view.le64(byte + 128)?, view.le64(byte + 136)?);
            let behind = Some(at + 8);
            let data = start.checked_add(len).filter(|end| *end <= 1 << 54);
            return claim(Kind::Md, data.max(behind).map(Sectors));
        }
    }
    let Some(at) = (sectors & !127).checked_sub(128) else {
        return Ok(None);
    };
    if view.le32(at << 9)? == MAGIC && view.le32((at << 9) + 4)? == 0 {
        return claim(Kind::Md, Some(Sectors(at + 128)));
    }
    Ok(None)
}

/// lvm2's lib/format_text/layout.h: a label in one of the first four sectors.
fn lvm<B: Blocks>(view: &mut View<'_, B>) -> Found {
    for sector in 0..4u64 {
        let at = sector * 512;
        if view.has(at, b"LABELONE")? && view.has(at + 24, b"LVM2 001")? {
            let header = at + u64::from(view.le32(at + 20)?);
            let size = view.le64(header + 32)?;
            return claim(Kind::Lvm, sectors_of(size, 1));
        }
    }
    Ok(None)
}

/// It does not say where it ends: the mapping takes whatever the disk has.
fn luks<B: Blocks>(view: &mut View<'_, B>) -> Found {
    // The second header of LUKS2 lies at one of these offsets.
    let first = view.has(0, b"LUKS\xba\xbe")?;
    let mut second = false;
    for kib in [16, 32, 64, 128, 256, 512, 1024, 2048, 4096] {
        second |= view.has(kib << 10, b"SKUL\xba\xbe")?;
    }
    if first || second {
        return claim(Kind::Luks, None);
    }
    Ok(None)
}

/// An uberblock in the first of four labels, of either byte order.
fn zfs<B: Blocks>(view: &mut View<'_, B>) -> Found {
    const MAGIC: u64 = 0x00ba_b10c;
    for at in (128u64 << 10..256 << 10).step_by(1024) {
        let word = view.le64(at)?;
        if word == MAGIC || word == MAGIC.swap_bytes() {
            return claim(Kind::Zfs, None);
        }
    }
    Ok(None)
}

fn bcache<B: Blocks>(view: &mut View<'_, B>) -> Found {
    const AT: u64 = 4096 + 24;
    const BCACHE: &[u8; 16] = b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
    const BCACHEFS: &[u8; 16] = b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef";
    if view.has(AT, BCACHEFS)? {
        return claim(Kind::Bcachefs, None);
    }
    if view.has(AT, BCACHE)? {
        return claim(Kind::Bcache, None);
    }
    Ok(None)
}
