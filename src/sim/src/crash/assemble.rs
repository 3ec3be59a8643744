// SPDX-License-Identifier: GPL-2.0
//! What the core's recovery makes of the disks that a crash left.

use std::cell::RefCell;

use restripe_core::admit::{Cursor, Map};
use restripe_core::engine::Engine;
use restripe_core::geometry::{MemberId, MemberMask, Sectors};
use restripe_core::journal::Patch;
use restripe_core::ondisk::{
    DecodeError, FoundStash, SUPERBLOCK_SECTORS, Serial, StashHeader, Superblock, UNIT, known_by,
};
use restripe_core::recover::{AssembleOptions, Devices, Piece, recover};
use restripe_core::text::Refusal;

use super::reader::Reader;
use crate::blobs::{Blobs, crc, crc_of_tags};
use crate::disk::{Image, Tag, slice, within};
use crate::journal::overlay;
use crate::scenario::Scenario;

/// CRC-32C of what a disk that is being adopted is known by.
pub fn known_crc(scenario: &Scenario, member: u8, image: &Image) -> u32 {
    let shape = scenario.disk_shape(member);
    let pieces = known_by(crate::scenario::DEVICE).expect("it is large enough for a reserve");
    let tags = pieces.map(|(at, len)| within(shape, image, at.0, len.0));
    crc_of_tags(&tags.into_iter().flatten().collect::<Vec<_>>())
}

/// The listed devices as the core's recovery sees them.
pub(super) struct Listed<'a> {
    pub scenario: &'a Scenario,
    pub blobs: &'a RefCell<Blobs>,
    pub images: &'a [Image],
    pub members: &'a [u8],
}

impl Listed<'_> {
    fn tags(&self, member: u8, at: u64, len: u64) -> Vec<Tag> {
        let shape = self.scenario.disk_shape(member);
        slice(shape, &self.images[usize::from(member)], at, len).to_vec()
    }
}

impl Devices for Listed<'_> {
    fn sectors(&self, _: usize) -> Sectors {
        crate::scenario::DEVICE
    }

    fn serial(&self, _: usize) -> Serial {
        Serial::from("simulated")
    }

    fn crc(&mut self, pieces: &[Piece]) -> Option<u32> {
        let tags = pieces.iter().flat_map(|piece| {
            let member = self.members[piece.device];
            let shape = self.scenario.disk_shape(member);
            let image = &self.images[usize::from(member)];
            within(shape, image, piece.at.0, piece.len.0)
        });
        Some(crc_of_tags(&tags.collect::<Vec<_>>()))
    }

    fn read_superblock(
        &mut self,
        device: usize,
        slot: usize,
        into: &mut Superblock,
    ) -> Result<MemberId, DecodeError> {
        let member = self.members[device];
        let at = self.scenario.slots(member)[slot];
        let tags = self.tags(member, at, SUPERBLOCK_SECTORS.0);
        match &*self.blobs.borrow_mut().superblock(&tags) {
            Ok((superblock, member)) => {
                into.copy_from(superblock);
                Ok(*member)
            }
            Err(error) => Err(*error),
        }
    }
}

/// A volume as it was found.
pub struct Found {
    pub superblock: Box<Superblock>,
    pub last_slot: Vec<Option<usize>>,
    pub stash: Option<FoundStash>,
    /// The epoch whose journal is to be replayed.
    pub replay: Option<u64>,
    /// What a volume that may write nothing reads in the place of what lies there.
    overlay: Vec<Patch>,
    stash_data: Vec<Tag>,
    pub map: Map,
    pub cursor: Cursor,
}

/// Members among `present` that hold any whole superblock: those that a user would list.
pub(super) fn worth_listing(
    scenario: &Scenario,
    blobs: &RefCell<Blobs>,
    images: &[Image],
    present: MemberMask,
) -> Vec<u8> {
    let all: Vec<u8> = present.iter().map(|m| m.0).collect();
    let mut listed = Listed {
        scenario,
        blobs,
        images,
        members: &all,
    };
    let mut scratch = Box::<Superblock>::default();
    let mut unmarked = MemberMask::EMPTY;
    let mut keep: Vec<bool> = Vec::new();
    for device in 0..all.len() {
        let mut whole = false;
        for slot in 0..2 {
            if listed.read_superblock(device, slot, &mut scratch).is_ok() {
                whole = true;
                unmarked = unmarked | scratch.unmarked();
            }
        }
        keep.push(whole);
    }
    // A disk that is being adopted is listed in any case.
    for (keep, member) in keep.iter_mut().zip(&all) {
        *keep |= unmarked.has(MemberId(*member));
    }
    all.iter()
        .zip(keep)
        .filter(|(_, keep)| *keep)
        .map(|(m, _)| *m)
        .collect()
}

/// Assembles what is there on `present` members.
///
/// # Errors
/// What the core says against it.
pub fn assemble(
    scenario: &Scenario,
    blobs: &RefCell<Blobs>,
    images: &[Image],
    present: MemberMask,
    options: &AssembleOptions,
) -> Result<Found, Box<Refusal>> {
    let mut members = worth_listing(scenario, blobs, images, present);
    let mut superblock = Box::<Superblock>::default();
    let assembly = loop {
        let names: Vec<String> = members.iter().map(|m| format!("disk{m}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut listed = Listed {
            scenario,
            blobs,
            images,
            members: &members,
        };
        match recover(&mut listed, &names, options, &mut superblock) {
            Ok(assembly) => break assembly,
            Err(refusal) => {
                // A member that was removed is named: a user leaves it out.
                let sentence = refusal.sentence.to_string();
                let gone = sentence.contains("is none any more");
                let named = |m: &u8| sentence.starts_with(&format!("disk{m} "));
                let before = members.len();
                members.retain(|m| !(gone && named(m)));
                if members.len() == before {
                    return Err(refusal.into());
                }
            }
        }
    };
    let listed = Listed {
        scenario,
        blobs,
        images,
        members: &members,
    };
    let last_slot = (0..usize::from(scenario.disks()))
        .map(|member| assembly.last_slot[member].map(usize::from))
        .collect();
    let mut stash_data = Vec::new();
    let mut stash = None;
    if let Some(migration) = superblock.migration {
        for &member in &members {
            if assembly.device_of_member[usize::from(member)].is_none() {
                continue;
            }
            let at = scenario.stash(member);
            let tags = listed.tags(member, at, UNIT.0);
            if !blobs.borrow().may_begin(tags[0]) {
                continue;
            }
            let bytes = blobs.borrow().get(&tags);
            let Some(header) = StashHeader::decode(&bytes, crc) else {
                continue;
            };
            if !header.is_current(&migration) {
                continue;
            }
            let data = listed.tags(member, header.data_at.0, header.data_len.0);
            if !header.valid(&migration, crc_of_tags(&data)) {
                continue;
            }
            stash = FoundStash::or_newer(stash, MemberId(member), header);
            if stash.is_some_and(|stash| stash.header == header) {
                stash_data = data;
            }
        }
    }
    let engine = Engine::new(superblock, Box::default(), stash, true, 0);
    let (map, mut cursor) = (*engine.map(), engine.cursor());
    cursor.window = stash.map(|s| s.header.range);
    let mut superblock = Box::<Superblock>::default();
    superblock.copy_from(engine.superblock());
    let through = match assembly.unclean && options.read_only {
        true => overlay(
            scenario,
            blobs,
            images,
            &superblock,
            (assembly.epoch, cursor.window),
        ),
        false => Vec::new(),
    };
    Ok(Found {
        superblock,
        last_slot,
        stash,
        replay: assembly.unclean.then_some(assembly.epoch),
        overlay: through,
        stash_data,
        map,
        cursor,
    })
}

impl Found {
    /// The superblock that an engine begins with.
    pub fn superblock_for_use(&self) -> Box<Superblock> {
        self.superblock.clone()
    }

    /// Reads what lies in its place, whatever the journal says: to show that it is missed.
    pub(super) fn look_past_the_journal(&mut self) {
        self.overlay.clear();
    }

    pub(super) fn reader<'a>(&'a self, scenario: &'a Scenario, images: &'a [Image]) -> Reader<'a> {
        Reader {
            scenario,
            images,
            map: &self.map,
            cursor: self.cursor,
            window: &self.stash_data,
            window_start: self.stash.map_or(0, |s| s.header.range.start.0),
            overlay: &self.overlay,
            marks: None,
        }
    }
}
