//! A cut: a point in the log, and what the disks' caches did with what had not been flushed by then.

use std::ops::Range;

use fastrand::Rng;

use super::record::Recording;
use crate::ledger::Ledger;
use crate::nbd::image::Image;
use crate::nbd::log::{Event, Log, Write};
use crate::wire::Ack;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// By which it is told again, of the same recording with the same seed.
    pub number: usize,
    /// So many events have happened.
    pub at: usize,
    seed: u64,
}

/// How a disk's cache behaved.
#[derive(Debug, Clone, Copy)]
enum Mood {
    KeptAll,
    LostAll,
    /// Chances in 8 of a write to be kept, and of one that is kept to be torn.
    Mixed { kept: u8, torn: u8 },
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Lost,
    Torn,
}

/// What the disks hold after a cut.
#[derive(Debug)]
pub struct Remains {
    pub images: Vec<Image>,
    /// How many writes had not been flushed, and how many of them are lost, and torn.
    pub open: usize,
    pub lost: usize,
    pub torn: usize,
}

/// Cuts at every flush, and then at `random` points.
pub fn every_flush(recording: &Recording, random: usize) -> Vec<Cut> {
    let flushes = flushes(recording);
    let cuts = flushes.len() + random;
    (0..cuts)
        .map(|number| Cut::of(recording, &flushes, number))
        .collect()
}

/// So many cuts, each one of those above with the same number there: by turns at a random point, and at a flush, which are
/// spread over the whole log.
pub fn some(recording: &Recording, cuts: usize) -> Vec<Cut> {
    let flushes = flushes(recording);
    let after_flushes = (cuts / 2).min(flushes.len());
    let spread = (0..after_flushes).map(|n| (2 * n + 1) * flushes.len() / (2 * after_flushes));
    let random = flushes.len()..flushes.len() + cuts - after_flushes;
    random
        .chain(spread)
        .map(|number| Cut::of(recording, &flushes, number))
        .collect()
}

/// How many flushes some cuts come right after or right before, and how many there are.
pub fn flushes_seen<'a>(
    recording: &Recording,
    cuts: impl Iterator<Item = &'a Cut> + Clone,
) -> (usize, usize) {
    let flushes = flushes(recording);
    let at_it = |flush: &&Range<usize>| {
        cuts.clone().any(|cut| (flush.start..=flush.end).contains(&cut.at))
    };
    (flushes.iter().filter(at_it).count(), flushes.len())
}

/// Every other one right before a flush, where most is at stake.
fn anywhere(recording: &Recording, flushes: &[Range<usize>], random: &mut Rng) -> usize {
    if random.bool()
        && let Some(flush) = random.choice(flushes)
    {
        return flush.start;
    }
    random.usize(recording.first..=recording.log.events.len())
}

/// The flushes. Those of several disks that nothing comes between are one: there is no more to lose after the last of them than
/// after the first, and no more that must be there.
fn flushes(recording: &Recording) -> Vec<Range<usize>> {
    let mut flushes: Vec<Range<usize>> = Vec::new();
    for (index, event) in recording.log.events.iter().enumerate().skip(recording.first) {
        match (event, flushes.last_mut()) {
            (Event::Flush { .. }, Some(last)) if last.end == index => last.end += 1,
            (Event::Flush { .. }, _) => flushes.push(index..index + 1),
            _ => {}
        }
    }
    flushes
}

impl Cut {
    fn of(recording: &Recording, flushes: &[Range<usize>], number: usize) -> Self {
        let mut random = Rng::with_seed(recording.seed ^ (number as u64) << 32);
        let at = match flushes.get(number) {
            Some(flush) => random.usize(flush.start + 1..=flush.end),
            None => anywhere(recording, flushes, &mut random),
        };
        Self {
            number,
            at,
            seed: random.u64(..),
        }
    }

    /// Decides the cuts of what goes on after this one.
    pub fn next_seed(&self) -> u64 {
        self.seed.rotate_left(17)
    }

    /// What each block must hold: what was acknowledged, or read, before a flush that was acknowledged.
    pub fn demands(&self, log: &Log) -> Vec<Ack> {
        let mut ledger = Ledger::default();
        for event in &log.events[..self.at] {
            match event {
                Event::Acks(acks) => ledger.acknowledge(acks),
                Event::Seen(seen) => ledger.see(seen),
                Event::Flushed { before } => ledger.flush(*before),
                Event::Write(_) | Event::Flush { .. } => {}
            }
        }
        ledger.flushed()
    }

    pub fn remains(&self, log: &Log) -> Remains {
        let mut random = Rng::with_seed(self.seed);
        let moods: Vec<_> = log.sizes.iter().map(|_| Mood::any(&mut random)).collect();
        let events = &log.events[..self.at];
        let mut flushed = vec![0; log.sizes.len()];
        for (index, event) in events.iter().enumerate() {
            if let Event::Flush { disk } = event {
                flushed[*disk] = index;
            }
        }
        let mut remains = Remains {
            images: log.sizes.iter().map(|&size| Image::blank(size)).collect(),
            open: 0,
            lost: 0,
            torn: 0,
        };
        for (index, event) in events.iter().enumerate() {
            let Event::Write(write) = event else {
                continue;
            };
            if write.fua || index < flushed[write.disk] {
                write.apply(&mut remains.images[write.disk]);
            } else {
                let fate = moods[write.disk].fate(&mut random);
                remains.take(write, fate, &mut random);
            }
        }
        remains
    }
}

impl Remains {
    fn take(&mut self, write: &Write, fate: Fate, random: &mut Rng) {
        let image = &mut self.images[write.disk];
        self.open += 1;
        match fate {
            Fate::Kept => write.apply(image),
            Fate::Lost => self.lost += 1,
            Fate::Torn => {
                self.torn += 1;
                // The beginning, the end, or any sectors.
                let sectors = write.len() as usize / crate::nbd::log::SECTOR;
                let middle = random.usize(0..=sectors);
                match random.u8(..3) {
                    0 => write.apply_torn(image, |sector| sector < middle),
                    1 => write.apply_torn(image, |sector| sector >= middle),
                    _ => write.apply_torn(image, |_| random.bool()),
                }
            }
        }
    }
}

impl Mood {
    fn any(random: &mut Rng) -> Self {
        match random.u8(..6) {
            0 => Self::KeptAll,
            1 => Self::LostAll,
            _ => Self::Mixed {
                kept: random.u8(1..8),
                torn: random.u8(..7),
            },
        }
    }

    fn fate(self, random: &mut Rng) -> Fate {
        match self {
            Self::KeptAll => Fate::Kept,
            Self::LostAll => Fate::Lost,
            Self::Mixed { kept, .. } if random.u8(..8) >= kept => Fate::Lost,
            Self::Mixed { torn, .. } if random.u8(..8) < torn => Fate::Torn,
            Self::Mixed { .. } => Fate::Kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nbd::log::Content;
    use crate::wire::Region;

    fn write(disk: usize, at: u64, byte: u8, fua: bool) -> Event {
        Event::Write(Write {
            disk,
            at,
            content: Content::Data(vec![byte; 2048]),
            fua,
        })
    }

    fn recording(events: Vec<Event>) -> Recording {
        Recording {
            case: String::new(),
            seed: 1,
            region: Region {
                path: String::new(),
                start: 0,
                block_size: 4096,
                blocks: 1,
                run: 1,
            },
            first: 0,
            log: Log {
                sizes: vec![8192; 2],
                events,
            },
        }
    }

    fn sectors(image: &Image, at: u64) -> Vec<u8> {
        (0..4)
            .map(|n| {
                let mut sector = [0; 512];
                image.read(at + n * 512, &mut sector);
                assert!(sector.iter().all(|&b| b == sector[0]), "torn in a sector");
                sector[0]
            })
            .collect()
    }

    #[test]
    fn what_was_flushed_stays_and_the_rest_goes_every_way() {
        let recording = recording(vec![
            write(0, 0, 1, false),
            write(1, 0, 2, false),
            write(1, 4096, 3, true),
            Event::Flush { disk: 0 },
            write(0, 2048, 4, false),
            // This flush comes too late.
            Event::Flush { disk: 0 },
        ]);
        let (mut kept, mut lost, mut torn) = (0, 0, 0);
        for seed in 0..400 {
            let cut = Cut {
                number: 0,
                at: 5,
                seed,
            };
            let remains = cut.remains(&recording.log);
            let [first, second] = &remains.images[..] else {
                panic!("two disks");
            };
            assert_eq!(sectors(first, 0), [1; 4], "flushed");
            assert_eq!(sectors(second, 4096), [3; 4], "FUA");
            assert_eq!(remains.open, 2);
            for (found, byte) in [(sectors(second, 0), 2), (sectors(first, 2048), 4)] {
                assert!(found.iter().all(|&b| b == 0 || b == byte));
                match found.iter().filter(|&&b| b == byte).count() {
                    4 => kept += 1,
                    0 => lost += 1,
                    _ => torn += 1,
                }
            }
        }
        assert!(kept > 50 && lost > 50 && torn > 50, "{kept} {lost} {torn}");
    }

    #[test]
    fn what_must_be_there_was_acknowledged_before_a_flush_that_was() {
        let ack = |block, floor| Ack { block, floor };
        let log = Log {
            sizes: Vec::new(),
            events: vec![
                Event::Acks(vec![ack(1, 1), ack(2, 1)]),
                Event::Seen(vec![ack(2, 2)]),
                Event::Acks(vec![ack(1, 3)]),
                Event::Flushed { before: 3 },
                Event::Flushed { before: 4 },
            ],
        };
        let demands = |at| {
            Cut {
                number: 0,
                at,
                seed: 0,
            }
            .demands(&log)
        };
        assert_eq!(demands(3), []);
        assert_eq!(demands(4), [ack(1, 1), ack(2, 2)]);
        assert_eq!(demands(5), [ack(1, 3), ack(2, 2)]);
    }

    #[test]
    fn cuts_come_again_and_take_every_flush() {
        let recording = recording(vec![
            write(0, 0, 1, false),
            Event::Flush { disk: 0 },
            Event::Flush { disk: 1 },
            write(1, 0, 1, false),
            Event::Flush { disk: 1 },
            Event::Flushed { before: 0 },
            Event::Flush { disk: 0 },
        ]);
        let cuts = every_flush(&recording, 3);
        // The first two flushes are as one.
        assert_eq!(cuts.len(), 6);
        assert!((2..=3).contains(&cuts[0].at));
        assert_eq!((cuts[1].at, cuts[2].at), (5, 7));
        assert_eq!(cuts, every_flush(&recording, 3));
        assert!(cuts.iter().all(|cut| cut.at <= 7));
        assert_eq!(flushes_seen(&recording, cuts[..2].iter()), (2, 3));
        assert_eq!(flushes_seen(&recording, [].iter()), (0, 3));
        let few = some(&recording, 3);
        assert_eq!(few, [cuts[3], cuts[4], cuts[1]]);
        // No more flushes than there are.
        assert_eq!(some(&recording, 9).len(), 9);
    }
}
