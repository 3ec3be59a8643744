// SPDX-License-Identifier: GPL-2.0
//! The journal at assembly: every record that counts is written to its places once more, or, where nothing
//! may be written, read in the place of what lies there.

use kernel::prelude::*;
use restripe_core::geometry::{MemberId, MemberMask, Physical, Range, Sectors};
use restripe_core::journal::{counts, patches, replays, sort, Patch};
use restripe_core::ondisk::{
    JournalHeader, Region, RegionKind, Superblock, JOURNAL_HEADER_SIZE, UNIT,
};
use restripe_core::refusal;
use restripe_core::text::Refusal;

use super::chore::Chore;
use super::commit::failed_members;
use crate::sys::block::bio;
use crate::sys::block::{Flags, Member, Status};
use crate::sys::mem::{Buffer, MAX_BUFFER};
use crate::sys::parity::crc32c;
use crate::volume::{Members, Present};

/// A record's copy on a member.
#[derive(Clone, Copy)]
struct Copy {
    sequence: u64,
    member: MemberId,
    at: Sectors,
}

impl Chore {
    /// Replays what counts for `epoch`, but for rows in `window`; members that failed.
    pub(super) fn replay(&mut self, epoch: u64, window: Option<Range>) -> MemberMask {
        let Some(sb) = &self.superblock else {
            unreachable!("the control's chore has a superblock");
        };
        let (header, payload) = (Buffer::new(JOURNAL_HEADER_SIZE), Buffer::new(MAX_BUFFER));
        let (Ok(header), Ok(payload)) = (header, payload) else {
            pr_err!("there is no memory to replay the journal in\n");
            return sb.live();
        };
        let mut replay = Replay {
            sb,
            devices: &self.devices,
            header,
            payload,
            failed: MemberMask::EMPTY,
        };
        let Ok(copies) = replay.find(epoch) else {
            pr_err!("there is no memory to replay the journal in\n");
            return sb.live();
        };
        let mut count = 0;
        for copies in copies.chunk_by(|a, b| a.sequence == b.sequence) {
            count += usize::from(replay.carry_out(copies, window));
        }
        if count > 0 {
            pr_info!(
                "{}: {} records of the journal replayed\n",
                sb.name.as_str(),
                count
            );
        }
        replay.failed
    }
}

/// What is to be read in the place of what lies on `present` members; `force`: although not all of the
/// journal can be read.
///
/// # Errors
/// Where it can't, and where there is no memory.
pub(crate) fn read_through(
    sb: &Superblock,
    present: &[Present],
    (epoch, window): (u64, Option<Range>),
    force: bool,
) -> Result<KVVec<Patch>, Refusal> {
    let devices = Present::devices(present);
    let (patches, failed) = find_patches(sb, &devices, (epoch, window)).map_err(|_| {
        refusal!(
            ENOMEM,
            "there is no memory to read the journal; free some and try again"
        )
    })?;
    let unread = failed.iter().next().filter(|_| !force);
    match unread.and_then(|id| Chore::device(&devices, id)) {
        Some(member) => Err(refusal!(
            EIO,
            "the journal of {} can't be read, and it may hold what was written last; leave it out with degraded=1, or say force=1 to read without it",
            member.name()
        )),
        None => Ok(patches),
    }
}

/// The patches, and members whose journal could not be read.
fn find_patches(
    sb: &Superblock,
    devices: &Members,
    (epoch, window): (u64, Option<Range>),
) -> Result<(KVVec<Patch>, MemberMask)> {
    let mut replay = Replay {
        sb,
        devices,
        header: Buffer::new(JOURNAL_HEADER_SIZE)?,
        payload: Buffer::new(MAX_BUFFER)?,
        failed: MemberMask::EMPTY,
    };
    let mut found = KVVec::new();
    for copies in replay
        .find(epoch)?
        .chunk_by(|a, b| a.sequence == b.sequence)
    {
        let loaded = copies
            .iter()
            .find_map(|copy| Some((copy, replay.load(copy)?)));
        if let Some((copy, header)) = &loaded {
            let Some((_, region)) = replay.journal(copy.member) else {
                continue;
            };
            let record = (header, replay.header.as_slice());
            for patch in patches(sb, window, record, (copy.member, region.start + copy.at)) {
                found.push(patch, GFP_KERNEL)?;
            }
        }
    }
    sort(&mut found);
    Ok((found, replay.failed))
}

struct Replay<'a> {
    sb: &'a Superblock,
    devices: &'a Members,
    header: Buffer,
    /// Of a record; and, while they are looked for, a piece of the journal.
    payload: Buffer,
    failed: MemberMask,
}

impl Replay<'_> {
    fn journal(&self, id: MemberId) -> Option<(&Member, Region)> {
        let region = self.sb.members[usize::from(id.0)].region(RegionKind::Journal)?;
        Some((Chore::device(self.devices, id)?, region))
    }

    /// All copies of records that count, in the order of their numbers.
    fn find(&mut self, epoch: u64) -> Result<KVVec<Copy>> {
        let mut copies = KVVec::new();
        for id in self.sb.live().iter() {
            let Some((_, region)) = self.journal(id) else {
                continue;
            };
            let mut at = Sectors::ZERO;
            while at < region.len {
                let len = (region.len - at).min(Sectors::from_bytes(MAX_BUFFER as u64));
                if !self.read_payload(id, region.start + at, len) {
                    self.failed.insert(id);
                    break;
                }
                let bytes = &self.payload.as_slice()[..len.bytes() as usize];
                for (index, block) in bytes.chunks_exact(JOURNAL_HEADER_SIZE).enumerate() {
                    let Some(header) = JournalHeader::decode(block, crc32c) else {
                        continue;
                    };
                    let at = at + Sectors(index as u64 * UNIT.0);
                    if counts(self.sb, epoch, &header, at) {
                        let copy = Copy {
                            sequence: header.sequence,
                            member: id,
                            at,
                        };
                        copies.push(copy, GFP_KERNEL)?;
                    }
                }
                at = at + len;
            }
        }
        copies.sort_unstable_by_key(|copy| copy.sequence);
        Ok(copies)
    }

    fn read_payload(&mut self, id: MemberId, at: Physical, len: Sectors) -> bool {
        let Some(member) = Chore::device(self.devices, id) else {
            return false;
        };
        let to = 0..len.bytes() as usize;
        let outcome = bio::scope(|io| io.read(member, at.0, self.payload.slice_mut(to), id.0));
        outcome.is_ok()
    }

    /// Whether a copy is whole; if so it is in memory.
    fn load(&mut self, copy: &Copy) -> Option<JournalHeader> {
        let (_, region) = self.journal(copy.member)?;
        let start = region.start + copy.at;
        let member = Chore::device(self.devices, copy.member)?;
        let to = 0..JOURNAL_HEADER_SIZE;
        let id = copy.member;
        let outcome = bio::scope(|io| io.read(member, start.0, self.header.slice_mut(to), id.0));
        if !outcome.is_ok() {
            self.failed.insert(id);
            return None;
        }
        let header = JournalHeader::decode(self.header.as_slice(), crc32c)?;
        let fits = header.payload.bytes() <= MAX_BUFFER as u64
            && copy.at + UNIT + header.payload <= region.len;
        if !fits {
            return None;
        }
        if !self.read_payload(id, start + UNIT, header.payload) {
            self.failed.insert(id);
            return None;
        }
        let bytes = &self.payload.as_slice()[..header.payload.bytes() as usize];
        (crc32c(bytes) == header.payload_crc).then_some(header)
    }

    /// Carries out the record that these are copies of, if any of them is whole.
    fn carry_out(&mut self, copies: &[Copy], window: Option<Range>) -> bool {
        let (mut whole, mut have) = (None, MemberMask::EMPTY);
        for copy in copies {
            if self.load(copy).is_some() {
                whole = Some(*copy);
                have.insert(copy.member);
            }
        }
        // The last whole one may not be what was read last.
        let Some((copy, header)) = whole.and_then(|copy| Some((copy, self.load(&copy)?))) else {
            return false;
        };
        let lack = header.members & self.sb.live() & !have;
        self.complete(lack, copy.at, header.payload);
        self.write(&header, window);
        true
    }

    /// Puts the record in memory on members that were to have it too: this replay may be cut,
    /// and then without the one that has it.
    fn complete(&mut self, lack: MemberMask, at: Sectors, payload: Sectors) {
        let flags = Flags::FUA | Flags::SYNC | Flags::META;
        let outcome = bio::scope(|batch| {
            for id in lack.iter() {
                match self.journal(id) {
                    Some((member, region)) => {
                        let start = region.start + at;
                        let header = self.header.slice(0..JOURNAL_HEADER_SIZE);
                        batch.write(member, start.0, header, flags, id.0);
                        let data = self.payload.slice(0..payload.bytes() as usize);
                        batch.write(member, (start + UNIT).0, data, flags, id.0);
                    }
                    None => batch.fail(id.0, Status::OFFLINE),
                }
            }
        });
        self.failed = self.failed | failed_members(&outcome);
    }

    fn write(&mut self, header: &JournalHeader, window: Option<Range>) {
        let outcome = bio::scope(|batch| {
            let mut from = 0;
            for entry in JournalHeader::entries(self.header.as_slice()) {
                let end = from + entry.len.bytes() as usize;
                if replays(self.sb, window, header, &entry) {
                    let data = self.payload.slice(from..end);
                    match Chore::device(self.devices, entry.member) {
                        Some(member) => {
                            batch.write(member, entry.at.0, data, Flags::NONE, entry.member.0);
                        }
                        None => batch.fail(entry.member.0, Status::OFFLINE),
                    }
                }
                from = end;
            }
        });
        self.failed = self.failed | failed_members(&outcome);
    }
}
