// SPDX-License-Identifier: GPL-2.0
//! Members that have left: nothing on them passes for a member's any more, and their devices close.

use kernel::prelude::*;
use restripe_core::geometry::{MemberMask, Sectors};
use restripe_core::ondisk::{is_signature, superblock_places, SIGNATURE_SIZE, SUPERBLOCK_SIZE};

use super::chore::Chore;
use super::Worker;
use crate::queue::Cutter;
use crate::sys::block::{bio, Flags, Member};
use crate::volume::KernelEngine;

impl Chore {
    /// Wipes the superblocks of these, and the signature of such that came in blank. One that does
    /// not answer stays as it is: it is known to be out of date by what is on the others.
    pub(super) fn dismiss(&mut self, members: MemberMask) {
        for id in members.iter() {
            if let Some(member) = &self.devices[usize::from(id.0)].clone() {
                self.wipe(member);
            }
        }
    }

    fn wipe(&mut self, member: &Member) {
        let outcome = bio::scope(|batch| {
            let mut cutter = Cutter::new(&mut self.bytes);
            if let Some(to) = cutter.take(0, SIGNATURE_SIZE) {
                batch.read(member, 0, to, 0);
            }
        });
        let signed = outcome.is_ok() && is_signature(&self.bytes.as_slice()[..SIGNATURE_SIZE]);
        self.bytes.as_mut_slice().fill(0);
        let zeroes = &self.bytes;
        let outcome = bio::scope(|batch| {
            let places = superblock_places(Sectors(member.sectors()));
            for place in places.into_iter().flatten() {
                let from = zeroes.slice(0..SUPERBLOCK_SIZE);
                batch.write(member, place.0, from, Flags::SYNC, 0);
            }
            if signed {
                batch.write(member, 0, zeroes.slice(0..SIGNATURE_SIZE), Flags::SYNC, 0);
            }
        });
        let flushed = bio::scope(|batch| batch.flush(member, 0));
        if !outcome.is_ok() || !flushed.is_ok() {
            pr_warn!(
                "{} left the volume and can't be written to: its superblock stays\n",
                member.name()
            );
        }
    }
}

impl Worker {
    /// Lets go of the devices of members that have left: no view has them any more.
    pub(super) fn forget(&mut self, gone: MemberMask) {
        let volume = self.volume.clone();
        volume.forget(gone);
        let nobody = [const { None }; restripe_core::geometry::MAX_MEMBERS];
        for spare in &mut self.spares {
            let (map, cursor) = (spare.map, spare.cursor());
            spare.as_mut().refill(&map, cursor, &nobody);
        }
        self.with_engine_view(|worker, engine: &KernelEngine| {
            for _ in 0..crate::sys::sync::EPOCHS {
                worker.replace(engine, engine.cursor());
            }
        });
    }
}
