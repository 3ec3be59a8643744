//! The VM test harness: the host drives, the guest obeys.
//!
//! A scenario boots a VM with some disks, tells the agent in it what to run, cuts the power when it likes,
//! boots again and compares. What the guest's kernel printed is read at the end, and a splat fails the scenario.

pub mod accel;
pub mod cache;
pub mod console;
pub mod content;
pub mod ctx;
pub mod demo;
pub mod disk;
pub mod initramfs;
pub mod journey;
pub mod kernel;
pub mod leaks;
pub mod ledger;
pub mod link;
pub mod qemu;
pub mod restripe;
pub mod runner;
pub mod stamp;
pub mod tools;
pub mod vm;
pub mod wire;
pub mod writer;
