// SPDX-License-Identifier: GPL-2.0
//! What an assembly went on in spite of.

use core::fmt::Write;

use crate::geometry::MemberId;
use crate::text::Text;

/// Something found that does not stop an assembly. Devices by index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Note {
    /// Fills the places of a list that hold none.
    #[default]
    NoNote,
    /// One of its two superblocks is damaged; the other one is used.
    DamagedSlot { device: u8, slot: u8 },
    /// Both are damaged; the device is left out.
    Damaged { device: u8 },
    /// It was to come in with a migration that never began; the device is left out.
    LeftOver { device: u8 },
    /// It left the volume before and has missed what was written since.
    OutOfDate { device: u8, member: MemberId },
    /// The cut fell between the first superblocks of a migration, which goes on.
    MigrationGoesOn,
    /// The cut fell before the adopted disk had a superblock.
    AdoptionGoesOn { device: u8 },
    /// It was written to without restripe while it was being adopted, and the user takes it as it is.
    UsedMeanwhile { device: u8 },
    /// The volume goes on without this member.
    Without { member: MemberId },
    /// Parity is believed, because the user said so.
    Forced,
}

impl Note {
    /// It in words.
    pub fn sentence(&self, names: &[&str]) -> Text<200> {
        let name = |device: &u8| names.get(usize::from(*device)).copied().unwrap_or("?");
        let mut out = Text::new();
        // Writing to a Text never fails: it cuts.
        let _ = match self {
            Note::NoNote => Ok(()),
            Note::DamagedSlot { device, slot } => write!(
                out,
                "superblock {} of {} is damaged; the other one is used and this one will be rewritten",
                slot,
                name(device)
            ),
            Note::Damaged { device } => write!(
                out,
                "both superblocks of {} are damaged; it is left out",
                name(device)
            ),
            Note::LeftOver { device } => write!(
                out,
                "{} was to come in with a migration that did not begin; it is left out",
                name(device)
            ),
            Note::OutOfDate { device, member } => write!(
                out,
                "{} is member {}, which left the volume and is out of date; it is left out",
                name(device),
                member.0
            ),
            Note::MigrationGoesOn => {
                write!(out, "the migration was cut off while it began; it begins now")
            }
            Note::AdoptionGoesOn { device } => write!(
                out,
                "{} was being adopted and has no superblock yet; it gets one now",
                name(device)
            ),
            Note::UsedMeanwhile { device } => write!(
                out,
                "{} was written to without restripe while it was being adopted; its end is as it was before",
                name(device)
            ),
            Note::Without { member } => {
                write!(out, "member {} is missing; the volume goes on without it", member.0)
            }
            Note::Forced => write!(
                out,
                "what was being written when the volume stopped may read as garbage on the missing member"
            ),
        };
        out
    }
}
