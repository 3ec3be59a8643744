// SPDX-License-Identifier: GPL-2.0
//! The first 128 KiB of an adopted disk: moved to its reserve and back, a signature in their place.

use restripe_core::engine::Event;
use restripe_core::geometry::{MemberId, MemberMask};
use restripe_core::ondisk::{HEAD_LEN, SIGNATURE_SIZE, Signature, encode_signature, is_signature};

use crate::blobs::crc;
use crate::disk::{Image, Tag, slice};
use crate::io::{Dest, Group, Owner};
use crate::world::{Failure, World};

/// Heads on their way.
#[derive(Default)]
pub struct Heads {
    members: MemberMask,
    back: bool,
    /// One head after the other.
    pub data: Vec<Tag>,
    is_read: bool,
}

impl World {
    pub(crate) fn move_heads(&mut self, members: MemberMask, back: bool) {
        let len = HEAD_LEN.0 as usize;
        let mut group = Group::new(Owner::Heads);
        for (index, member) in members.iter().enumerate() {
            let from = if back {
                self.scenario.head(member.0)
            } else {
                0
            };
            group.read(member, from, HEAD_LEN.0, Dest::Data(index * len));
        }
        self.heads = Heads {
            members,
            back,
            data: vec![0; len * members.count() as usize],
            is_read: false,
        };
        self.begin(group);
    }

    pub(crate) fn heads_io_done(&mut self, failed: MemberMask) {
        if self.heads.is_read || !failed.is_empty() {
            return self.tell(Event::HeadsMoved { failed });
        }
        self.heads.is_read = true;
        let mut group = Group::new(Owner::Heads);
        let heads = self.heads.data.chunks(HEAD_LEN.0 as usize);
        for (member, head) in self.heads.members.iter().zip(heads) {
            let to = if self.heads.back {
                0
            } else {
                self.scenario.head(member.0)
            };
            group.write(member, to, head.to_vec(), false);
        }
        self.begin(group);
    }

    pub(crate) fn sign(&mut self, members: MemberMask) {
        let mut group = Group::new(Owner::Sign);
        for member in members.iter() {
            let superblock = self.engine.superblock();
            let signature = Signature {
                volume: superblock.uuid,
                member: superblock.members[usize::from(member.0)].uuid,
            };
            let mut bytes = [0; SIGNATURE_SIZE];
            encode_signature(&signature, &mut bytes, crc);
            let mut tags = self.blobs.borrow_mut().put(&bytes);
            tags.resize(HEAD_LEN.0 as usize, 0);
            group.write(member, 0, tags, true);
        }
        self.begin(group);
    }

    /// Whether a signature stands wherever a head has moved out.
    ///
    /// # Errors
    /// Where something else does.
    pub fn check_signatures(&self, images: &[Image]) -> Result<(), Failure> {
        let sb = self.engine.superblock();
        let signed = |member: &MemberId| {
            let (shape, image) = (
                self.scenario.disk_shape(member.0),
                &images[usize::from(member.0)],
            );
            let tags = slice(shape, image, 0, HEAD_LEN.0);
            is_signature(&self.blobs.borrow().get(&tags[..1])) && tags[8..].iter().all(|t| *t == 0)
        };
        let lacks = |m: &MemberId| sb.head_moved(*m) && !self.faulted && !signed(m);
        match sb.live().iter().find(lacks) {
            Some(member) => Err(format!("member {} still looks like what it was", member.0)),
            None => Ok(()),
        }
    }
}
