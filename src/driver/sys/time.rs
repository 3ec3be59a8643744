// SPDX-License-Identifier: GPL-2.0

//! Time. Any context.

use kernel::bindings;

/// Nanoseconds since some point in the past; never goes back.
pub fn now_ns() -> u64 {
    // SAFETY: It only reads the clock. CAST: The clock starts at boot, and at 0.
    unsafe { bindings::ktime_get() as u64 }
}

/// Seconds since 1970, as the wall clock has it.
pub fn real_seconds() -> u64 {
    // SAFETY: It only reads the clock. CAST: After 1970.
    unsafe { bindings::ktime_get_real_seconds() as u64 }
}
