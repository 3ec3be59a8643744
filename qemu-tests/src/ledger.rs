//! What a block must hold, from what was issued and acknowledged: kept in the guest while writes run, and on the host, where it survives the guest.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

use crate::wire::Ack;

/// Guest side: which writes are under way.
///
/// Writes may overlap. Once a write is acknowledged, all that was acknowledged before it was issued is
/// superseded; those that ran beside it are not, since either order is right.
#[derive(Debug)]
pub struct InFlight {
    newest: u64,
    under_way: HashMap<u64, Vec<u64>>,
    floors: HashMap<u64, u64>,
}

/// One write of several blocks.
#[derive(Debug)]
pub struct Issue {
    pub sequence: u64,
    blocks: Range<u64>,
    /// For each block the oldest write that was under way when this one was issued, or this one.
    floors: Vec<u64>,
}

impl InFlight {
    pub fn new(first_sequence: u64) -> Self {
        Self {
            newest: first_sequence,
            under_way: HashMap::new(),
            floors: HashMap::new(),
        }
    }

    /// The newest sequence number given out.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    pub fn issue(&mut self, blocks: Range<u64>) -> Issue {
        self.newest += 1;
        let sequence = self.newest;
        let floors = blocks
            .clone()
            .map(|block| {
                let beside = self.under_way.entry(block).or_default();
                beside.push(sequence);
                // Sequence numbers rise, so the first is the oldest.
                beside[0]
            })
            .collect();
        Issue {
            sequence,
            blocks,
            floors,
        }
    }

    pub fn acknowledge(&mut self, issue: Issue) -> Vec<Ack> {
        let acks: Vec<_> = issue
            .blocks
            .zip(issue.floors)
            .map(|(block, floor)| Ack { block, floor })
            .collect();
        for ack in &acks {
            if let Some(beside) = self.under_way.get_mut(&ack.block) {
                beside.retain(|&s| s != issue.sequence);
                if beside.is_empty() {
                    self.under_way.remove(&ack.block);
                }
            }
            raise(self.floors.entry(ack.block).or_default(), ack.floor);
        }
        acks
    }

    /// A block that a write is under way to, if there is one; `pick` chooses among so many.
    pub fn busy(&self, pick: impl FnOnce(usize) -> usize) -> Option<u64> {
        let blocks = self.under_way.len();
        (blocks > 0).then(|| {
            *self
                .under_way
                .keys()
                .nth(pick(blocks))
                .expect("one of them")
        })
    }

    /// The oldest sequence number that a read of `block` which begins now leaves possible, should it find what is newest:
    /// older ones have ended already and can't come after it.
    pub fn oldest_under_way(&self, block: u64) -> Option<u64> {
        self.under_way.get(&block).map(|beside| beside[0])
    }

    /// The oldest sequence number that `block` may hold, if anything was acknowledged for it.
    pub fn floor(&self, block: u64) -> Option<u64> {
        self.floors.get(&block).copied()
    }
}

/// Host side: what was acknowledged, and what of it was flushed.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    acknowledged: BTreeMap<u64, u64>,
    flushed: BTreeMap<u64, u64>,
    /// What was acknowledged or seen and is not yet known to be flushed, in order.
    pending: VecDeque<Ack>,
    /// So many left `pending`.
    settled: u64,
}

impl Ledger {
    pub fn acknowledge(&mut self, acks: &[Ack]) {
        for ack in acks {
            raise(self.acknowledged.entry(ack.block).or_default(), ack.floor);
            self.pending.push_back(*ack);
        }
    }

    /// Blocks were read that held these or newer. Only once that is flushed must it stay.
    pub fn see(&mut self, seen: &[Ack]) {
        self.pending.extend(seen);
    }

    /// A flush is done that was issued after the first `before` acknowledgements and sights of this session of the writer.
    pub fn flush(&mut self, before: u64) {
        while self.settled < before {
            let Some(ack) = self.pending.pop_front() else {
                break;
            };
            raise(self.flushed.entry(ack.block).or_default(), ack.floor);
            self.settled += 1;
        }
    }

    /// A new session of the writer counts its acknowledgements from 0.
    pub fn new_session(&mut self) {
        self.pending.clear();
        self.settled = 0;
    }

    /// What every block must hold when power failed and the disks kept what they acknowledged.
    pub fn acknowledged(&self) -> Vec<Ack> {
        list(&self.acknowledged)
    }

    /// What every block must hold when the disks lost their caches too.
    pub fn flushed(&self) -> Vec<Ack> {
        list(&self.flushed)
    }

    /// A sequence number above all that this ledger knows; a writer's next session starts far above it, so that
    /// what was issued and never acknowledged can't be taken for something newer.
    pub fn newest(&self) -> u64 {
        self.acknowledged.values().copied().max().unwrap_or(0)
    }
}

fn list(floors: &BTreeMap<u64, u64>) -> Vec<Ack> {
    floors
        .iter()
        .map(|(&block, &floor)| Ack { block, floor })
        .collect()
}

fn raise(floor: &mut u64, to: u64) {
    *floor = to.max(*floor);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_one_after_the_other_supersede() {
        let mut writes = InFlight::new(0);
        for want in 1..=3 {
            let issue = writes.issue(4..6);
            assert_eq!(
                writes.acknowledge(issue),
                [
                    Ack {
                        block: 4,
                        floor: want
                    },
                    Ack {
                        block: 5,
                        floor: want
                    }
                ]
            );
        }
        assert_eq!(writes.floor(4), Some(3));
        assert_eq!(writes.floor(6), None);
    }

    #[test]
    fn writes_beside_each_other_may_end_either_way() {
        let mut writes = InFlight::new(10);
        let first = writes.issue(0..1);
        let second = writes.issue(0..1);
        assert_eq!(
            writes.acknowledge(second),
            [Ack {
                block: 0,
                floor: 11
            }]
        );
        // Issued after the second was acknowledged, but the first is still under way.
        let third = writes.issue(0..1);
        assert_eq!(
            writes.acknowledge(first),
            [Ack {
                block: 0,
                floor: 11
            }]
        );
        assert_eq!(
            writes.acknowledge(third),
            [Ack {
                block: 0,
                floor: 11
            }]
        );
        let fourth = writes.issue(0..1);
        assert_eq!(
            writes.acknowledge(fourth),
            [Ack {
                block: 0,
                floor: 14
            }]
        );
    }

    #[test]
    fn a_flush_covers_what_was_acknowledged_before_it() {
        let ack = |block, floor| Ack { block, floor };
        let mut ledger = Ledger::default();
        ledger.acknowledge(&[ack(1, 1), ack(2, 2)]);
        ledger.acknowledge(&[ack(1, 3)]);
        ledger.flush(2);
        assert_eq!(ledger.flushed(), [ack(1, 1), ack(2, 2)]);
        assert_eq!(ledger.acknowledged(), [ack(1, 3), ack(2, 2)]);
        ledger.flush(3);
        assert_eq!(ledger.flushed(), [ack(1, 3), ack(2, 2)]);
        assert_eq!(ledger.newest(), 3);

        ledger.new_session();
        ledger.acknowledge(&[ack(2, 9)]);
        ledger.flush(1);
        assert_eq!(ledger.flushed(), [ack(1, 3), ack(2, 9)]);
    }
}
