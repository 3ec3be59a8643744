// SPDX-License-Identifier: GPL-2.0
//! The whole of RAID and migration as pure values and state machines.
//!
//! No I/O, no clock, no allocation, no unsafe. The kernel module (`src/driver`)
//! and the simulator (`src/sim`) carry out what is decided here; the same files
//! are built by Kbuild for the one and by cargo for the other.
//!
//! Modules import upward in this list only.
#![no_std]
#![forbid(unsafe_code)]
#![expect(
    clippy::result_large_err,
    reason = "a refusal carries its sentence in place, and refusals are rare"
)]

pub mod list;
pub mod text;

pub mod geometry;
pub mod rules;
pub mod way;

pub mod layout;

pub mod placement;

pub mod mend;
pub mod ondisk;
pub mod probe;

pub mod parity;
pub mod stripe;

pub mod bitmap;
pub mod journal;

pub mod admit;
pub mod range_lock;

pub mod footprint;
pub mod pace;

pub mod shape;

pub mod recover;
pub mod scan;

pub mod command;

pub mod engine;
