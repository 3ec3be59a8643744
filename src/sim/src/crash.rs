// SPDX-License-Identifier: GPL-2.0
//! What a crash leaves, what an assembly makes of it, and whether that is right.

mod assemble;
mod fate;
mod reader;
mod trial;

pub use self::assemble::{Found, assemble, known_crc};
pub use self::fate::{Fate, for_each_fate, images, pending};
pub use self::reader::Reader;
pub use self::trial::Trial;
