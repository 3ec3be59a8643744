// SPDX-License-Identifier: GPL-2.0

//! [`WaitQueue`]: tasks that wait for a condition; whoever makes it true wakes them, in any
//! context.

use crate::sys::pb;
use kernel::{
    bindings,
    ffi::{c_int, c_long},
    prelude::*,
    time::msecs_to_jiffies,
    types::Opaque,
};

/// Tasks that wait.
#[pin_data]
pub struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A wait queue does its own locking.
unsafe impl Send for WaitQueue {}
// SAFETY: As above.
unsafe impl Sync for WaitQueue {}

impl WaitQueue {
    /// An empty queue.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            head <- Opaque::ffi_init(|slot| {
                // SAFETY: `slot` is at its final address; name and key are static.
                unsafe {
                    bindings::__init_waitqueue_head(
                        slot,
                        c"restripe".as_char_ptr(),
                        kernel::static_lock_class!().as_ptr(),
                    )
                }
            }),
        })
    }

    /// Has every waiting task look at its condition. Any context.
    pub fn wake_all(&self) {
        // SAFETY: The queue is set up.
        unsafe {
            bindings::__wake_up(
                self.head.get(),
                pb::TASK_UNINTERRUPTIBLE,
                0,
                core::ptr::null_mut(),
            )
        };
    }

    /// Waits until `cond` holds: for what is sure to come, as I/O under way. *Task* context.
    pub fn wait_until(&self, cond: impl FnMut() -> bool) {
        self.wait(pb::TASK_UNINTERRUPTIBLE, None, cond);
    }

    /// Waits until `cond` holds, without being taken for stuck: for a thread that has nothing to
    /// do. *Task* context.
    pub fn wait_idle(&self, cond: impl FnMut() -> bool) {
        self.wait(pb::TASK_IDLE, None, cond);
    }

    /// Waits until `cond` holds, or for so long. Returns whether it holds. *Task* context.
    pub fn wait_timeout(&self, milliseconds: u32, cond: impl FnMut() -> bool) -> bool {
        self.wait(pb::TASK_IDLE, Some(milliseconds), cond)
    }

    /// `cond` is called with the task's state set, so it must not sleep, nor hold on to a lock
    /// that does.
    fn wait(&self, state: u32, milliseconds: Option<u32>, mut cond: impl FnMut() -> bool) -> bool {
        // CAST: Two states of few bits.
        let state = state as c_int;
        if cond() {
            return true;
        }
        // CAST: At most some 2^32 ticks.
        let mut left = milliseconds.map(|ms| msecs_to_jiffies(ms) as c_long);
        let entry = Opaque::<bindings::wait_queue_entry>::uninit();
        // SAFETY: The entry lies on this frame, and `finish_wait` takes it off the queue.
        unsafe { bindings::init_wait_entry(entry.get(), 0) };
        let met = loop {
            // SAFETY: Queue and entry are set up.
            unsafe { bindings::prepare_to_wait_event(self.head.get(), entry.get(), state) };
            if cond() {
                break true;
            }
            match &mut left {
                Some(0) => break false,
                // SAFETY: A task may sleep here, by the caller's context.
                Some(left) => *left = unsafe { bindings::schedule_timeout(*left) },
                // SAFETY: As above.
                None => unsafe { bindings::schedule() },
            }
        };
        // SAFETY: Queue and entry are set up.
        unsafe { bindings::finish_wait(self.head.get(), entry.get()) };
        met
    }
}
