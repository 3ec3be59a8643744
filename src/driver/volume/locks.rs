// SPDX-License-Identifier: GPL-2.0
//! The volume's range lock: who may write where, requests and jobs alike.

use kernel::alloc::KVBox;
use kernel::prelude::*;
use restripe_core::range_lock::RangeLock;

use crate::queue::Queue;
use crate::sys::block::mq::OwnedRequest;
use crate::sys::mem::zeroed;
use crate::sys::sync::{new_spinlock_irq, SpinLockIrq};
use crate::sys::work::WorkQueue;

/// Most that hold or wait: every request of [`MAX_TAGS`], and the engine's jobs.
const ENTRIES: usize = MAX_TAGS + 64;
/// Most requests of a volume at once.
pub(crate) const MAX_TAGS: usize = 2048;

/// Owners that are jobs count down from here, those that are requests up from 0.
const FIRST_JOB: u64 = u64::MAX;

/// A range of the lock's keys.
pub(crate) type Keys = (u64, u64);

enum Waiter {
    Request(OwnedRequest<Queue>),
    Job(u8),
}

struct Inner {
    ranges: KVBox<RangeLock<ENTRIES>>,
    /// Those who were not granted yet, with their owner numbers.
    waiters: KVec<(u64, Waiter)>,
}

/// See [`Map::lock_range`](restripe_core::admit::Map::lock_range) for what keys mean.
#[pin_data]
pub(crate) struct Locks {
    #[pin]
    inner: SpinLockIrq<Inner>,
}

impl Locks {
    pub(crate) fn new() -> Result<impl PinInit<Locks>> {
        let inner = Inner {
            ranges: zeroed()?,
            waiters: KVec::with_capacity(ENTRIES, GFP_KERNEL)?,
        };
        Ok(pin_init!(Locks {
            inner <- new_spinlock_irq!(inner),
        }))
    }

    /// Asks for `keys` in the name of request `id`. Gives the request back if it holds them now;
    /// else it comes to [`Operations::work`] when it does. Any context.
    ///
    /// [`Operations::work`]: crate::sys::block::mq::Operations::work
    pub(crate) fn lock(
        &self,
        keys: Keys,
        id: u64,
        mut rq: OwnedRequest<Queue>,
    ) -> Option<OwnedRequest<Queue>> {
        // The one who grants it will not tell which keys.
        rq.data_mut().locked = Some(keys);
        let mut inner = self.inner.lock();
        if inner.ranges.lock(keys.0, keys.1, id) {
            return Some(rq);
        }
        let _ = inner
            .waiters
            .push_within_capacity((id, Waiter::Request(rq)));
        None
    }

    /// The same for a job; true if it holds them now, else `granted` of [`Locks::unlock`] says so.
    pub(crate) fn lock_job(&self, keys: Keys, job: u8) -> bool {
        let owner = FIRST_JOB - u64::from(job);
        let mut inner = self.inner.lock();
        if inner.ranges.lock(keys.0, keys.1, owner) {
            return true;
        }
        let _ = inner
            .waiters
            .push_within_capacity((owner, Waiter::Job(job)));
        false
    }

    /// Gives back what request `id` holds. Requests that hold their keys now go to `queue`, jobs
    /// to `granted`. Any context.
    pub(crate) fn unlock(&self, id: u64, queue: &WorkQueue, mut granted: impl FnMut(u8)) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let waiters = &mut inner.waiters;
        inner.ranges.unlock(id, |owner| {
            let at = waiters.iter().position(|(waiter, _)| *waiter == owner);
            match at.and_then(|at| waiters.remove(at).ok()) {
                Some((_, Waiter::Request(rq))) => rq.enqueue(queue),
                Some((_, Waiter::Job(job))) => granted(job),
                None => {}
            }
        });
    }

    /// The same for a job.
    pub(crate) fn unlock_job(&self, job: u8, queue: &WorkQueue, granted: impl FnMut(u8)) {
        self.unlock(FIRST_JOB - u64::from(job), queue, granted);
    }
}
