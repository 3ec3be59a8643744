// SPDX-License-Identifier: GPL-2.0
//! The engine's jobs: what load, store, stash and scrub are in transfers.

use std::collections::VecDeque;

use restripe_core::engine::{Event, ScrubKind, Which};
use restripe_core::footprint::{for_each_write, is_in_place};
use restripe_core::geometry::{Logical, MemberId, MemberMask, Offset, Range, Sectors};
use restripe_core::mend::{Verdict, verdict};
use restripe_core::ondisk::{STASH_HEADER_SIZE, StashHeader, UNIT};
use restripe_core::placement::Set;
use restripe_core::stripe::{
    self, BAND, Plan, Read, Recover, ScrubMode, copy_run, difference_lanes, mirror_plan,
    parity_plan, plan_rebuild, plan_row, recover_into, recover_span,
};

use crate::blobs::{crc, crc_of_tags};
use crate::disk::Tag;
use crate::io::{Dest, Group, Owner};
use crate::plan::calculate;
use crate::world::World;

/// What a job is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    Load,
    /// Reading for one plan of a load: a rebuild.
    Rebuild,
    /// Of a load that met what can't be read: whether this step can be, and if not, what it is.
    MendProbe,
    MendRead,
    MendWrite,
    /// The stash, from the members in turn until one's data are whole.
    LoadStash {
        left: MemberMask,
        header: StashHeader,
    },
    Stash,
    Store,
    ScrubRead,
    ScrubWrite,
}

/// A job and its memory.
#[derive(Default)]
pub struct JobTask {
    pub data: Vec<Tag>,
    pub scratch: Vec<Tag>,
    pub range: Range,
    phase: Phase,
    failed: MemberMask,
    rebuilds: VecDeque<(Logical, Sectors)>,
    scrubs: VecDeque<Piece>,
    plan: Option<Box<Plan>>,
    kind: ScrubKind,
    which: Which,
    /// Of a scrub: who is alive, and who is being rebuilt. Of what is mended: who can be read, and
    /// who could not.
    members: (MemberMask, MemberMask),
    /// Where a load is gone over that could not be read, and its end.
    mend: (u64, u64),
    /// Times that it was.
    mends: u64,
    /// Members that could not be read for the piece of a rebuild that is done now.
    unread: MemberMask,
}

/// A piece of a scrub small enough for one plan.
#[derive(Clone, Copy)]
struct Piece {
    /// Sector of the volume, or of the slots where there is parity.
    at: u64,
    len: Sectors,
    /// What differs is to be written anew.
    repair: bool,
}

impl World {
    fn set(&self, which: Which) -> Set {
        match (which, self.view.map.target) {
            (Which::Target, Some(target)) => target,
            _ => self.view.map.source,
        }
    }

    fn alive(&self) -> MemberMask {
        self.view.map.alive
    }

    fn task(&mut self, job: u8) -> &mut JobTask {
        &mut self.jobs[usize::from(job)]
    }

    pub(crate) fn load(&mut self, job: u8, range: Range) {
        self.task(job).mends = 0;
        self.load_again(job, range);
    }

    fn load_again(&mut self, job: u8, range: Range) {
        let mends = self.task(job).mends;
        let set = self.set(Which::Source);
        let len = range.len().0 as usize;
        let task = self.task(job);
        *task = JobTask {
            range,
            phase: Phase::Load,
            data: vec![0; len],
            mends,
            ..JobTask::default()
        };
        let alive = self.alive();
        let end = Logical(range.end.0.min(self.view.map.size.0));
        let mut group = Group::new(Owner::Job(job));
        let mut x = range.start;
        while x < end {
            let step = match stripe::read(&set, alive, x, end - x) {
                Read::Direct(place) => {
                    let dest = Dest::Data((x - range.start).0 as usize);
                    group.read(place.member, place.at.0, place.run.0, dest);
                    place.run
                }
                Read::Rebuild(len) => {
                    self.task(job).rebuilds.push_back((x, len));
                    len
                }
                Read::Lost(len) => {
                    let spot = set.layout.locate(x);
                    let member = set.member(spot.slot, spot.offset);
                    self.task(job).failed.insert(member);
                    len
                }
            };
            x += step;
        }
        self.begin(group);
    }

    fn load_goes_on(&mut self, job: u8) {
        let (set, alive) = (self.set(Which::Source), self.alive());
        let task = self.task(job);
        if task.phase == Phase::Rebuild {
            let base = 0;
            if let Some(plan) = task.plan.take() {
                calculate(&plan, &mut task.scratch, &mut task.data, base);
            }
        }
        if !task.failed.is_empty() {
            return self.load_failed(job);
        }
        let Some((x, len)) = task.rebuilds.pop_front() else {
            return self.loaded(job, MemberMask::EMPTY);
        };
        task.phase = Phase::Rebuild;
        let plan = plan_rebuild(&set, alive, x, len, x - task.range.start);
        task.scratch = vec![0; plan.scratch().0 as usize];
        let mut group = Group::new(Owner::Job(job));
        group.plan_reads(&plan, 0);
        task.plan = Some(Box::new(plan));
        self.begin(group);
    }

    fn loaded(&mut self, job: u8, failed: MemberMask) {
        self.task(job).phase = Phase::Idle;
        self.tell(Event::Loaded { job, failed });
    }

    /// What a member can't be read for is made of the rest and written back, and all is read again.
    fn load_failed(&mut self, job: u8) {
        let (set, alive) = (self.set(Which::Source), self.alive());
        let task = self.task(job);
        task.mends += 1;
        let (failed, range, mends) = (task.failed, task.range, task.mends);
        if !(failed & !alive).is_empty() {
            return self.loaded(job, failed);
        }
        match verdict(&set, range, (alive, failed), mends) {
            // All that failed are mended at once here: no two have spots.
            Verdict::Mend if set.survives(alive & !failed) => {
                let task = self.task(job);
                task.failed = MemberMask::EMPTY;
                task.members = (alive & !failed, failed);
                task.mend = recover_span(&set, range, true);
                self.mend_next(job);
            }
            Verdict::Fault => self.loaded(job, failed),
            Verdict::Mend | Verdict::Lost => self.load_lost(job, failed),
        }
    }

    fn load_lost(&mut self, job: u8, members: MemberMask) {
        self.task(job).phase = Phase::Idle;
        let at = self.task(job).range.start;
        self.tell(Event::Unreadable { job, members, at });
    }

    /// The plan of the step that is being mended.
    fn mend_plan(&mut self, job: u8) -> (Sectors, Recover, Box<Plan>) {
        let set = self.set(Which::Source);
        let task = self.task(job);
        let (at, end) = task.mend;
        let mut plan = Box::<Plan>::default();
        let members = (task.members.0 & !task.unread, task.members.1 | task.unread);
        let (len, found) = recover_into(&set, members, at, end.min(at + UNIT.0), &mut plan);
        (len, found, plan)
    }

    fn mend_next(&mut self, job: u8) {
        self.task(job).unread = MemberMask::EMPTY;
        while self.task(job).mend.0 < self.task(job).mend.1 {
            let (len, found, mut plan) = self.mend_plan(job);
            match found {
                Recover::Planned => {
                    plan.only_probe();
                    return self.mend_reads(job, Phase::MendProbe, plan);
                }
                Recover::Nothing => self.task(job).mend.0 += len.0,
                Recover::Lost => return self.load_lost(job, self.jobs[usize::from(job)].members.1),
            }
        }
        self.mended_by_jobs += 1;
        let range = self.task(job).range;
        self.load_again(job, range);
    }

    fn mend_reads(&mut self, job: u8, phase: Phase, plan: Box<Plan>) {
        let task = self.task(job);
        task.phase = phase;
        task.failed = MemberMask::EMPTY;
        task.scratch = vec![0; plan.scratch().0 as usize];
        let mut group = Group::new(Owner::Job(job));
        group.plan_reads(&plan, 0);
        task.plan = Some(plan);
        self.begin(group);
    }

    /// A step of what is mended has come on.
    fn mend_goes_on(&mut self, job: u8) {
        let set = self.set(Which::Source);
        let task = self.task(job);
        let (phase, failed) = (task.phase, task.failed);
        let (alive, onto) = task.members;
        match phase {
            Phase::MendProbe if failed.is_empty() => {
                let len = self.mend_plan(job).0;
                self.task(job).mend.0 += len.0;
                self.mend_next(job);
            }
            Phase::MendRead if failed.is_empty() => {
                let Some(plan) = task.plan.take() else {
                    unreachable!("what is mended has a plan");
                };
                calculate(&plan, &mut task.scratch, &mut task.data, 0);
                task.phase = Phase::MendWrite;
                let mut group = Group::new(Owner::Job(job));
                group.plan_writes(&plan, &[], 0, &task.scratch, false);
                self.begin(group);
            }
            Phase::MendWrite if failed.is_empty() => {
                let len = self.mend_plan(job).0;
                self.task(job).mend.0 += len.0;
                self.mend_next(job);
            }
            Phase::MendWrite => self.loaded(job, failed),
            Phase::MendRead if !set.survives(alive & !failed) => self.load_lost(job, onto),
            _ => {
                // Of the others, what can't be read either is mended with it.
                task.unread = match phase {
                    Phase::MendRead => task.unread | failed,
                    _ => MemberMask::EMPTY,
                };
                match self.mend_plan(job) {
                    (_, Recover::Planned, plan) => self.mend_reads(job, Phase::MendRead, plan),
                    _ => self.load_lost(job, onto),
                }
            }
        }
    }

    pub(crate) fn load_stash(&mut self, job: u8, members: MemberMask, header: StashHeader) {
        let task = self.task(job);
        let len = header.range.len().0 as usize;
        *task = JobTask {
            range: header.range,
            phase: Phase::LoadStash {
                left: members,
                header,
            },
            data: vec![0; len],
            ..JobTask::default()
        };
        self.load_stash_goes_on(job, true);
    }

    fn load_stash_goes_on(&mut self, job: u8, first: bool) {
        let task = self.task(job);
        let Phase::LoadStash { left, header } = task.phase else {
            unreachable!("a stash is being loaded");
        };
        if !first && crc_of_tags(&task.data) == header.data_crc {
            task.phase = Phase::Idle;
            return self.tell(Event::Loaded {
                job,
                failed: MemberMask::EMPTY,
            });
        }
        let Some(member) = left.iter().next() else {
            task.phase = Phase::Idle;
            let failed = MemberMask(1);
            return self.tell(Event::Loaded { job, failed });
        };
        let mut left = left;
        left.remove(member);
        task.phase = Phase::LoadStash { left, header };
        let at = self.scenario.stash(member.0) + UNIT.0;
        let mut group = Group::new(Owner::Job(job));
        group.read(member, at, header.range.len().0, Dest::Data(0));
        self.begin(group);
    }

    pub(crate) fn stash_data(&mut self, job: u8, members: MemberMask) {
        let task = self.task(job);
        task.phase = Phase::Stash;
        task.failed = MemberMask::EMPTY;
        let data = task.data.clone();
        let mut group = Group::new(Owner::Job(job));
        for member in members.iter() {
            group.write(
                member,
                self.scenario.stash(member.0) + UNIT.0,
                data.clone(),
                false,
            );
        }
        self.begin(group);
    }

    pub(crate) fn stash_header(&mut self, job: u8, members: MemberMask, number: u64, range: Range) {
        let migration = self
            .engine
            .superblock()
            .migration
            .map(|m| m.uuid)
            .unwrap_or_default();
        let task = self.task(job);
        task.phase = Phase::Stash;
        let data_crc = crc_of_tags(&task.data);
        let mut group = Group::new(Owner::Job(job));
        for member in members.iter() {
            let at = self.scenario.stash(member.0);
            let header = StashHeader {
                migration,
                number,
                range,
                data_at: restripe_core::geometry::Physical(at + UNIT.0),
                data_len: range.len(),
                data_crc,
            };
            let mut bytes = [0; STASH_HEADER_SIZE];
            header.encode(&mut bytes, crc);
            let tags = self.blobs.borrow_mut().put(&bytes);
            group.write(member, at, tags, false);
        }
        self.begin(group);
    }

    pub(crate) fn store(&mut self, job: u8, which: Which, range: Range, whole: bool) {
        let map = self.view.map;
        let (source, set, alive) = (map.source, self.set(which), map.alive);
        self.returned += u64::from(which == Which::Source);
        let task = self.task(job);
        task.phase = Phase::Store;
        task.failed = MemberMask::EMPTY;
        let data = task.data.clone();
        let end = Logical(map.size.0);
        let mut group = Group::new(Owner::Job(job));
        if set.layout.level.has_parity() {
            let stripe = set.layout.stripe();
            let mut start = range.start;
            while start < range.end {
                let row = set.layout.row(start);
                let chunk = set.layout.chunk;
                let plan = plan_row(&set, alive, row, |x, at| {
                    !whole && is_in_place(&source, end, &set, x, at, chunk)
                });
                // Lanes are the row's data; what lies behind the volume's end is zero.
                let mut scratch = vec![0; plan.scratch().0 as usize];
                let from = (start - range.start).0 as usize;
                let to = data.len().min(from + stripe.0 as usize);
                scratch[..to - from].copy_from_slice(&data[from..to]);
                calculate(&plan, &mut scratch, &mut [], 0);
                group.plan_writes(&plan, &[], 0, &scratch, false);
                start += stripe;
            }
        } else {
            // What lies behind the volume's end is zero.
            let mut data = data;
            data.resize(range.len().round_up(set.layout.stripe()).0 as usize, 0);
            for_each_write(&set, range, |x, slot, offset, len| {
                let x = x.expect("without parity all is data");
                let mut done = Sectors::ZERO;
                while done < len {
                    let place = set.place(slot, offset + done);
                    let run = place.run.min(len - done);
                    let kept = !whole
                        && is_in_place(
                            &source,
                            end,
                            &set,
                            Some(x + done),
                            (slot, offset + done),
                            run,
                        );
                    if !kept && alive.has(place.member) {
                        let from = (x + done - range.start).0 as usize;
                        let tags = data[from..from + run.0 as usize].to_vec();
                        group.write(place.member, place.at.0, tags, false);
                    }
                    done = done + run;
                }
            });
        }
        self.begin(group);
    }

    pub(crate) fn scrub(
        &mut self,
        job: u8,
        (which, range, kind): (Which, Range, ScrubKind),
        members: (MemberMask, MemberMask),
    ) {
        if kind == ScrubKind::Resync {
            self.check_resync(range);
        }
        let set = self.set(which);
        let mut scrubs = VecDeque::new();
        let repair = matches!(kind, ScrubKind::Resync | ScrubKind::Recover);
        if kind == ScrubKind::Recover {
            let mut plan = Box::<Plan>::default();
            let (mut at, end) = recover_span(&set, range, true);
            while at < end {
                let (len, _) = recover_into(&set, members, at, end, &mut plan);
                scrubs.push_back(Piece { at, len, repair });
                at += len.0;
            }
        } else if set.layout.level.has_parity() {
            let mut offset = set.layout.row_offset(range.start);
            let end = set.layout.used_below(range.end);
            while offset < end {
                let len = set.layout.chunk.min(BAND);
                scrubs.push_back(Piece {
                    at: offset.0,
                    len,
                    repair,
                });
                offset += len;
            }
        } else {
            // Copies have whole rows too: what lies behind the volume's end was zeroed in all.
            let (mut x, end) = (range.start, range.end.round_up(set.layout.stripe()));
            while x < end {
                let len = copy_run(&set, x, end - x);
                scrubs.push_back(Piece {
                    at: x.0,
                    len,
                    repair,
                });
                x += len;
            }
        }
        *self.task(job) = JobTask {
            range,
            scrubs,
            kind,
            which,
            members,
            ..JobTask::default()
        };
        self.scrub_goes_on(job);
    }

    fn scrub_goes_on(&mut self, job: u8) {
        let (which, kind) = (self.task(job).which, self.task(job).kind);
        let (alive, onto) = self.task(job).members;
        let set = self.set(which);
        let failed = self.task(job).failed;
        while let (Some(&piece), true) = (self.task(job).scrubs.front(), failed.is_empty()) {
            let mode = if piece.repair {
                ScrubMode::Resync
            } else {
                ScrubMode::Check
            };
            let parity = set.layout.level.has_parity();
            let plan = if kind == ScrubKind::Recover {
                let mut plan = Box::<Plan>::default();
                let end = piece.at + piece.len.0;
                let unread = self.task(job).unread;
                let members = (alive & !unread, onto | unread);
                let (_, found) = recover_into(&set, members, piece.at, end, &mut plan);
                if found == Recover::Lost {
                    self.task(job).failed = set.members() & alive;
                    break;
                }
                (found == Recover::Planned).then_some(*plan)
            } else if parity {
                parity_plan(&set, alive, Offset(piece.at), piece.len, mode)
            } else {
                mirror_plan(&set, alive, Logical(piece.at), piece.len, mode)
            };
            let Some(plan) = plan else {
                self.task(job).scrubs.pop_front();
                continue;
            };
            let task = self.task(job);
            task.phase = Phase::ScrubRead;
            task.scratch = vec![0; plan.scratch().0 as usize];
            let mut group = Group::new(Owner::Job(job));
            group.plan_reads(&plan, 0);
            task.plan = Some(Box::new(plan));
            return self.begin(group);
        }
        self.task(job).phase = Phase::Idle;
        let failed = self.task(job).failed | self.stumbled(job);
        self.tell(Event::Scrubbed { job, failed });
    }

    /// A member that a rebuild needs, and which for once could not be read.
    fn stumbled(&mut self, job: u8) -> MemberMask {
        let task = &self.jobs[usize::from(job)];
        if self.stumbles == 0 || task.kind != ScrubKind::Recover || self.rng.u8(..8) != 0 {
            return MemberMask::EMPTY;
        }
        let needed = |member: &MemberId| !self.engine.may_lose(*member);
        let member = task.members.0.iter().find(needed);
        self.stumbles -= u8::from(member.is_some());
        member.map_or(MemberMask::EMPTY, MemberMask::of)
    }

    fn scrub_has_read(&mut self, job: u8) {
        let set = self.set(self.jobs[usize::from(job)].which);
        let task = &mut self.jobs[usize::from(job)];
        let (Some(plan), Some(piece)) = (task.plan.take(), task.scrubs.front().copied()) else {
            unreachable!("a scrub reads for a plan");
        };
        let (alive, unread) = (task.members.0, task.unread | task.failed);
        let others = task.kind == ScrubKind::Recover && set.survives(alive & !unread);
        if !task.failed.is_empty() && others && unread != task.unread {
            // The others make what it is to hold too.
            (task.unread, task.failed) = (unread, MemberMask::EMPTY);
            self.mended_by_jobs += 1;
            return self.scrub_goes_on(job);
        }
        if !task.failed.is_empty() {
            return self.scrub_goes_on(job);
        }
        calculate(&plan, &mut task.scratch, &mut task.data, 0);
        if piece.repair {
            task.phase = Phase::ScrubWrite;
            let mut group = Group::new(Owner::Job(job));
            group.plan_writes(&plan, &[], 0, &task.scratch, false);
            return self.begin(group);
        }
        let lane = plan.lane.0 as usize;
        let lanes = difference_lanes(&set, &plan);
        let lanes = usize::from(lanes.start) * lane..usize::from(lanes.end) * lane;
        let differs = task.scratch[lanes].iter().any(|tag| *tag != 0);
        let piece = task.scrubs.pop_front();
        if let (true, Some(piece)) = (differs, piece) {
            if task.kind == ScrubKind::Repair {
                task.scrubs.push_front(Piece {
                    repair: true,
                    ..piece
                });
            }
            let start = if set.layout.level.has_parity() {
                piece.at / set.layout.chunk.0 * set.layout.stripe().0
            } else {
                piece.at
            };
            let range = Range::new(Logical(start), Logical(start) + piece.len);
            self.tell(Event::Mismatch { range });
        }
        self.scrub_goes_on(job);
    }

    pub(crate) fn job_io_done(&mut self, job: u8, failed: MemberMask) {
        let task = self.task(job);
        task.failed = task.failed | failed;
        let failed = task.failed;
        match task.phase {
            Phase::Load | Phase::Rebuild => self.load_goes_on(job),
            Phase::LoadStash { .. } => self.load_stash_goes_on(job, false),
            Phase::Stash => {
                task.phase = Phase::Idle;
                self.tell(Event::Stashed { job, failed });
            }
            Phase::Store => {
                task.phase = Phase::Idle;
                self.tell(Event::Stored { job, failed });
            }
            Phase::ScrubRead => self.scrub_has_read(job),
            Phase::MendProbe | Phase::MendRead | Phase::MendWrite => self.mend_goes_on(job),
            Phase::ScrubWrite => {
                task.scrubs.pop_front();
                task.unread = MemberMask::EMPTY;
                self.scrub_goes_on(job);
            }
            Phase::Idle => unreachable!("an idle job transfers nothing"),
        }
    }
}
