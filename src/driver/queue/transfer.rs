// SPDX-License-Identifier: GPL-2.0
//! Carries out the core's plans: their transfers, and the data their arithmetic touches.

use kernel::prelude::*;
use pin_init::init;
use restripe_core::geometry::{MemberId, Sectors};
use restripe_core::journal::{runs, Patch};
use restripe_core::parity::{Parity, Reference};
use restripe_core::placement::Place;
use restripe_core::stripe::{Buf, Payload, Plan};

use super::Queue;
use crate::superblock::list;
use crate::sys::block::bio::Batch;
use crate::sys::block::mq::Request;
use crate::sys::block::{Flags, Member, Status};
use crate::sys::mem::{Buffer, Slice, SliceMut};
use crate::sys::parity;

/// An empty plan: too large for a stack, so made in place. *Task* context.
pub(crate) fn empty_plan() -> Result<KBox<Plan>> {
    KBox::init(
        init!(Plan {
            reads <- list(),
            calcs <- list(),
            writes <- list(),
            lane: Sectors::ZERO,
            lanes: 0,
        }? Error),
        GFP_KERNEL,
    )
}

/// XOR and syndromes by the kernel.
pub(crate) struct KernelParity;

impl Parity for KernelParity {
    fn xor(&self, dst: &mut [u8], srcs: &[&[u8]]) {
        parity::xor(dst, srcs);
    }

    fn gen_syndrome(&self, data: &[&[u8]], p: &mut [u8], q: &mut [u8]) {
        parity::gen_syndrome(data, p, q);
    }

    fn xor_syndrome(&self, data: &[&[u8]], which: (usize, usize), p: &mut [u8], q: &mut [u8]) {
        if parity::can_xor_syndrome() {
            parity::xor_syndrome(data, which, p, q);
        } else {
            // Some processors' routines only make syndromes anew.
            Reference.xor_syndrome(data, which, p, q);
        }
    }

    fn recov_2data(&self, disks: &mut [&mut [u8]], a: usize, b: usize) {
        parity::recov_2data(disks, a, b);
    }

    fn recov_datap(&self, disks: &mut [&mut [u8]], a: usize) {
        parity::recov_datap(disks, a);
    }
}

/// The data of a request, from its first byte.
pub(crate) struct RequestData<'a>(pub &'a Request<Queue>);

impl Payload for RequestData<'_> {
    fn copy_to(&self, from: usize, to: &mut [u8]) {
        // CAST: A request is shorter than 4 GiB.
        self.0.copy_out(from as u32, to);
    }

    fn copy_from(&mut self, to: usize, from: &[u8]) {
        // CAST: As above.
        self.0.copy_in(to as u32, from);
    }
}

/// Data in a buffer, for writes only.
pub(crate) struct BufferData<'a>(pub &'a [u8]);

impl Payload for BufferData<'_> {
    fn copy_to(&self, from: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.0[from..from + to.len()]);
    }

    fn copy_from(&mut self, _to: usize, _from: &[u8]) {
        unreachable!("only reads are answered from scratch");
    }
}

/// Hands out parts of a buffer to read into, from its start to its end.
pub(crate) struct Cutter<'s> {
    rest: Option<SliceMut<'s>>,
    at: usize,
}

impl<'s> Cutter<'s> {
    pub(crate) fn new(buffer: &'s mut Buffer) -> Self {
        let len = buffer.len();
        Cutter {
            rest: Some(buffer.slice_mut(0..len)),
            at: 0,
        }
    }

    /// `len` bytes from byte `at` on, if they are behind all that were taken before.
    pub(crate) fn take(&mut self, at: usize, len: usize) -> Option<SliceMut<'s>> {
        let mut rest = self.rest.take()?;
        let skip = at.checked_sub(self.at)?;
        if skip > 0 {
            if skip >= rest.len() {
                return None;
            }
            rest = rest.split_at(skip).1;
        }
        self.at = at + len;
        if len < rest.len() {
            let (part, behind) = rest.split_at(len);
            self.rest = Some(behind);
            Some(part)
        } else {
            (len == rest.len()).then_some(rest)
        }
    }
}

/// Sends a plan's reads, into its scratch that begins `base` bytes into the buffer.
pub(crate) fn send_reads<'s>(
    plan: &Plan,
    base: usize,
    cutter: &mut Cutter<'s>,
    member: impl Fn(MemberId) -> Option<&'s Member>,
    batch: &Batch<'s>,
) {
    send_reads_through(&[], plan, base, cutter, member, batch);
}

/// The same through the journal's `patches`. What fails counts as the failure of the member that
/// was to be read, which the rest of the row may do without.
pub(crate) fn send_reads_through<'s>(
    patches: &[Patch],
    plan: &Plan,
    base: usize,
    cutter: &mut Cutter<'s>,
    member: impl Fn(MemberId) -> Option<&'s Member>,
    batch: &Batch<'s>,
) {
    for read in &plan.reads {
        let id = read.member;
        let Buf::Lane(lane, at) = read.buf else {
            batch.fail(id.0, Status::OFFLINE);
            continue;
        };
        let place = Place {
            member: id,
            at: read.at,
            run: read.len,
        };
        let mut to = base + plan.scratch_at(lane, at);
        for run in runs(patches, place) {
            let bytes = run.run.bytes() as usize;
            match (member(run.member), cutter.take(to, bytes)) {
                (Some(member), Some(to)) => batch.read(member, run.at.0, to, id.0),
                _ => batch.fail(id.0, Status::OFFLINE),
            }
            to += bytes;
        }
    }
}

/// What a plan's writes take their data from, where it is not scratch.
#[derive(Clone, Copy)]
pub(crate) enum Source<'s> {
    /// A request's own pages.
    Request(&'s Request<Queue>),
    /// A buffer that holds the data from its first byte on.
    Buffer(&'s Buffer),
}

impl<'s> Source<'s> {
    /// Sends `len` sectors of it, from `from` on, to sector `at` of a member.
    pub(crate) fn send(
        self,
        batch: &Batch<'s>,
        (from, len): (Sectors, Sectors),
        (member, at): (&'s Member, u64),
        flags: Flags,
        tag: u8,
    ) {
        let (from, len) = (from.bytes() as usize, len.bytes() as usize);
        match self {
            // CAST: A request is shorter than 4 GiB.
            Source::Request(rq) => {
                batch.clone_as(rq, from as u32, len as u32, member, at, flags, tag)
            }
            Source::Buffer(buffer) => {
                batch.write(member, at, buffer.slice(from..from + len), flags, tag)
            }
        }
    }
}

/// Sends a plan's writes, from its scratch that begins `base` bytes into the buffer, and from `data`.
pub(crate) fn send_writes<'s>(
    plan: &Plan,
    (scratch, base): (&'s Buffer, usize),
    data: Source<'s>,
    flags: Flags,
    member: impl Fn(MemberId) -> Option<&'s Member>,
    batch: &Batch<'s>,
) {
    for write in &plan.writes {
        let id = write.member;
        let Some(device) = member(id) else {
            batch.fail(id.0, Status::OFFLINE);
            continue;
        };
        match write.buf {
            Buf::Lane(lane, at) => {
                let start = base + plan.scratch_at(lane, at);
                let from: Slice<'s> = scratch.slice(start..start + write.len.bytes() as usize);
                batch.write(device, write.at.0, from, flags, id.0);
            }
            Buf::Data(from) => {
                let place = (device, write.at.0);
                data.send(batch, (from, write.len), place, flags, id.0);
            }
        }
    }
}
