// SPDX-License-Identifier: GPL-2.0

//! [`Buffer`]: page-aligned memory, contiguous as the CPU sees it, that members can read from and
//! write to. [`Slice`] and [`SliceMut`] are parts of one, for I/O.
//!
//! It is one block of pages if there is one, else mapped page by page. It may be dropped in task
//! and in interrupt context, but not under a spinlock.

use super::pool::PoolInner;
use crate::sys::pb;
use core::{marker::PhantomData, ops::Range, ptr::NonNull};
use kernel::{bindings, page::PAGE_SIZE, prelude::*, sync::Arc};

/// The longest, in bytes: what one bio holds even page by page.
pub const MAX_BUFFER: usize = 256 * PAGE_SIZE;

/// The memory alone: what a pool keeps.
pub(super) struct Pages {
    addr: NonNull<u8>,
    len: usize,
}

// SAFETY: It owns plain memory.
unsafe impl Send for Pages {}
// SAFETY: Shared, it only gives its address.
unsafe impl Sync for Pages {}

impl Pages {
    /// `must`: wait for memory (but never for I/O), else only take what is there at once.
    pub(super) fn new(len: usize, must: bool) -> Result<Self> {
        if len == 0 || len > MAX_BUFFER || len % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        // SAFETY: It only allocates.
        let addr = unsafe { pb::restripe_kvmalloc(len, must) };
        let addr = NonNull::new(addr.cast::<u8>()).ok_or(ENOMEM)?;
        if !must && addr.as_ptr().align_offset(PAGE_SIZE) != 0 {
            // SAFETY: It was just allocated.
            unsafe { bindings::kvfree(addr.as_ptr().cast()) };
            return Err(ENOMEM);
        }
        // So that all of it may be borrowed as bytes.
        // SAFETY: It is `len` bytes long.
        unsafe { addr.as_ptr().write_bytes(0, len) };
        Ok(Self { addr, len })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: It came from `kvmalloc`, and nobody has it any more.
        unsafe { bindings::kvfree(self.addr.as_ptr().cast()) };
    }
}

/// Scratch memory for I/O.
pub struct Buffer {
    /// Always there, but for the time that `drop` takes it out.
    pages: Option<Pages>,
    /// Where it goes back to.
    home: Option<Arc<PoolInner>>,
}

impl Buffer {
    /// A buffer of `len` bytes, a multiple of the page size up to [`MAX_BUFFER`], zeroed. Waits
    /// for memory, but never for I/O. *Task* context.
    pub fn new(len: usize) -> Result<Self> {
        Ok(Self {
            pages: Some(Pages::new(len, true)?),
            home: None,
        })
    }

    pub(super) fn of_pool(pages: Pages, home: Arc<PoolInner>) -> Self {
        Self {
            pages: Some(pages),
            home: Some(home),
        }
    }

    fn raw(&self) -> (NonNull<u8>, usize) {
        match &self.pages {
            Some(pages) => (pages.addr, pages.len),
            None => (NonNull::dangling(), 0),
        }
    }

    /// In bytes.
    pub fn len(&self) -> usize {
        self.raw().1
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The contents.
    pub fn as_slice(&self) -> &[u8] {
        let (addr, len) = self.raw();
        // SAFETY: The memory is ours, initialised, and not being written to while it is borrowed.
        unsafe { core::slice::from_raw_parts(addr.as_ptr(), len) }
    }

    /// The contents.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let (addr, len) = self.raw();
        // SAFETY: The memory is ours, initialised, and not used otherwise while it is borrowed.
        unsafe { core::slice::from_raw_parts_mut(addr.as_ptr(), len) }
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
        if let (Some(pages), Some(home)) = (self.pages.take(), self.home.take()) {
            home.put(pages);
        }
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
