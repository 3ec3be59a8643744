// SPDX-License-Identifier: GPL-2.0
//! Requests of the user: admitted, routed, carried out and retried along the
//! rules that bind the driver too.
//!
//! A request holds a view (a reference to the map) while it transfers, never
//! while it waits. Writes take their range first and look at the cursor then.

use std::collections::VecDeque;
use std::rc::Rc;

use restripe_core::admit::{Map, Route};
use restripe_core::engine::{Event, Which};
use restripe_core::geometry::{Logical, MemberMask, Range};
use restripe_core::mend;
use restripe_core::placement::Set;
use restripe_core::stripe::{
    ParityPiece, Plan, Read, Recover, copies, parity_pieces, plan_parity, plan_rebuild, read,
    recover_into, recover_span,
};

use crate::disk::Tag;
use crate::io::{Dest, Group, Owner, plan_tags};
use crate::oracle::{Glance, Promise, tag};
use crate::plan::calculate;
use crate::world::{View, World};

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Read,
    /// Of data, or of zeroes, as its version says.
    Write {
        fua: bool,
        version: u32,
    },
    Discard {
        version: u32,
    },
    Flush,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for its range.
    Waiting,
    /// Waits for the next map.
    Parked,
    /// Transfers.
    Running,
    /// Reads for a plan.
    Reading,
    /// Reads, and then writes, what a member can't be read for.
    MendReads,
    MendWrites,
    /// Writes what its plan writes to the journal.
    Journaling,
    /// Failed, and waits for what becomes of the members it failed at.
    Settling,
}

/// A request under way.
pub struct Request {
    pub(crate) kind: Kind,
    range: Range,
    phase: Phase,
    pub view: Option<Rc<View>>,
    locked: Option<(u64, u64)>,
    /// Done up to here; of a write, on all of a run's sets.
    x: Logical,
    run_end: Logical,
    sets: VecDeque<Which>,
    /// The run is in the gap.
    is_both: bool,
    /// Of the set that is being written: done up to here.
    set_x: Logical,
    pieces: VecDeque<ParityPiece>,
    /// Who is alive where they are.
    alive: MemberMask,
    plan: Option<Box<Plan>>,
    /// Where the set is gone over that can't be read everywhere, and its end; and by whom.
    mend: (u64, u64),
    unread: MemberMask,
    /// Where the plan's data begin in the request's.
    base: usize,
    pub data: Vec<Tag>,
    pub scratch: Vec<Tag>,
    failed: MemberMask,
    /// Members that its record is written to, and those of them that failed.
    record: MemberMask,
    unrecorded: MemberMask,
    glance: Option<(Glance, Glance)>,
    promise: Option<(Promise, Promise)>,
}

impl Request {
    /// Whether it could not read a member, and goes elsewhere.
    pub fn is_avoiding(&self) -> bool {
        !self.unread.is_empty()
    }
}

/// Whether members are asked to discard: elsewhere what they then hold would have to be known to
/// parity or to both sets.
fn members_discard(map: &Map) -> bool {
    map.target.is_none() && map.rebuilding.is_empty() && !map.source.layout.level.has_parity()
}

impl World {
    /// A request comes in.
    pub fn submit(&mut self, kind: Kind, range: Range) {
        let id = self.next_request;
        self.next_request += 1;
        let (start, len) = (range.start.0, range.len().0);
        let mut request = Request {
            kind,
            range,
            phase: Phase::Running,
            view: None,
            locked: None,
            x: range.start,
            run_end: range.start,
            sets: VecDeque::new(),
            is_both: false,
            set_x: range.start,
            pieces: VecDeque::new(),
            alive: MemberMask::EMPTY,
            plan: None,
            mend: (0, 0),
            unread: MemberMask::EMPTY,
            base: 0,
            data: vec![0; len as usize],
            scratch: Vec::new(),
            failed: MemberMask::EMPTY,
            record: MemberMask::EMPTY,
            unrecorded: MemberMask::EMPTY,
            glance: None,
            promise: None,
        };
        match kind {
            Kind::Read => {
                request.glance = Some((
                    self.strict.read_begins(start, len),
                    self.loose.read_begins(start, len),
                ));
            }
            Kind::Write { version, .. } | Kind::Discard { version } => {
                request.data = (start..start + len).map(|x| tag(x, version)).collect();
                self.strict.write_begins(start, len, version);
                self.loose.write_begins(start, len, version);
            }
            Kind::Flush => {
                request.promise = Some((self.strict.flush_begins(), self.loose.flush_begins()));
            }
        }
        self.log(|| format!("request {id} {kind:?} {start}..{}", start + len));
        self.requests.insert(id, request);
        self.enter(id);
    }

    fn request(&mut self, id: u64) -> &mut Request {
        self.requests
            .get_mut(&id)
            .expect("a request lives until it is done")
    }

    /// Admits a request under the map as it is now.
    pub(crate) fn enter(&mut self, id: u64) {
        let view = self.view.clone();
        let map = &view.map;
        let request = self.request(id);
        let (range, locked) = (request.range, request.locked);
        match request.kind {
            Kind::Flush => {
                request.view = Some(view.clone());
                request.phase = Phase::Running;
                let mut group = Group::new(Owner::Request(id));
                for member in map.flush_members().iter() {
                    group.flush(member, self.disks[usize::from(member.0)].mark());
                }
                return self.begin(group);
            }
            Kind::Read => {
                request.view = Some(view);
                return self.next_run(id);
            }
            Kind::Write { .. } | Kind::Discard { .. } => {}
        }
        if map.read_only || map.hold || map.clean {
            if locked.is_some() {
                self.request(id).locked = None;
                self.unlock(id);
            }
            if map.read_only {
                return self.finish(id, false);
            }
            self.request(id).phase = Phase::Parked;
            self.parked.push(id);
            if map.clean && !map.hold {
                self.tell(Event::WantActive);
            }
            return;
        }
        if let Some(bitmap) = &map.bitmap
            && !self.marks.is_marked(bitmap, range)
        {
            self.marks.want(bitmap, range);
            self.request(id).phase = Phase::Parked;
            self.parked.push(id);
            return self.tell(Event::WantMarks);
        }
        let keys = map.lock_range(range);
        if locked != keys {
            if locked.is_some() {
                self.request(id).locked = None;
                self.unlock(id);
            }
            self.request(id).locked = keys;
            if let Some((start, end)) = keys
                && !self.locks.lock(start, end, id)
            {
                self.request(id).phase = Phase::Waiting;
                return;
            }
        }
        let discards = members_discard(map);
        let request = self.request(id);
        request.view = Some(view);
        request.x = range.start;
        if matches!(request.kind, Kind::Discard { .. }) && !discards {
            return self.finish(id, true);
        }
        self.next_run(id);
    }

    /// A request that waited holds its range now.
    pub(crate) fn granted(&mut self, id: u64) {
        self.enter(id);
    }

    fn which(route: Route) -> Which {
        if route == Route::Target {
            Which::Target
        } else {
            Which::Source
        }
    }

    fn set_of(view: &View, which: Which) -> &Set {
        match (which, &view.map.target) {
            (Which::Target, Some(target)) => target,
            _ => &view.map.source,
        }
    }

    /// The next run of a read or write, or its end.
    fn next_run(&mut self, id: u64) {
        let request = self.request(id);
        if request.x == request.range.end {
            return self.finish(id, true);
        }
        match request.kind {
            Kind::Read => self.next_read(id),
            _ => self.next_write(id),
        }
    }

    fn next_read(&mut self, id: u64) {
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
        let alive = view.map.alive_at(&view.cursor.get(), x).0 & !avoid;
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
        match read(set, alive, x, end - x) {
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

    /// Gives back the range, if it has one.
    fn release(&mut self, id: u64) {
        if self.request(id).locked.take().is_some() {
            self.unlock(id);
        }
    }

    fn leave(&mut self, id: u64) {
        if self.request(id).view.take().is_some() {
            self.left(id);
        }
    }

    fn next_write(&mut self, id: u64) {
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

    fn next_copies(&mut self, id: u64) {
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

    fn next_piece(&mut self, id: u64) {
        let request = self.request(id);
        let Some(piece) = request.pieces.front().copied() else {
            request.sets.pop_front();
            return self.next_set(id);
        };
        let view = request.view.clone().expect("a running request is in a map");
        let set = Self::set_of(&view, request.sets[0]);
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

    /// Whether a write that could not read for its parity has that written anew.
    fn may_mend(&self, id: u64, failed: MemberMask) -> bool {
        let request = &self.requests[&id];
        let (Some(view), Kind::Write { .. }) = (&request.view, request.kind) else {
            return false;
        };
        let set = Self::set_of(view, request.sets[0]);
        let errors = request.unread.count().into();
        let run = Range::new(request.x, request.run_end);
        mend::verdict(set, run, (request.alive, failed), errors) == mend::Verdict::Mend
    }

    /// Whether a read that failed has other places to go to.
    fn may_read_elsewhere(&self, id: u64, failed: MemberMask) -> bool {
        let request = &self.requests[&id];
        let (Some(view), Kind::Read) = (&request.view, request.kind) else {
            return false;
        };
        let cursor = view.cursor.get();
        let (route, _) = view.map.route_read(&cursor, request.x);
        let alive = view.map.alive_at(&cursor, request.x).0;
        let left = alive & !failed & !request.unread;
        let in_gap = route == Route::Target && cursor.gap().contains(request.x);
        let survives =
            view.map.set(route).survives(left) || in_gap && view.map.source.survives(left);
        // It tries each member once.
        (request.unread & failed).is_empty() && survives
    }

    fn begin_mend(&mut self, id: u64, failed: MemberMask) {
        let request = self.request(id);
        let view = request.view.clone().expect("a running request is in a map");
        let set = Self::set_of(&view, request.sets[0]);
        let whole = view.map.target.is_some();
        let run = Range::new(request.x, request.run_end);
        request.mend = recover_span(set, run, whole);
        request.unread = failed;
        self.mended += 1;
        self.next_mend(id);
    }

    fn next_mend(&mut self, id: u64) {
        let request = self.request(id);
        let view = request.view.clone().expect("a running request is in a map");
        let set = Self::set_of(&view, request.sets[0]);
        let members = (request.alive & !request.unread, request.unread);
        let mut plan = Box::<Plan>::default();
        loop {
            let (at, end) = request.mend;
            if at == end {
                // And what could not be read can.
                return self.next_piece(id);
            }
            let (len, found) = recover_into(set, members, at, end, &mut plan);
            request.mend.0 = at + len.0;
            match found {
                Recover::Planned => break,
                Recover::Nothing => {}
                Recover::Lost => return self.finish(id, false),
            }
        }
        request.phase = Phase::MendReads;
        request.scratch = vec![0; plan.scratch().0 as usize];
        let mut group = Group::new(Owner::Request(id));
        group.plan_reads(&plan, 0);
        request.plan = Some(plan);
        self.begin(group);
    }

    pub(crate) fn request_io_done(&mut self, id: u64, failed: MemberMask) {
        let request = self.request(id);
        if !failed.is_empty() && matches!(request.kind, Kind::Discard { .. }) {
            return self.finish(id, true);
        }
        if !failed.is_empty() && request.phase == Phase::Reading {
            if self.may_mend(id, failed) {
                return self.begin_mend(id, failed);
            }
            let view = self.requests[&id].view.clone();
            let is_write = matches!(self.requests[&id].kind, Kind::Write { .. });
            let request = &self.requests[&id];
            let half_done = request.is_both && request.sets.front() == Some(&Which::Target);
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
            request.failed = failed;
            request.phase = Phase::Settling;
            request.plan = None;
            // Told before it leaves the map: no drain may end without its being known.
            self.tell(Event::Faulted { members: failed });
            return self.leave(id);
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
                let in_gap = request.is_both && request.sets[0] == Which::Target;
                let journaled = journal.is_some() && !in_gap;
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

    /// What the request's plan writes goes to the journal first, or the request waits for room.
    fn journal_plan(&mut self, id: u64) {
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
    fn write_plan(&mut self, id: u64, fua: bool) {
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

    /// What failed is settled: requests try again, or end with an error.
    pub(crate) fn settle(&mut self, retry: MemberMask) {
        let waiting: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, r)| r.phase == Phase::Settling)
            .map(|(id, _)| *id)
            .collect();
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
            if (request.failed & !retry).is_empty() {
                request.failed = MemberMask::EMPTY;
                request.x = request.range.start;
                if request.kind == Kind::Read {
                    self.release(id);
                }
                self.enter(id);
            } else if !retry.is_empty() && !gone {
                // Another fault than those settled: the engine says more of it later.
                let members = request.failed;
                self.tell(Event::Faulted { members });
            } else {
                self.finish(id, false);
            }
        }
    }

    fn finish(&mut self, id: u64, well: bool) {
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
        if !well && !self.flaky {
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
