// SPDX-License-Identifier: GPL-2.0

//! Random bytes that nobody can guess. *Task* context.

use kernel::{bindings, ffi::c_void};

/// As many as a uuid takes.
pub fn bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    // SAFETY: The array is ours, and as long as we say.
    unsafe {
        bindings::get_random_bytes(bytes.as_mut_ptr().cast::<c_void>(), bytes.len());
    }
    bytes
}
