// SPDX-License-Identifier: GPL-2.0

//! [`IoBox`]: an object of the driver's own that does I/O by itself: a stripe operation that owns
//! buffers and requests, a window of the migration. It is given away for each batch and comes
//! back when that is complete.

use super::{
    core_io::{IoCore, IoGroup, Outcome},
    Batch,
};
use crate::sys::work::WorkQueue;
use core::{
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};
use kernel::{alloc::Flags, bindings, prelude::*};

/// What an [`IoBox`] holds.
pub trait IoContext: Send + Sized + 'static {
    /// All of the batch is complete. *end_io* context.
    fn io_done(io: IoBox<Self>, outcome: Outcome);

    /// After [`IoBox::enqueue`]. *Task* context.
    fn work(io: IoBox<Self>);
}

#[repr(C)]
struct Cell<D> {
    core: IoCore,
    data: D,
}

/// Owns a `D`, with the room to do I/O for it.
pub struct IoBox<D: IoContext>(NonNull<Cell<D>>);

// SAFETY: It owns its `D`, which is `Send`; the core is only used by the owner.
unsafe impl<D: IoContext> Send for IoBox<D> {}

impl<D: IoContext> IoBox<D> {
    /// *Task* context, or any with flags that don't sleep.
    pub fn new(data: D, flags: Flags) -> Result<Self> {
        let cell = KBox::new(
            Cell {
                core: IoCore::new(Self::done),
                data,
            },
            flags,
        )?;
        let cell = KBox::into_raw(cell);
        // SAFETY: The cell is at its final address, and `run_work` takes the box over that
        // `enqueue` gives up.
        unsafe { IoCore::init_work(&raw mut (*cell).core, Self::run_work) };
        // SAFETY: A box's address is not null.
        Ok(Self(unsafe { NonNull::new_unchecked(cell) }))
    }

    /// Takes the object out.
    pub fn into_inner(self) -> D {
        let this = ManuallyDrop::new(self);
        // SAFETY: The cell came from a `KBox`, and `this` won't free it.
        KBox::into_inner(unsafe { KBox::from_raw(this.0.as_ptr()) }).data
    }

    fn into_raw(self) -> NonNull<Cell<D>> {
        ManuallyDrop::new(self).0
    }

    /// Sends what `f` puts into the batch; [`IoContext::io_done`] is called when all of it is
    /// complete, perhaps before this returns. *Task* or *queue* context.
    pub fn submit<F>(self, f: F)
    where
        F: for<'s> FnOnce(&'s mut D, &Batch<'s>),
    {
        let cell = self.into_raw();
        // SAFETY: The box was given up, so nobody uses its object before `done` makes a new one:
        // the borrow may last until then.
        let data = unsafe { &mut (*cell.as_ptr()).data };
        // SAFETY: As above; `done` takes the cell over.
        unsafe { IoCore::run(cell.cast(), |batch| f(data, batch)) };
    }

    /// Has [`IoContext::work`] called by a worker. Any context.
    pub fn enqueue(self, queue: &WorkQueue) {
        let cell = self.into_raw();
        // SAFETY: The work item is part of the cell, which `run_work` takes over; it isn't queued
        // already, for then there would have been no box.
        unsafe { queue.enqueue_raw((*cell.as_ptr()).core.work.get()) };
    }

    /// # Safety
    ///
    /// `group` is that of a cell that was given up by `submit`.
    unsafe fn done(group: NonNull<IoGroup>) {
        // SAFETY: It is open no more, and its memory still there.
        let outcome = unsafe { group.as_ref() }.outcome();
        D::io_done(Self(group.cast()), outcome);
    }

    /// # Safety
    ///
    /// `work` is that of a cell that was given up by `enqueue`.
    unsafe extern "C" fn run_work(work: *mut bindings::work_struct) {
        // SAFETY: By the caller's contract.
        let core = unsafe { IoCore::from_work(work) };
        D::work(Self(core.cast()));
    }
}

impl<D: IoContext> Drop for IoBox<D> {
    fn drop(&mut self) {
        // SAFETY: The cell came from a `KBox`, and who has the box owns the cell.
        drop(unsafe { KBox::from_raw(self.0.as_ptr()) });
    }
}

impl<D: IoContext> Deref for IoBox<D> {
    type Target = D;

    fn deref(&self) -> &D {
        // SAFETY: Who has the box owns the cell.
        unsafe { &(*self.0.as_ptr()).data }
    }
}

impl<D: IoContext> DerefMut for IoBox<D> {
    fn deref_mut(&mut self) -> &mut D {
        // SAFETY: Who has the box owns the cell.
        unsafe { &mut (*self.0.as_ptr()).data }
    }
}
