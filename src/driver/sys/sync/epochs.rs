// SPDX-License-Identifier: GPL-2.0

//! [`Epochs`]: a value that every request looks at, such as the map of a volume, replaced without
//! waiting. Whoever needs to know when the last user of older values has left asks
//! [`Epochs::is_drained`], and sleeps on [`Epochs::waiters`] meanwhile.
//!
//! There are a few places for values, used in turn, and for each of them a row of counters, one
//! for each hardware queue. A reader counts itself in at the place in use and looks again: if it
//! still is the one, then whoever replaced the value later sees the count. Only when all other
//! places are in use is there a wait for the oldest.

use super::{Padded, WaitQueue};
use core::{cell::UnsafeCell, ops::Deref, ptr::NonNull};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full, Relaxed},
        Mutex,
    },
};

/// Values that can be in use at once.
pub const EPOCHS: usize = 4;

#[pin_data]
struct Inner<T> {
    /// The number of the epoch; its place is this modulo [`EPOCHS`].
    epoch: Atomic<u32>,
    /// Set while somebody wants to be woken when a counter becomes zero.
    watched: Atomic<u32>,
    places: [UnsafeCell<Option<Pin<KBox<T>>>>; EPOCHS],
    counters: KVec<Padded<[Atomic<i32>; EPOCHS]>>,
    #[pin]
    waiters: WaitQueue,
    /// One publisher at a time.
    #[pin]
    publisher: Mutex<()>,
}

impl<T> Inner<T> {
    fn is_empty(&self, place: usize) -> bool {
        // `Acquire`: what those who left did with the value comes before what is done next.
        self.counters.iter().all(|c| c[place].load(Acquire) == 0)
    }

    fn leave(&self, slot: usize, place: usize) {
        let before = self.counters[slot][place].fetch_sub(1, Full);
        if before == 1 && self.watched.load(Relaxed) != 0 {
            self.waiters.wake_all();
        }
    }
}

/// A value that is read often and replaced seldom.
pub struct Epochs<T: Send + Sync + 'static>(Pin<KBox<Inner<T>>>);

// SAFETY: Values are shared between readers, and given back to whichever task publishes.
unsafe impl<T: Send + Sync + 'static> Send for Epochs<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync + 'static> Sync for Epochs<T> {}

impl<T: Send + Sync + 'static> Epochs<T> {
    /// `slots`: how many counters, as many as there are hardware queues. *Task* context.
    pub fn new(slots: usize, value: Pin<KBox<T>>) -> Result<Self> {
        let mut counters = KVec::with_capacity(slots.max(1), GFP_KERNEL)?;
        for _ in 0..slots.max(1) {
            let counter = Padded([const { Atomic::new(0) }; EPOCHS]);
            counters.push(counter, GFP_KERNEL)?;
        }
        let mut places = [const { UnsafeCell::new(None) }; EPOCHS];
        places[0] = UnsafeCell::new(Some(value));
        Ok(Self(KBox::pin_init(
            pin_init!(Inner {
                epoch: Atomic::new(0),
                watched: Atomic::new(0),
                places,
                counters,
                waiters <- WaitQueue::new(),
                publisher <- new_mutex!(()),
            }),
            GFP_KERNEL,
        )?))
    }

    /// Takes hold of the present value. `slot` is any number, best that of the hardware queue or
    /// the CPU. Any context.
    pub fn enter(&self, slot: usize) -> Entered<T> {
        let inner = &*self.0;
        // Mostly it is in range; a division would cost more than all the rest.
        let slot = if slot < inner.counters.len() {
            slot
        } else {
            slot.checked_rem(inner.counters.len()).unwrap_or(0)
        };
        loop {
            let epoch = inner.epoch.load(Relaxed);
            let place = epoch as usize % EPOCHS;
            // `Full`: counted before the epoch is looked at again, and before the value is.
            inner.counters[slot][place].fetch_add(1, Full);
            if inner.epoch.load(Relaxed) == epoch {
                return Entered {
                    inner: NonNull::from(inner),
                    slot,
                    epoch,
                };
            }
            inner.leave(slot, place);
        }
    }

    /// Replaces the value: whoever enters from now on finds the new one. Gives back the number of
    /// the new epoch, and a value that nobody uses any more, if there is one. Waits only while
    /// [`EPOCHS`] values are in use. *Task* context; not while the caller holds an [`Entered`].
    pub fn publish(&self, value: Pin<KBox<T>>) -> (u32, Option<Pin<KBox<T>>>) {
        let inner = &*self.0;
        let _publisher = inner.publisher.lock();
        let epoch = inner.epoch.load(Relaxed).wrapping_add(1);
        let place = epoch as usize % EPOCHS;
        if !inner.is_empty(place) {
            let watched = inner.watched.xchg(1, Full);
            inner.waiters.wait_until(|| inner.is_empty(place));
            inner.watched.store(watched, Relaxed);
        }
        // Late comers may be counted here for a moment, without looking at the value.
        // SAFETY: The place isn't in use: it is not that of the present epoch, nobody is entered
        // there, and only the publisher makes it the one again.
        let old = unsafe { (*inner.places[place].get()).replace(value) };
        // `Full`: the value comes before the epoch.
        let _ = inner.epoch.xchg(epoch, Full);
        (epoch, old)
    }

    /// The number of the present epoch. Any context.
    pub fn epoch(&self) -> u32 {
        self.0.epoch.load(Relaxed)
    }

    /// From now on waiters are woken when the last user of a value leaves, or no longer. Any
    /// context.
    pub fn watch(&self, on: bool) {
        // `Full`: set before the counters are looked at; a leaver counts down before it looks.
        let _ = self.0.watched.xchg(u32::from(on), Full);
    }

    /// Whether all who entered in an epoch before `epoch` have left. Any context.
    pub fn is_drained(&self, epoch: u32) -> bool {
        let inner = &*self.0;
        let now = inner.epoch.load(Relaxed);
        // What is older than this was waited for by `publish`.
        let oldest = now.wrapping_sub(EPOCHS as u32 - 1);
        let mut at = oldest;
        while at != now.wrapping_add(1) {
            let before = (at.wrapping_sub(epoch) as i32) < 0;
            if before && !inner.is_empty(at as usize % EPOCHS) {
                return false;
            }
            at = at.wrapping_add(1);
        }
        true
    }

    /// Where to sleep for [`Epochs::is_drained`], and for whatever else its only sleeper waits for.
    pub fn waiters(&self) -> &WaitQueue {
        &self.0.waiters
    }
}

impl<T: Send + Sync + 'static> Drop for Epochs<T> {
    fn drop(&mut self) {
        // An `Entered` points here, so all of them must go first.
        self.watch(true);
        let inner = &*self.0;
        inner
            .waiters
            .wait_until(|| (0..EPOCHS).all(|place| inner.is_empty(place)));
    }
}

/// Holds on to a value of [`Epochs`]. May be kept in a request's data, and dropped in any context;
/// have it dropped before the request ends.
pub struct Entered<T: Send + Sync + 'static> {
    inner: NonNull<Inner<T>>,
    slot: usize,
    epoch: u32,
}

// SAFETY: It shares a `T`, and leaves by atomics.
unsafe impl<T: Send + Sync + 'static> Send for Entered<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync + 'static> Sync for Entered<T> {}

impl<T: Send + Sync + 'static> Entered<T> {
    fn inner(&self) -> &Inner<T> {
        // SAFETY: `Epochs` isn't gone before this has left.
        unsafe { self.inner.as_ref() }
    }

    /// Whether its value has not been replaced yet.
    pub fn is_current(&self) -> bool {
        self.inner().epoch.load(Relaxed) == self.epoch
    }
}

impl<T: Send + Sync + 'static> Deref for Entered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The value at our place stays while we are counted there.
        match unsafe { &*self.inner().places[self.epoch as usize % EPOCHS].get() } {
            Some(value) => value,
            None => unreachable!("the value stays while somebody is entered"),
        }
    }
}

impl<T: Send + Sync + 'static> Drop for Entered<T> {
    fn drop(&mut self) {
        self.inner().leave(self.slot, self.epoch as usize % EPOCHS);
    }
}
