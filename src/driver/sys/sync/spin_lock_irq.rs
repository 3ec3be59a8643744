// SPDX-License-Identifier: GPL-2.0

//! [`SpinLockIrq`]: a spinlock that keeps interrupts off while it is held. Any context.

use crate::sys::pb;
use kernel::{bindings, ffi::c_char, ffi::c_ulong, sync::lock};

/// A spinlock for any context.
pub type SpinLockIrq<T> = lock::Lock<T, IrqBackend>;

/// `spin_lock_irqsave` and its like.
pub struct IrqBackend;

// SAFETY: These are the kernel's spinlocks; the state of the guard is the saved flags.
unsafe impl lock::Backend for IrqBackend {
    type State = bindings::spinlock_t;
    type GuardState = c_ulong;

    unsafe fn init(ptr: *mut Self::State, name: *const c_char, key: *mut bindings::lock_class_key) {
        // SAFETY: By the caller's contract.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> Self::GuardState {
        // SAFETY: By the caller's contract.
        unsafe { pb::restripe_spin_lock_irqsave(ptr) }
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<Self::GuardState> {
        let mut flags = 0;
        // SAFETY: By the caller's contract.
        unsafe { pb::restripe_spin_trylock_irqsave(ptr, &mut flags) }.then_some(flags)
    }

    unsafe fn unlock(ptr: *mut Self::State, flags: &Self::GuardState) {
        // SAFETY: By the caller's contract.
        unsafe { pb::restripe_spin_unlock_irqrestore(ptr, *flags) }
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: By the caller's contract.
        unsafe { bindings::spin_assert_is_held(ptr) }
    }
}

/// Makes a [`SpinLockIrq`] with a lock class of its own.
#[macro_export]
macro_rules! new_spinlock_irq {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::sys::sync::SpinLockIrq::new(
            $inner, ::kernel::optional_name!($($name)?), ::kernel::static_lock_class!())
    };
}
