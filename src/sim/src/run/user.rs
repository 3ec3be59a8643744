// SPDX-License-Identifier: GPL-2.0
//! What users do: requests, migrations, aborts, settings.

use restripe_core::engine::Event;
use restripe_core::geometry::{Logical, Range, Sectors};
use restripe_core::ondisk::JournalMode;

use super::Runner;
use super::life::Life;
use crate::oracle::{discarded, zeroed};
use crate::requests::Kind;
use crate::world::World;

impl Runner {
    pub(super) fn maybe_migrate(&mut self, world: &mut World, life: &Life) {
        let sb = world.engine.superblock();
        let due = self.scenario.target.is_some()
            && world.engine.migrate_state() == "none"
            && sb.sets[0].extents == self.first.extents
            && sb.sets[0].layout == self.first.layout
            && !life.stopping
            && !world.migrating
            && !world.faulted;
        if due {
            self.migrations += 1;
            world.migrate(self.migrations);
        }
    }

    /// Something from outside, other than a request.
    pub(super) fn disturb(&mut self, world: &mut World, life: &mut Life) {
        if !world.ready || life.stopping {
            return;
        }
        if life.faults > 0 && self.rng.u8(..3) == 0 {
            return self.hurt(world, life);
        }
        if self.effort.aborts && self.rng.u8(..8) == 0 {
            return world.abort();
        }
        if self.effort.spots && !life.checked {
            self.spoil(world);
        }
        match self.rng.u8(..12) {
            0..=3 => world.pass(self.rng.u64(..100)),
            4 => world.pass(10_000),
            5 | 6 => world.tell(Event::Quiet),
            7 => world.tell(Event::Pause),
            8 => world.tell(Event::Resume),
            9 => {
                let at = self
                    .rng
                    .bool()
                    .then(|| Logical(self.rng.u64(..=self.scenario.size)));
                world.tell(Event::SyncMax(at));
            }
            10 if self.scenario.journal != JournalMode::Off => {
                let modes = [JournalMode::Auto, JournalMode::Always, JournalMode::Off];
                // Short of a member from the start, it is to need no force.
                let some = if self.scenario.absent.is_none() { 3 } else { 2 };
                world.tell(Event::Journal(modes[self.rng.usize(..some)]));
            }
            11 if self.rng.u8(..8) == 0 => life.stopping = true,
            _ => world.tell(Event::Tick),
        }
    }

    pub(super) fn submit(&mut self, world: &mut World) {
        let end = world.strict.len();
        let cursor = world.view.cursor.get();
        // Where it matters most: around the cursors and in the window.
        let near = match self.rng.u8(..8) {
            0 => cursor.copied.0,
            1 => cursor.durable.0,
            2 => cursor.window.map_or(cursor.copied.0, |w| w.start.0),
            3 if !world.view.map.rebuilding.is_empty() => cursor.recovered.0,
            3 => end,
            _ => self.rng.u64(..end),
        };
        let start = near.saturating_sub(self.rng.u64(..6)).min(end - 1);
        let most = if self.rng.u8(..4) == 0 { 64 } else { 10 };
        let len = self.rng.u64(1..=most).min(end - start);
        let range = Range::new(Logical(start), Logical(start) + Sectors(len));
        // A migration with spots is to be read through: what writes meet there is another matter.
        let moving = world.engine.migrate_state() != "none";
        let only_reads = self.effort.spots && moving;
        let kind = match self.rng.u8(..12) {
            3 | 4 => return world.submit(Kind::Flush, Range::default()),
            n if n <= 2 || only_reads => Kind::Read,
            5 => Kind::Discard {
                version: discarded(world.next_version()),
            },
            6 => Kind::Write {
                fua: false,
                version: zeroed(world.next_version()),
            },
            n => Kind::Write {
                fua: n == 7,
                version: world.next_version(),
            },
        };
        world.submit(kind, range);
    }
}
