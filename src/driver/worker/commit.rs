// SPDX-License-Identifier: GPL-2.0
//! Flushes and superblocks: what makes things durable.

use restripe_core::geometry::MemberMask;
use restripe_core::ondisk::{encode, SUPERBLOCK_SIZE};

use super::chore::{Chore, Slots};
use crate::sys::block::bio::{self, Outcome};
use crate::sys::block::{Flags, Status};
use crate::sys::parity::crc32c;
use crate::volume::Volume;

/// Members among the tags that failed.
pub(super) fn failed_members(outcome: &Outcome) -> MemberMask {
    // CAST: Tags are members' numbers, of which there are 32.
    MemberMask(outcome.failed as u32)
}

impl Chore {
    pub(super) fn flush(&mut self, members: MemberMask) -> MemberMask {
        let devices = &self.devices;
        let outcome = bio::scope(|batch| {
            for id in members.iter() {
                match Chore::device(devices, id) {
                    Some(member) => batch.flush(member, id.0),
                    None => batch.fail(id.0, Status::OFFLINE),
                }
            }
        });
        failed_members(&outcome)
    }

    /// Writes the superblock to the slots `slots`, which are at `places`.
    pub(super) fn commit(
        &mut self,
        volume: &Volume,
        members: MemberMask,
        slots: Slots,
    ) -> MemberMask {
        let Some(superblock) = &self.superblock else {
            return members;
        };
        for (index, (id, _)) in self.places.iter().enumerate() {
            let at = index * SUPERBLOCK_SIZE;
            let out = &mut self.bytes.as_mut_slice()[at..at + SUPERBLOCK_SIZE];
            encode(superblock, *id, out, crc32c);
        }
        let (devices, bytes, places) = (&self.devices, &self.bytes, &self.places);
        let outcome = bio::scope(|batch| {
            for (index, (id, place)) in places.iter().enumerate() {
                let at = index * SUPERBLOCK_SIZE;
                let from = bytes.slice(at..at + SUPERBLOCK_SIZE);
                match Chore::device(devices, *id) {
                    Some(member) => {
                        let flags = Flags::FUA | Flags::SYNC | Flags::META;
                        batch.write(member, place.0, from, flags, id.0);
                    }
                    None => batch.fail(id.0, Status::OFFLINE),
                }
            }
        });
        let failed = failed_members(&outcome);
        let mut now = volume.slots().lock();
        for id in (members & !failed).iter() {
            let row = usize::from(id.0);
            now[row] = slots[row].map(usize::from);
        }
        failed
    }
}
