// SPDX-License-Identifier: GPL-2.0
//! A plan's arithmetic over tags: what [`restripe_core::stripe::calculate`] does over bytes.

use restripe_core::geometry::Sectors;
use restripe_core::stripe::{Calc, Plan};

use crate::disk::Tag;

/// Index into the scratch area of a place in a lane.
pub fn scratch_at(plan: &Plan, lane: u16, at: Sectors) -> usize {
    (u64::from(lane) * plan.lane.0 + at.0) as usize
}

/// Carries out the plan's arithmetic; `base` is where the plan's request data begin in `data`.
pub fn calculate(plan: &Plan, scratch: &mut [Tag], data: &mut [Tag], base: usize) {
    for calc in &plan.calcs {
        match *calc {
            Calc::CopyIn {
                lane,
                at,
                from,
                len,
            } => {
                let (to, from, len) = (
                    scratch_at(plan, lane, at),
                    base + from.0 as usize,
                    len.0 as usize,
                );
                scratch[to..to + len].copy_from_slice(&data[from..from + len]);
            }
            Calc::CopyOut { lane, at, to, len } => {
                let (from, to, len) = (
                    scratch_at(plan, lane, at),
                    base + to.0 as usize,
                    len.0 as usize,
                );
                data[to..to + len].copy_from_slice(&scratch[from..from + len]);
            }
            Calc::Gen {
                lane,
                lanes,
                at,
                len,
            } => {
                let to = scratch_at(plan, lane, at);
                scratch[to..to + len.0 as usize].fill(0);
                accumulate(plan, scratch, (lane, lanes), at, len);
            }
            Calc::Acc {
                lane,
                lanes,
                at,
                len,
            } => accumulate(plan, scratch, (lane, lanes), at, len),
        }
    }
}

fn accumulate(
    plan: &Plan,
    scratch: &mut [Tag],
    (lane, lanes): (u16, u32),
    at: Sectors,
    len: Sectors,
) {
    let to = scratch_at(plan, lane, at);
    for source in (0..lane).filter(|i| lanes & (1 << i) != 0) {
        let from = scratch_at(plan, source, at);
        for i in 0..len.0 as usize {
            let tag = scratch[from + i];
            scratch[to + i] ^= tag;
        }
    }
}

#[cfg(test)]
mod tests {
    use restripe_core::geometry::MemberMask;
    use restripe_core::geometry::{Logical, Range};
    use restripe_core::layout::Level;
    use restripe_core::parity::Reference;
    use restripe_core::stripe::{self, Buf, Payload, parity_pieces, plan_parity};

    use super::*;
    use crate::scenario::SetSpec;

    struct Bytes(Vec<u8>);

    impl Payload for Bytes {
        fn copy_to(&self, from: usize, to: &mut [u8]) {
            to.copy_from_slice(&self.0[from..from + to.len()]);
        }
        fn copy_from(&mut self, to: usize, from: &[u8]) {
            self.0[to..to + from.len()].copy_from_slice(from);
        }
    }

    fn expand(tags: &[Tag]) -> Vec<u8> {
        tags.iter()
            .flat_map(|tag| (0..64).flat_map(|_| tag.to_le_bytes()))
            .collect()
    }

    /// Both ways to calculate give the same, sector by sector.
    #[test]
    fn tags_and_bytes_agree() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..500 {
            let set = SetSpec::new(Level::Raid5, 8, &[0, 1, 2, 3], 0, 96, 0).set();
            let start = rng.u64(..95);
            let end = rng.u64(start + 1..=96);
            let mut alive = MemberMask(0b1111);
            if rng.bool() {
                alive.0 &= !(1 << rng.u8(..4));
            }
            let range = Range::new(Logical(start), Logical(end));
            for piece in parity_pieces(&set, alive, range) {
                let plan = plan_parity(&set, alive, &piece).expect("one member may be missing");
                let mut data: Vec<Tag> = (start..end).map(|_| rng.u64(..)).collect();
                let mut scratch: Vec<Tag> = (0..plan.scratch().0).map(|_| rng.u64(..)).collect();
                let (mut bytes, mut more) = (Bytes(expand(&data)), expand(&scratch));
                calculate(&plan, &mut scratch, &mut data, 0);
                stripe::calculate(&plan, &mut more, &mut bytes, &Reference);
                assert_eq!(more, expand(&scratch));
                assert_eq!(bytes.0, expand(&data));
                assert!(
                    plan.writes
                        .iter()
                        .all(|w| matches!(w.buf, Buf::Lane(..) | Buf::Data(_)))
                );
            }
        }
    }
}
