// SPDX-License-Identifier: GPL-2.0
//! Host tests of what is kept on members: the superblock, where things lie, which
//! superblock is believed, what users write and what disks hold already.

mod command;
mod common;
mod ondisk;
mod probe;
mod recover;
mod shape;
