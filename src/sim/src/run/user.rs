// SPDX-License-Identifier: GPL-2.0
//! What users do: requests, migrations, aborts, settings.

use restripe_core::engine::Event;
use restripe_core::geometry::{Logical, Range, Sectors};
use restripe_core::ondisk::{JournalMode, UNIT};

use super::Runner;
use super::life::Life;
use crate::oracle::{discarded, zeroed};
use crate::requests::Kind;
use crate::world::World;

impl Runner {
    /// Begins the next migration, if it is time for one and what is under way lets it.
    pub(super) fn maybe_migrate(&mut self, world: &mut World, life: &mut Life) -> bool {
        if world.engine.migrate_state() != "none" || life.stopping || world.faulted {
            return false;
        }
        if world.arrive() {
            life.requests += self.effort.requests / 2;
        }
        let sb = world.engine.superblock();
        let here = &self.scenario.stops()[world.leg];
        let is_here = sb.sets[0].lies_as(here);
        let Some(most) = self.scenario.most_to_go_on(world.leg) else {
            return false;
        };
        if !is_here || world.migrating {
            return false;
        }
        if sb.volume_sectors.0 > most {
            return world.resize(most);
        }
        let begun = world.migrate(self.migrations + 1);
        self.migrations += u16::from(begun);
        begun
    }

    /// The user has the volume be of another size.
    fn resize(&mut self, world: &mut World) {
        let sb = world.engine.superblock();
        let most = sb.sets[usize::from(sb.present_set())].layout.capacity();
        let size = match self.rng.u8(..3) {
            0 => most.round_down(UNIT).0,
            1 => self.rng.u64(1..=sb.volume_sectors.0),
            _ => sb
                .volume_sectors
                .0
                .saturating_sub(self.rng.u64(1..10))
                .max(1),
        };
        world.resize(size);
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
        if self.effort.resizes && self.rng.u8(..8) == 0 {
            return self.resize(world);
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
        let near = match self.rng.u8(..9) {
            0 => cursor.copied.0,
            1 => cursor.durable.0,
            2 => cursor.window.map_or(cursor.copied.0, |w| w.start.0),
            3 if !world.view.map.rebuilding.is_empty() => cursor.recovered.0,
            3 => end,
            // What is read of a write under way must not be taken back.
            4 => self.written_now(world).unwrap_or(end / 2),
            _ => self.rng.u64(..end),
        };
        let start = near.saturating_sub(self.rng.u64(..6)).min(end - 1);
        let most = if self.rng.u8(..4) == 0 { 64 } else { 10 };
        let len = self.rng.u64(1..=most).min(end - start);
        let range = Range::new(Logical(start), Logical(start) + Sectors(len));
        let kind = match self.rng.u8(..12) {
            3 | 4 => return world.submit(Kind::Flush, Range::default()),
            0..=2 => Kind::Read,
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

    /// Where a write that has not ended begins.
    fn written_now(&mut self, world: &World) -> Option<u64> {
        let writes: Vec<_> = world.writes_under_way().collect();
        self.rng.choice(writes).map(|range| range.start.0 + 3)
    }
}
