// SPDX-License-Identifier: GPL-2.0
//! What a disk holds already, and where that ends.
//!
//! It looks for what blkid would, and asks of everything it finds how long it
//! is. Nothing is parsed further than that.

mod container;
mod filesystem;
mod rules;
mod table;
mod view;

pub use rules::{adopt_check, new_member_check};
pub use view::{Blocks, UNIT_SIZE};

use crate::geometry::{Physical, Sectors};
use crate::text::Errno;
use view::View;

/// What a disk holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Kind {
    /// Nothing but zeroes where anything could be told from.
    #[default]
    Blank,
    /// Something that is not known here.
    Unknown,
    Ext2,
    Ext3,
    Ext4,
    Xfs,
    Btrfs,
    F2fs,
    Fat,
    ExFat,
    Ntfs,
    Iso,
    Swap,
    Lvm,
    Luks,
    Md,
    Zfs,
    Bcachefs,
    Bcache,
    Gpt,
    Mbr,
}

impl Kind {
    /// What users know it by.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Blank => "nothing",
            Kind::Unknown => "data of an unknown kind",
            Kind::Ext2 => "ext2",
            Kind::Ext3 => "ext3",
            Kind::Ext4 => "ext4",
            Kind::Xfs => "XFS",
            Kind::Btrfs => "Btrfs",
            Kind::F2fs => "F2FS",
            Kind::Fat => "FAT",
            Kind::ExFat => "exFAT",
            Kind::Ntfs => "NTFS",
            Kind::Iso => "ISO 9660",
            Kind::Swap => "swap",
            Kind::Lvm => "an LVM physical volume",
            Kind::Luks => "a LUKS volume",
            Kind::Md => "an md array's member",
            Kind::Zfs => "a ZFS pool's member",
            Kind::Bcachefs => "bcachefs",
            Kind::Bcache => "a bcache device",
            Kind::Gpt => "a GPT partition table",
            Kind::Mbr => "an MBR partition table",
        }
    }
}

/// A signature that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Claim {
    kind: Kind,
    /// First sector behind what it says is its own.
    end: Option<Sectors>,
}

/// What is known of a disk's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// It is, or was, a member of a restripe volume; the rest says what else is there.
    pub is_member: bool,
    pub kind: Kind,
    /// Something else that is there as well: only one of them can be right.
    pub second: Option<Kind>,
    /// First sector behind the data; nothing where that can't be told.
    pub data_end: Option<Sectors>,
}

impl Content {
    /// What is there that is known by its signature.
    pub fn known(&self) -> Option<&'static str> {
        if self.is_member {
            Some("a restripe volume's superblock")
        } else if self.has_known_kind() {
            Some(self.kind.name())
        } else {
            None
        }
    }

    fn has_known_kind(&self) -> bool {
        !matches!(self.kind, Kind::Blank | Kind::Unknown)
    }

    fn add(&mut self, claim: Claim) {
        if !self.has_known_kind() {
            self.kind = claim.kind;
            self.data_end = claim.end;
        } else if self.kind != claim.kind {
            self.second = Some(claim.kind);
            self.data_end = match (self.data_end, claim.end) {
                (Some(one), Some(other)) => Some(one.max(other)),
                _ => None,
            };
        }
    }
}

/// How much of a disk's start and end is looked at for content of unknown kind (128 KiB).
const LOOKED_AT: u64 = 128 << 10;

/// Looks at a disk. `unit` is memory to read into.
///
/// # Errors
/// When the disk can't be read.
pub fn probe(blocks: &mut impl Blocks, unit: &mut [u8; UNIT_SIZE]) -> Result<Content, Errno> {
    let mut view = View::new(blocks, unit);
    let mut content = Content {
        is_member: is_restripe(&mut view)?,
        ..Content::default()
    };
    container::probe(&mut view, &mut content)?;
    filesystem::probe(&mut view, &mut content)?;
    table::probe(&mut view, &mut content)?;
    if !content.has_known_kind() && !is_zero(&mut view)? {
        content.kind = Kind::Unknown;
    }
    Ok(content)
}

/// Whether a superblock, whole or not, or a signature is where one would be.
fn is_restripe<B: Blocks>(view: &mut View<'_, B>) -> Result<bool, Errno> {
    if crate::ondisk::is_signature(&view.bytes::<16>(0)?) {
        return Ok(true);
    }
    for place in crate::ondisk::superblock_places(view.sectors())
        .into_iter()
        .flatten()
    {
        let Physical(sector) = place;
        if crate::ondisk::is_superblock(&view.bytes::<8>(sector << 9)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_zero<B: Blocks>(view: &mut View<'_, B>) -> Result<bool, Errno> {
    let end = view.end();
    let tail = end.saturating_sub(LOOKED_AT) / UNIT_SIZE as u64 * UNIT_SIZE as u64;
    let head = (0..LOOKED_AT.min(end)).step_by(UNIT_SIZE);
    for at in head.chain((tail..end).step_by(UNIT_SIZE)) {
        if view.unit(at)?.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}
