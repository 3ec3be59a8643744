// SPDX-License-Identifier: GPL-2.0
//! Resync, check, repair and rebuild, band by band.

use restripe_core::engine::{Event, ScrubKind, Which};
use restripe_core::geometry::{div, rem, Logical, MemberMask, Offset, Range, Sectors, SECTOR_SIZE};
use restripe_core::layout::Layout;
use restripe_core::mend::{verdict, Verdict, MAX_READ_ERRORS};
use restripe_core::placement::Set;
use restripe_core::stripe::{
    difference_lanes, mirror_plan_into, parity_plan_into, recover_into, recover_span, Plan,
    Recover, ScrubMode, BAND,
};

use super::chore::Chore;
use crate::queue::{carry_out, mend_rows, Mended};
use crate::volume::{Members, Volume};

impl Chore {
    /// Goes over `range` of a set; members that failed.
    pub(super) fn scrub(
        &mut self,
        volume: &Volume,
        (which, range, kind): (Which, Range, ScrubKind),
        (alive, onto): (MemberMask, MemberMask),
    ) -> MemberMask {
        if kind == ScrubKind::Recover {
            return self.recover(volume, which, range, (alive, onto));
        }
        // Below the cursor of a rebuild more are alive than at the rest of the volume.
        self.map.alive = alive;
        let set = Chore::set(&self.map, which);
        let layout = set.layout;
        if !layout.level.has_parity() {
            let mut x = range.start;
            while x < range.end {
                let len = layout.locate(x).run.min(range.end - x).min(BAND);
                let failed = self.piece(volume, which, (x, len), kind, |set, alive, mode, plan| {
                    mirror_plan_into(set, alive, x, len, mode, plan)
                });
                if !failed.is_empty() {
                    return failed;
                }
                x += len;
            }
            return MemberMask::EMPTY;
        }
        let (mut offset, end) = (layout.row_offset(range.start), layout.used_below(range.end));
        while offset < end {
            let within = Sectors(rem(offset.0, layout.chunk.0));
            let len = BAND.min(layout.chunk - within);
            let x = first_of(&layout, offset);
            let failed = self.piece(volume, which, (x, len), kind, |set, alive, mode, plan| {
                parity_plan_into(set, alive, offset, len, mode, plan)
            });
            if !failed.is_empty() {
                return failed;
            }
            offset += len;
        }
        MemberMask::EMPTY
    }

    /// Writes what is theirs to the members `onto`; members that failed, all that are left where
    /// these don't tell what it was. What one can't be read for the others make, as far as they can,
    /// and it gets that too.
    fn recover(
        &mut self,
        volume: &Volume,
        which: Which,
        range: Range,
        members: (MemberMask, MemberMask),
    ) -> MemberMask {
        let set = Chore::set(&self.map, which);
        let lost = set.members() & members.0;
        let (mut at, end) = recover_span(set, range, true);
        while at < end {
            let set = Chore::set(&self.map, which);
            let (len, found) = recover_into(set, members, at, end, &mut self.plan);
            let mut failed = match found {
                Recover::Planned => self.run(),
                Recover::Nothing => MemberMask::EMPTY,
                Recover::Lost => lost,
            };
            let unread = failed & !members.1;
            if found == Recover::Planned && !unread.is_empty() {
                let step = (at, at + len.0);
                failed = self.recover_without(volume, which, step, members, unread);
            }
            if !failed.is_empty() {
                return failed;
            }
            at += len.0;
        }
        MemberMask::EMPTY
    }

    /// A step of a rebuild for which members can't be read that it was to be read from: what they
    /// lack is made of the others first.
    fn recover_without(
        &mut self,
        volume: &Volume,
        which: Which,
        (at, end): (u64, u64),
        members: (MemberMask, MemberMask),
        unread: MemberMask,
    ) -> MemberMask {
        if volume.count_read_errors(unread) > MAX_READ_ERRORS {
            return unread;
        }
        match self.mend_span(volume, which, (members.0, unread), (at, end)) {
            Mended::Done => {}
            Mended::Failed(failed) => return failed,
            Mended::Lost => return unread,
        }
        let set = Chore::set(&self.map, which);
        recover_into(set, members, at, end, &mut self.plan);
        self.run()
    }

    /// One plan, and for a repair perhaps another.
    fn piece(
        &mut self,
        volume: &Volume,
        which: Which,
        (x, len): (Logical, Sectors),
        kind: ScrubKind,
        plan: impl Fn(&Set, MemberMask, ScrubMode, &mut Plan) -> Option<()>,
    ) -> MemberMask {
        let first = match kind {
            ScrubKind::Resync => ScrubMode::Resync,
            ScrubKind::Check | ScrubKind::Repair => ScrubMode::Check,
            ScrubKind::Recover => unreachable!("a rebuild has plans of its own"),
        };
        for mode in [first, ScrubMode::Resync] {
            let set = Chore::set(&self.map, which);
            if plan(set, self.map.alive, mode, &mut self.plan).is_none() {
                // Too little is left to compare or to write.
                return MemberMask::EMPTY;
            }
            let mut failed = self.run();
            let range = Range::new(x, x + len);
            if !failed.is_empty() && self.mend(volume, which, range, failed) == Mended::Done {
                // What could not be read was written anew: once more.
                let set = Chore::set(&self.map, which);
                if plan(set, self.map.alive, mode, &mut self.plan).is_some() {
                    failed = self.run();
                }
            }
            if !failed.is_empty() || mode == ScrubMode::Resync {
                return failed;
            }
            let lanes = difference_lanes(Chore::set(&self.map, which), &self.plan);
            if !self.report(volume, lanes, (x, len)) || kind != ScrubKind::Repair {
                break;
            }
        }
        MemberMask::EMPTY
    }

    /// Has written anew what could not be read of the rows of `range`.
    pub(super) fn mend(
        &mut self,
        volume: &Volume,
        which: Which,
        range: Range,
        failed: MemberMask,
    ) -> Mended {
        let errors = volume.count_read_errors(failed);
        let (set, alive) = (Chore::set(&self.map, which), self.map.alive);
        match verdict(set, range, (alive, failed), errors) {
            Verdict::Mend => {}
            Verdict::Fault => return Mended::Failed(failed),
            Verdict::Lost => return Mended::Lost,
        }
        let span = recover_span(set, range, true);
        self.mend_span(volume, which, (alive, failed), span)
    }

    /// The same of a span of [`recover_span`], whatever the verdict.
    fn mend_span(
        &mut self,
        volume: &Volume,
        which: Which,
        members: (MemberMask, MemberMask),
        span: (u64, u64),
    ) -> Mended {
        let set = Chore::set(&self.map, which);
        let (devices, plan) = (&self.devices, &mut *self.plan);
        let Some(scratch) = &mut self.memory.scratch else {
            unreachable!("jobs of a set with copies or parity have scratch");
        };
        mend_rows(volume, set, members, span, plan, |plan| {
            carry_out(plan, scratch, |id| Chore::device(devices, id))
        })
    }

    /// Carries out the plan.
    fn run(&mut self) -> MemberMask {
        let (devices, plan): (&Members, &Plan) = (&self.devices, &self.plan);
        let Some(scratch) = &mut self.memory.scratch else {
            unreachable!("jobs of a set with copies or parity have scratch");
        };
        carry_out(plan, scratch, |id| Chore::device(devices, id))
    }

    /// Reports what a check found to differ: these lanes of it are not all zero.
    fn report(
        &self,
        volume: &Volume,
        lanes: core::ops::Range<u16>,
        (x, len): (Logical, Sectors),
    ) -> bool {
        let plan = &self.plan;
        let Some(scratch) = &self.memory.scratch else {
            unreachable!("jobs of a set with copies or parity have scratch");
        };
        let is_alike = |sector: u64| {
            lanes.clone().all(|lane| {
                let at = plan.scratch_at(lane, Sectors(sector));
                let bytes = &scratch.as_slice()[at..at + SECTOR_SIZE];
                bytes.iter().all(|byte| *byte == 0)
            })
        };
        let (mut sector, mut differs) = (0, false);
        while sector < len.0 {
            let start = sector;
            while sector < len.0 && !is_alike(sector) {
                sector += 1;
            }
            if sector > start {
                differs = true;
                let range = Range::new(x + Sectors(start), x + Sectors(sector));
                volume.post(Event::Mismatch { range });
            }
            sector += 1;
        }
        differs
    }
}

/// The first sector of the volume that a band's parity is about.
fn first_of(layout: &Layout, offset: Offset) -> Logical {
    let chunk = layout.chunk.0;
    Logical(div(offset.0, chunk) * layout.stripe().0 + rem(offset.0, chunk))
}
