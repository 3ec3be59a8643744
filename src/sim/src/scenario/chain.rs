// SPDX-License-Identifier: GPL-2.0
//! Migrations of one volume one after the other: each begins where the one before ended.

use fastrand::Rng;
use restripe_core::geometry::{Logical, Sectors};
use restripe_core::placement::Set;
use restripe_core::shape::{common_row, way_of};
use restripe_core::way::Way;

use super::{DATA_LEN, Scenario, SetSpec, random_set};

/// One of the migrations.
struct Leg<'a> {
    source: &'a SetSpec,
    target: &'a SetSpec,
    /// Sectors of the volume meanwhile.
    size: u64,
    way: Way,
    /// The longest piece, which is also the longest window.
    longest: Sectors,
}

/// The most sectors that a set holds.
fn most(spec: &SetSpec) -> u64 {
    spec.set().layout.capacity().0
}

impl Scenario {
    /// The same, that goes on to each of `later` when it has come to its target.
    pub fn then(mut self, later: Vec<SetSpec>) -> Scenario {
        self.later = later;
        self
    }

    /// All sets that the volume comes to, in order.
    pub fn specs(&self) -> impl Iterator<Item = &SetSpec> {
        let sets = std::iter::once(&self.source).chain(&self.target);
        sets.chain(&self.later)
    }

    fn legs(&self) -> impl Iterator<Item = Leg<'_>> {
        let pairs = self.specs().zip(self.specs().skip(1));
        pairs.enumerate().map(|(leg, (source, target))| {
            // Later ones begin as large as the set is, or as what comes next can be.
            let size = match leg {
                0 => self.size,
                _ => most(source).min(most(target)),
            };
            let row = common_row(&source.set().layout, &target.set().layout);
            Leg {
                source,
                target,
                size,
                way: self.way_of(leg),
                longest: Sectors(self.piece).max(row).round_down(row),
            }
        })
    }

    /// The way that the migration of that number goes, counted from 0.
    pub(super) fn way_of(&self, leg: usize) -> Way {
        let mut sets = self.specs().skip(leg).map(SetSpec::set);
        let forced = self.forced_way.filter(|_| leg == 0);
        let (source, target) = (sets.next(), sets.next());
        let chosen = source.zip(target).map(|(from, to)| way_of(&from, &to));
        forced.or(chosen).unwrap_or_default()
    }

    /// The most sectors that the stash has to hold.
    pub(super) fn longest_window(&self) -> u64 {
        let longest = |leg: Leg<'_>| leg.longest.0.min(leg.size);
        self.legs().map(longest).max().unwrap_or(1)
    }

    /// Whether every row can be moved in its turn, through a window if need be.
    pub fn can_migrate(&self) -> bool {
        self.legs()
            .all(|leg| self.can_reach((leg.source, leg.target), (leg.way, leg.longest), leg.size))
    }

    /// The sets as the volume lies on them when it is on nothing else: where the core has heads.
    pub fn stops(&self) -> &[Set] {
        self.stops.get_or_init(|| self.find_stops())
    }

    fn find_stops(&self) -> Vec<Set> {
        let mut sb = self.superblock();
        let mut stops = vec![self.first_set()];
        for (leg, target) in self.specs().skip(1).enumerate() {
            let mut set = target.set();
            let began = self.migrating(&sb, leg, 0);
            if let (Some(began), false) = (began, target.is_lone_linear()) {
                set.extents = began.sets[1].extents;
            }
            for member in set.members().iter() {
                sb.members[usize::from(member.0)] = self.row(member.0);
            }
            sb.sets[0] = set;
            sb.volume_sectors = Sectors(most(target));
            sb.ranges[0].end = Logical(most(target));
            stops.push(set);
        }
        stops
    }

    /// The most sectors that the volume may have to go on from the set of that number, if it goes on.
    pub fn most_to_go_on(&self, leg: usize) -> Option<u64> {
        let sizes = || self.legs().map(|leg| leg.size).collect();
        self.sizes.get_or_init(sizes).get(leg).copied()
    }

    /// The same, with some migrations more if that can be.
    pub fn wandering(self, rng: &mut Rng) -> Scenario {
        let mut longer = self.clone();
        for _ in 0..rng.u8(1..4) {
            let chunk = if rng.bool() { 8 } else { 16 };
            let mut next = random_set(rng, self.members, self.size, chunk);
            for extent in next.slots.iter_mut().flatten() {
                extent.adopted = self.adopted == Some(extent.member);
            }
            longer.later.push(next);
        }
        let mut extents = longer
            .later
            .iter()
            .flat_map(|set| set.slots.iter().flatten());
        let fits = extents.all(|e| e.start + e.len <= DATA_LEN);
        let whole = fits && longer.heads_are_whole() && longer.can_migrate();
        // Who goes on can tell whether it has.
        let differs = |pair: &[Set]| !pair[0].lies_as(&pair[1]);
        let good = whole && longer.stops().windows(2).all(differs);
        if self.target.is_some() && good {
            longer
        } else {
            self
        }
    }
}
