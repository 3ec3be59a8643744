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
pub use recover::{recover_mirror_into, recover_parity_into, recover_run, Recover};
pub use row::{plan_row, plan_row_into};
pub use scrub::{mirror_plan, mirror_plan_into, parity_plan, parity_plan_into, ScrubMode};
pub use write::{copies, parity_pieces, plan_parity, plan_parity_into, ParityPiece, ParityPieces};

use crate::geometry::{MemberId, MemberMask, Offset, Physical, Sectors, SlotId, MAX_SLOTS};
use crate::list::List;
use crate::parity::Xor;
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
    /// `lane = XOR of lanes` (a bit mask; all of them lie before `lane`).
    Gen {
        lane: u16,
        lanes: u32,
        at: Sectors,
        len: Sectors,
    },
    /// `lane ^= XOR of lanes` (a bit mask; all of them lie before `lane`).
    Acc {
        lane: u16,
        lanes: u32,
        at: Sectors,
        len: Sectors,
    },
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
    /// Copies `to.len()` bytes of the request, from byte `from` on.
    fn copy_to(&self, from: usize, to: &mut [u8]);
    /// Copies `from` into the request, from byte `to` on.
    fn copy_from(&mut self, to: usize, from: &[u8]);
}

/// Carries out a plan's arithmetic on its scratch area.
pub fn calculate(plan: &Plan, scratch: &mut [u8], data: &mut impl Payload, xor: &impl Xor) {
    for calc in &plan.calcs {
        match *calc {
            Calc::CopyIn {
                lane,
                at,
                from,
                len,
            } => {
                let start = plan.scratch_at(lane, at);
                let bytes = len.bytes() as usize;
                data.copy_to(from.bytes() as usize, &mut scratch[start..start + bytes]);
            }
            Calc::CopyOut { lane, at, to, len } => {
                let start = plan.scratch_at(lane, at);
                let bytes = len.bytes() as usize;
                data.copy_from(to.bytes() as usize, &scratch[start..start + bytes]);
            }
            Calc::Gen {
                lane,
                lanes,
                at,
                len,
            } => combine(plan, scratch, (lane, lanes), (at, len), xor, true),
            Calc::Acc {
                lane,
                lanes,
                at,
                len,
            } => combine(plan, scratch, (lane, lanes), (at, len), xor, false),
        }
    }
}

fn combine(
    plan: &Plan,
    scratch: &mut [u8],
    (lane, lanes): (u16, u32),
    (at, len): (Sectors, Sectors),
    xor: &impl Xor,
    fresh: bool,
) {
    let bytes = len.bytes() as usize;
    let start = plan.scratch_at(lane, at);
    let (before, rest) = scratch.split_at_mut(start);
    let dst = &mut rest[..bytes];
    let mut srcs: [&[u8]; MAX_SLOTS] = [&[]; MAX_SLOTS];
    let mut n = 0;
    for index in (0..u32::BITS as u16).filter(|i| lanes & (1 << i) != 0) {
        assert!(index < lane, "a source lane lies behind its result");
        let from = plan.scratch_at(index, at);
        srcs[n] = &before[from..from + bytes];
        n += 1;
    }
    let mut first = 0;
    if fresh {
        dst.copy_from_slice(srcs[0]);
        first = 1;
    }
    if n > first {
        xor.xor(dst, &srcs[first..n]);
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
