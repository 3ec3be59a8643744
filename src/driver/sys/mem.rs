// SPDX-License-Identifier: GPL-2.0

//! Memory for data on its way: [`Buffer`], and [`Pool`] with a reserve, so that writeback can
//! always go on.

mod buffer;
mod pool;
mod zeroed;

pub use buffer::{Buffer, Slice, SliceMut, MAX_BUFFER};
pub use pool::Pool;
pub use zeroed::{zeroed, Zeroed};
