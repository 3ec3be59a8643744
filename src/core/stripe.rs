// SPDX-License-Identifier: GPL-2.0
//! What a read or a write of a set takes: the transfers, and the arithmetic between them.
//!
//! A [`Plan`] is carried out in order: all `reads` (in parallel), `calcs` (one by
//! one), all `writes` (in parallel). It names buffers only by place: the
//! request's own data, or a scratch area cut into lanes of equal length. The
//! driver and the simulator carry out the very same plans.

mod read;
mod recover;
mod row;
mod scrub;
mod write;

pub use read::{plan_rebuild, plan_rebuild_into, read, Read};
pub use recover::{recover_into, recover_span, Recover};
pub use row::{plan_row, plan_row_into};
pub use scrub::{
    copy_run, difference_lanes, mirror_plan, mirror_plan_into, parity_plan, parity_plan_into,
    ScrubMode,
};
pub use write::{copies, parity_pieces, plan_parity, plan_parity_into, ParityPiece, ParityPieces};

use crate::geometry::{
    MemberId, MemberMask, Offset, Physical, Sectors, SlotId, MAX_SLOTS, SECTOR_SIZE,
};
use crate::layout::Layout;
use crate::list::List;
use crate::parity::Parity;
use crate::placement::Set;

/// Longest lane of scratch that a foreground request takes, in sectors (64 KiB):
/// rows with larger chunks are handled band by band.
pub const BAND: Sectors = Sectors::from_bytes(65536);

/// Transfers of one kind in a plan: every slot, one of them twice, and room for
/// slots whose lane lies on two extents.
pub const MAX_TRANSFERS: usize = MAX_SLOTS + 8;

/// Which bytes a transfer moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buf {
    /// This many sectors into the request's own data.
    Data(Sectors),
    /// A lane of the scratch area, and sectors into it.
    Lane(u16, Sectors),
}

impl Default for Buf {
    fn default() -> Self {
        Buf::Data(Sectors::ZERO)
    }
}

/// One read from or write to a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Transfer {
    pub member: MemberId,
    pub at: Physical,
    pub len: Sectors,
    pub buf: Buf,
}

/// One piece of arithmetic. Lanes are of the plan's scratch; `at` and `len` count within a lane.
/// Where it is about Q, a plan's lanes are the data of a row in order, then P, then Q.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Calc {
    /// Request data, `from` sectors into it, to a lane.
    CopyIn {
        lane: u16,
        at: Sectors,
        from: Sectors,
        len: Sectors,
    },
    /// A lane to request data, `to` sectors into it.
    CopyOut {
        lane: u16,
        at: Sectors,
        to: Sectors,
        len: Sectors,
    },
    /// `lane = XOR of lanes` (a bit mask without `lane`).
    Gen {
        lane: u16,
        lanes: u32,
        at: Sectors,
        len: Sectors,
    },
    /// `lane ^= XOR of lanes` (a bit mask without `lane`).
    Acc {
        lane: u16,
        lanes: u32,
        at: Sectors,
        len: Sectors,
    },
    /// P and Q from the data.
    GenSyndrome { at: Sectors, len: Sectors },
    /// What data `first` to `last` are is added to P and Q, or taken out.
    AccSyndrome {
        first: u16,
        last: u16,
        at: Sectors,
        len: Sectors,
    },
    /// Data `a` and `b`, of which `a` is the smaller number, from all others.
    Recover2 {
        a: u16,
        b: u16,
        at: Sectors,
        len: Sectors,
    },
    /// Data `a`, and P, from all others.
    RecoverP { a: u16, at: Sectors, len: Sectors },
}

impl Calc {
    /// What makes the parity of a row whose data are in the first lanes.
    fn gen_parity(layout: &Layout, at: Sectors, len: Sectors) -> Calc {
        let lane = layout.data_slots() as u16;
        match layout.parities() {
            2 => Calc::GenSyndrome { at, len },
            _ => Calc::Gen {
                lane,
                lanes: (1 << lane) - 1,
                at,
                len,
            },
        }
    }

    /// What adds data `first` to `last` to the parity of their row, or takes them out.
    fn acc_parity(layout: &Layout, first: u16, last: u16, at: Sectors, len: Sectors) -> Calc {
        match layout.parities() {
            2 => Calc::AccSyndrome {
                first,
                last,
                at,
                len,
            },
            _ => Calc::Acc {
                lane: layout.data_slots() as u16,
                lanes: (2 << last) - (1 << first),
                at,
                len,
            },
        }
    }
}

impl Default for Calc {
    fn default() -> Self {
        Calc::Gen {
            lane: 0,
            lanes: 0,
            at: Sectors::ZERO,
            len: Sectors::ZERO,
        }
    }
}

/// Reads, then arithmetic, then writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    pub reads: List<Transfer, MAX_TRANSFERS>,
    pub calcs: List<Calc, { MAX_SLOTS * 2 + 4 }>,
    pub writes: List<Transfer, MAX_TRANSFERS>,
    /// Length of a lane of scratch.
    pub lane: Sectors,
    /// Lanes of scratch that the plan uses.
    pub lanes: u16,
}

impl Plan {
    /// Empties it in place.
    pub fn clear(&mut self) {
        self.reads.clear();
        self.calcs.clear();
        self.writes.clear();
        (self.lane, self.lanes) = (Sectors::ZERO, 0);
    }

    /// Leaves of it that its places are read which it would write: whether they can be.
    pub fn only_probe(&mut self) {
        self.reads.clear();
        self.calcs.clear();
        core::mem::swap(&mut self.reads, &mut self.writes);
    }

    /// Scratch the plan needs, in sectors.
    pub fn scratch(&self) -> Sectors {
        Sectors(self.lane.0 * u64::from(self.lanes))
    }

    /// Bytes into the scratch area of a place in a lane.
    pub fn scratch_at(&self, lane: u16, at: Sectors) -> usize {
        Sectors(u64::from(lane) * self.lane.0 + at.0).bytes() as usize
    }
}

/// The data of a request, as far as arithmetic touches them.
pub trait Payload {
    /// Bytes that stand for a sector, here and in scratch: fewer in the simulator.
    const SECTOR: usize = SECTOR_SIZE;

    /// Copies `to.len()` bytes of the request, from byte `from` on.
    fn copy_to(&self, from: usize, to: &mut [u8]);
    /// Copies `from` into the request, from byte `to` on.
    fn copy_from(&mut self, to: usize, from: &[u8]);
}

/// Carries out a plan's arithmetic on its scratch area.
pub fn calculate<D: Payload>(plan: &Plan, scratch: &mut [u8], data: &mut D, by: &impl Parity) {
    let bytes = |len: Sectors| len.0 as usize * D::SECTOR;
    let lane_at = |lane: u16, at: Sectors| usize::from(lane) * bytes(plan.lane) + bytes(at);
    for calc in &plan.calcs {
        match *calc {
            Calc::CopyIn {
                lane,
                at,
                from,
                len,
            } => {
                let start = lane_at(lane, at);
                data.copy_to(bytes(from), &mut scratch[start..start + bytes(len)]);
            }
            Calc::CopyOut { lane, at, to, len } => {
                let start = lane_at(lane, at);
                data.copy_from(bytes(to), &scratch[start..start + bytes(len)]);
            }
            Calc::Gen {
                lane,
                lanes,
                at,
                len,
            } => combine(scratch, (lane, lanes), bytes(len), by, true, |lane| {
                lane_at(lane, at)
            }),
            Calc::Acc {
                lane,
                lanes,
                at,
                len,
            } => combine(scratch, (lane, lanes), bytes(len), by, false, |lane| {
                lane_at(lane, at)
            }),
            Calc::GenSyndrome { at, len } => {
                let lanes = split(plan, scratch, bytes(plan.lane), (bytes(at), bytes(len)));
                let (data, p, q) = syndrome(plan, lanes);
                by.gen_syndrome(&data[..usize::from(plan.lanes) - 2], p, q);
            }
            Calc::AccSyndrome {
                first,
                last,
                at,
                len,
            } => {
                let lanes = split(plan, scratch, bytes(plan.lane), (bytes(at), bytes(len)));
                let (data, p, q) = syndrome(plan, lanes);
                let which = (usize::from(first), usize::from(last));
                by.xor_syndrome(&data[..usize::from(plan.lanes) - 2], which, p, q);
            }
            Calc::Recover2 { a, b, at, len } => {
                let mut lanes = split(plan, scratch, bytes(plan.lane), (bytes(at), bytes(len)));
                let lanes = &mut lanes[..usize::from(plan.lanes)];
                by.recov_2data(lanes, usize::from(a), usize::from(b));
            }
            Calc::RecoverP { a, at, len } => {
                let mut lanes = split(plan, scratch, bytes(plan.lane), (bytes(at), bytes(len)));
                by.recov_datap(&mut lanes[..usize::from(plan.lanes)], usize::from(a));
            }
        }
    }
}

/// A part of every lane; those there are come first.
type Lanes<'s> = [&'s mut [u8]; MAX_SLOTS];

/// The same part of every lane: `len` bytes from byte `at` on.
fn split<'s>(
    plan: &Plan,
    scratch: &'s mut [u8],
    lane: usize,
    (at, len): (usize, usize),
) -> Lanes<'s> {
    let mut lanes: Lanes<'s> = core::array::from_fn(|_| &mut [][..]);
    let whole = scratch.chunks_exact_mut(lane);
    for (part, whole) in lanes.iter_mut().zip(whole.take(usize::from(plan.lanes))) {
        *part = &mut whole[at..at + len];
    }
    lanes
}

/// The data to read, and P and Q, which are the last lanes there are.
fn syndrome<'s>(
    plan: &Plan,
    mut lanes: Lanes<'s>,
) -> ([&'s [u8]; MAX_SLOTS], &'s mut [u8], &'s mut [u8]) {
    let last = usize::from(plan.lanes) - 1;
    let q = core::mem::take(&mut lanes[last]);
    let p = core::mem::take(&mut lanes[last - 1]);
    (lanes.map(|lane| &*lane), p, q)
}

fn combine(
    scratch: &mut [u8],
    (lane, lanes): (u16, u32),
    bytes: usize,
    by: &impl Parity,
    fresh: bool,
    lane_at: impl Fn(u16) -> usize,
) {
    assert!(lanes & (1 << lane) == 0, "a lane is a source of itself");
    let (before, rest) = scratch.split_at_mut(lane_at(lane));
    let (dst, behind) = rest.split_at_mut(bytes);
    let first_behind = lane_at(lane) + bytes;
    let mut srcs: [&[u8]; MAX_SLOTS] = [&[]; MAX_SLOTS];
    let (mut n, mut left) = (0, lanes);
    while left != 0 {
        let index = left.trailing_zeros() as u16;
        left &= left - 1;
        let from = lane_at(index);
        srcs[n] = match index < lane {
            true => &before[from..from + bytes],
            false => &behind[from - first_behind..from - first_behind + bytes],
        };
        n += 1;
    }
    let mut first = 0;
    if fresh {
        dst.copy_from_slice(srcs[0]);
        first = 1;
    }
    if n > first {
        by.xor(dst, &srcs[first..n]);
    }
}

/// Whether all of `len` sectors from `offset` of `slot` are on members of `alive`.
fn slot_alive(set: &Set, alive: MemberMask, slot: SlotId, offset: Offset, len: Sectors) -> bool {
    let (mut at, mut left) = (offset, len);
    while left > Sectors::ZERO {
        let place = set.place(slot, at);
        if !alive.has(place.member) {
            return false;
        }
        let run = place.run.min(left);
        at += run;
        left = left - run;
    }
    true
}

/// Appends the transfers for `len` sectors from `offset` of `slot`.
fn push(
    list: &mut List<Transfer, MAX_TRANSFERS>,
    set: &Set,
    (slot, offset): (SlotId, Offset),
    len: Sectors,
    buf: Buf,
) {
    let mut done = Sectors::ZERO;
    while done < len {
        let place = set.place(slot, offset + done);
        let run = place.run.min(len - done);
        list.push(Transfer {
            member: place.member,
            at: place.at,
            len: run,
            buf: match buf {
                Buf::Data(at) => Buf::Data(at + done),
                Buf::Lane(lane, at) => Buf::Lane(lane, at + done),
            },
        });
        done = done + run;
    }
}
