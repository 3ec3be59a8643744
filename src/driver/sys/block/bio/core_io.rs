// SPDX-License-Identifier: GPL-2.0

//! [`IoCore`]: what a set of I/Os that complete together needs: a count, the errors, a work item
//! and room for the first bios. It is embedded in a request's private data or in an `IoBox`, so
//! that the steady path allocates nothing.
//!
//! Life of an [`IoGroup`]: `open` sets it to [`BIAS`], every I/O sent takes one off when it is
//! complete, `close` takes off the bias less the number sent. Whoever makes it zero calls `done`,
//! once.

use super::super::Status;
use core::{cell::Cell, cell::UnsafeCell, mem::MaybeUninit, ptr::NonNull};
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::{Atomic, Full, Relaxed},
    types::Opaque,
};

/// How many bios of an [`IoCore`] need no allocation.
pub(in crate::sys::block) const INLINE_BIOS: usize = 2;

/// More than any batch can send.
const BIAS: i32 = 1 << 30;

/// What came of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The first error, or [`Status::OK`].
    pub status: Status,
    /// One bit for each tag of which an I/O failed.
    pub failed: u64,
}

impl Outcome {
    /// Whether all of it succeeded.
    pub fn is_ok(&self) -> bool {
        self.failed == 0
    }

    /// Whether an I/O with this tag failed.
    pub fn has_failed(&self, tag: u8) -> bool {
        self.failed & (1 << tag) != 0
    }
}

/// Counts the I/Os of a batch and keeps their errors.
pub(in crate::sys::block) struct IoGroup {
    remaining: Atomic<i32>,
    status: Atomic<i32>,
    failed: Atomic<u64>,
    /// Sent so far; only the task that builds the batch uses it.
    sent: Cell<i32>,
    done: unsafe fn(NonNull<IoGroup>),
}

impl IoGroup {
    /// `done` is called with this group's address when all is complete, in the context of the
    /// last completion.
    pub(in crate::sys::block) fn new(done: unsafe fn(NonNull<IoGroup>)) -> Self {
        Self {
            remaining: Atomic::new(0),
            status: Atomic::new(0),
            failed: Atomic::new(0),
            sent: Cell::new(0),
            done,
        }
    }

    /// Begins a batch. Nothing of an earlier one is outstanding.
    fn open(&self) {
        self.remaining.store(BIAS, Relaxed);
        self.status.store(0, Relaxed);
        self.failed.store(0, Relaxed);
        self.sent.set(0);
    }

    pub(super) fn count_one(&self) {
        self.sent.set(self.sent.get() + 1);
    }

    pub(super) fn fail(&self, tag: u8, status: Status) {
        let _ = self.status.cmpxchg(0, i32::from(status.raw()), Relaxed);
        let bit = 1u64 << (tag & 63);
        let mut old = self.failed.load(Relaxed);
        while let Err(now) = self.failed.cmpxchg(old, old | bit, Relaxed) {
            old = now;
        }
    }

    pub(in crate::sys::block) fn outcome(&self) -> Outcome {
        Outcome {
            // CAST: Only the `u8` of a status is ever stored.
            status: Status::from_raw(self.status.load(Relaxed) as u8),
            failed: self.failed.load(Relaxed),
        }
    }

    /// Takes `n` off the count, and calls `done` if that was the rest.
    ///
    /// # Safety
    ///
    /// `group` is open, and the caller owns `n` of its count. It may be gone on return.
    unsafe fn put(group: NonNull<Self>, n: i32) {
        // SAFETY: The count the caller owns keeps the group alive up to here.
        let this = unsafe { group.as_ref() };
        let done = this.done;
        // `Full`: the errors noted and the data moved by the others come before `done`.
        if this.remaining.fetch_sub(n, Full) == n {
            // SAFETY: Nothing is outstanding any more, and nobody else saw zero.
            unsafe { done(group) };
        }
    }

    /// One I/O is complete.
    ///
    /// # Safety
    ///
    /// `group` is the one the I/O was counted in by [`IoGroup::count_one`]; called once for each.
    pub(super) unsafe fn complete(group: NonNull<Self>, tag: u8, status: Status) {
        if !status.is_ok() {
            // SAFETY: This I/O is still counted, so the group is alive.
            unsafe { group.as_ref() }.fail(tag, status);
        }
        // SAFETY: The caller hands in the one count of its I/O.
        unsafe { Self::put(group, 1) };
    }

    /// All of the batch has been sent.
    ///
    /// # Safety
    ///
    /// `group` is open and is closed this once. It may be gone on return.
    unsafe fn close(group: NonNull<Self>) {
        // SAFETY: The bias keeps the group alive.
        let sent = unsafe { group.as_ref() }.sent.get();
        // SAFETY: Of the bias, `sent` now belong to the I/Os, and the rest is the batch's own.
        unsafe { Self::put(group, BIAS - sent) };
    }
}

/// A bio and where it reports to.
#[repr(C)]
pub(in crate::sys::block) struct IoBio {
    pub(super) group: NonNull<IoGroup>,
    pub(super) tag: u8,
    /// From the bioset, to be put; else embedded in an [`IoCore`].
    pub(super) pooled: bool,
    pub(super) bio: bindings::bio,
}

impl IoBio {
    /// The room the bioset has to leave before each bio.
    pub(super) const FRONT_PAD: usize = core::mem::offset_of!(IoBio, bio);

    /// Every bio's `bi_end_io`.
    ///
    /// # Safety
    ///
    /// Called by the block layer, once, with the `bio` field of an [`IoBio`] that a batch sent.
    pub(super) unsafe extern "C" fn end_io(bio: *mut bindings::bio) {
        // SAFETY: `bio` is embedded in an `IoBio`, either in an `IoCore` or in the bioset's
        // front pad.
        let this = unsafe { kernel::container_of!(bio, Self, bio) };
        // SAFETY: The batch filled in all three fields before it sent the bio.
        let (group, tag, pooled) = unsafe { ((*this).group, (*this).tag, (*this).pooled) };
        // SAFETY: The bio is complete, so it is ours again.
        let status = Status::from_raw(unsafe { (*bio).bi_status });
        if pooled {
            // SAFETY: We hold the only reference, from the allocation.
            unsafe { bindings::bio_put(bio) };
        } else {
            // SAFETY: The bio was initialised in place and is complete.
            unsafe { bindings::bio_uninit(bio) };
        }
        // SAFETY: The batch counted this bio when it sent it, and it completes once.
        unsafe { IoGroup::complete(group, tag, status) };
    }
}

/// The part of an owner that the block layer layer works on.
#[repr(C)]
pub(in crate::sys::block) struct IoCore {
    /// First, so that the group's address is the core's.
    pub(in crate::sys::block) group: IoGroup,
    pub(in crate::sys::block) work: Opaque<bindings::work_struct>,
    pub(super) inline: [UnsafeCell<MaybeUninit<IoBio>>; INLINE_BIOS],
}

impl IoCore {
    /// A core without its work item initialised: see [`IoCore::init_work`].
    pub(in crate::sys::block) fn new(done: unsafe fn(NonNull<IoGroup>)) -> Self {
        Self {
            group: IoGroup::new(done),
            work: Opaque::uninit(),
            inline: [const { UnsafeCell::new(MaybeUninit::uninit()) }; INLINE_BIOS],
        }
    }

    /// Sets the work item up.
    ///
    /// # Safety
    ///
    /// `this` is at its final address, and `func` may be called with the address of its `work`
    /// whenever that has been queued.
    pub(in crate::sys::block) unsafe fn init_work(
        this: *mut Self,
        func: unsafe extern "C" fn(*mut bindings::work_struct),
    ) {
        // SAFETY: `work` lies in `this`, and `raw_get` doesn't read it.
        let work = unsafe { Opaque::cast_into(&raw const (*this).work) };
        // SAFETY: `work` is room for a `work_struct`; name and key are static.
        unsafe {
            bindings::init_work_with_key(
                work,
                Some(func),
                false,
                c"restripe_io".as_char_ptr(),
                kernel::static_lock_class!().as_ptr(),
            )
        };
    }

    /// From the address of the work item to that of the core.
    ///
    /// # Safety
    ///
    /// `work` is the `work` field of an [`IoCore`].
    pub(in crate::sys::block) unsafe fn from_work(
        work: *mut bindings::work_struct,
    ) -> NonNull<IoCore> {
        let opaque = work.cast::<Opaque<bindings::work_struct>>();
        // SAFETY: By the caller's contract.
        let core = unsafe { kernel::container_of!(opaque, Self, work) };
        // SAFETY: A field's address is not null, nor is that of what holds it.
        unsafe { NonNull::new_unchecked(core) }
    }

    /// Opens the group, lets `f` send, and closes it: after which the owner is given back by
    /// `done`, perhaps at once.
    ///
    /// # Safety
    ///
    /// The caller owns `this` exclusively, gives that up with this call, and `done` takes it over.
    /// All that `f` sends with borrows of `'s` stays valid until `done` is called.
    pub(in crate::sys::block) unsafe fn run<'s>(
        this: NonNull<Self>,
        f: impl FnOnce(&super::Batch<'s>),
    ) {
        {
            // SAFETY: The caller owns it.
            let core = unsafe { this.as_ref() };
            core.group.open();
            f(&super::Batch::new(&core.group, &core.inline));
        }
        // SAFETY: The group lies at the start of the core, it is open, and closed here only.
        unsafe { IoGroup::close(this.cast()) };
    }
}
