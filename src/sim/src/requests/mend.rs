// SPDX-License-Identifier: GPL-2.0
//! What a write for its parity can't read is made of the rest and written anew first.

use restripe_core::geometry::{MemberMask, Range};
use restripe_core::mend::{self, GapVerdict, gap_verdict};
use restripe_core::stripe::{Plan, Recover, recover_into, recover_span};

use super::{Kind, Phase};
use crate::io::{Group, Owner};
use crate::world::World;

impl World {
    /// Whether a write of the gap that could not read for the target's parity has the gap given back.
    pub(super) fn gives_gap_back(&self, id: u64) -> bool {
        let request = &self.requests[&id];
        let errors = request.unread.count().into();
        request.is_at_gap() && gap_verdict(errors) == GapVerdict::GiveBack
    }

    /// Whether a write that could not read for its parity has that written anew.
    pub(super) fn may_mend(&self, id: u64, failed: MemberMask) -> bool {
        let request = &self.requests[&id];
        let (Some(view), Kind::Write { .. }) = (&request.view, request.kind) else {
            return false;
        };
        let set = Self::set_of(view, request.sets[0]);
        let errors = request.unread.count().into();
        let run = Range::new(request.x, request.run_end);
        // All that failed are mended at once here: no two have spots.
        set.survives(request.alive & !failed)
            && mend::verdict(set, run, (request.alive, failed), errors) == mend::Verdict::Mend
    }

    pub(super) fn begin_mend(&mut self, id: u64, failed: MemberMask) {
        let request = self.request(id);
        let view = request.view.clone().expect("a running request is in a map");
        let set = Self::set_of(&view, request.sets[0]);
        let run = Range::new(request.x, request.run_end);
        request.mend = recover_span(set, run, false);
        request.unread = failed;
        self.mended += 1;
        self.next_mend(id);
    }

    pub(super) fn next_mend(&mut self, id: u64) {
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
}
