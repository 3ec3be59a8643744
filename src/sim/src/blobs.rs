// SPDX-License-Identifier: GPL-2.0
//! Superblocks and stash headers as the core encodes them, byte for byte, kept a
//! sector a tag; and what decoding them gave, since every crash state asks again.

use std::rc::Rc;

use restripe_core::geometry::MemberId;
use restripe_core::geometry::SECTOR_SIZE;
use restripe_core::ondisk::{DecodeError, Superblock, decode};
use rustc_hash::FxHashMap;

use crate::disk::Tag;

/// Set in the tag of a sector whose bytes are here; never in one of data.
pub const BLOB: Tag = 1 << 63;

/// A slot's content.
pub type Decoded = Result<(Superblock, MemberId), DecodeError>;

/// All real bytes of a run.
#[derive(Default)]
pub struct Blobs {
    sectors: Vec<[u8; SECTOR_SIZE]>,
    decoded: FxHashMap<Box<[Tag]>, Rc<Decoded>>,
}

/// CRC-32C.
pub fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// CRC-32C of data.
pub fn crc_of_tags(tags: &[Tag]) -> u32 {
    tags.iter()
        .fold(0, |sum, tag| crc32c::crc32c_append(sum, &tag.to_le_bytes()))
}

impl Blobs {
    /// Tags for `bytes`, whole sectors.
    pub fn put(&mut self, bytes: &[u8]) -> Vec<Tag> {
        let (sectors, rest) = bytes.as_chunks::<SECTOR_SIZE>();
        assert!(rest.is_empty());
        let mut tags = Vec::with_capacity(sectors.len());
        for sector in sectors {
            if sector.iter().all(|b| *b == 0) {
                tags.push(0);
            } else {
                tags.push(BLOB | self.sectors.len() as Tag);
                self.sectors.push(*sector);
            }
        }
        tags
    }

    fn sector(&self, tag: Tag) -> Option<&[u8; SECTOR_SIZE]> {
        // A syndrome's tag may look like one of a blob, but of none that there is.
        let blob = self.sectors.get((tag & !BLOB) as usize);
        blob.filter(|_| tag & BLOB != 0)
    }

    /// Whether something that was put here may begin with this tag.
    pub fn may_begin(&self, tag: Tag) -> bool {
        self.sector(tag).is_some()
    }

    /// The bytes behind tags; data read as some bytes that are no blob's.
    pub fn get(&self, tags: &[Tag]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(tags.len() * SECTOR_SIZE);
        for &tag in tags {
            match self.sector(tag) {
                Some(blob) => bytes.extend_from_slice(blob),
                None => bytes.extend((0..SECTOR_SIZE / 8).flat_map(|_| tag.to_le_bytes())),
            }
        }
        bytes
    }

    /// The superblock in a slot.
    pub fn superblock(&mut self, tags: &[Tag]) -> Rc<Decoded> {
        if let Some(known) = self.decoded.get(tags) {
            return known.clone();
        }
        let mut superblock = Superblock::default();
        let result = decode(&self.get(tags), &mut superblock, crc);
        let decoded = Rc::new(result.map(|member| (superblock, member)));
        self.decoded.insert(tags.into(), decoded.clone());
        decoded
    }
}
