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
    want_room: bool,
    want_marks: bool,
    faulted: MemberMask,
    gap_unread: MemberMask,
    poked: bool,
    /// Jobs that hold their range now, one bit each.
    granted: u32,
    /// Events that came to the list, and those of them that were taken from it and handled.
    came: u64,
    taken: u64,
    handled: u64,
}

impl Queue {
    fn take_fault(&mut self) -> Option<Event> {
        let take = |flags: &mut MemberMask| core::mem::replace(flags, MemberMask::EMPTY);
        if !self.faulted.is_empty() {
            let members = take(&mut self.faulted);
            return Some(Event::Faulted { members });
        }
        if !self.gap_unread.is_empty() {
            let members = take(&mut self.gap_unread);
            return Some(Event::GapUnread { members });
        }
        None
    }
}

/// Where events wait for the worker thread.
#[pin_data]
pub(crate) struct Inbox {
    #[pin]
    queue: SpinLockIrq<Queue>,
    #[pin]
    room: WaitQueue,
}

impl Inbox {
    pub(crate) fn new() -> Result<impl PinInit<Inbox>> {
        let queue = Queue {
            events: KVec::with_capacity(ROOM, GFP_KERNEL)?,
            want_active: false,
            want_room: false,
            want_marks: false,
            faulted: MemberMask::EMPTY,
            gap_unread: MemberMask::EMPTY,
            poked: false,
            granted: 0,
            came: 0,
            taken: 0,
            handled: 0,
        };
        Ok(pin_init!(Inbox {
            queue <- new_spinlock_irq!(queue),
            room <- WaitQueue::new(),
        }))
    }

    /// Takes an event. `WantActive`, `WantRoom`, `WantMarks`, `Faulted` and `GapUnread` from any context, all others from tasks.
    pub(crate) fn put(&self, event: Event) {
        match event {
            Event::WantActive => self.queue.lock().want_active = true,
            Event::WantRoom => self.queue.lock().want_room = true,
            Event::WantMarks => self.queue.lock().want_marks = true,
            Event::Faulted { members } => {
                let mut queue = self.queue.lock();
                queue.faulted = queue.faulted | members;
            }
            Event::GapUnread { members } => {
                let mut queue = self.queue.lock();
                queue.gap_unread = queue.gap_unread | members;
            }
            Event::Tick => self.queue.lock().poked = true,
            other => {
                self.append(other);
            }
        }
    }

    /// Takes an event from a task, and gives it a number.
    pub(crate) fn append(&self, event: Event) -> u64 {
        let mut number = 0;
        self.room.wait_until(|| {
            let mut queue = self.queue.lock();
            let has_room = queue.events.push_within_capacity(event).is_ok();
            if has_room {
                queue.came += 1;
                number = queue.came;
            }
            has_room
        });
        number
    }

    /// Waits until the event of that number has been handled. *Task* context.
    pub(crate) fn wait_handled(&self, number: u64) {
        self.room.wait_until(|| self.queue.lock().handled >= number);
    }

    /// All that was taken so far has been handled.
    pub(crate) fn note_handled(&self) {
        {
            let mut queue = self.queue.lock();
            queue.handled = queue.taken;
        }
        self.room.wake_all();
    }

    /// A job holds its range now. Any context.
    pub(crate) fn grant(&self, job: u8) {
        self.queue.lock().granted |= 1 << job;
    }

    /// Whether there is something to take. Any context.
    pub(crate) fn is_waiting(&self) -> bool {
        let queue = self.queue.lock();
        !queue.events.is_empty()
            || queue.want_active
            || queue.want_room
            || queue.want_marks
            || queue.poked
            || queue.granted != 0
            || !queue.faulted.is_empty()
            || !queue.gap_unread.is_empty()
    }

    /// What requests failed at, if any did.
    pub(crate) fn take_fault(&self) -> Option<Event> {
        self.queue.lock().take_fault()
    }

    /// The next event.
    pub(crate) fn take(&self) -> Option<Event> {
        let mut queue = self.queue.lock();
        if queue.poked {
            queue.poked = false;
            return Some(Event::Tick);
        }
        if let Some(fault) = queue.take_fault() {
            return Some(fault);
        }
        if queue.want_active {
            queue.want_active = false;
            return Some(Event::WantActive);
        }
        if queue.want_room {
            queue.want_room = false;
            return Some(Event::WantRoom);
        }
        if queue.want_marks {
            queue.want_marks = false;
            return Some(Event::WantMarks);
        }
        if queue.granted != 0 {
            // CAST: The number of a bit.
            let job = queue.granted.trailing_zeros() as u8;
            queue.granted &= !(1 << job);
            return Some(Event::Locked { job });
        }
        let event = queue.events.remove(0).ok();
        queue.taken += u64::from(event.is_some());
        event
    }
}
