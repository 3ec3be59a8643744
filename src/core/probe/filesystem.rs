// SPDX-License-Identifier: GPL-2.0
//! Filesystems and swap, by their superblocks.

use super::view::{sectors_of, Blocks, View};
use super::{Claim, Content, Kind};
use crate::geometry::Sectors;
use crate::text::Errno;

type Found = Result<Option<Claim>, Errno>;

/// Adds what filesystems are there.
pub(super) fn probe<B: Blocks>(view: &mut View<'_, B>, content: &mut Content) -> Result<(), Errno> {
    let found = [
        ext(view)?,
        xfs(view)?,
        btrfs(view)?,
        f2fs(view)?,
        ntfs(view)?,
        exfat(view)?,
        fat(view)?,
        iso(view)?,
        swap(view)?,
    ];
    for claim in found.into_iter().flatten() {
        content.add(claim);
    }
    Ok(())
}

fn claim(kind: Kind, end: Option<Sectors>) -> Found {
    Ok(Some(Claim { kind, end }))
}

/// fs/ext4/ext4.h, struct ext4_super_block.
fn ext<B: Blocks>(view: &mut View<'_, B>) -> Found {
    const AT: u64 = 1024;
    const HAS_JOURNAL: u32 = 0x4;
    const BIT_64: u32 = 0x80;
    // What makes it more than ext3: all but filetype, recover, journal_dev and
    // meta_bg; all but sparse_super, large_file and btree_dir.
    const EXT4_INCOMPAT: u32 = !(0x2 | 0x4 | 0x8 | 0x10);
    const EXT4_RO_COMPAT: u32 = !(0x1 | 0x2 | 0x4);
    if view.le16(AT + 56)? != 0xef53 {
        return Ok(None);
    }
    let (compat, incompat, ro) = (
        view.le32(AT + 92)?,
        view.le32(AT + 96)?,
        view.le32(AT + 100)?,
    );
    let log = view.le32(AT + 24)?;
    let mut blocks = u64::from(view.le32(AT + 4)?);
    if incompat & BIT_64 != 0 {
        blocks |= u64::from(view.le32(AT + 336)?) << 32;
    }
    if log > 6 || blocks == 0 {
        return Ok(None);
    }
    let kind = if incompat & EXT4_INCOMPAT != 0 || ro & EXT4_RO_COMPAT != 0 {
        Kind::Ext4
    } else if compat & HAS_JOURNAL != 0 {
        Kind::Ext3
    } else {
        Kind::Ext2
    };
    claim(kind, sectors_of(blocks, 1024 << log))
}

/// fs/xfs/libxfs/xfs_format.h, struct xfs_dsb.
fn xfs<B: Blocks>(view: &mut View<'_, B>) -> Found {
    if !view.has(0, b"XFSB")? {
        return Ok(None);
    }
    let (size, blocks) = (view.be32(4)?, view.be64(8)?);
    if !size.is_power_of_two() || !(512..=65536).contains(&size) || blocks == 0 {
        return Ok(None);
    }
    claim(Kind::Xfs, sectors_of(blocks, u64::from(size)))
}

/// fs/btrfs: struct btrfs_super_block. The filesystem may lie on several disks:
/// its dev_item says how much of this one it uses.
fn btrfs<B: Blocks>(view: &mut View<'_, B>) -> Found {
    const AT: u64 = 64 << 10;
    const DEV_ITEM_TOTAL_BYTES: u64 = 201 + 8;
    if !view.has(AT + 64, b"_BHRfS_M")? {
        return Ok(None);
    }
    let bytes = view.le64(AT + DEV_ITEM_TOTAL_BYTES)?;
    claim(Kind::Btrfs, sectors_of(bytes, 1))
}

/// include/linux/f2fs_fs.h, struct f2fs_super_block.
fn f2fs<B: Blocks>(view: &mut View<'_, B>) -> Found {
    const AT: u64 = 1024;
    if view.le32(AT)? != 0xf2f5_2010 {
        return Ok(None);
    }
    let (log, blocks) = (view.le32(AT + 16)?, view.le64(AT + 36)?);
    if !(9..=16).contains(&log) {
        return Ok(None);
    }
    claim(Kind::F2fs, sectors_of(blocks, 1 << log))
}

/// A boot sector's bytes per sector, if they are possible.
fn boot_sector_size<B: Blocks>(view: &mut View<'_, B>) -> Result<Option<u64>, Errno> {
    let size = view.le16(11)?;
    let good = size.is_power_of_two() && (512..=4096).contains(&size);
    Ok(good.then_some(u64::from(size)))
}

/// The last sector, behind those it counts, holds a copy of the first.
fn ntfs<B: Blocks>(view: &mut View<'_, B>) -> Found {
    if !view.has(3, b"NTFS    ")? {
        return Ok(None);
    }
    let Some(size) = boot_sector_size(view)? else {
        return Ok(None);
    };
    let sectors = view.le64(40)?;
    let end = sectors
        .checked_add(1)
        .and_then(|count| sectors_of(count, size));
    claim(Kind::Ntfs, end)
}

fn exfat<B: Blocks>(view: &mut View<'_, B>) -> Found {
    if !view.has(3, b"EXFAT   ")? {
        return Ok(None);
    }
    let (sectors, shift) = (view.le64(72)?, view.u8(108)?);
    if !(9..=12).contains(&shift) {
        return Ok(None);
    }
    claim(Kind::ExFat, sectors_of(sectors, 1 << shift))
}

fn fat<B: Blocks>(view: &mut View<'_, B>) -> Found {
    let boot = view.has(510, b"\x55\xaa")?;
    let named = view.has(54, b"FAT")? || view.has(82, b"FAT32")?;
    let Some(size) = boot_sector_size(view)? else {
        return Ok(None);
    };
    let fats = view.u8(16)?;
    if !boot || !named || !(1..=2).contains(&fats) {
        return Ok(None);
    }
    let sectors = match view.le16(19)? {
        0 => view.le32(32)?,
        few => u32::from(few),
    };
    claim(Kind::Fat, sectors_of(u64::from(sectors), size))
}

fn iso<B: Blocks>(view: &mut View<'_, B>) -> Found {
    const AT: u64 = 32768;
    if !view.has(AT + 1, b"CD001")? {
        return Ok(None);
    }
    let (blocks, size) = (view.le32(AT + 80)?, view.le16(AT + 128)?);
    claim(Kind::Iso, sectors_of(u64::from(blocks), u64::from(size)))
}

/// include/linux/swap.h, union swap_header; the page may be of any size Linux has.
fn swap<B: Blocks>(view: &mut View<'_, B>) -> Found {
    for page in [4096u64, 8192, 16384, 65536] {
        if view.has(page - 10, b"SWAPSPACE2")? {
            let last = u64::from(view.le32(1028)?);
            return claim(Kind::Swap, sectors_of(last + 1, page));
        }
        if view.has(page - 10, b"SWAP-SPACE")? || view.has(page - 10, b"S1SUSPEND\0")? {
            return claim(Kind::Swap, None);
        }
    }
    Ok(None)
}
