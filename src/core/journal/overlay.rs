// SPDX-License-Identifier: GPL-2.0
//! Reading through the journal: a read-only assembly replays nothing, and reads what a replay would write.
//!
//! What lies in the places that records tell of is not to be relied on: of a write that was cut off some may be
//! there and some not, which short of a member is garbage elsewhere in the row; and a replay that was cut off
//! has put older content over newer, acknowledged one. So every read of a member is looked up in the records
//! that count, the one with the highest number first, and what they have comes from where they lie.

use super::replays;
use crate::geometry::{MemberId, Physical, Range, Sectors};
use crate::ondisk::{JournalEntry, JournalHeader, Superblock, UNIT};
use crate::placement::Place;
use crate::stripe::BAND;

/// What a replay would write to a place, and where it is read from instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patch {
    /// At most a [`BAND`], so that few have to be looked at for a place.
    place: Place,
    sequence: u64,
    /// In the record that has it.
    from: (MemberId, Physical),
}

impl Patch {
    fn end(&self) -> Physical {
        self.place.at + self.place.run
    }

    /// Up to where it, or one of its length, can reach.
    fn reach(&self) -> (MemberId, Physical) {
        (self.place.member, self.place.at + BAND)
    }
}

/// What a replay would write of a record that [`counts`](super::counts), of which `copy` is a whole one, by the member it is
/// on and where it begins there; `bytes` are its header's.
pub fn patches<'a>(
    sb: &'a Superblock,
    window: Option<Range>,
    (header, bytes): (&'a JournalHeader, &'a [u8]),
    copy: (MemberId, Physical),
) -> impl Iterator<Item = Patch> + 'a {
    let mut behind = copy.1 + UNIT;
    let placed = JournalHeader::entries(bytes).map(move |entry| {
        let at = behind;
        behind += entry.len;
        (entry, at)
    });
    placed
        .filter(move |(entry, _)| replays(sb, window, header, entry))
        .flat_map(move |(entry, at)| bands(entry, (copy.0, at), header.sequence))
}

fn bands(
    entry: JournalEntry,
    (member, from): (MemberId, Physical),
    sequence: u64,
) -> impl Iterator<Item = Patch> {
    let starts = (0..entry.len.0).step_by(BAND.0 as usize).map(Sectors);
    starts.map(move |start| Patch {
        place: Place {
            member: entry.member,
            at: entry.at + start,
            run: (entry.len - start).min(BAND),
        },
        sequence,
        from: (member, from + start),
    })
}

/// Has them in the order that [`runs`] wants.
pub fn sort(patches: &mut [Patch]) {
    patches.sort_unstable_by_key(|patch| (patch.place.member, patch.place.at, patch.sequence));
}

/// Where `place` is to be read, run by run; `patches` are [sorted](sort).
pub fn runs(patches: &[Patch], place: Place) -> impl Iterator<Item = Place> + '_ {
    let mut left = place;
    core::iter::from_fn(move || {
        if left.run == Sectors::ZERO {
            return None;
        }
        let first = first(patches, left);
        left.at += first.run;
        left.run = left.run - first.run;
        Some(first)
    })
}

fn first(patches: &[Patch], place: Place) -> Place {
    let first = patches.partition_point(|patch| patch.reach() <= (place.member, place.at));
    let end = place.at + place.run;
    let near = || {
        let near = patches[first..].iter();
        near.take_while(|patch| (patch.place.member, patch.place.at) < (place.member, end))
            .filter(|patch| patch.end() > place.at)
    };
    let here = near().filter(|patch| patch.place.at <= place.at);
    let newest = here.max_by_key(|patch| patch.sequence);
    let is_newer = |patch: &&Patch| newest.is_none_or(|newest| patch.sequence > newest.sequence);
    let ends = near().filter(is_newer).map(|patch| patch.place.at);
    let end = ends.chain(newest.map(Patch::end)).fold(end, Ord::min);
    let run = end - place.at;
    match newest {
        None => Place { run, ..place },
        Some(Patch {
            from, place: there, ..
        }) => Place {
            member: from.0,
            at: from.1 + (place.at - there.at),
            run,
        },
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    fn patch(member: u8, at: u64, run: u64, sequence: u64, from: u64) -> Patch {
        Patch {
            place: place(member, at, run),
            sequence,
            from: (MemberId(9), Physical(from)),
        }
    }

    fn place(member: u8, at: u64, run: u64) -> Place {
        Place {
            member: MemberId(member),
            at: Physical(at),
            run: Sectors(run),
        }
    }

    /// What sector by sector is read in place of `len` sectors of member 1, as (member, sector).
    fn read(patches: &[Patch], at: u64, len: u64) -> Vec<(u8, u64)> {
        let mut all = Vec::new();
        for run in runs(patches, place(1, at, len)) {
            assert!(run.run > Sectors::ZERO);
            all.extend((0..run.run.0).map(|i| (run.member.0, run.at.0 + i)));
        }
        all
    }

    #[test]
    fn without_records_a_place_is_what_it_is() {
        assert!(runs(&[], place(1, 8, 16)).eq([place(1, 8, 16)]));
        let others = [patch(0, 8, 8, 1, 100), patch(2, 8, 8, 2, 200)];
        assert!(runs(&others, place(1, 8, 16)).eq([place(1, 8, 16)]));
    }

    /// Against the plain meaning of it: one record after the other is written.
    #[test]
    fn any_records_read_as_if_they_had_been_replayed() {
        let mut rng = 7u64;
        let mut random = |below: u64| {
            rng = rng
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (rng >> 33) % below
        };
        const END: u64 = 3 * BAND.0;
        for _ in 0..400 {
            let mut replayed: Vec<(u8, u64)> = (0..END).map(|x| (1, x)).collect();
            let mut patches = Vec::new();
            for sequence in 0..random(12) {
                let (member, at) = (random(3) as u8, random(END));
                let longest = if random(2) == 0 { 16 } else { BAND.0 };
                let run = 1 + random(longest.min(END - at));
                let from = 10_000 * (sequence + 1);
                patches.push(patch(member, at, run, sequence, from));
                for i in (0..run).filter(|_| member == 1) {
                    replayed[(at + i) as usize] = (9, from + i);
                }
            }
            sort(&mut patches);
            assert_eq!(read(&patches, 0, END), replayed, "{patches:?}");
            let at = random(END);
            assert_eq!(read(&patches, at, 1), replayed[at as usize..=at as usize]);
        }
    }

    #[test]
    fn long_entries_come_in_bands() {
        let entry = JournalEntry {
            member: MemberId(1),
            at: Physical(1000),
            len: BAND + BAND + Sectors(8),
        };
        let mut patches: Vec<_> = bands(entry, (MemberId(9), Physical(50_000)), 3).collect();
        assert_eq!(patches.len(), 3);
        sort(&mut patches);
        let all: Vec<_> = (0..entry.len.0).map(|i| (9, 50_000 + i)).collect();
        assert_eq!(read(&patches, 1000, entry.len.0), all);
    }
}
