// SPDX-License-Identifier: GPL-2.0
//! Events on their way to the engine.
//!
//! What may come in any number from any context is kept as flags; all else comes from tasks, which
//! wait for room.

use kernel::prelude::*;
use restripe_core::engine::Event;
use restripe_core::geometry::MemberMask;

use crate::sys::sync::{new_spinlock_irq, SpinLockIrq, WaitQueue};

/// Events that fit besides the flags.
const ROOM: usize = 64;

struct Queue {
    /// Oldest first.
    events: KVec<Event>,
    want_active: bool,
    faulted: MemberMask,
    poked: bool,
    /// Jobs that hold their range now, one bit each.
    granted: u32,
}

/// Where events wait for the worker thread.
#[pin_data]
pub struct Inbox {
    #[pin]
    queue: SpinLockIrq<Queue>,
    #[pin]
    room: WaitQueue,
}

impl Inbox {
    pub fn new() -> Result<impl PinInit<Inbox>> {
        let queue = Queue {
            events: KVec::with_capacity(ROOM, GFP_KERNEL)?,
            want_active: false,
            faulted: MemberMask::EMPTY,
            poked: false,
            granted: 0,
        };
        Ok(pin_init!(Inbox {
            queue <- new_spinlock_irq!(queue),
            room <- WaitQueue::new(),
        }))
    }

    /// Takes an event. `WantActive` and `Faulted` from any context, all others from tasks.
    pub fn put(&self, event: Event) {
        match event {
            Event::WantActive => self.queue.lock().want_active = true,
            Event::Faulted { members } => {
                let mut queue = self.queue.lock();
                queue.faulted = queue.faulted | members;
            }
            Event::Tick => self.queue.lock().poked = true,
            other => self
                .room
                .wait_until(|| self.queue.lock().events.push_within_capacity(other).is_ok()),
        }
    }

    /// A job holds its range now. Any context.
    pub fn grant(&self, job: u8) {
        self.queue.lock().granted |= 1 << job;
    }

    /// Whether there is something to take. Any context.
    pub fn is_waiting(&self) -> bool {
        let queue = self.queue.lock();
        !queue.events.is_empty()
            || queue.want_active
            || queue.poked
            || queue.granted != 0
            || !queue.faulted.is_empty()
    }

    /// The next event.
    pub fn take(&self) -> Option<Event> {
        let mut queue = self.queue.lock();
        if queue.poked {
            queue.poked = false;
            return Some(Event::Tick);
        }
        if !queue.faulted.is_empty() {
            let members = core::mem::replace(&mut queue.faulted, MemberMask::EMPTY);
            return Some(Event::Faulted { members });
        }
        if queue.want_active {
            queue.want_active = false;
            return Some(Event::WantActive);
        }
        if queue.granted != 0 {
            // CAST: The number of a bit.
            let job = queue.granted.trailing_zeros() as u8;
            queue.granted &= !(1 << job);
            return Some(Event::Locked { job });
        }
        let event = queue.events.remove(0).ok();
        drop(queue);
        if event.is_some() {
            self.room.wake_all();
        }
        event
    }
}
