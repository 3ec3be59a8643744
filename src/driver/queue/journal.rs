// SPDX-License-Identifier: GPL-2.0
//! Records of the stripe journal, durable before what they tell of is written.

use restripe_core::admit::Map;
use restripe_core::engine::Event;
use restripe_core::geometry::{MemberId, Physical, Sectors};
use restripe_core::journal::record_len;
use restripe_core::ondisk::{JournalEntry, JournalHeader, JournalWriter, UNIT};
use restripe_core::stripe::{Buf, Plan};

use crate::sys::block::bio::Batch;
use crate::sys::block::{Flags, Status};
use crate::sys::mem::Buffer;
use crate::sys::parity::{crc32c, crc32c_update};
use crate::volume::{View, Volume};

/// A record's header while it is made.
pub(super) struct Record<'a> {
    writer: JournalWriter<'a>,
    /// Of the payload, not inverted yet.
    crc: u32,
}

impl<'a> Record<'a> {
    /// In `header`, a page.
    pub(super) fn new(header: &'a mut Buffer) -> Self {
        Record {
            writer: JournalWriter::new(header.as_mut_slice()),
            crc: !0,
        }
    }

    /// Adds what a plan writes; its lanes begin `base` bytes into `scratch`.
    pub(super) fn add(&mut self, plan: &Plan, scratch: &Buffer, base: usize) {
        for write in &plan.writes {
            self.writer.push(JournalEntry {
                member: write.member,
                at: write.at,
                len: write.len,
            });
            let start = base + lane_at(plan, write.buf);
            let bytes = &scratch.as_slice()[start..start + write.len.bytes() as usize];
            self.crc = crc32c_update(self.crc, bytes);
        }
    }

    /// Takes room for it and completes the header; None: there is none left.
    pub(super) fn seal(self, volume: &Volume, map: &Map, is_target: bool) -> Option<JournalHeader> {
        let journal = map.journal.as_ref()?;
        let payload = self.writer.payload();
        let room = volume.ring().lock().take(journal, record_len(payload))?;
        if room.is_short {
            volume.post(Event::WantRoom);
        }
        let header = JournalHeader {
            payload_crc: !self.crc,
            ..journal.header(is_target, map.record_members(is_target), payload, room)
        };
        self.writer.seal(&header, crc32c);
        Some(header)
    }
}

/// Where in the plan's scratch a write's data are: those of parity levels all come from lanes.
fn lane_at(plan: &Plan, buf: Buf) -> usize {
    match buf {
        Buf::Lane(lane, at) => plan.scratch_at(lane, at),
        Buf::Data(_) => unreachable!("parity writes copy their data"),
    }
}

/// Sends a record to the members that are to have it: `plans` calls its argument with each of its
/// plans and where that one's lanes begin.
pub(super) fn send<'s>(
    record: &JournalHeader,
    (header, scratch): (&'s Buffer, &'s Buffer),
    view: &'s View,
    batch: &Batch<'s>,
    mut plans: impl FnMut(&mut dyn FnMut(&Plan, usize)),
) {
    let flags = Flags::FUA | Flags::SYNC | Flags::META;
    let to = |id: MemberId, at: Physical, from, bytes: usize| match view.member(id) {
        Some(member) => {
            let (buffer, start): (&'s Buffer, usize) = from;
            batch.write(
                member,
                at.0,
                buffer.slice(start..start + bytes),
                flags,
                id.0,
            );
        }
        None => batch.fail(id.0, Status::OFFLINE),
    };
    for id in record.members.iter() {
        let mut at = view.journal_at(id, record.at);
        to(id, at, (header, 0), UNIT.bytes() as usize);
        at += UNIT;
        plans(&mut |plan: &Plan, base: usize| {
            for write in &plan.writes {
                let start = base + lane_at(plan, write.buf);
                to(id, at, (scratch, start), write.len.bytes() as usize);
                at += write.len;
            }
        });
    }
}

/// Sectors of a write that a worker carries out at once where its pieces are journaled: their
/// records find room in the smallest ring there is.
pub(super) const JOURNALED_PART: Sectors = Sectors::from_bytes(64 << 10);
