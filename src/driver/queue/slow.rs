// SPDX-License-Identifier: GPL-2.0
//! Requests that a worker carries out from start to end, waiting for each step: reads that need
//! another place than their first, and writes of a gap, of zeroes, or across several routes.

mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;

use kernel::prelude::*;
use restripe_core::geometry::MemberMask;
use restripe_core::ondisk::JOURNAL_HEADER_SIZE;
use restripe_core::stripe::Plan;

use super::transfer::empty_plan;
use crate::sys::mem::Buffer;

/// Bytes of a piece that is copied before it is written.
const BOUNCE: usize = 256 << 10;

/// The memory that one such request needs.
pub(crate) struct Kit {
    pub(super) plan: KBox<Plan>,
    pub(super) scratch: Buffer,
    bounce: Buffer,
    /// Of a record in the journal.
    header: Buffer,
}

impl Kit {
    /// With so many bytes of scratch.
    pub(crate) fn new(scratch: usize) -> Result<Self> {
        Ok(Kit {
            plan: empty_plan()?,
            scratch: Buffer::new(scratch)?,
            bounce: Buffer::new(BOUNCE)?,
            header: Buffer::new(JOURNAL_HEADER_SIZE)?,
        })
    }
}

/// Why a step was not done.
enum Failure {
    /// These members failed.
    Members(MemberMask),
    /// The target can't be read there in the gap, because of these members.
    Gap(MemberMask),
    /// Too much is missing.
    Lost,
    /// The map changed under way.
    Stale,
    /// A read has to be rebuilt from its stripe, of which it does not hold the range.
    Unlocked,
    /// It has to wait for the next map, perhaps because the journal has no room.
    Wait { for_room: bool },
}
