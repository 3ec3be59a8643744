// SPDX-License-Identifier: GPL-2.0
//! Plans carried out on bytes, against a plain array that holds the same volume.

use proptest::prelude::*;
use restripe_core::geometry::{Logical, MemberId, MemberMask, Offset, Range, Sectors};
use restripe_core::layout::Level;
use restripe_core::parity::{Parity, Reference};
use restripe_core::placement::Set;
use restripe_core::stripe::{
    calculate, copies, difference_lanes, mirror_plan, parity_pieces, parity_plan, plan_parity,
    plan_rebuild, plan_row, read, recover_into, recover_span, Buf, Payload, Plan, Read, Recover,
    ScrubMode,
};

use super::sets::{layout, set};

const SECTOR: usize = 512;

struct Data(Vec<u8>);

impl Payload for Data {
    fn copy_to(&self, from: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.0[from..from + to.len()]);
    }
    fn copy_from(&mut self, to: usize, from: &[u8]) {
        self.0[to..to + from.len()].copy_from_slice(from);
    }
}

/// Members as byte arrays.
struct Disks(Vec<Vec<u8>>);

impl Disks {
    fn at(&mut self, member: MemberId, at: u64, len: u64) -> &mut [u8] {
        &mut self.0[usize::from(member.0)][at as usize * SECTOR..][..len as usize * SECTOR]
    }

    /// Carries out a plan; `base` is where its data begin in the request's, in sectors.
    fn run(&mut self, plan: &Plan, data: &mut Data, base: u64) {
        let mut scratch = vec![0xa5; plan.scratch().bytes() as usize];
        for t in &plan.reads {
            let Buf::Lane(lane, at) = t.buf else {
                panic!("plans read into scratch")
            };
            let from = self.at(t.member, t.at.0, t.len.0).to_vec();
            scratch[plan.scratch_at(lane, at)..][..from.len()].copy_from_slice(&from);
        }
        let mut part = Data(data.0[base as usize * SECTOR..].to_vec());
        calculate(plan, &mut scratch, &mut part, &Reference);
        data.0[base as usize * SECTOR..].copy_from_slice(&part.0);
        for t in &plan.writes {
            let len = t.len.bytes() as usize;
            let from = match t.buf {
                Buf::Lane(lane, at) => &scratch[plan.scratch_at(lane, at)..][..len],
                Buf::Data(at) => &part.0[at.bytes() as usize..][..len],
            };
            self.at(t.member, t.at.0, t.len.0).copy_from_slice(from);
        }
    }

    fn write(&mut self, set: &Set, alive: MemberMask, range: Range, data: &mut Data) {
        if set.layout.level.has_parity() {
            for piece in parity_pieces(set, alive, range).collect::<Vec<_>>() {
                let plan =
                    plan_parity(set, alive, &piece).expect("redundancy bears what is missing");
                let inside = |at: u64| piece.lock(set).0 .0 <= at && at < piece.lock(set).1 .0;
                assert!(
                    plan.writes.iter().all(|t| inside(t.at.0 - START)),
                    "a write outside the piece's lock"
                );
                self.run(&plan, data, 0);
            }
            return;
        }
        let mut x = range.start;
        while x < range.end {
            let (places, run) = copies(set, alive, x, range.end - x);
            let from = (x - range.start).bytes() as usize;
            for place in &places {
                let part = data.0[from..from + run.bytes() as usize].to_vec();
                self.at(place.member, place.at.0, run.0)
                    .copy_from_slice(&part);
            }
            x += run;
        }
    }

    fn read(&mut self, set: &Set, alive: MemberMask, range: Range) -> Vec<u8> {
        let mut data = Data(vec![0; range.len().bytes() as usize]);
        let mut x = range.start;
        while x < range.end {
            let to = x - range.start;
            x += match read(set, alive, x, range.end - x) {
                Read::Direct(place) => {
                    assert!(alive.has(place.member));
                    let from = self.at(place.member, place.at.0, place.run.0).to_vec();
                    data.copy_from(to.bytes() as usize, &from);
                    place.run
                }
                Read::Rebuild(len) => {
                    let plan = plan_rebuild(set, alive, x, len, to);
                    assert!(plan.reads.iter().all(|t| alive.has(t.member)));
                    self.run(&plan, &mut data, 0);
                    len
                }
                Read::Lost(len) => panic!("{} sectors are lost at {}", len.0, x.0),
            };
        }
        data.0
    }
}

const START: u64 = 3;

fn disks(set: &Set) -> Disks {
    let members = usize::from(set.layout.slots);
    let len = (START + set.layout.slot_len.0) as usize * SECTOR;
    Disks(vec![vec![0; len]; members])
}

fn any_set() -> impl Strategy<Value = Set> {
    let level = prop_oneof![
        1 => Just(Level::Raid0),
        1 => Just(Level::Raid1),
        2 => (2u8..4).prop_map(|copies| Level::Raid10 { copies }),
        2 => Just(Level::Raid5),
        4 => Just(Level::Raid6)
    ];
    // Chunks longer than a band too.
    (level, prop::sample::select(vec![8u64, 16, 256]), 0u8..3).prop_map(|(level, chunk, more)| {
        let slots = level.min_slots() + more;
        let members: Vec<u8> = (0..slots).collect();
        set(layout(level, chunk, slots, chunk * 6), &members, START)
    })
}

fn whole(set: &Set) -> MemberMask {
    MemberMask((1 << set.layout.slots) - 1)
}

/// Whether every row's parity, or every copy, is true: told by plans that compare.
fn is_true(disks: &mut Disks, set: &Set) -> bool {
    let zero = |plan: &Plan, disks: &mut Disks| {
        let mut scratch = vec![0; plan.scratch().bytes() as usize];
        for t in &plan.reads {
            let Buf::Lane(lane, at) = t.buf else {
                panic!("plans read into scratch")
            };
            let from = disks.at(t.member, t.at.0, t.len.0).to_vec();
            scratch[plan.scratch_at(lane, at)..][..from.len()].copy_from_slice(&from);
        }
        calculate(plan, &mut scratch, &mut Data(Vec::new()), &Reference);
        let (lane, lanes) = (plan.lane.bytes() as usize, difference_lanes(set, plan));
        scratch[usize::from(lanes.start) * lane..usize::from(lanes.end) * lane]
            .iter()
            .all(|b| *b == 0)
    };
    scrub_plans(set, ScrubMode::Check)
        .iter()
        .all(|plan| zero(plan, disks))
}

/// The plans that go over all of a set.
fn scrub_plans(set: &Set, mode: ScrubMode) -> Vec<Plan> {
    let layout = &set.layout;
    let alive = whole(set);
    if layout.level.has_parity() {
        let offsets = (0..layout.slot_len.0).step_by(8).map(Offset);
        let plan = |offset| parity_plan(set, alive, offset, Sectors(8), mode);
        return offsets.map(|o| plan(o).expect("all are there")).collect();
    }
    let mut plans = Vec::new();
    let mut x = Logical::ZERO;
    while layout.level.has_copies() && x.0 < layout.capacity().0 {
        let len = layout.locate(x).run;
        plans.push(mirror_plan(set, alive, x, len, mode).expect("all are there"));
        x += len;
    }
    plans
}

#[derive(Clone, Debug)]
struct Step {
    start: prop::sample::Index,
    len: u64,
    fill: u8,
    /// A member that goes missing from here on, where redundancy bears it.
    lose: Option<u8>,
}

impl Step {
    /// Loses the member, if there is one and the set bears it, and writes to the disks and the
    /// plain array alike; where. `n` is the step's number.
    fn write(
        &self,
        n: usize,
        of: &Set,
        alive: &mut MemberMask,
        disks: &mut Disks,
        model: &mut [u8],
    ) -> Range {
        if let Some(lost) = self.lose {
            let mut less = *alive;
            less.remove(MemberId(lost % of.layout.slots));
            if of.survives(less) {
                *alive = less;
            }
        }
        let size = of.layout.capacity().0;
        let start = self.start.index(size as usize) as u64;
        let end = (start + self.len).min(size);
        let range = Range::new(Logical(start), Logical(end));
        let bytes = (0..range.len().bytes()).map(|i| self.fill ^ (i / 97) as u8 ^ n as u8);
        let mut data = Data(bytes.collect());
        model[start as usize * SECTOR..end as usize * SECTOR].copy_from_slice(&data.0);
        disks.write(of, *alive, range, &mut data);
        range
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let lose = prop_oneof![6 => Just(None), 1 => (0u8..8).prop_map(Some)];
    (any::<prop::sample::Index>(), 1u64..80, any::<u8>(), lose).prop_map(
        |(start, len, fill, lose)| Step {
            start,
            len,
            fill,
            lose,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any writes, then any reads, whole or short of a member: the same as a plain array;
    /// and as long as nobody is missing, copies and parity are true after every write.
    #[test]
    fn a_set_is_an_array(of in any_set(), steps in prop::collection::vec(any_step(), 1..12)) {
        let mut disks = disks(&of);
        let size = of.layout.capacity().0;
        let mut model = vec![0u8; size as usize * SECTOR];
        let mut alive = whole(&of);
        for (n, step) in steps.iter().enumerate() {
            step.write(n, &of, &mut alive, &mut disks, &mut model);
            if alive == whole(&of) {
                prop_assert!(is_true(&mut disks, &of));
            }
        }
        let all = Range::new(Logical(0), Logical(size));
        prop_assert!(disks.read(&of, alive, all) == model);
        // Without any more that it can do without.
        for less in 0..=alive.0 {
            let less = alive & MemberMask(less);
            if of.survives(less) {
                prop_assert!(disks.read(&of, less, all) == model);
            }
        }
    }

    /// Parity that nobody has made true yet, over whatever lies on the disks: what was written is
    /// there whoever is lost before or after, as many as it bears, and is rebuilt.
    #[test]
    fn a_fresh_set_keeps_what_was_written(
        level in prop::sample::select(vec![Level::Raid5, Level::Raid6]),
        more in 0u8..2,
        garbage in any::<u64>(),
        steps in prop::collection::vec(any_step(), 1..12),
    ) {
        let slots = level.min_slots() + more;
        let members: Vec<u8> = (0..slots).collect();
        let mut of = set(layout(level, 8, slots, 32), &members, START);
        (of.resync, of.is_fresh) = (Logical::ZERO, true);
        let mut disks = disks(&of);
        for (i, byte) in disks.0.iter_mut().flatten().enumerate() {
            *byte = (garbage.rotate_left(i as u32) ^ i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
        }
        let size = of.layout.capacity().0;
        let mut model = vec![0u8; size as usize * SECTOR];
        let mut written = vec![false; size as usize];
        let mut alive = whole(&of);
        for (n, step) in steps.iter().enumerate() {
            let range = step.write(n, &of, &mut alive, &mut disks, &mut model);
            written[range.start.0 as usize..range.end.0 as usize].fill(true);
        }
        let all = Range::new(Logical(0), Logical(size));
        let holds = |disks: &mut Disks, of: &Set, alive: MemberMask| {
            let there = disks.read(of, alive, all);
            let sectors = there.chunks(SECTOR).zip(model.chunks(SECTOR));
            sectors.zip(&written).all(|((there, wanted), written)| !written || there == wanted)
        };
        for less in 0..=alive.0 {
            let less = alive & MemberMask(less);
            if of.survives(less) {
                prop_assert!(holds(&mut disks, &of, less));
            }
        }
        let onto = whole(&of) & !alive;
        for plan in recover_plans(&of, alive, onto) {
            disks.run(&plan, &mut Data(Vec::new()), 0);
        }
        prop_assert!(holds(&mut disks, &of, whole(&of)));
        for plan in scrub_plans(&of, ScrubMode::Resync) {
            disks.run(&plan, &mut Data(Vec::new()), 0);
        }
        prop_assert!(is_true(&mut disks, &of));
        prop_assert!(holds(&mut disks, &of, whole(&of)));
    }

    /// Behind the resync cursor parity is not relied on: whatever it was, a write leaves the rows it
    /// touches true where it covers them, and never reads the old parity.
    #[test]
    fn stale_parity_is_not_read(
        level in prop::sample::select(vec![Level::Raid5, Level::Raid6]),
        start in 0u64..40,
        len in 1u64..40,
    ) {
        let members: Vec<u8> = (0..level.min_slots()).collect();
        let mut of = set(layout(level, 8, level.min_slots(), 40), &members, START);
        of.resync = Logical(0);
        let range = Range::new(Logical(start), Logical(start + len));
        for piece in parity_pieces(&of, whole(&of), range) {
            let plan = plan_parity(&of, whole(&of), &piece).expect("all are there");
            for parity in of.layout.parity_slots(piece.row) {
                prop_assert!(plan.reads.iter().all(|t| t.member != MemberId(parity.0)));
            }
        }
    }

    /// Resync makes any garbage true, and does not touch what reads return.
    #[test]
    fn resync_makes_true(
        of in any_set().prop_filter("there is something to resync", |of| of.layout.level.is_redundant()),
        seed in any::<u64>(),
    ) {
        let mut disks = disks(&of);
        let mut state = seed | 1;
        for byte in disks.0.iter_mut().flatten() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *byte = (state >> 56) as u8;
        }
        let all = Range::new(Logical(0), Logical(of.layout.capacity().0));
        let before = disks.read(&of, whole(&of), all);
        prop_assert!(!is_true(&mut disks, &of));
        for plan in &scrub_plans(&of, ScrubMode::Resync) {
            disks.run(plan, &mut Data(Vec::new()), 0);
        }
        prop_assert!(is_true(&mut disks, &of));
        prop_assert!(disks.read(&of, whole(&of), all) == before);
    }

    /// The mover's rows: what is written is what reads return, zero padding and parity included.
    #[test]
    fn rows_are_whole(
        level in prop::sample::select(vec![Level::Raid5, Level::Raid6]),
        row in 0u64..3,
        fill in any::<u8>(),
    ) {
        let of = set(layout(level, 8, 5, 24), &[0, 1, 2, 3, 4], START);
        let mut disks = disks(&of);
        let plan = plan_row(&of, whole(&of), row, |_, _| false);
        let stripe = of.layout.stripe();
        let content: Vec<u8> = (0..stripe.bytes()).map(|i| fill ^ (i / 300) as u8).collect();
        let mut scratch = vec![0; plan.scratch().bytes() as usize];
        scratch[..content.len()].copy_from_slice(&content);
        calculate(&plan, &mut scratch, &mut Data(Vec::new()), &Reference);
        for t in &plan.writes {
            let Buf::Lane(lane, at) = t.buf else { panic!("rows are written from lanes") };
            let from = scratch[plan.scratch_at(lane, at)..][..t.len.bytes() as usize].to_vec();
            disks.at(t.member, t.at.0, t.len.0).copy_from_slice(&from);
        }
        let range = Range::new(Logical(row * stripe.0), Logical((row + 1) * stripe.0));
        prop_assert!(disks.read(&of, whole(&of), range) == content);
        prop_assert!(is_true(&mut disks, &of));
        let kept = plan_row(&of, whole(&of), row, |_, (slot, _)| slot == of.layout.data_slot(row, 0));
        prop_assert_eq!(kept.writes.len() + 1, plan.writes.len());
    }
}

#[test]
fn two_missing_are_too_many_for_parity() {
    let of = set(layout(Level::Raid5, 8, 4, 24), &[0, 1, 2, 3], START);
    let alive = MemberMask(0b1100);
    assert!(!of.survives(alive));
    let range = Range::new(Logical(0), Logical(24));
    assert!(parity_pieces(&of, alive, range).any(|piece| plan_parity(&of, alive, &piece).is_none()));
    assert!(matches!(
        read(&of, alive, Logical(0), Sectors(8)),
        Read::Lost(_)
    ));
}

#[test]
fn fewest_transfers() {
    let of = set(layout(Level::Raid5, 8, 6, 24), &[0, 1, 2, 3, 4, 5], START);
    let reads = |start, end| {
        let range = Range::new(Logical(start), Logical(end));
        let piece = parity_pieces(&of, whole(&of), range)
            .next()
            .expect("there is one");
        let plan = plan_parity(&of, whole(&of), &piece).expect("all are there");
        (plan.reads.len(), plan.writes.len())
    };
    // One chunk of five: read it and the parity.
    assert_eq!(reads(0, 8), (2, 2));
    // Four of five: read the fifth.
    assert_eq!(reads(0, 32), (1, 5));
    // The whole row: nothing.
    assert_eq!(reads(0, 40), (0, 6));
}

/// Every level, every pattern of missing members: what the level promises can be read back
/// and written, and what it does not is said to be lost.
#[test]
fn any_failure_within_the_promise() {
    let near = [2, 3].map(|copies| Level::Raid10 { copies });
    let levels = Level::ALL.into_iter().chain(near);
    for level in levels.filter(|level| *level != Level::Linear) {
        for slots in level.min_slots()..=6 {
            for chunk in [8, 32] {
                let members: Vec<u8> = (0..slots).collect();
                let of = set(layout(level, chunk, slots, chunk * 6), &members, START);
                any_failure_of(&of);
            }
        }
    }
}

fn any_failure_of(of: &Set) {
    let size = of.layout.capacity().0;
    let all = Range::new(Logical(0), Logical(size));
    let content = |salt: u64| -> Vec<u8> {
        let byte = |i: u64| ((i * 31 + i / 512 * 7) ^ salt) as u8;
        (0..size * SECTOR as u64).map(byte).collect()
    };
    let mut disks = disks(of);
    disks.write(of, whole(of), all, &mut Data(content(1)));
    let mut survived = 0;
    for alive in (0..=whole(of).0).map(MemberMask) {
        if !of.survives(alive) {
            let is_lost = |x| matches!(read(of, alive, Logical(x), Sectors(1)), Read::Lost(_));
            assert!((0..size).any(is_lost), "{:?} without {alive:?}", of.layout);
            continue;
        }
        survived += 1;
        assert!(disks.read(of, alive, all) == content(1));
        // Written short of these, chunk by chunk and in odd parts, and read back.
        let mut others = Disks(disks.0.clone());
        for (member, disk) in (0..).map(MemberId).zip(&mut others.0) {
            if !alive.has(member) {
                disk.fill(0xee);
            }
        }
        let (mut start, new) = (0, content(2));
        while start < size {
            let end = (start + 1 + start % 13).min(size);
            let part = new[start as usize * SECTOR..end as usize * SECTOR].to_vec();
            let range = Range::new(Logical(start), Logical(end));
            others.write(of, alive, range, &mut Data(part));
            start = end;
        }
        assert!(
            others.read(of, alive, all) == new,
            "{:?} without {alive:?}",
            of.layout
        );
        let gone = (0..)
            .map(MemberId)
            .zip(&others.0)
            .filter(|(m, _)| !alive.has(*m));
        assert!(gone.flat_map(|(_, disk)| disk).all(|byte| *byte == 0xee));
    }
    let at_least = match of.layout.level {
        Level::Raid0 => 1,
        Level::Raid6 => 1 + u32::from(of.layout.slots) * (u32::from(of.layout.slots) + 1) / 2,
        _ => 1 + u32::from(of.layout.slots),
    };
    assert!(
        survived >= at_least,
        "{:?} survives {survived} patterns",
        of.layout
    );
}

/// Every level, every pattern of members that came in blank, whose rebuild finds what is
/// left of all others: afterwards all is there, and copies and parity are true.
#[test]
fn what_is_missing_is_written_anew() {
    let near = [2, 3].map(|copies| Level::Raid10 { copies });
    let levels = [Level::Raid1, Level::Raid5, Level::Raid6].into_iter();
    for level in levels.chain(near) {
        for slots in level.min_slots()..=5 {
            let members: Vec<u8> = (0..slots).collect();
            rebuild_of(&set(layout(level, 8, slots, 8 * 6), &members, START));
        }
    }
}

fn rebuild_of(of: &Set) {
    let all = Range::new(Logical(0), Logical(of.layout.capacity().0));
    let content: Vec<u8> = (0..all.len().bytes())
        .map(|i| (i * 13 + i / 512) as u8)
        .collect();
    let mut first = disks(of);
    first.write(of, whole(of), all, &mut Data(content.clone()));
    for alive in (0..=whole(of).0).map(MemberMask) {
        let onto = whole(of) & !alive;
        if !of.survives(alive) || onto.is_empty() {
            continue;
        }
        let mut disks = Disks(first.0.clone());
        for member in onto.iter() {
            disks.0[usize::from(member.0)].fill(0xee);
        }
        for plan in recover_plans(of, alive, onto) {
            assert!(plan.reads.iter().all(|t| alive.has(t.member)));
            assert!(plan.writes.iter().all(|t| onto.has(t.member)));
            disks.run(&plan, &mut Data(Vec::new()), 0);
        }
        assert!(disks.0.iter().zip(&first.0).all(|(now, then)| {
            let data = START as usize * SECTOR;
            now[data..] == then[data..]
        }));
        // Nobody is left to tell what one of those that are missing too held.
        let fewer = MemberMask(alive.0 & (alive.0.wrapping_sub(1)));
        if !of.survives(fewer) {
            assert!(
                !recovers_all(of, fewer, onto),
                "{:?} from {fewer:?}",
                of.layout
            );
        }
    }
}

/// The plans of a rebuild of `onto`, each with what becomes of its piece.
fn recoveries(of: &Set, alive: MemberMask, onto: MemberMask) -> Vec<(Recover, Plan)> {
    let mut found = Vec::new();
    let all = Range::new(Logical(0), Logical(of.layout.capacity().0));
    let (mut at, end) = recover_span(of, all, true);
    while at < end {
        let mut plan = Plan::default();
        let (len, what) = recover_into(of, (alive, onto), at, end, &mut plan);
        found.push((what, plan));
        at += len.0;
    }
    found
}

fn recover_plans(of: &Set, alive: MemberMask, onto: MemberMask) -> Vec<Plan> {
    let all = recoveries(of, alive, onto).into_iter();
    all.filter_map(|(what, plan)| match what {
        Recover::Planned => Some(plan),
        Recover::Nothing => None,
        Recover::Lost => panic!("{:?} can't rebuild {onto:?} from {alive:?}", of.layout),
    })
    .collect()
}

fn recovers_all(of: &Set, alive: MemberMask, onto: MemberMask) -> bool {
    let mut all = recoveries(of, alive, onto).into_iter();
    all.all(|(what, _)| what != Recover::Lost)
}

/// The syndrome as its inventor writes it down, by multiplication bit by bit.
#[test]
fn the_reference_is_the_definition() {
    let mul = |a: u8, b: u8| {
        let (mut a, mut product) = (u16::from(a), 0);
        for bit in 0..8 {
            if b & (1 << bit) != 0 {
                product ^= a;
            }
            a <<= 1;
            if a & 0x100 != 0 {
                a ^= 0x11d;
            }
        }
        product as u8
    };
    let data: Vec<Vec<u8>> = (0..14u32)
        .map(|i| {
            (0..512u32)
                .map(|at| (at * (i + 3) + at / 7 + i) as u8)
                .collect()
        })
        .collect();
    let data: Vec<&[u8]> = data.iter().map(|d| &d[..]).collect();
    let (mut p, mut q) = ([1; 512], [2; 512]);
    Reference.gen_syndrome(&data, &mut p, &mut q);
    for at in 0..512 {
        let (mut sum, mut weighed, mut weight) = (0, 0, 1);
        for data in &data {
            sum ^= data[at];
            weighed ^= mul(weight, data[at]);
            weight = mul(weight, 2);
        }
        assert_eq!((p[at], q[at]), (sum, weighed));
    }
    // In and out again.
    let (whole_p, whole_q) = (p, q);
    Reference.xor_syndrome(&data, (3, 7), &mut p, &mut q);
    assert_ne!((p, q), (whole_p, whole_q));
    for index in 3..=7 {
        Reference.xor_syndrome(&data, (index, index), &mut p, &mut q);
    }
    assert_eq!((p, q), (whole_p, whole_q));
}

#[test]
fn xor_is_its_own_inverse() {
    let mut a = [7u8; 512];
    Reference.xor(&mut a, &[&[5; 512], &[9; 512], &[5; 512], &[9; 512]]);
    assert_eq!(a, [7; 512]);
}
