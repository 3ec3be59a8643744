// SPDX-License-Identifier: GPL-2.0

//! [`Pool`]: buffers of one length with a reserve, so that whoever waits for one gets one as soon
//! as another operation is complete.
//!
//! Have one blocking [`Pool::alloc`] to an operation, and slice what it gives: two operations that
//! each hold a part of what they need could wait for each other.

use super::buffer::{Buffer, Pages};
use crate::sys::sync::{new_spinlock_irq, SpinLockIrq, WaitQueue};
use kernel::{prelude::*, sync::Arc};

#[pin_data]
pub(super) struct PoolInner {
    len: usize,
    /// Has room for as many as are kept, so that giving back needs no memory.
    #[pin]
    free: SpinLockIrq<KVec<Pages>>,
    #[pin]
    returned: WaitQueue,
}

impl PoolInner {
    fn take(&self) -> Option<Pages> {
        self.free.lock().pop()
    }

    /// Any context.
    pub(super) fn put(&self, pages: Pages) {
        let over = self.free.lock().push_within_capacity(pages).err();
        // Freed without the lock.
        drop(over);
        self.returned.wake_all();
    }
}

/// Buffers with a reserve.
pub struct Pool(Arc<PoolInner>);

impl Pool {
    /// Buffers of `len` bytes, `reserve` (at least one) of which are always there. *Task* context.
    pub fn new(len: usize, reserve: usize) -> Result<Self> {
        let mut free = KVec::with_capacity(reserve.max(1), GFP_KERNEL)?;
        for _ in 0..reserve.max(1) {
            free.push(Pages::new(len, true)?, GFP_KERNEL)?;
        }
        Ok(Self(Arc::pin_init(
            pin_init!(PoolInner {
                len,
                free <- new_spinlock_irq!(free),
                returned <- WaitQueue::new(),
            }),
            GFP_KERNEL,
        )?))
    }

    fn wrap(&self, pages: Pages) -> Buffer {
        Buffer::of_pool(pages, self.0.clone())
    }

    /// One that is there at once, from the reserve or from free memory. Any context. Its contents
    /// are whatever it was used for before.
    pub fn try_alloc(&self) -> Option<Buffer> {
        let pages = self
            .0
            .take()
            .or_else(|| Pages::new(self.0.len, false).ok())?;
        Some(self.wrap(pages))
    }

    /// Waits for one if it has to. *Task* context.
    pub fn alloc(&self) -> Buffer {
        let mut got = self.try_alloc();
        if got.is_none() {
            self.0.returned.wait_until(|| {
                got = self.try_alloc();
                got.is_some()
            });
        }
        match got {
            Some(buffer) => buffer,
            None => unreachable!("waited until there was one"),
        }
    }
}
