// SPDX-License-Identifier: GPL-2.0
//! Members that have left: nothing on them passes for a member's any more, and their devices close.

use kernel::prelude::*;
use restripe_core::geometry::{MemberMask, Sectors, MAX_MEMBERS};
use restripe_core::list::List;
use restripe_core::ondisk::{
    is_signature, next_slot, superblock_places, SIGNATURE_SIZE, SUPERBLOCK_SIZE,
};

use super::chore::Chore;
use super::Worker;
use crate::queue::Cutter;
use crate::sys::block::{bio, Flags, Member};
use crate::sys::sync::EPOCHS;
use crate::volume::{KernelEngine, Volume};

impl Chore {
    /// Wipes the superblocks of the devices it has, and the signature of such that came in blank. One
    /// that does not answer stays as it is: it is known to be out of date by what is on the others.
    pub(super) fn dismiss(&mut self, volume: &Volume) {
        for row in 0..MAX_MEMBERS {
            if let Some(member) = self.devices[row].take() {
                let last = volume.slots().lock()[row].take();
                self.wipe(&member, next_slot(last));
                volume.unlink(&member);
            }
        }
    }

    /// The older superblock, in slot `older`, goes first: what it says would be believed alone.
    fn wipe(&mut self, member: &Member, older: usize) {
        let outcome = bio::scope(|batch| {
            let mut cutter = Cutter::new(&mut self.bytes);
            if let Some(to) = cutter.take(0, SIGNATURE_SIZE) {
                batch.read(member, 0, to, 0);
            }
        });
        let signed = outcome.is_ok() && is_signature(&self.bytes.as_slice()[..SIGNATURE_SIZE]);
        self.bytes.as_mut_slice().fill(0);
        let zeroes = &self.bytes;
        let Some(places) = superblock_places(Sectors(member.sectors())) else {
            return;
        };
        let mut pieces: List<(u64, usize), 3> = List::new();
        pieces.push((places[older].0, SUPERBLOCK_SIZE));
        pieces.push((places[1 - older].0, SUPERBLOCK_SIZE));
        if signed {
            pieces.push((0, SIGNATURE_SIZE));
        }
        let mut is_wiped = true;
        for (at, len) in &pieces {
            let outcome = bio::scope(|batch| {
                batch.write(member, *at, zeroes.slice(0..*len), Flags::SYNC, 0);
            });
            let flushed = bio::scope(|batch| batch.flush(member, 0));
            is_wiped &= outcome.is_ok() && flushed.is_ok();
        }
        if !is_wiped {
            pr_warn!(
                "{} left the volume and can't be written to: its superblock stays\n",
                member.name()
            );
        }
    }
}

impl Worker {
    /// Has members seen off that no request is sent to any more. Their devices are taken out of the
    /// volume here, so that the chore has the last hold on them: to close one may take long.
    pub(super) fn dismiss(&mut self, engine: &KernelEngine, members: MemberMask) {
        let volume = self.volume.clone();
        let devices = volume.take_members(members);
        for _ in 0..EPOCHS {
            // What is published stays as it is: what the engine says by now comes with other intents.
            let now = volume.enter(0);
            let view = self.view(&now.map, engine.superblock(), now.cursor());
            drop(now);
            self.begin_epoch(view);
        }
        // Those that were taken out last know the members still.
        for spare in &mut self.spares {
            spare.as_mut().let_go();
        }
        volume.chores().lock().dismiss(members, devices, &volume);
    }
}
