//! `make crash`: lost caches, across all disks at once.
//!
//! A VM runs on disks whose writes and flushes go to one log (`nbd`), together with what its writer had acknowledged. A cut is a
//! point in that log: what had been flushed by then is on the disks, of the rest any subset, whole or torn at sectors. From the
//! images of a cut a fresh VM assembles the volume, reads every block, lets it come to rest, and reads every block again. Fresh is a
//! copy of one that was stopped when it had booted and knew blank disks only: it knows of no other cut.

pub mod case;
pub mod check;
pub mod cut;
mod done;
pub mod record;
mod report;
pub mod run;
