// SPDX-License-Identifier: GPL-2.0
//! Requests of the user: admitted, routed, carried out and retried along the
//! rules that bind the driver too.
//!
//! A request holds a view (a reference to the map) while it transfers, never
//! while it waits. Writes take their range first and look at the cursor then.

mod done;
mod mend;
mod read;
mod write;

use std::collections::VecDeque;
use std::rc::Rc;

use restripe_core::admit::{Map, Route};
use restripe_core::engine::{Event, Which};
use restripe_core::geometry::{Logical, MemberMask, Range};
use restripe_core::placement::Set;
use restripe_core::stripe::{ParityPiece, Plan};

use crate::disk::Tag;
use crate::io::{Group, Owner};
use crate::oracle::{Glance, Promise, tag};
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
    /// What the engine was told of that, if it waits for what becomes of them.
    told: Event,
    /// Members that its record is written to, and those of them that failed.
    record: MemberMask,
    unrecorded: MemberMask,
    glance: Option<(Glance, Glance)>,
    promise: Option<(Promise, Promise)>,
}

impl Request {
    pub fn range(&self) -> Range {
        self.range
    }

    /// Whether it could not read a member, and goes elsewhere.
    pub fn is_avoiding(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Whether it writes the target's part of the gap, and has written the source's.
    fn is_at_gap(&self) -> bool {
        self.is_both && self.sets.front() == Some(&Which::Target)
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
            told: Event::Tick,
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
        if !map.holds(range) {
            return self.finish(id, false);
        }
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
}
