// SPDX-License-Identifier: GPL-2.0
//! Where a write puts its data: on all copies, with their parity, on both sets in the gap; to the
//! journal first.

use std::rc::Rc;

use restripe_core::admit::Route;
use restripe_core::engine::{Event, Which};
use restripe_core::geometry::{MemberMask, Range};
use restripe_core::stripe::{copies, parity_pieces, plan_parity};

use super::{Kind, Phase};
use crate::disk::Tag;
use crate::io::{Group, Owner, plan_tags};
use crate::world::World;

impl World {
    pub(super) fn next_write(&mut self, id: u64) {
        let request = self.request(id);
        let view = request.view.clone().expect("a running request is in a map");
        let (route, end) = view.map.route_write(&view.cursor.get(), request.x);
        if route == Route::Both && view.map.gap_waits {
            self.leave(id);
            if !Rc::ptr_eq(&view, &self.view) {
                // That map is no more: nobody would wake who waits for its end.
                return self.enter(id);
            }
            self.request(id).phase = Phase::Parked;
            return self.parked.push(id);
        }
        request.run_end = end.min(request.range.end);
        request.is_both = route == Route::Both;
        request.sets = match route {
            Route::Source => [Which::Source].into(),
            Route::Target => [Which::Target].into(),
            Route::Both => [Which::Source, Which::Target].into(),
            Route::Window => {
                return self.fail("a write got into a window that is being rewritten");
            }
        };
        self.next_set(id);
    }

    /// The next of the run's sets, or the end of the run.
    fn next_set(&mut self, id: u64) {
        let request = self.request(id);
        request.set_x = request.x;
        let Some(which) = request.sets.front().copied() else {
            request.x = request.run_end;
            return self.next_run(id);
        };
        let view = request.view.clone().expect("a running request is in a map");
        let set = Self::set_of(&view, which);
        if set.layout.level.has_parity() {
            let run = Range::new(request.x, request.run_end);
            request.base = (request.x - request.range.start).0 as usize;
            request.alive = view.map.alive_at(&view.cursor.get(), request.x).0;
            request.pieces = parity_pieces(set, request.alive, run).collect();
            self.next_piece(id);
        } else {
            self.next_copies(id);
        }
    }

    pub(super) fn next_copies(&mut self, id: u64) {
        let request = self.request(id);
        if request.set_x == request.run_end {
            request.sets.pop_front();
            return self.next_set(id);
        }
        let fua = matches!(request.kind, Kind::Write { fua: true, .. });
        let view = request.view.clone().expect("a running request is in a map");
        let set = Self::set_of(&view, request.sets[0]);
        let (places, run) = copies(
            set,
            view.map.alive_at(&view.cursor.get(), request.set_x).0,
            request.set_x,
            request.run_end - request.set_x,
        );
        if places.is_empty() {
            return self.finish(id, false);
        }
        let from = (request.set_x - request.range.start).0 as usize;
        let tags = request.data[from..from + run.0 as usize].to_vec();
        request.set_x += run;
        request.phase = Phase::Running;
        let mut group = Group::new(Owner::Request(id));
        for place in &places {
            group.write(place.member, place.at.0, tags.clone(), fua);
        }
        self.begin(group);
    }

    pub(super) fn next_piece(&mut self, id: u64) {
        let request = self.request(id);
        let Some(piece) = request.pieces.front().copied() else {
            request.sets.pop_front();
            return self.next_set(id);
        };
        let view = request.view.clone().expect("a running request is in a map");
        let set = Self::set_of(&view, request.sets[0]);
        if view.map.alive_at(&view.cursor.get(), request.x).0 != request.alive {
            return self.fail("who takes part in a write changed under it");
        }
        let Some(plan) = plan_parity(set, request.alive, &piece) else {
            return self.finish(id, false);
        };
        request.phase = Phase::Reading;
        request.scratch = vec![0; plan.scratch().0 as usize];
        let mut group = Group::new(Owner::Request(id));
        group.plan_reads(&plan, request.base);
        request.plan = Some(Box::new(plan));
        self.begin(group);
    }

    /// It failed at those members, and waits for what the engine makes of it.
    pub(super) fn wait_for_settle(&mut self, id: u64, failed: MemberMask, why: Event) {
        let request = self.request(id);
        request.failed = failed;
        request.phase = Phase::Settling;
        request.told = why;
        request.plan = None;
        if self.failed {
            // Nothing is settled any more.
            return self.finish(id, false);
        }
        // Told before it leaves the map: no drain may end without its being known.
        self.tell(why);
        self.leave(id);
    }

    /// What the request's plan writes goes to the journal first, or the request waits for room.
    pub(super) fn journal_plan(&mut self, id: u64) {
        let Some(request) = self.requests.get(&id) else {
            unreachable!("a request lives until it is done");
        };
        let (Some(view), Some(plan)) = (request.view.clone(), &request.plan) else {
            unreachable!("a write that is journaled has a plan");
        };
        let tags: Vec<Vec<Tag>> = plan
            .writes
            .iter()
            .map(|t| plan_tags(plan, t, &request.data, request.base, &request.scratch))
            .collect();
        let is_target = request.sets[0] == Which::Target;
        let writes = plan.writes;
        let Some((members, group)) = self.record(id, &view, is_target, &writes, &tags) else {
            self.log(|| format!("request {id} finds no room in the journal"));
            self.request(id).plan = None;
            self.request(id).phase = Phase::Parked;
            self.parked.push(id);
            self.tell(Event::WantRoom);
            return self.leave(id);
        };
        self.request(id).record = members;
        self.request(id).phase = Phase::Journaling;
        self.begin(group);
    }

    /// What a plan made goes to its places.
    pub(super) fn write_plan(&mut self, id: u64, fua: bool) {
        let request = self.request(id);
        let Some(plan) = request.plan.take() else {
            unreachable!("a write has a plan");
        };
        request.pieces.pop_front();
        request.phase = Phase::Running;
        let mut group = Group::new(Owner::Request(id));
        group.plan_writes(&plan, &request.data, request.base, &request.scratch, fua);
        self.begin(group);
    }
}
