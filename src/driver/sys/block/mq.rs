// SPDX-License-Identifier: GPL-2.0

//! blk-mq: requests coming in.
//!
//! - [`Operations`]: what a driver does with them.
//! - [`TagSet`]: hardware queues and tags; reads have hardware queues of their own, so that
//!   writes which wait can't take the last tags from them.
//! - [`OwnedRequest`]: a started request, to be ended exactly once; [`Request`]: what can be seen
//!   of it meanwhile.
//!
//! `BLK_MQ_F_BLOCKING` is set: sending to members may sleep (for memory and for their tags), so
//! without it every request would have to go through a worker, at many times the cost of the
//! SRCU lock that it adds. Requests that come as a list are handed over in one go, under a plug
//! of our own, so that what is sent to the members goes in batches too.

mod operations;
mod plug;
mod request;
mod tag_set;

pub use operations::Operations;
pub(in crate::sys) use plug::plugged;
pub use request::{OwnedRequest, Request};
pub use tag_set::{TagSet, TagSetConfig};
