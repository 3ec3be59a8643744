// SPDX-License-Identifier: GPL-2.0
//! The beginning of a migration, as long as it can be taken back.

use core::ops::DerefMut;

use super::{State, Step};
use crate::engine::Engine;
use crate::geometry::MemberMask;
use crate::ondisk::Superblock;
use crate::text::Text;

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    /// A migration was taken on, and its first superblock is not durable yet.
    pub(in crate::engine) fn is_starting(&self) -> bool {
        let at_it = self.control.step == Step::Start && self.control.state != State::Idle;
        self.control.starting || (at_it && self.map.target.is_none())
    }

    /// The superblock that a migration would begin with was made before a member failed.
    pub(super) fn cancel_start(&mut self) {
        if core::mem::take(&mut self.control.starting) {
            self.control.turning = false;
            if self.control.settling {
                return self.fail();
            }
            self.turn_away();
            self.blocked = Some(Text::from(
                "the migration did not begin, because a member failed; replace it or leave it out, and write migrate again",
            ));
        }
    }

    /// Members that were to come in with a migration, which `before` tells of, don't.
    pub(super) fn turn_away(&mut self) {
        for (id, row) in self.before.rows() {
            if self.sb.member_by_uuid(row.uuid).is_none() {
                self.leaving.insert(id);
            }
        }
        self.control.dirty = true;
    }

    /// A new member failed before the migration began: back to what was.
    pub(super) fn take_back_start(&mut self, failed: MemberMask) {
        let (epoch, generation) = self.sb.age();
        let journal = self.sb.journal;
        core::mem::swap(&mut *self.sb, &mut *self.before);
        self.sb.epoch = epoch;
        self.sb.generation = generation;
        self.turn_away();
        self.sb.journal = journal;
        self.journal_step_failed();
        self.control.step = Step::Plain;
        self.control.turning = false;
        self.paused = false;
        let mut why = Text::new();
        let _ = core::fmt::Write::write_fmt(
            &mut why,
            format_args!(
                "the migration did not begin: member mask {:#x} took no superblock",
                failed.0
            ),
        );
        self.blocked = Some(why);
        if self.sb.live() & failed != MemberMask::EMPTY {
            self.note_faults(failed & self.sb.live());
            if !self.control.unbearable.is_empty() {
                return self.fail();
            }
        }
        self.commit();
    }
}
