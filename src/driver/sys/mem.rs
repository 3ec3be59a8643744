// SPDX-License-Identifier: GPL-2.0

//! Memory for data on its way, [`Buffer`], and for values that are too large for a stack.

mod buffer;
mod zeroed;

pub use buffer::{Buffer, Slice, SliceMut, MAX_BUFFER};
pub use zeroed::{zeroed, Zeroed};
