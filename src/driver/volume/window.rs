// SPDX-License-Identifier: GPL-2.0
//! Memory for a piece of a volume: of the mover while it is its alone, and shared
//! with reads while it holds a window that is being rewritten.

use kernel::prelude::*;
use restripe_core::geometry::{Logical, Range, Sectors};

use crate::sys::mem::{Buffer, Slice, MAX_BUFFER};

/// A piece of a volume in memory, in logical order. Chunks are powers of two up to the length of
/// a buffer, so none lies on two of them if the piece starts on a row.
pub(crate) struct Window {
    buffers: KVec<Buffer>,
    /// First sector of the volume that it holds.
    pub(crate) start: Logical,
}

impl Window {
    /// Room for `bytes`.
    pub(crate) fn new(bytes: usize) -> Result<Self> {
        let mut buffers = KVec::new();
        let mut left = bytes.next_multiple_of(kernel::page::PAGE_SIZE);
        while left > 0 {
            let len = left.min(MAX_BUFFER);
            buffers.push(Buffer::new(len)?, GFP_KERNEL)?;
            left -= len;
        }
        Ok(Window {
            buffers,
            start: Logical::ZERO,
        })
    }

    /// How many bytes it has room for.
    pub(crate) fn len(&self) -> usize {
        self.buffers.iter().map(Buffer::len).sum()
    }

    /// Where sector `x` lies: which buffer, and bytes into it.
    fn place(&self, x: Logical) -> (usize, usize) {
        let at = (x - self.start).bytes() as usize;
        (at / MAX_BUFFER, at % MAX_BUFFER)
    }

    /// The sectors from `x` on that lie in one buffer, at most `len`.
    pub(crate) fn run(&self, x: Logical, len: Sectors) -> Sectors {
        let (_, at) = self.place(x);
        len.min(Sectors::from_bytes((MAX_BUFFER - at) as u64))
    }

    /// To write a run from.
    pub(crate) fn slice(&self, x: Logical, len: Sectors) -> Slice<'_> {
        let (index, at) = self.place(x);
        self.buffers[index].slice(at..at + len.bytes() as usize)
    }

    /// The bytes of a run.
    pub(crate) fn bytes(&self, x: Logical, len: Sectors) -> &[u8] {
        let (index, at) = self.place(x);
        &self.buffers[index].as_slice()[at..at + len.bytes() as usize]
    }

    /// The bytes of a run.
    pub(crate) fn bytes_mut(&mut self, x: Logical, len: Sectors) -> &mut [u8] {
        let (index, at) = self.place(x);
        &mut self.buffers[index].as_mut_slice()[at..at + len.bytes() as usize]
    }

    /// All of its buffers, to fill at once.
    pub(crate) fn buffers_mut(&mut self) -> &mut [Buffer] {
        &mut self.buffers
    }

    /// Calls `f` with the runs of `range`, in order.
    pub(crate) fn for_each_run(&self, range: Range, mut f: impl FnMut(Logical, Sectors)) {
        let mut x = range.start;
        while x < range.end {
            let len = self.run(x, range.end - x);
            f(x, len);
            x += len;
        }
    }

    /// Fills with zeroes.
    pub(crate) fn zero(&mut self, range: Range) {
        let mut x = range.start;
        while x < range.end {
            let len = self.run(x, range.end - x);
            self.bytes_mut(x, len).fill(0);
            x += len;
        }
    }
}
