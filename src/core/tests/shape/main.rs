// SPDX-License-Identifier: GPL-2.0
//! Where data lie, and what reading and writing them takes.

mod detour;
mod footprint;
mod layout;
mod range_lock;
mod sets;
mod stripe;
