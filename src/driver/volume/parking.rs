// SPDX-License-Identifier: GPL-2.0
//! Requests that wait for the engine, without a hold on any map.

use kernel::prelude::*;

use super::locks::MAX_TAGS;
use crate::queue::Queue;
use crate::sys::block::mq::OwnedRequest;
use crate::sys::sync::{new_spinlock_irq, SpinLockIrq};

/// Requests that wait; there is room for all there are.
#[pin_data]
pub(crate) struct Parking {
    #[pin]
    requests: SpinLockIrq<KVec<OwnedRequest<Queue>>>,
}

impl Parking {
    pub(crate) fn new() -> Result<impl PinInit<Parking>> {
        let requests = KVec::with_capacity(MAX_TAGS, GFP_KERNEL)?;
        Ok(pin_init!(Parking {
            requests <- new_spinlock_irq!(requests),
        }))
    }

    /// Keeps a request, unless `stay` says, under the lock, that it has not to wait any more: then
    /// it is given back. Any context.
    pub(crate) fn put(
        &self,
        rq: OwnedRequest<Queue>,
        stay: impl FnOnce() -> bool,
    ) -> Option<OwnedRequest<Queue>> {
        let mut requests = self.requests.lock();
        if !stay() {
            return Some(rq);
        }
        // There is room for as many as there are tags.
        let _ = requests.push_within_capacity(rq);
        None
    }

    /// Takes the one that waits longest of those there are now. Any context.
    pub(crate) fn take(&self) -> Option<OwnedRequest<Queue>> {
        self.requests.lock().remove(0).ok()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.requests.lock().len()
    }
}
