// SPDX-License-Identifier: GPL-2.0
//! Host tests of what is kept on members: the superblock, where things lie, which
//! superblock is believed, what users write, what disks hold already, and what an engine refuses.
#![expect(
    clippy::result_large_err,
    reason = "a refusal carries its sentence, and none of this is where speed matters"
)]

mod command;
mod common;
mod engine;
mod members;
mod ondisk;
mod pairs;
mod probe;
mod recover;
mod scan;
mod shape;
mod witness;
