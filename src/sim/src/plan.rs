// SPDX-License-Identifier: GPL-2.0
//! A plan's arithmetic over tags: [`restripe_core::stripe::calculate`], where the eight
//! bytes of a tag stand for a sector.

use restripe_core::geometry::Sectors;
use restripe_core::parity::{Parity, Reference};
use restripe_core::stripe::{self, Payload, Plan};
use zerocopy::IntoBytes;

use crate::disk::Tag;

/// Index into the scratch area of a place in a lane.
pub fn scratch_at(plan: &Plan, lane: u16, at: Sectors) -> usize {
    (u64::from(lane) * plan.lane.0 + at.0) as usize
}

/// A request's tags as bytes.
struct Tags<'a>(&'a mut [u8]);

impl Payload for Tags<'_> {
    const SECTOR: usize = size_of::<Tag>();

    fn copy_to(&self, from: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.0[from..from + to.len()]);
    }

    fn copy_from(&mut self, to: usize, from: &[u8]) {
        self.0[to..to + from.len()].copy_from_slice(from);
    }
}

/// Carries out the plan's arithmetic; `base` is where the plan's request data begin in `data`.
pub fn calculate(plan: &Plan, scratch: &mut [Tag], data: &mut [Tag], base: usize) {
    let mut data = Tags(data[base..].as_mut_bytes());
    stripe::calculate(plan, scratch.as_mut_bytes(), &mut data, &Reference);
}

/// P and Q of a row's data, in order.
pub fn parity(data: &[Tag]) -> [Tag; 2] {
    let bytes: Vec<_> = data.iter().map(|tag| tag.as_bytes()).collect();
    let [mut p, mut q]: [Tag; 2] = [0; 2];
    Reference.gen_syndrome(&bytes, p.as_mut_bytes(), q.as_mut_bytes());
    [p, q]
}
