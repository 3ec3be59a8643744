// SPDX-License-Identifier: GPL-2.0

//! What `kernel::sync` lacks: a lock for interrupt context, a wait queue, and [`Epochs`], a
//! value read at next to no cost and replaced with all its readers gone.

mod epochs;
mod padded;
mod spin_lock_irq;
mod wait;

pub use epochs::{Entered, Epochs, EPOCHS};
pub use padded::Padded;
pub use spin_lock_irq::{IrqBackend, SpinLockIrq};
pub use wait::WaitQueue;

pub use crate::new_spinlock_irq;
