// SPDX-License-Identifier: GPL-2.0
//! Where a read gets its data: from a copy, the rest of the stripe, the source in a gap, or the
//! memory of a window.

use std::rc::Rc;

use restripe_core::admit::Route;
use restripe_core::geometry::{MemberMask, Range};
use restripe_core::stripe::{Read, plan_rebuild, read};

use super::{Kind, Phase};
use crate::io::{Dest, Group, Owner};
use crate::world::World;

impl World {
    pub(super) fn next_read(&mut self, id: u64) {
        let request = self.request(id);
        let view = request.view.clone().expect("a running request is in a map");
        let (x, range) = (request.x, request.range);
        let avoid = request.unread;
        let (route, end) = view.map.route_read(&view.cursor.get(), x);
        let end = end.min(range.end);
        let at = (x - range.start).0 as usize;
        if route == Route::Window {
            let window = &self.jobs[0];
            let from = (x - window.range.start).0 as usize;
            let len = (end - x).0 as usize;
            let tags = window.data[from..from + len].to_vec();
            let request = self.request(id);
            request.data[at..at + len].copy_from_slice(&tags);
            request.x = end;
            return self.next_run(id);
        }
        let all = view.map.alive_at(&view.cursor.get(), x).0;
        let alive = all & !avoid;
        let (mut set, mut end) = (Self::set_of(&view, Self::which(route)), end);
        let gap = view.cursor.get().gap();
        if route == Route::Target && gap.contains(x) {
            end = end.min(gap.end);
            if let Read::Lost(_) = read(set, alive, x, end - x) {
                // I3: what the target does not give, the source still has.
                set = &view.map.source;
            }
        } else if route == Route::Target && x < gap.start {
            end = end.min(gap.start);
        }
        let (found, alive) = match read(set, alive, x, end - x) {
            // Perhaps what failed was another place on that member.
            Read::Lost(_) => (read(set, all, x, end - x), all),
            found => (found, alive),
        };
        match found {
            Read::Direct(place) => {
                self.release(id);
                let request = self.request(id);
                request.phase = Phase::Running;
                request.run_end = x + place.run;
                let mut group = Group::new(Owner::Request(id));
                group.read(place.member, place.at.0, place.run.0, Dest::Data(at));
                self.begin(group);
            }
            Read::Rebuild(len) => {
                if view.map.hold {
                    // Locks are about to change their meaning: a stripe half written could be seen.
                    self.release(id);
                    self.leave(id);
                    if !Rc::ptr_eq(&view, &self.view) {
                        return self.enter(id);
                    }
                    self.request(id).phase = Phase::Parked;
                    return self.parked.push(id);
                }
                let (start, end) = view.map.rebuild_lock_range(Range::new(x, x + len));
                let request = self.request(id);
                if request.locked != Some((start, end)) {
                    self.release(id);
                    self.request(id).locked = Some((start, end));
                    // It waits without a hold on the map, and looks again whether it was held or not.
                    if !self.locks.lock(start, end, id) {
                        self.leave(id);
                        self.request(id).phase = Phase::Waiting;
                        return;
                    }
                    return self.next_read(id);
                }
                let plan = plan_rebuild(set, alive, x, len, x - range.start);
                let request = self.request(id);
                request.phase = Phase::Reading;
                request.base = 0;
                request.run_end = x + len;
                request.scratch = vec![0; plan.scratch().0 as usize];
                let mut group = Group::new(Owner::Request(id));
                group.plan_reads(&plan, 0);
                request.plan = Some(Box::new(plan));
                self.begin(group);
            }
            // By now more of the parity may be known to be true, as with a write.
            Read::Lost(_) if !Rc::ptr_eq(&view, &self.view) => {
                self.release(id);
                self.leave(id);
                self.enter(id);
            }
            Read::Lost(_) => self.finish(id, false),
        }
    }

    /// Whether a read that failed has other places to go to.
    pub(super) fn may_read_elsewhere(&self, id: u64, failed: MemberMask) -> bool {
        let request = &self.requests[&id];
        // It tries each member once.
        request.kind == Kind::Read && (request.unread & failed).is_empty()
    }
}
