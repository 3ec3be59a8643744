// SPDX-License-Identifier: GPL-2.0
//! The stripe journal: records written, and replayed.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use restripe_core::engine::Event;
use restripe_core::geometry::{MemberId, MemberMask, Physical, Range, Sectors};
use restripe_core::journal::{Patch, counts, patches, record_len, replays, sort};
use restripe_core::ondisk::{JOURNAL_HEADER_SIZE, JournalEntry, JournalHeader, Superblock, UNIT};
use restripe_core::stripe::Transfer;

use crate::blobs::{Blobs, crc, crc_of_tags};
use crate::disk::{Image, Tag, slice};
use crate::io::{Group, Owner};
use crate::scenario::{RING, Scenario};
use crate::world::{View, World};

/// A record that counts: what of it is to be written.
pub struct Record {
    /// A member that has it, where it lies in the journal, and all of it.
    member: MemberId,
    at: Sectors,
    tags: Vec<Tag>,
    /// Members that were to have it, and don't.
    lack: MemberMask,
    pub writes: Vec<(JournalEntry, Vec<Tag>)>,
}

/// Records that are being replayed.
#[derive(Default)]
pub struct Replay {
    left: VecDeque<Record>,
    failed: MemberMask,
}

/// The records that count, of all members that take part, in the order of their numbers.
pub fn records(
    scenario: &Scenario,
    blobs: &RefCell<Blobs>,
    images: &[Image],
    sb: &Superblock,
    (epoch, window): (u64, Option<Range>),
) -> Vec<Record> {
    let mut found: BTreeMap<u64, Record> = BTreeMap::new();
    for member in sb.live().iter() {
        let shape = scenario.disk_shape(member.0);
        let image = &images[usize::from(member.0)];
        let region = slice(shape, image, scenario.journal(member.0), RING);
        for (index, tags) in region.chunks(UNIT.0 as usize).enumerate() {
            if !blobs.borrow().may_begin(tags[0]) {
                continue;
            }
            let bytes = blobs.borrow().get(tags);
            let Some(header) = JournalHeader::decode(&bytes, crc) else {
                continue;
            };
            let at = Sectors(index as u64 * UNIT.0);
            if !counts(sb, epoch, &header, at) {
                continue;
            }
            let from = (at + UNIT).0 as usize;
            let Some(payload) = region.get(from..from + header.payload.0 as usize) else {
                continue;
            };
            if crc_of_tags(payload) != header.payload_crc {
                continue;
            }
            if let Some(record) = found.get_mut(&header.sequence) {
                record.lack.remove(member);
                continue;
            }
            let (mut rest, mut writes) = (payload, Vec::new());
            for entry in JournalHeader::entries(&bytes) {
                let (tags, behind) = rest.split_at(entry.len.0 as usize);
                rest = behind;
                if replays(sb, window, &header, &entry) {
                    writes.push((entry, tags.to_vec()));
                }
            }
            let mut lack = header.members & sb.in_sync();
            lack.remove(member);
            let record = Record {
                member,
                at,
                tags: region[at.0 as usize..from + payload.len()].to_vec(),
                lack,
                writes,
            };
            found.insert(header.sequence, record);
        }
    }
    found.into_values().collect()
}

/// The same records, for an assembly that reads through them.
pub fn overlay(
    scenario: &Scenario,
    blobs: &RefCell<Blobs>,
    images: &[Image],
    sb: &Superblock,
    (epoch, window): (u64, Option<Range>),
) -> Vec<Patch> {
    let mut all = Vec::new();
    for record in records(scenario, blobs, images, sb, (epoch, window)) {
        let bytes = blobs.borrow().get(&record.tags[..UNIT.0 as usize]);
        let header = JournalHeader::decode(&bytes, crc).expect("it counts");
        let at = Physical(scenario.journal(record.member.0)) + record.at;
        all.extend(patches(sb, window, (&header, &bytes), (record.member, at)));
    }
    sort(&mut all);
    all
}

impl World {
    /// The members and transfers that make a record of a plan's writes; None where there is no room.
    pub(crate) fn record(
        &mut self,
        id: u64,
        view: &Rc<View>,
        is_target: bool,
        writes: &[Transfer],
        tags: &[Vec<Tag>],
    ) -> Option<(MemberMask, Group)> {
        let journal = view.map.journal.as_ref()?;
        let payload: Vec<Tag> = tags.concat();
        let len = Sectors(payload.len() as u64);
        let room = self.ring.take(journal, record_len(len))?;
        if room.is_short {
            self.tell(Event::WantRoom);
        }
        let mut header = journal.header(is_target, view.map.record_members(is_target), len, room);
        header.payload_crc = crc_of_tags(&payload);
        let mut bytes = [0; JOURNAL_HEADER_SIZE];
        let entries = writes.iter().map(|t| JournalEntry {
            member: t.member,
            at: t.at,
            len: t.len,
        });
        header.encode(entries, &mut bytes, crc);
        let head = self.blobs.borrow_mut().put(&bytes);
        let mut group = Group::new(Owner::Request(id));
        for member in header.members.iter() {
            let at = self.scenario.journal(member.0) + room.at.0;
            group.write(member, at, head.clone(), true);
            group.write(member, at + UNIT.0, payload.clone(), true);
        }
        Some((header.members, group))
    }

    pub(crate) fn begin_replay(&mut self, epoch: u64) {
        let images: Vec<Image> = self.disks.iter().map(|d| d.visible().clone()).collect();
        let window = self.engine.stash().map(|stash| stash.range);
        let found = records(
            &self.scenario,
            &self.blobs,
            &images,
            self.engine.superblock(),
            (epoch, window),
        );
        self.replay = Replay {
            left: found.into(),
            failed: MemberMask::EMPTY,
        };
        self.replay_goes_on(MemberMask::EMPTY);
    }

    /// One record after the other: they may be about the same places.
    pub(crate) fn replay_goes_on(&mut self, failed: MemberMask) {
        self.replay.failed = self.replay.failed | failed;
        let Some(mut record) = self.replay.left.pop_front() else {
            let failed = self.replay.failed;
            return self.tell(Event::Replayed { failed });
        };
        let mut group = Group::new(Owner::Replay);
        if !record.lack.is_empty() {
            for member in record.lack.iter() {
                let at = self.scenario.journal(member.0) + record.at.0;
                group.write(member, at, record.tags.clone(), true);
            }
            record.lack = MemberMask::EMPTY;
            self.replay.left.push_front(record);
            return self.begin(group);
        }
        for (entry, tags) in record.writes {
            group.write(entry.member, entry.at.0, tags, false);
        }
        self.begin(group);
    }
}
