// SPDX-License-Identifier: GPL-2.0
//! What becomes of writes that were not flushed.

use fastrand::Rng;

use crate::disk::{Entry, Image};
use crate::io::What;
use crate::world::{Failure, World};

/// What becomes of a write that was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Dropped,
    Kept,
    /// Each sector by itself, by a generator with this seed.
    Torn(u64),
}

/// Writes that a crash now may drop or tear, by member, in the order they would land.
pub fn pending(world: &World) -> Vec<(usize, Entry)> {
    let mut all = Vec::new();
    for (member, disk) in world.disks.iter().enumerate() {
        for entry in &disk.log {
            if !entry.sectors.is_empty() {
                all.push((member, entry.clone()));
            }
        }
    }
    for op in &world.ops {
        if let What::Write {
            at,
            tags,
            name: None,
            ..
        }
        | What::Superblock {
            at,
            tags,
            name: None,
            ..
        } = &op.what
        {
            let member = usize::from(op.member);
            all.push((member, world.disks[member].entry(*at, tags)));
        }
    }
    all
}

/// What the disks hold after a crash with these fates.
pub fn images(world: &World, pending: &[(usize, Entry)], fates: &[Fate]) -> Vec<Image> {
    let mut images: Vec<Image> = world.disks.iter().map(|d| d.durable().clone()).collect();
    for ((member, entry), fate) in pending.iter().zip(fates) {
        let image = &mut images[*member];
        match *fate {
            Fate::Dropped => {}
            Fate::Kept => {
                for &(index, tag) in &entry.sectors {
                    image[index as usize] = tag;
                }
            }
            Fate::Torn(seed) => {
                let mut rng = Rng::with_seed(seed);
                for &(index, tag) in &entry.sectors {
                    if rng.bool() {
                        image[index as usize] = tag;
                    }
                }
            }
        }
    }
    images
}

/// Calls `check` with fates of `count` writes: all subsets where there are at most `limit`, else
/// as many that are likely to matter; and some that tear.
pub fn for_each_fate(
    count: usize,
    limit: usize,
    rng: &mut Rng,
    mut check: impl FnMut(&[Fate], &mut Rng) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut fates = vec![Fate::Dropped; count];
    let torn = limit.min(count * 2);
    if count < 16 && 1 << count <= limit {
        for subset in 0..1usize << count {
            for (i, fate) in fates.iter_mut().enumerate() {
                *fate = if subset & 1 << i != 0 {
                    Fate::Kept
                } else {
                    Fate::Dropped
                };
            }
            check(&fates, rng)?;
        }
    } else {
        for round in 0..limit {
            match round {
                0 => fates.fill(Fate::Dropped),
                1 => fates.fill(Fate::Kept),
                _ => {
                    // Only one kept, only one dropped, or any.
                    let one = rng.usize(..count);
                    let kind = rng.u8(..4);
                    for (i, fate) in fates.iter_mut().enumerate() {
                        let kept = match kind {
                            0 => i == one,
                            1 => i != one,
                            _ => rng.bool(),
                        };
                        *fate = if kept { Fate::Kept } else { Fate::Dropped };
                    }
                }
            }
            check(&fates, rng)?;
        }
    }
    for _ in 0..torn {
        for fate in &mut fates {
            *fate = match rng.u8(..4) {
                0 => Fate::Kept,
                1 => Fate::Dropped,
                _ => Fate::Torn(rng.u64(..)),
            };
        }
        check(&fates, rng)?;
    }
    Ok(())
}
