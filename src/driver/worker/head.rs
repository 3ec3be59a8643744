// SPDX-License-Identifier: GPL-2.0
//! The first 128 KiB of an adopted disk: copied to its reserve and back, a signature in their place.

use restripe_core::geometry::MemberMask;
use restripe_core::ondisk::{encode_signature, Signature, HEAD_LEN};

use super::chore::Chore;
use super::commit::failed_members;
use super::intents::bytes;
use crate::sys::block::bio;
use crate::sys::block::{Flags, Status};
use crate::sys::parity::crc32c;

impl Chore {
    /// Copies the heads of the members at `places` to there, or from there back to their start.
    pub(super) fn move_heads(&mut self, back: bool) -> MemberMask {
        let len = bytes(HEAD_LEN);
        let mut failed = MemberMask::EMPTY;
        for (id, refuge) in &self.places {
            let (from, to) = if back { (refuge.0, 0) } else { (0, refuge.0) };
            let (devices, buffer) = (&self.devices, &mut self.bytes);
            let outcome = bio::scope(|batch| match Chore::device(devices, *id) {
                Some(member) => batch.read(member, from, buffer.slice_mut(0..len), id.0),
                None => batch.fail(id.0, Status::OFFLINE),
            });
            let outcome = if outcome.is_ok() {
                bio::scope(|batch| match Chore::device(devices, *id) {
                    Some(member) => {
                        let head = buffer.slice(0..len);
                        batch.write(member, to, head, Flags::SYNC, id.0);
                    }
                    None => batch.fail(id.0, Status::OFFLINE),
                })
            } else {
                outcome
            };
            failed = failed | failed_members(&outcome);
        }
        failed
    }

    /// Writes a signature where the heads of `members` were.
    pub(super) fn sign(&mut self, members: MemberMask) -> MemberMask {
        let Some(superblock) = &self.superblock else {
            return members;
        };
        let len = bytes(HEAD_LEN);
        let mut failed = MemberMask::EMPTY;
        for id in members.iter() {
            let signature = Signature {
                volume: superblock.uuid,
                member: superblock.members[usize::from(id.0)].uuid,
            };
            let head = &mut self.bytes.as_mut_slice()[..len];
            head.fill(0);
            encode_signature(&signature, head, crc32c);
            let (devices, buffer) = (&self.devices, &self.bytes);
            let outcome = bio::scope(|batch| match Chore::device(devices, id) {
                Some(member) => {
                    let flags = Flags::FUA | Flags::SYNC | Flags::META;
                    batch.write(member, 0, buffer.slice(0..len), flags, id.0);
                }
                None => batch.fail(id.0, Status::OFFLINE),
            });
            failed = failed | failed_members(&outcome);
        }
        failed
    }
}
