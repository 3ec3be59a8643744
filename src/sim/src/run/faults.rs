// SPDX-License-Identifier: GPL-2.0
//! Members that fail, or can't be read in places, and what users do about it.

use restripe_core::engine::SyncAction;
use restripe_core::geometry::{Logical, MemberId, Offset, SlotId};
use restripe_core::ondisk::MemberState;
use restripe_core::shape::Change;

use super::Runner;
use super::life::Life;
use crate::world::World;

impl Runner {
    /// A sector of a member can't be read from now on: of one member only.
    pub(super) fn spoil(&mut self, world: &mut World) {
        for disk in &mut world.disks {
            disk.heal();
        }
        let source = world.view.map.source;
        let layout = source.layout;
        let offset = Offset(self.rng.u64(..layout.slot_len.0));
        let place = source.place(SlotId(layout.slots - 1), offset);
        if may_have_spots(world) {
            world.disks[usize::from(place.member.0)].spoil(place.at.0);
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

/// Whether some of what lies on the last slot may be unreadable: the source can do without that
/// member, whoever died meanwhile, and whoever reads it knows what to do. A write that finds in the
/// midst of a migration that it can't read what it needs does not.
pub(super) fn may_have_spots(world: &World) -> bool {
    let (map, action) = (&world.view.map, world.engine.sync_action());
    let (source, layout) = (&map.source, map.source.layout);
    // Always the same member: a read under way may have met an earlier spot.
    let last = source.member(SlotId(layout.slots - 1), Offset::ZERO);
    let mut others = map.alive & world.answering() & !world.failing;
    others.remove(last);
    let known = source.resync >= Logical(map.size.0).round_up(layout.stripe());
    let turned = world.engine.migrate_state() == "aborting";
    let moving = world.engine.migrate_state() != "none";
    matches!(
        action,
        SyncAction::Idle | SyncAction::Migrate | SyncAction::Recover
    ) && layout.level.is_redundant()
        && known
        && !turned
        && !(moving && world.has_writes())
        && map.alive.has(last)
        && source.survives(others)
}
