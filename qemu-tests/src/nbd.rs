//! A server of network block devices whose disks lie in memory, with one log over all of them.
//!
//! QEMU attaches the disks through a Unix socket. Every write, discard and flush is put down in the order in which it came,
//! whichever disk it is for: what was on all disks at any moment can be told from it afterwards. (QEMU's own `blklogwrites`
//! logs each disk by itself, and which of two disks was written first is then unknown.)

pub mod image;
pub mod log;
mod protocol;
pub mod server;
