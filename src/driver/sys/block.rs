// SPDX-License-Identifier: GPL-2.0

//! Block layer: requests coming in ([`mq`]), I/O going out ([`bio`]), members, the volume's disk.

pub mod bio;
pub mod flags;
pub mod gen_disk;
pub mod limits;
pub mod member;
pub mod mq;
pub mod status;

pub use flags::{Flags, Op};
pub use gen_disk::Disk;
pub use limits::Limits;
pub use member::{HolderLink, Member};
pub use status::Status;
