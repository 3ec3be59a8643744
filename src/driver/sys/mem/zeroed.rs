// SPDX-License-Identifier: GPL-2.0

//! [`zeroed`]: boxes of large values, made in place: a kernel's stack has no room for them.

use core::mem::MaybeUninit;
use kernel::{
    alloc::{flags::__GFP_ZERO, Allocator, Box},
    prelude::*,
};
use restripe_core::range_lock::RangeLock;

/// Types of which all bytes zero is a value.
///
/// # Safety
///
/// It is.
pub unsafe trait Zeroed {}

// SAFETY: It is made of integers, bools, and arrays of such.
unsafe impl<const N: usize> Zeroed for RangeLock<N> {}

/// A value of zeroes only, on the heap: in a `KBox`, or for more than a few pages a `KVBox`. *Task*
/// context.
pub fn zeroed<T: Zeroed, A: Allocator>() -> Result<Box<T, A>> {
    let room: Box<MaybeUninit<T>, A> = Box::new_uninit(GFP_KERNEL | __GFP_ZERO)?;
    // SAFETY: All its bytes are zero, and that is a value of the type.
    Ok(unsafe { room.assume_init() })
}
