// SPDX-License-Identifier: GPL-2.0
//! The little of a found superblock that is kept of every one of them.

use super::{Superblock, Uuid};
use crate::geometry::{MemberId, MemberMask, Sectors};

/// Who a superblock says its device is, and how old it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    pub volume: Uuid,
    pub member: MemberId,
    pub member_uuid: Uuid,
    pub epoch: u64,
    pub generation: u64,
    /// The migration it tells of, or nil.
    pub migration: Uuid,
    /// Members that take part, as it sees it.
    pub live: MemberMask,
    /// Size of the device as it was when it came in.
    pub device_sectors: Sectors,
}

impl Digest {
    /// Of a superblock found on `member`.
    pub fn of(superblock: &Superblock, member: MemberId) -> Digest {
        let row = &superblock.members[usize::from(member.0)];
        Digest {
            volume: superblock.uuid,
            member,
            member_uuid: row.uuid,
            epoch: superblock.epoch,
            generation: superblock.generation,
            migration: superblock.migration.map_or(Uuid::NIL, |m| m.uuid),
            live: superblock.live(),
            device_sectors: row.device_sectors,
        }
    }

    /// Newer ones are greater (DESIGN I4).
    pub fn age(&self) -> (u64, u64) {
        (self.epoch, self.generation)
    }
}
