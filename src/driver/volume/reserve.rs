// SPDX-License-Identifier: GPL-2.0
//! Things of which a request needs one to go on, all made up front.

use kernel::prelude::*;

use super::locks::MAX_TAGS;
use crate::queue::Queue;
use crate::sys::block::mq::OwnedRequest;
use crate::sys::sync::{new_spinlock_irq, SpinLockIrq, WaitQueue};

struct Inner<T> {
    free: KVec<KBox<T>>,
    /// Requests that found none. They hold no map.
    starved: KVec<OwnedRequest<Queue>>,
}

/// A fixed number of `T`.
#[pin_data]
pub(crate) struct Reserve<T> {
    #[pin]
    inner: SpinLockIrq<Inner<T>>,
    #[pin]
    returned: WaitQueue,
}

impl<T: Send + 'static> Reserve<T> {
    /// `n` of what `make` makes.
    pub(crate) fn new(n: usize, make: impl Fn() -> Result<T>) -> Result<impl PinInit<Reserve<T>>> {
        let mut free = KVec::with_capacity(n, GFP_KERNEL)?;
        for _ in 0..n {
            free.push(KBox::new(make()?, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        let inner = Inner {
            free,
            starved: KVec::with_capacity(MAX_TAGS, GFP_KERNEL)?,
        };
        Ok(pin_init!(Reserve {
            inner <- new_spinlock_irq!(inner),
            returned <- WaitQueue::new(),
        }))
    }

    /// One for `rq`, or `rq` is kept until [`Reserve::put`] has one for it. Any context.
    pub(crate) fn take_for(
        &self,
        rq: OwnedRequest<Queue>,
    ) -> Option<(KBox<T>, OwnedRequest<Queue>)> {
        let mut inner = self.inner.lock();
        match inner.free.pop() {
            Some(thing) => Some((thing, rq)),
            None => {
                // There is room for as many as there are tags.
                let _ = inner.starved.push_within_capacity(rq);
                None
            }
        }
    }

    /// Waits for one. *Task* context; for who has none yet.
    pub(crate) fn take(&self) -> KBox<T> {
        let mut got = None;
        self.returned.wait_until(|| {
            got = self.inner.lock().free.pop();
            got.is_some()
        });
        match got {
            Some(thing) => thing,
            None => unreachable!("waited until there was one"),
        }
    }

    /// Gives one back; or it is the caller's to hand to the request that waits longest for one.
    /// That request has it then whatever becomes of it, and gives it back in its turn: if it were
    /// only told that there is one, and then did without, the next would wait for ever. Any context.
    #[must_use]
    pub(crate) fn put(&self, thing: KBox<T>) -> Option<(KBox<T>, OwnedRequest<Queue>)> {
        {
            let mut inner = self.inner.lock();
            if let Ok(rq) = inner.starved.remove(0) {
                return Some((thing, rq));
            }
            // There is room for all there are.
            let _ = inner.free.push_within_capacity(thing);
        }
        self.returned.wake_all();
        None
    }
}
