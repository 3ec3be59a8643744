// SPDX-License-Identifier: GPL-2.0
//! Resync, check and repair, band by band.

use restripe_core::engine::{Event, ScrubKind, Which};
use restripe_core::geometry::{Logical, MemberMask, Offset, Range, Sectors, SECTOR_SIZE};
use restripe_core::placement::Set;
use restripe_core::stripe::{self, mirror_plan, parity_plan, Plan, ScrubMode, BAND};

use super::chore::Chore;
use super::commit::failed_members;
use crate::queue::{send_reads, send_writes, BufferData, Cutter, KernelXor, Source};
use crate::sys::block::bio;
use crate::sys::block::Flags;
use crate::volume::{Members, Volume};

impl Chore {
    /// Goes over `range` of a set; members that failed.
    pub(super) fn scrub(
        &mut self,
        volume: &Volume,
        which: Which,
        range: Range,
        kind: ScrubKind,
    ) -> MemberMask {
        let set = *Chore::set(&self.map, which);
        let layout = &set.layout;
        if !layout.level.has_parity() {
            let mut x = range.start;
            while x < range.end {
                let len = layout.locate(x).run.min(range.end - x).min(BAND);
                let failed = self.piece(volume, &set, (x, len), kind, |set, alive, mode| {
                    mirror_plan(set, alive, x, len, mode)
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
            let within = Sectors(offset.0 % layout.chunk.0);
            let len = BAND.min(layout.chunk - within);
            let x = first_of(&set, offset);
            let failed = self.piece(volume, &set, (x, len), kind, |set, alive, mode| {
                parity_plan(set, alive, offset, len, mode)
            });
            if !failed.is_empty() {
                return failed;
            }
            offset += len;
        }
        MemberMask::EMPTY
    }

    /// One plan, and for a repair perhaps another.
    fn piece(
        &mut self,
        volume: &Volume,
        set: &Set,
        (x, len): (Logical, Sectors),
        kind: ScrubKind,
        plan: impl Fn(&Set, MemberMask, ScrubMode) -> Option<Plan>,
    ) -> MemberMask {
        let alive = self.map.alive;
        let mode = match kind {
            ScrubKind::Resync => ScrubMode::Resync,
            ScrubKind::Check | ScrubKind::Repair => ScrubMode::Check,
        };
        let Some(first) = plan(set, alive, mode) else {
            return MemberMask::EMPTY;
        };
        let failed = self.run(&first);
        if mode == ScrubMode::Resync || !failed.is_empty() {
            return failed;
        }
        let differs = self.report(volume, set, &first, (x, len));
        if !differs || kind != ScrubKind::Repair {
            return MemberMask::EMPTY;
        }
        match plan(set, alive, ScrubMode::Resync) {
            Some(repair) => self.run(&repair),
            None => MemberMask::EMPTY,
        }
    }

    /// Carries out a plan.
    fn run(&mut self, plan: &Plan) -> MemberMask {
        let devices: &Members = &self.devices;
        let Some(scratch) = &mut self.memory.scratch else {
            return MemberMask::EMPTY;
        };
        let outcome = bio::scope(|batch| {
            let mut cutter = Cutter::new(scratch);
            send_reads(plan, 0, &mut cutter, |id| Chore::device(devices, id), batch);
        });
        if !outcome.is_ok() {
            return failed_members(&outcome);
        }
        let mut nothing = BufferData(&[]);
        stripe::calculate(plan, scratch.as_mut_slice(), &mut nothing, &KernelXor);
        let scratch = &*scratch;
        let outcome = bio::scope(|batch| {
            let device = |id| Chore::device(devices, id);
            let none = Source::Buffer(scratch);
            send_writes(plan, (scratch, 0), none, Flags::NONE, device, batch);
        });
        failed_members(&outcome)
    }

    /// Reports what a check found to differ: its lanes of differences are not all zero.
    fn report(
        &self,
        volume: &Volume,
        set: &Set,
        plan: &Plan,
        (x, len): (Logical, Sectors),
    ) -> bool {
        let Some(scratch) = &self.memory.scratch else {
            return false;
        };
        // A parity set has one such lane, a mirror all but the first.
        let lanes = if set.layout.level.has_parity() {
            plan.lanes - 1..plan.lanes
        } else {
            1..plan.lanes
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
fn first_of(set: &Set, offset: Offset) -> Logical {
    let chunk = set.layout.chunk.0;
    Logical(offset.0 / chunk * set.layout.stripe().0 + offset.0 % chunk)
}
