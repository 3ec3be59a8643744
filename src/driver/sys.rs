// SPDX-License-Identifier: GPL-2.0

//! A thin, safe layer over `kernel::bindings`, shaped like what could go upstream.
//!
//! The only place of the driver with `unsafe` or C. Contexts are named in each file:
//! *task* (may sleep), *queue* (`queue_rq`: may sleep for memory or tags, never waits for the
//! members' I/O) and *end_io* (may be a hard interrupt).

pub mod block;
pub mod mem;
pub mod module;
pub mod parity;
mod pb;
pub mod random;
pub mod sync;
pub mod sysfs;
pub mod time;
pub mod work;
