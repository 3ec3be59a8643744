// SPDX-License-Identifier: GPL-2.0

//! I/O to members.
//!
//! - [`Batch`]: what can be sent: clones of a request's bios, reads and writes of a
//!   [`Buffer`](crate::sys::mem::Buffer), flushes, discards, zeroes.
//! - Three owners of a batch: a request ([`OwnedRequest::submit`]), an object of the driver's own
//!   ([`IoBox`]), a task that waits ([`scope`]).
//! - [`Outcome`]: what came of it, once all of the batch is complete.
//!
//! [`OwnedRequest::submit`]: crate::sys::block::mq::OwnedRequest::submit

mod batch;
pub(super) mod core_io;
mod io_box;
mod scope;
mod set;

pub use batch::Batch;
pub use core_io::Outcome;
pub use io_box::{IoBox, IoContext};
pub use scope::scope;
pub use set::BioSet;
