// SPDX-License-Identifier: GPL-2.0
//! What runs did, by kind: a state counts for every kind that it is of.

use std::fmt;

use restripe_core::layout::Level;

use crate::world::World;

const LEVELS: usize = Level::ALL.len();

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub states: u64,
    pub lives: u64,
    pub steps: u64,
    /// States of volumes that migrate up, and down, and of those how many go back where they came from.
    pub up: u64,
    pub down: u64,
    pub turned: u64,
    pub windows: u64,
    /// States whose writes are journaled.
    pub journaled: u64,
    /// States whose bitmap is in force.
    pub marked: u64,
    /// Sweeps that cleared marks.
    pub swept: u64,
    /// Lives that began with a resync of less than half of the volume.
    pub spared: u64,
    /// States of volumes that came to one set and went on to another, and of those whose size was changed.
    pub went_on: u64,
    pub resized: u64,
    /// States after a member was lost, or that never had it.
    pub short: u64,
    /// Assemblies without a member more.
    pub degraded: u64,
    /// Assemblies that write nothing.
    pub read_only: u64,
    /// Disks refused that were written to elsewhere while they were being adopted, without a superblock and with one.
    pub used: u64,
    pub used_later: u64,
    /// States looked at while members were being rebuilt.
    pub rebuilding: u64,
    /// Rebuilds that came to their end.
    pub rebuilt: u64,
    /// Writes that had something mended which could not be read.
    pub mended: u64,
    /// Writes that had a gap given back, for they could not read there.
    pub given_back: u64,
    /// Windows that went back to the source.
    pub returned: u64,
    /// Rebuilds that found a member they need not to be readable.
    pub stumbled: u64,
    /// Pieces of the mover or of a rebuild that had.
    pub mended_by_jobs: u64,
    /// States of migrations from a level to a level.
    pairs: [[u64; LEVELS]; LEVELS],
}

fn index(level: Level) -> usize {
    let same = |other: &Level| other.name() == level.name();
    Level::ALL
        .iter()
        .position(same)
        .expect("all levels are listed")
}

impl Tally {
    /// Adds what another run did.
    pub fn add(&mut self, other: &Tally) {
        self.states += other.states;
        self.lives += other.lives;
        self.steps += other.steps;
        self.up += other.up;
        self.down += other.down;
        self.turned += other.turned;
        self.windows += other.windows;
        self.journaled += other.journaled;
        self.marked += other.marked;
        self.swept += other.swept;
        self.spared += other.spared;
        self.went_on += other.went_on;
        self.resized += other.resized;
        self.short += other.short;
        self.degraded += other.degraded;
        self.read_only += other.read_only;
        self.used += other.used;
        self.used_later += other.used_later;
        self.rebuilding += other.rebuilding;
        self.rebuilt += other.rebuilt;
        self.mended += other.mended;
        self.given_back += other.given_back;
        self.returned += other.returned;
        self.stumbled += other.stumbled;
        self.mended_by_jobs += other.mended_by_jobs;
        let others = other.pairs.iter().flatten();
        for (mine, theirs) in self.pairs.iter_mut().flatten().zip(others) {
            *mine += theirs;
        }
    }

    /// Counts states that crashes at one moment could leave.
    pub fn count(&mut self, world: &World, states: u64) {
        let (sb, map) = (world.engine.superblock(), &world.view.map);
        let cursor = world.view.cursor.get();
        let counts = |is: bool| if is { states } else { 0 };
        self.states += states;
        self.windows += counts(cursor.window.is_some());
        self.rebuilding += counts(!map.rebuilding.is_empty());
        self.journaled += counts(sb.journal.in_force);
        self.marked += counts(sb.marked);
        self.went_on += counts(world.leg > 0 && sb.migration.is_some());
        self.resized += counts(world.resized);
        self.short += counts(world.faulted);
        let (Some(target), Some(migration)) = (&map.target, sb.migration) else {
            return;
        };
        self.up += counts(!migration.descending);
        self.down += counts(migration.descending);
        self.turned += counts(migration.aborting);
        let (from, to) = (index(map.source.layout.level), index(target.layout.level));
        self.pairs[from][to] += states;
    }

    /// Pairs of levels of which there was a migration with crashes, and pairs in all.
    pub fn pairs(&self) -> (usize, usize) {
        let all = self.pairs.iter().flatten();
        (all.filter(|states| **states > 0).count(), LEVELS * LEVELS)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seen, pairs) = self.pairs();
        write!(
            f,
            "of the states {} migrating up, {} down, {} of them turned round; {} in stash windows, {} journaled, {} with a bitmap, {} in a later migration, {} after a change of size, {} short of a member, \
             {} in rebuilds ({} came to their end); {} assemblies without one member more, {} read-only; migrations of {seen} of {pairs} pairs of levels",
            self.up,
            self.down,
            self.turned,
            self.windows,
            self.journaled,
            self.marked,
            self.went_on,
            self.resized,
            self.short,
            self.rebuilding,
            self.rebuilt,
            self.degraded,
            self.read_only,
        )
    }
}
