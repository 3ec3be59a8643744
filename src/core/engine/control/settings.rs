// SPDX-License-Identifier: GPL-2.0
//! The user's settings of a migration.

use core::ops::DerefMut;

use crate::engine::Engine;
use crate::geometry::Logical;
use crate::ondisk::Superblock;

impl<S: DerefMut<Target = Superblock>> Engine<S> {
    pub(in crate::engine) fn set_paused(&mut self, paused: bool) {
        if self.sb.migration.is_some() || self.control.starting {
            self.control.dirty |= self.paused != paused;
            self.paused = paused;
            if !paused && !self.is_recovering() && self.blocked.take().is_some() {
                self.retry_jobs();
            }
        }
        if !paused {
            self.scrub_blocked = false;
        }
    }

    pub(in crate::engine) fn set_speed(&mut self, speed: u32) {
        self.pace.set(speed);
        self.control.dirty |= self.sb.migration.is_some();
    }

    pub(in crate::engine) fn set_sync_max(&mut self, at: Option<Logical>) {
        self.sync_max = at;
        let sb = match self.control.starting {
            true => &mut self.before,
            false => &mut self.sb,
        };
        if let Some(migration) = &mut sb.migration {
            migration.sync_max = at;
            self.control.dirty = true;
        }
    }
}
