// SPDX-License-Identifier: GPL-2.0

//! [`Published`]: a value that every request looks at, such as the map of a volume. To read it
//! costs two uncontended atomics; to replace it waits until everything that was entered under the
//! old value has left, wherever it is by then.
//!
//! There are two places for a value, used in turn, and for each of them a row of counters, one for
//! each hardware queue. A reader counts itself in at the place in use and looks again: if it still
//! is the one, the publisher, who changes the place first and counts afterwards, will see it.

use super::{Padded, WaitQueue};
use core::{cell::UnsafeCell, ops::Deref, ptr::NonNull};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        Mutex,
    },
};

#[pin_data]
struct Inner<T> {
    /// The place in use is `phase & 1`.
    phase: Atomic<u32>,
    /// Set while somebody waits for counters to become zero.
    draining: Atomic<u32>,
    places: [UnsafeCell<Option<T>>; 2],
    counters: KVec<Padded<[Atomic<i32>; 2]>>,
    #[pin]
    left: WaitQueue,
    /// One publisher at a time.
    #[pin]
    publisher: Mutex<()>,
}

impl<T> Inner<T> {
    fn is_drained(&self, place: usize) -> bool {
        self.counters.iter().all(|c| c[place].load(Relaxed) == 0)
    }

    /// Waits until nobody is entered at `place`.
    fn drain(&self, place: usize) {
        // `Full`: set before the counters are looked at; a leaver counts down before it looks.
        let _ = self.draining.xchg(1, Full);
        self.left.wait_until(|| self.is_drained(place));
        let _ = self.draining.xchg(0, Full);
    }

    fn leave(&self, slot: usize, place: usize) {
        let before = self.counters[slot][place].fetch_sub(1, Full);
        if before == 1 && self.draining.load(Relaxed) != 0 {
            self.left.wake_all();
        }
    }
}

/// A value that is read often and replaced seldom.
pub struct Published<T: Send + Sync + 'static>(Pin<KBox<Inner<T>>>);

// SAFETY: Values are shared between readers, and dropped by whichever task publishes.
unsafe impl<T: Send + Sync + 'static> Send for Published<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync + 'static> Sync for Published<T> {}

impl<T: Send + Sync + 'static> Published<T> {
    /// `slots`: how many counters, as many as there are hardware queues. *Task* context.
    pub fn new(slots: usize, value: T) -> Result<Self> {
        let mut counters = KVec::with_capacity(slots.max(1), GFP_KERNEL)?;
        for _ in 0..slots.max(1) {
            counters.push(Padded([Atomic::new(0), Atomic::new(0)]), GFP_KERNEL)?;
        }
        Ok(Self(KBox::pin_init(
            pin_init!(Inner {
                phase: Atomic::new(0),
                draining: Atomic::new(0),
                places: [UnsafeCell::new(Some(value)), UnsafeCell::new(None)],
                counters,
                left <- WaitQueue::new(),
                publisher <- new_mutex!(()),
            }),
            GFP_KERNEL,
        )?))
    }

    /// Takes hold of the present value. `slot` is best the number of the hardware queue; one that is too
    /// large is as good as 0. Any context.
    pub fn enter(&self, slot: usize) -> Entered<T> {
        let inner = &*self.0;
        let slot = if slot < inner.counters.len() { slot } else { 0 };
        loop {
            let phase = inner.phase.load(Relaxed);
            let place = (phase & 1) as usize;
            // `Full`: counted before the phase is looked at again, and before the value is.
            inner.counters[slot][place].fetch_add(1, Full);
            if inner.phase.load(Relaxed) == phase {
                return Entered {
                    inner: NonNull::from(inner),
                    slot,
                    place,
                };
            }
            inner.leave(slot, place);
        }
    }

    /// Replaces the value: whoever enters from now on finds the new one. Waits until all who
    /// entered under the old one have left, and gives that back. *Task* context; not while the
    /// caller itself holds an [`Entered`].
    pub fn publish(&self, value: T) -> T {
        let inner = &*self.0;
        let _publisher = inner.publisher.lock();
        let phase = inner.phase.load(Relaxed);
        let (old, new) = ((phase & 1) as usize, (phase & 1 ^ 1) as usize);
        // Late comers may be counted here for a moment, without looking at the value.
        // SAFETY: The place isn't in use: it was drained when it was left, and only the publisher
        // makes it the one again.
        unsafe { *inner.places[new].get() = Some(value) };
        // `Full`: the value comes before the phase, the phase before the counters are looked at.
        let _ = inner.phase.xchg(phase.wrapping_add(1), Full);
        inner.drain(old);
        // SAFETY: Nobody is left that looks at it.
        match unsafe { (*inner.places[old].get()).take() } {
            Some(value) => value,
            None => unreachable!("the place in use has a value"),
        }
    }

    /// How many hold the present or the old value now, about. Any context.
    pub fn entered(&self) -> u32 {
        let n: i32 = self
            .0
            .counters
            .iter()
            .map(|c| c[0].load(Relaxed) + c[1].load(Relaxed))
            .sum();
        // CAST: Never negative.
        n.max(0) as u32
    }
}

impl<T: Send + Sync + 'static> Drop for Published<T> {
    fn drop(&mut self) {
        // An `Entered` points here, so all of them must go first.
        self.0.drain(0);
        self.0.drain(1);
    }
}

/// Holds on to a value of [`Published`]. May be kept in a request's data, and dropped in any
/// context; have it dropped before the request ends.
pub struct Entered<T: Send + Sync + 'static> {
    inner: NonNull<Inner<T>>,
    slot: usize,
    place: usize,
}

// SAFETY: It shares a `T`, and leaves by atomics.
unsafe impl<T: Send + Sync + 'static> Send for Entered<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync + 'static> Sync for Entered<T> {}

impl<T: Send + Sync + 'static> Deref for Entered<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `Published` isn't gone before this has left, and the value at our place stays
        // while we are counted there.
        match unsafe { &*self.inner.as_ref().places[self.place].get() } {
            Some(value) => value,
            None => unreachable!("the value stays while somebody is entered"),
        }
    }
}

impl<T: Send + Sync + 'static> Drop for Entered<T> {
    fn drop(&mut self) {
        // SAFETY: `Published` isn't gone before this has left.
        unsafe { self.inner.as_ref() }.leave(self.slot, self.place);
    }
}
