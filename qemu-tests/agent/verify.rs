//! Reads every stamped block back and checks it against what was acknowledged.

use std::collections::HashMap;
use std::os::unix::fs::FileExt;

use anyhow::{Context, ensure};
use qemu_tests::stamp::Demand;
use qemu_tests::wire::{FAULTS, VerifySpec};

use crate::Outcome;
use crate::digest;
use crate::direct::{self, Pages};

/// Bytes read at once.
const READ: u64 = 1 << 20;
/// As many faults are told; the rest is counted.
const TELL: usize = 20;

pub fn run(spec: &VerifySpec) -> Outcome {
    let region = &spec.region;
    let block_size = u64::from(region.block_size);
    ensure!(
        block_size > 0 && block_size % 4096 == 0,
        "a block of {block_size} bytes is no multiple of 4096"
    );
    let floors: HashMap<u64, u64> = spec
        .floors
        .iter()
        .map(|ack| (ack.block, ack.floor))
        .collect();
    let file = direct::open(&region.path)?;
    let batch = (READ / block_size).max(1);
    let mut buffer = Pages::new((batch * block_size) as usize);
    let (mut faults, mut told, mut digest) = (0_u64, Vec::new(), 0);
    for first in (0..region.blocks).step_by(batch as usize) {
        let count = batch.min(region.blocks - first);
        let bytes = &mut buffer[..(count * block_size) as usize];
        let at = region.start + first * block_size;
        file.read_exact_at(bytes, at)
            .with_context(|| format!("read {} at byte {at}", region.path))?;
        digest = digest::of(digest, bytes);
        for (block, bytes) in (first..).zip(bytes.chunks_exact(block_size as usize)) {
            let demand = Demand {
                run: region.run,
                block,
                floor: floors.get(&block).copied(),
                ceiling: None,
                mix: spec.mix,
            };
            if let Err(fault) = demand.check(bytes) {
                faults += 1;
                if told.len() < TELL {
                    told.push(fault);
                }
            }
        }
    }
    if faults == 0 {
        return Ok((
            0,
            format!(
                "{} blocks are right, {} of them acknowledged; digest {digest:016x}",
                region.blocks,
                floors.len()
            ),
        ));
    }
    Ok((
        FAULTS,
        format!(
            "{faults} of {} blocks are wrong:\n{}",
            region.blocks,
            told.join("\n")
        ),
    ))
}
