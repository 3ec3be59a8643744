// SPDX-License-Identifier: GPL-2.0

//! [`scope`]: I/O of a task that waits for it: metadata, workers, the probe.

use super::{
    core_io::{IoCore, IoGroup, Outcome},
    Batch,
};
use crate::sys::{block::mq::plugged, pb};
use core::ptr::NonNull;
use kernel::{prelude::*, sync::Completion};

#[repr(C)]
#[pin_data]
struct Waiter {
    core: IoCore,
    #[pin]
    done: Completion,
}

/// # Safety
///
/// `group` is that of a [`Waiter`] whose task waits for its completion.
unsafe fn done(group: NonNull<IoGroup>) {
    let waiter = group.cast::<Waiter>();
    // SAFETY: The task doesn't go on before `complete_all` has let it.
    unsafe { waiter.as_ref() }.done.complete_all();
}

/// Sends what `f` puts into the batch and waits until all of it is complete. *Task* context, and
/// not within `submit_bio`, where the I/O would not begin before this returns.
pub fn scope<'env>(f: impl FnOnce(&Batch<'env>)) -> Outcome {
    // SAFETY: It reads a field of the current task.
    let inside = unsafe { pb::restripe_in_submit_bio() };
    if kernel::warn_on!(inside) {
        return Outcome {
            status: crate::sys::block::Status::IOERR,
            failed: u64::MAX,
        };
    }
    pin_init::stack_pin_init!(let waiter = pin_init!(Waiter {
        core: IoCore::new(done),
        done <- Completion::new(),
    }));
    let waiter = &*waiter;
    // SAFETY: Nobody else knows this core. What `f` borrows outlives this call, which waits for
    // `done`.
    plugged(|| unsafe { IoCore::run(NonNull::from(&waiter.core), f) });
    waiter.done.wait_for_completion();
    waiter.core.group.outcome()
}
