// SPDX-License-Identifier: GPL-2.0

//! [`Buffer`]: page-aligned memory, contiguous as the CPU sees it, that members can read from and
//! write to. [`Slice`] and [`SliceMut`] are parts of one, for I/O.
//!
//! It is one block of pages if there is one, else mapped page by page. It may be dropped in task
//! and in interrupt context, but not under a spinlock.

use crate::sys::pb;
use core::{marker::PhantomData, ops::Range, ptr::NonNull};
use kernel::{bindings, page::PAGE_SIZE, prelude::*};

/// The longest, in bytes: what one bio holds even page by page.
pub const MAX_BUFFER: usize = 256 * PAGE_SIZE;

/// Scratch memory for I/O.
pub struct Buffer {
    addr: NonNull<u8>,
    len: usize,
}

// SAFETY: It owns plain memory.
unsafe impl Send for Buffer {}
// SAFETY: Shared, it only gives shared borrows of its bytes.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of `len` bytes, a multiple of the page size up to [`MAX_BUFFER`], zeroed. Waits
    /// for memory, but never for I/O. *Task* context.
    pub fn new(len: usize) -> Result<Self> {
        if len == 0 || len > MAX_BUFFER || len % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        // SAFETY: It only allocates.
        let addr = unsafe { pb::restripe_kvzalloc(len) };
        let addr = NonNull::new(addr.cast::<u8>()).ok_or(ENOMEM)?;
        Ok(Self { addr, len })
    }

    /// In bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The contents.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: The memory is ours, initialised, and not being written to while it is borrowed.
        unsafe { core::slice::from_raw_parts(self.addr.as_ptr(), self.len) }
    }

    /// The contents.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: The memory is ours, initialised, and not used otherwise while it is borrowed.
        unsafe { core::slice::from_raw_parts_mut(self.addr.as_ptr(), self.len) }
    }

    /// A part to write from; start and length are multiples of 512 bytes.
    pub fn slice(&self, range: Range<usize>) -> Slice<'_> {
        assert!(range.start % 512 == 0 && range.len() % 512 == 0 && !range.is_empty());
        Slice(&self.as_slice()[range])
    }

    /// A part to read into; start and length are multiples of 512 bytes.
    pub fn slice_mut(&mut self, range: Range<usize>) -> SliceMut<'_> {
        assert!(range.start % 512 == 0 && range.len() % 512 == 0 && !range.is_empty());
        let part = &mut self.as_mut_slice()[range];
        SliceMut {
            len: part.len(),
            addr: NonNull::from(part).cast(),
            _p: PhantomData,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: It came from `kvzalloc`, and nobody has it any more.
        unsafe { bindings::kvfree(self.addr.as_ptr().cast()) };
    }
}

/// A part of a [`Buffer`] to write to a member.
#[derive(Clone, Copy)]
pub struct Slice<'a>(&'a [u8]);

impl Slice<'_> {
    pub(in crate::sys) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }

    /// In bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A part of a [`Buffer`] to read into from a member.
pub struct SliceMut<'a> {
    addr: NonNull<u8>,
    len: usize,
    _p: PhantomData<&'a mut [u8]>,
}

// SAFETY: It stands for a mutable borrow of bytes.
unsafe impl Send for SliceMut<'_> {}

impl<'a> SliceMut<'a> {
    pub(in crate::sys) fn as_ptr(&self) -> *mut u8 {
        self.addr.as_ptr()
    }

    /// In bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Two parts: to read them from different places. `at` is a multiple of 512 bytes, and leaves
    /// neither part empty.
    pub fn split_at(self, at: usize) -> (SliceMut<'a>, SliceMut<'a>) {
        assert!(at % 512 == 0 && at > 0 && at < self.len);
        let part = |addr, len| SliceMut {
            addr,
            len,
            _p: PhantomData,
        };
        // SAFETY: `at` is within the slice.
        let second = unsafe { self.addr.add(at) };
        (part(self.addr, at), part(second, self.len - at))
    }
}
