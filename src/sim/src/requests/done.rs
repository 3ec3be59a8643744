// SPDX-License-Identifier: GPL-2.0
//! What comes after a request's transfers: its next step, a fault to be settled, its end.

use std::rc::Rc;

use restripe_core::engine::Event;
use restripe_core::geometry::MemberMask;

use super::{Kind, Phase};
use crate::io::{Group, Owner};
use crate::plan::calculate;
use crate::world::World;

impl World {
    pub(crate) fn request_io_done(&mut self, id: u64, failed: MemberMask) {
        let request = self.request(id);
        if !failed.is_empty() && matches!(request.kind, Kind::Discard { .. }) {
            return self.finish(id, true);
        }
        if !failed.is_empty() && request.phase == Phase::Reading {
            if self.gives_gap_back(id) {
                self.given_back += 1;
                return self.wait_for_settle(id, failed, Event::GapUnread { members: failed });
            }
            if self.may_mend(id, failed) {
                return self.begin_mend(id, failed);
            }
            let view = self.requests[&id].view.clone();
            let is_write = matches!(self.requests[&id].kind, Kind::Write { .. });
            let half_done = self.requests[&id].is_at_gap();
            if is_write && !half_done && view.is_some_and(|view| !Rc::ptr_eq(&view, &self.view)) {
                // By now more of the parity may be known to be true.
                self.leave(id);
                return self.enter(id);
            }
        }
        if !failed.is_empty() && self.may_read_elsewhere(id, failed) {
            let request = self.request(id);
            request.unread = request.unread | failed;
            let is_current = request.view.as_ref().map(|v| v.map) == Some(self.view.map);
            if !is_current {
                // By now more of the set may be known to be true.
                self.leave(id);
                return self.enter(id);
            }
            return self.next_read(id);
        }
        let request = self.request(id);
        let journaling = request.phase == Phase::Journaling;
        let failed = failed | std::mem::take(&mut request.unrecorded);
        if journaling && !(request.record & !failed).is_empty() {
            // The record counts, so what it says must come to be; who failed is told of then.
            request.unrecorded = failed;
        } else if !failed.is_empty() {
            return self.wait_for_settle(id, failed, Event::Faulted { members: failed });
        }
        match (request.kind, request.phase) {
            (Kind::Flush, _) => self.finish(id, true),
            (Kind::Read, phase) => {
                if let (Phase::Reading, Some(plan)) = (phase, request.plan.take()) {
                    let base = request.base;
                    calculate(&plan, &mut request.scratch, &mut request.data, base);
                    self.release(id);
                }
                let request = self.request(id);
                request.x = request.run_end;
                self.next_run(id);
            }
            (Kind::Write { fua, .. }, Phase::Reading) => {
                let Some(plan) = request.plan.take() else {
                    unreachable!("a write reads for a plan");
                };
                let base = request.base;
                calculate(&plan, &mut request.scratch, &mut request.data, base);
                request.plan = Some(plan);
                let journal = request.view.as_ref().and_then(|v| v.map.journal);
                let journaled = journal.is_some() && !request.is_at_gap();
                if journaled {
                    self.journal_plan(id);
                } else {
                    self.write_plan(id, fua);
                }
            }
            (Kind::Write { .. }, Phase::MendReads) => {
                let Some(plan) = request.plan.take() else {
                    unreachable!("what is mended has a plan");
                };
                calculate(&plan, &mut request.scratch, &mut request.data, 0);
                request.phase = Phase::MendWrites;
                let mut group = Group::new(Owner::Request(id));
                group.plan_writes(&plan, &request.data, 0, &request.scratch, false);
                self.begin(group);
            }
            (Kind::Write { .. }, Phase::MendWrites) => self.next_mend(id),
            (Kind::Write { fua, .. }, Phase::Journaling) => self.write_plan(id, fua),
            (Kind::Write { .. } | Kind::Discard { .. }, _) => {
                let view = request.view.clone().expect("a running request is in a map");
                if Self::set_of(&view, request.sets[0])
                    .layout
                    .level
                    .has_parity()
                {
                    self.next_piece(id);
                } else {
                    self.next_copies(id);
                }
            }
        }
    }

    /// What failed is settled: requests try again, or end with an error.
    pub(crate) fn settle(&mut self, retry: MemberMask) {
        let waiting: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, r)| r.phase == Phase::Settling)
            .map(|(id, _)| *id)
            .collect();
        let stay = self.view.map.kept() & retry;
        for id in waiting {
            if self
                .requests
                .get(&id)
                .is_none_or(|r| r.phase != Phase::Settling)
            {
                continue;
            }
            let gone = self.failed;
            let request = self.request(id);
            if request.kind == Kind::Flush && !(request.failed & stay).is_empty() {
                // Its disk may have dropped what it had, and the next flush succeeds all the same.
                self.finish(id, false);
                continue;
            }
            request.failed = request.failed & !retry;
            if request.failed.is_empty() {
                request.x = request.range.start;
                if request.kind == Kind::Read {
                    self.release(id);
                }
                self.enter(id);
            } else if !retry.is_empty() && !gone {
                // Another fault than those settled: the engine says more of it later.
                let members = request.failed;
                let told = match request.told {
                    Event::GapUnread { .. } => Event::GapUnread { members },
                    _ => Event::Faulted { members },
                };
                self.tell(told);
            } else {
                self.finish(id, false);
            }
        }
    }

    pub(super) fn finish(&mut self, id: u64, well: bool) {
        self.release(id);
        self.leave(id);
        let request = self
            .requests
            .remove(&id)
            .expect("a request lives until it is done");
        let (start, len) = (request.range.start.0, request.range.len().0);
        self.log(|| {
            format!(
                "request {id} ended {}",
                if well { "well" } else { "with EIO" }
            )
        });
        let cut_off = !self.view.map.holds(request.range);
        if !well && !self.flaky && !cut_off {
            self.fail(format!(
                "request {id} {:?} failed and no member did that is needed",
                request.kind
            ));
        }
        match request.kind {
            Kind::Read => {
                let Some((strict, loose)) = request.glance else {
                    return;
                };
                if !well {
                    return;
                }
                let first = self.strict.read_ended(start, &strict, &request.data);
                let second = self.loose.read_ended(start, &loose, &request.data);
                let result = if self.faulted { second } else { first };
                if let Err(wrong) = result {
                    self.fail(format!("read {id}: {wrong}"));
                }
            }
            Kind::Write { fua, version } => {
                for oracle in [&mut self.strict, &mut self.loose] {
                    if well {
                        oracle.write_acked(start, len, version, fua);
                    } else {
                        oracle.write_failed(start, len, version);
                    }
                }
                self.dirty = true;
            }
            Kind::Discard { version } => {
                self.strict.write_failed(start, len, version);
                self.loose.write_failed(start, len, version);
                self.dirty = true;
            }
            Kind::Flush => {
                let (Some((strict, loose)), true) = (request.promise, well) else {
                    return;
                };
                self.strict.flush_acked(&strict);
                self.loose.flush_acked(&loose);
                self.dirty = true;
            }
        }
    }
}
