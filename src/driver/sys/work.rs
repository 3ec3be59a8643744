// SPDX-License-Identifier: GPL-2.0

//! Work elsewhere: [`WorkQueue`] for short pieces, [`Kthread`] for one that goes on.

mod kthread;
mod queue;

pub use kthread::{Kthread, KthreadControl};
pub use queue::{WorkQueue, WorkQueueKind};

use super::pb;

/// CPUs that are there now, at least one. Any context.
pub fn cpus() -> u32 {
    // SAFETY: It only reads a counter.
    unsafe { pb::restripe_num_online_cpus() }.max(1)
}

/// The CPU this runs on, or did a moment ago. Any context.
pub fn this_cpu() -> usize {
    // SAFETY: It only reads a number.
    unsafe { pb::restripe_this_cpu() as usize }
}
