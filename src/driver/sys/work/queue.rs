// SPDX-License-Identifier: GPL-2.0

//! [`WorkQueue`]: workers of our own, of which one can be had even when memory can't: writeback
//! may depend on it.

use crate::sys::pb;
use core::{ops::Deref, ptr::NonNull};
use kernel::{bindings, prelude::*, workqueue::Queue};

/// Who does the work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WorkQueueKind {
    /// On the CPU that queued it.
    PerCpu,
    /// On whichever is free.
    Unbound,
    /// One piece at a time, in order.
    Ordered,
}

/// A work queue.
pub struct WorkQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A work queue does its own locking.
unsafe impl Send for WorkQueue {}
// SAFETY: As above.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// *Task* context.
    pub fn new(name: &CStr, kind: WorkQueueKind) -> Result<Self> {
        let (flags, max_active) = match kind {
            WorkQueueKind::PerCpu => (pb::WQ_PERCPU, 0),
            WorkQueueKind::Unbound => (pb::WQ_UNBOUND, 0),
            WorkQueueKind::Ordered => (pb::WQ_UNBOUND | pb::WQ_ORDERED, 1),
        };
        // SAFETY: The format takes the one string, which it copies.
        let queue = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                flags | pb::WQ_MEM_RECLAIM,
                max_active,
                name.as_char_ptr(),
            )
        };
        Ok(Self(NonNull::new(queue).ok_or(ENOMEM)?))
    }

    /// Any context.
    ///
    /// # Safety
    ///
    /// `work` is set up and not queued, and its function may be called.
    pub(in crate::sys) unsafe fn enqueue_raw(&self, work: *mut bindings::work_struct) {
        // CAST: As the kernel's own `queue_work`.
        // SAFETY: By the caller's contract; the queue is there.
        unsafe {
            bindings::queue_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as i32,
                self.0.as_ptr(),
                work,
            )
        };
    }

    /// Waits until all has been done, also what is queued by what is being done; nobody else
    /// queues meanwhile. *Task* context, not of this queue.
    pub fn drain(&self) {
        // SAFETY: The queue is there.
        unsafe { bindings::drain_workqueue(self.0.as_ptr()) };
    }
}

impl Deref for WorkQueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        // SAFETY: The queue is there as long as `self`.
        unsafe { Queue::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for WorkQueue {
    /// Waits until all has been done. *Task* context, not of this queue.
    fn drop(&mut self) {
        // SAFETY: It was allocated by `new`, and nobody can queue to it any more.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}
