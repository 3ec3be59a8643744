// SPDX-License-Identifier: GPL-2.0
//! Members that fail, or can't be read in places, and what users do about it.

use restripe_core::engine::SyncAction;
use restripe_core::geometry::{Logical, MemberId, Offset, Sectors, SlotId};
use restripe_core::ondisk::MemberState;
use restripe_core::placement::Set;
use restripe_core::shape::Change;

use super::Runner;
use super::life::Life;
use crate::scenario::Scenario;
use crate::world::World;

impl Runner {
    /// A sector of a member can't be read from now on: of one member only.
    pub(super) fn spoil(&mut self, world: &mut World) {
        for disk in &mut world.disks {
            disk.heal();
        }
        if !may_have_spots(world, self.spotted) {
            return;
        }
        let (map, gap) = (&world.view.map, world.view.cursor.get().gap());
        let sets = [Some(map.source), map.target];
        let holds = |set: &Set| set.members().has(self.spotted);
        let sets: Vec<Set> = sets.into_iter().flatten().filter(holds).collect();
        let Some(set) = self.rng.choice(&sets) else {
            return;
        };
        let layout = &set.layout;
        let (mut offset, mut len) = (Offset(self.rng.u64(..layout.slot_len.0)), 1);
        if layout.level.is_striped() && !gap.is_empty() && self.rng.u8(..4) > 0 {
            // Where writes of the gap may have to read.
            offset = layout.row_offset(gap.start);
            len = layout.used_below(gap.end).0 - offset.0;
        }
        for offset in (0..len).map(|sector| offset + Sectors(sector)) {
            let places = (0..layout.slots).map(|slot| set.place(SlotId(slot), offset));
            for place in places.filter(|place| place.member == self.spotted) {
                world.disks[usize::from(place.member.0)].spoil(place.at.0);
            }
        }
    }

    /// A member fails, or one that failed is replaced.
    pub(super) fn hurt(&mut self, world: &mut World, life: &mut Life) {
        if self.rng.u8(..4) != 0 && self.mend(world) {
            return;
        }
        let member = self.rng.u8(..self.scenario.disks());
        if self.effort.spots && world.is_avoiding() {
            return;
        }
        if world.bears(member) {
            life.faults -= 1;
            if self.rng.u8(..4) == 0 {
                world.fail_member(member);
            } else {
                world.kill(member);
            }
        } else if self.scenario.synced && !world.faulted && self.rng.bool() {
            life.faults = 0;
            world.upset(member, self.rng.u32(1..5));
        }
    }

    /// What a user does about members that failed. False where there is nothing to do.
    fn mend(&mut self, world: &mut World) -> bool {
        let sb = world.engine.superblock();
        let dead: Vec<MemberId> = sb
            .rows()
            .filter(|(_, row)| !row.state.is_live())
            .map(|(id, _)| id)
            .collect();
        let unused = |m: &u8| sb.members.get(usize::from(*m)).is_none_or(|r| !r.is_used());
        let spare = (self.scenario.members..self.scenario.disks())
            .find(|m| unused(m) && !world.gone.has(MemberId(*m)));
        let is_back = |id: &MemberId| {
            let row = &sb.members[usize::from(id.0)];
            row.state == MemberState::Missing && !world.is_dead(*id) && !world.gone.has(*id)
        };
        let back = dead.iter().copied().find(is_back);
        if let (Some(id), true) = (back, self.rng.bool()) {
            world.change(&Change::Return { id });
            return true;
        }
        let change = match (self.rng.choice(&dead), spare, self.rng.u8(..6)) {
            (Some(old), Some(spare), 0..=2) => Change::Replace {
                old: *old,
                id: MemberId(spare),
                row: self.scenario.row(spare),
            },
            (_, Some(spare), 3) => Change::Add {
                id: MemberId(spare),
                row: self.scenario.row(spare),
            },
            (Some(id), _, _) => Change::Remove { id: *id },
            _ => return false,
        };
        world.change(&change);
        true
    }
}

/// The member that can't be read everywhere: that of the last slot of the first set or, of every
/// other seed, of the last one. It is always the same, for a read under way may have met a spot before.
pub(super) fn spotted(scenario: &Scenario, seed: u64) -> MemberId {
    let last = scenario.target.as_ref().filter(|_| seed % 2 == 1);
    let set = last.map_or_else(|| scenario.first_set(), |target| target.set());
    set.member(SlotId(set.layout.slots - 1), Offset::ZERO)
}

/// Whether some of what lies on that member may be unreadable: the volume can do without it,
/// whoever died meanwhile, and whoever reads it knows what to do.
pub(super) fn may_have_spots(world: &World, member: MemberId) -> bool {
    let (map, action) = (&world.view.map, world.engine.sync_action());
    let (source, layout) = (&map.source, map.source.layout);
    let mut others = map.alive & world.answering() & !world.failing;
    others.remove(member);
    let known = source.resync >= Logical(map.size.0).round_up(layout.stripe());
    let state = world.engine.migrate_state();
    let at_rest = known && layout.level.is_redundant() && source.survives(others);
    matches!(
        action,
        SyncAction::Idle | SyncAction::Migrate | SyncAction::Recover
    ) && state != "aborting"
        && map.alive.has(member)
        && match state {
            "none" => at_rest,
            _ => world.keeps_without(member.0) && source.survives(others),
        }
}
