// SPDX-License-Identifier: GPL-2.0
//! Runs the core against simulated disks with volatile caches: crashes it at every
//! step, drops and tears what was not flushed, recovers, goes on, and compares every
//! sector with an oracle.

pub mod blobs;
pub mod crash;
pub mod disk;
mod heads;
mod intents;
mod io;
mod jobs;
pub mod journal;
pub mod marks;
pub mod oracle;
mod plan;
pub mod requests;
pub mod run;
pub mod scenario;
pub mod small;
pub mod tally;
pub mod world;
