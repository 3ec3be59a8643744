// SPDX-License-Identifier: GPL-2.0
//! Pieces of a migration: loaded from the source, stashed, stored at the target in whole rows.

use restripe_core::admit::Map;
use restripe_core::engine::{Event, Which};
use restripe_core::footprint::{for_each_write, is_in_place};
use restripe_core::geometry::{
    div_up, Logical, MemberId, MemberMask, Offset, Range, Sectors, SlotId, MAX_MEMBERS, MAX_SLOTS,
};
use restripe_core::ondisk::{StashHeader, Uuid, STASH_HEADER_SIZE, UNIT};
use restripe_core::placement::{Place, Set};
use restripe_core::stripe::{self, plan_rebuild_into, plan_row_into, Buf, Payload, Read};

use super::chore::Chore;
use super::commit::failed_members;
use super::intents::{bytes, stash_data};
use crate::queue::{send_reads, Cutter, KernelParity, Mended};
use crate::sys::block::bio;
use crate::sys::block::{Flags, Status};
use crate::sys::mem::MAX_BUFFER;
use crate::sys::parity::{crc32c, crc32c_update, gen_syndrome, xor};
use crate::volume::{Members, Volume, Window};

/// Sectors of a buffer of a window.
const BUFFER: Sectors = Sectors::from_bytes(MAX_BUFFER as u64);

/// Where a run of a piece comes from.
enum From {
    /// A place; the run is as long as that.
    Place(Place),
    /// So many sectors come from somewhere else, later.
    Later(Sectors),
    /// So many sectors were on this member and are nowhere any more.
    Lost(MemberId, Sectors),
}

/// Reads `range` to `data` by what `from` says of each run.
fn read(
    data: &mut Window,
    range: Range,
    devices: &Members,
    from: impl Fn(Logical, Sectors) -> From,
) -> MemberMask {
    let outcome = bio::scope(|batch| {
        let mut first = data.start;
        for buffer in data.buffers_mut() {
            let end = (first + BUFFER).min(range.end);
            let mut cutter = Cutter::new(buffer);
            let mut x = first.max(range.start);
            while x < end {
                let (id, run, at) = match from(x, end - x) {
                    From::Place(place) => (place.member, place.run, Some(place.at)),
                    From::Lost(id, run) => (id, run, None),
                    From::Later(run) => {
                        x += run;
                        continue;
                    }
                };
                let device = Chore::device(devices, id);
                let to = cutter.take(bytes(x - first), bytes(run));
                match (device, at, to) {
                    (Some(member), Some(at), Some(to)) => batch.read(member, at.0, to, id.0),
                    _ => batch.fail(id.0, Status::OFFLINE),
                }
                x += run;
            }
            first += BUFFER;
        }
    });
    failed_members(&outcome)
}

/// A run of a piece, for the arithmetic that fills it.
struct PieceData<'a>(&'a mut [u8]);

impl Payload for PieceData<'_> {
    fn copy_to(&self, from: usize, to: &mut [u8]) {
        to.copy_from_slice(&self.0[from..from + to.len()]);
    }

    fn copy_from(&mut self, to: usize, from: &[u8]) {
        self.0[to..to + from.len()].copy_from_slice(from);
    }
}

impl Chore {
    /// Fills the piece from the source, with zeroes behind the volume's end. Its range is locked,
    /// so that the rows of which something has to be rebuilt or mended stay as they are.
    pub(super) fn load(&mut self, volume: &Volume, job: u8, range: Range) -> Event {
        // Whoever is mended can be read; there may be another next.
        for _ in 0..MAX_MEMBERS {
            let failed = self.fill(range);
            let gone = failed & !self.map.alive;
            if failed.is_empty() || !gone.is_empty() {
                return Event::Loaded { job, failed };
            }
            match self.mend(volume, Which::Source, range, failed) {
                Mended::Done => {}
                Mended::Failed(failed) => return Event::Loaded { job, failed },
                Mended::Lost => {
                    if let Some((members, at)) = self.first_unreadable(range) {
                        return Event::Unreadable { job, members, at };
                    }
                }
            }
        }
        let failed = self.fill(range);
        Event::Loaded { job, failed }
    }

    /// Where it can't be read.
    fn first_unreadable(&mut self, range: Range) -> Option<(MemberMask, Logical)> {
        let mut x = range.start;
        while x < range.end {
            let end = (x + UNIT).min(range.end);
            let failed = self.fill(Range::new(x, end));
            if !failed.is_empty() {
                return Some((failed, x));
            }
            x = end;
        }
        None
    }

    /// Reads once what of `range` can be read.
    fn fill(&mut self, range: Range) -> MemberMask {
        let (source, alive) = (&self.map.source, self.map.alive);
        let Some(data) = self.memory.data_mut() else {
            return source.members();
        };
        data.start = range.start;
        let failed = read(data, range, &self.devices, |x, len| {
            match stripe::read(source, alive, x, len) {
                Read::Direct(place) => From::Place(place),
                Read::Rebuild(run) => From::Later(run),
                Read::Lost(run) => {
                    let spot = source.layout.locate(x);
                    From::Lost(source.member(spot.slot, spot.offset), run)
                }
            }
        });
        pad(data, range, &self.map);
        if failed.is_empty() {
            self.load_rest(range)
        } else {
            failed
        }
    }

    /// Rebuilds what of the piece was on members that are missing, run by run.
    fn load_rest(&mut self, range: Range) -> MemberMask {
        let (source, alive) = (&self.map.source, self.map.alive);
        if source.missing(alive) == 0 {
            return MemberMask::EMPTY;
        }
        let (devices, plan) = (&self.devices, &mut *self.plan);
        let Some((data, scratch)) = self.memory.piece_and_scratch() else {
            return source.members();
        };
        let mut x = range.start;
        while x < range.end {
            x += match stripe::read(source, alive, x, data.run(x, range.end - x)) {
                Read::Direct(place) => place.run,
                Read::Lost(run) => run,
                Read::Rebuild(run) => {
                    plan_rebuild_into(source, alive, x, run, Sectors::ZERO, plan);
                    let outcome = bio::scope(|batch| {
                        let mut cutter = Cutter::new(scratch);
                        send_reads(plan, 0, &mut cutter, |id| Chore::device(devices, id), batch);
                    });
                    if !outcome.is_ok() {
                        return failed_members(&outcome);
                    }
                    let mut to = PieceData(data.bytes_mut(x, run));
                    stripe::calculate(plan, scratch.as_mut_slice(), &mut to, &KernelParity);
                    run
                }
            };
        }
        MemberMask::EMPTY
    }

    /// Fills the piece from the first stash whose data are whole.
    pub(super) fn load_stash(&mut self, header: &StashHeader) -> MemberMask {
        let mut tried = MemberMask::EMPTY;
        for (id, stash) in &self.places {
            tried.insert(*id);
            let Some(data) = self.memory.data_mut() else {
                return tried;
            };
            data.start = header.range.start;
            let at = stash_data(*stash);
            let failed = read(data, header.range, &self.devices, |x, len| {
                From::Place(Place {
                    member: *id,
                    at: at + (x - header.range.start),
                    run: len,
                })
            });
            if failed.is_empty() && checksum(data, header.range) == header.data_crc {
                pad(data, header.range, &self.map);
                return MemberMask::EMPTY;
            }
        }
        tried
    }

    /// Writes the piece to the stashes.
    pub(super) fn stash_data(&mut self, range: Range) -> MemberMask {
        let (devices, places) = (&self.devices, &self.places);
        let Some((data, _)) = self.memory.piece() else {
            return self.map.alive;
        };
        let outcome = bio::scope(|batch| {
            for (id, stash) in places {
                let Some(member) = Chore::device(devices, *id) else {
                    batch.fail(id.0, Status::OFFLINE);
                    continue;
                };
                data.for_each_run(range, |x, len| {
                    let at = stash_data(*stash) + (x - range.start);
                    batch.write(member, at.0, data.slice(x, len), Flags::NONE, id.0);
                });
            }
        });
        failed_members(&outcome)
    }

    /// Writes the header that makes the stashed piece valid.
    pub(super) fn stash_header(
        &mut self,
        migration: Uuid,
        number: u64,
        range: Range,
    ) -> MemberMask {
        let Some((data, _)) = self.memory.piece() else {
            return self.map.alive;
        };
        let mut header = StashHeader {
            migration,
            number,
            range,
            data_len: range.len(),
            data_crc: checksum(data, range),
            ..StashHeader::default()
        };
        let mut failed = MemberMask::EMPTY;
        for (id, stash) in &self.places {
            header.data_at = stash_data(*stash);
            header.encode(self.bytes.as_mut_slice(), crc32c);
            let from = self.bytes.slice(0..STASH_HEADER_SIZE);
            let outcome = bio::scope(|batch| match Chore::device(&self.devices, *id) {
                Some(member) => batch.write(member, stash.0, from, Flags::NONE, id.0),
                None => batch.fail(id.0, Status::OFFLINE),
            });
            failed = failed | failed_members(&outcome);
        }
        failed
    }

    /// Writes the piece to a set, but, unless it is to be `whole`, for what lies in its place
    /// already.
    pub(super) fn store(&mut self, which: Which, range: Range, whole: bool) -> MemberMask {
        let level = Chore::set(&self.map, which).layout.level;
        if level.has_parity() {
            self.store_rows(which, range, whole)
        } else {
            self.store_copies(which, range, whole)
        }
    }

    /// What has no parity: every place of it.
    fn store_copies(&mut self, which: Which, range: Range, whole: bool) -> MemberMask {
        let (map, devices) = (&self.map, &self.devices);
        let set = Chore::set(map, which);
        let Some((data, _)) = self.memory.piece() else {
            return self.map.alive;
        };
        let end = Logical(map.size.0);
        let outcome = bio::scope(|batch| {
            for_each_write(set, range, |x, slot, offset, len| {
                let (Some(x), mut done) = (x, Sectors::ZERO) else {
                    return;
                };
                while done < len {
                    let (from, at) = (x + done, (slot, offset + done));
                    let place = set.place(at.0, at.1);
                    let (id, run) = (place.member, data.run(from, place.run.min(len - done)));
                    let kept = !whole && is_in_place(&map.source, end, set, Some(from), at, run);
                    if !kept && map.alive.has(id) {
                        match Chore::device(devices, id) {
                            Some(member) => {
                                let from = data.slice(from, run);
                                batch.write(member, place.at.0, from, Flags::NONE, id.0);
                            }
                            None => batch.fail(id.0, Status::OFFLINE),
                        }
                    }
                    done = done + run;
                }
            });
        });
        failed_members(&outcome)
    }

    fn store_rows(&mut self, which: Which, range: Range, whole: bool) -> MemberMask {
        let (map, devices, plan) = (&self.map, &self.devices, &mut *self.plan);
        let set = Chore::set(map, which);
        let Some((data, parity)) = self.memory.piece() else {
            return self.map.alive;
        };
        let layout = &set.layout;
        let (chunk, stripe) = (layout.chunk, layout.stripe());
        // CAST: There are at most 16 slots.
        let data_lanes = layout.data_slots() as u16;
        let first = layout.row(range.start);
        let end = Logical(map.size.0);
        let in_place = |x: Option<Logical>, at: (SlotId, Offset)| {
            !whole && is_in_place(&map.source, end, set, x, at, chunk)
        };
        let rows = first..layout.row(range.start) + div_up(range.len().0, stripe.0);
        let parity_at = |row: u64| Logical((row - first) * chunk.0);
        let lane_at = |row: u64, lane: u16| Logical(row * stripe.0 + u64::from(lane) * chunk.0);
        for row in rows.clone() {
            plan_row_into(set, map.alive, row, in_place, plan);
            if plan.calcs.is_empty() {
                continue;
            }
            let mut lanes: [&[u8]; MAX_SLOTS] = [&[]; MAX_SLOTS];
            for (lane, bytes) in (0..data_lanes).zip(&mut lanes) {
                *bytes = data.bytes(lane_at(row, lane), chunk);
            }
            make_parity(
                &lanes[..usize::from(data_lanes)],
                // There may be one more, for the other way.
                &mut parity[..usize::from(layout.parities())],
                parity_at(row),
                chunk,
            );
        }
        let parity = &*parity;
        let outcome = bio::scope(|batch| {
            for row in rows {
                plan_row_into(set, map.alive, row, in_place, plan);
                for write in &plan.writes {
                    let (id, Buf::Lane(lane, at)) = (write.member, write.buf) else {
                        continue;
                    };
                    let from = match lane.checked_sub(data_lanes) {
                        Some(which) => parity
                            .get(usize::from(which))
                            .map(|parity| parity.slice(parity_at(row) + at, write.len)),
                        None => Some(data.slice(lane_at(row, lane) + at, write.len)),
                    };
                    match (Chore::device(devices, id), from) {
                        (Some(member), Some(from)) => {
                            batch.write(member, write.at.0, from, Flags::NONE, id.0);
                        }
                        _ => batch.fail(id.0, Status::OFFLINE),
                    }
                }
            }
        });
        failed_members(&outcome)
    }
}

/// Makes P, and Q where there is one, of a row's data.
fn make_parity(data: &[&[u8]], parity: &mut [Window], at: Logical, chunk: Sectors) {
    match parity {
        [p] => {
            let p = p.bytes_mut(at, chunk);
            p.copy_from_slice(data[0]);
            xor(p, &data[1..]);
        }
        [p, q] => gen_syndrome(data, p.bytes_mut(at, chunk), q.bytes_mut(at, chunk)),
        _ => unreachable!("parity levels have P, or P and Q"),
    }
}

/// Zeroes behind the last sector of the volume, up to the end of its row of either set: a window may
/// go back to the source.
fn pad(data: &mut Window, range: Range, map: &Map) {
    let row_end = |set: &Set| range.end.round_up(set.layout.stripe());
    let target_end = map.target.as_ref().map_or(range.end, row_end);
    let end = target_end.max(row_end(&map.source));
    let room = data.start + Sectors::from_bytes(data.len() as u64);
    if range.end < end {
        data.zero(Range::new(range.end, end.min(room)));
    }
}

fn checksum(data: &Window, range: Range) -> u32 {
    let mut crc = !0;
    data.for_each_run(range, |x, len| {
        crc = crc32c_update(crc, data.bytes(x, len));
    });
    !crc
}
