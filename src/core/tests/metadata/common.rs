// SPDX-License-Identifier: GPL-2.0
//! Volumes and disks to test with.

use std::collections::BTreeMap;

use restripe_core::geometry::{MemberId, MemberMask, Sectors};
use restripe_core::layout::Level;
use restripe_core::ondisk::{
    decode, encode, known_by, member_geometry, DecodeError, Geometry, Name, Serial, Superblock,
    Uuid, SUPERBLOCK_SIZE,
};
use restripe_core::recover::{Devices, Piece};
use restripe_core::shape::{self, CreateWish, MigrationWish, NewMember, Stamp};
use restripe_core::text::Text;

pub fn crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

pub fn mib(n: u64) -> Sectors {
    Sectors::from_bytes(n << 20)
}

pub fn uuid(n: u8) -> Uuid {
    Uuid::from_random([n; 16])
}

pub fn geometry(size: Sectors, adopted: bool) -> Geometry {
    member_geometry(size, adopted).expect("the size is one that members can have")
}

/// Blank member `n` of `size`; its name is `vdb` for 1, and so on.
pub fn blank(n: u8, size: Sectors) -> NewMember<'static> {
    const NAMES: [&str; 6] = ["vda", "vdb", "vdc", "vdd", "vde", "vdf"];
    NewMember {
        name: NAMES[usize::from(n)],
        uuid: uuid(100 + n),
        serial: Serial::from(NAMES[usize::from(n)]),
        geometry: geometry(size, false),
        logical_block: 512,
        zoned: false,
    }
}

pub fn stamp(volume: u8) -> Stamp {
    Stamp {
        uuid: uuid(volume),
        name: Name::from("restripe0"),
        writer: Text::from("restripe 0.1.0"),
        now: 1_790_000_000,
    }
}

/// An adopted disk of 64 MiB with 48 MiB of data.
pub fn adopted() -> Superblock {
    let mut sb = Superblock::default();
    let member = NewMember {
        geometry: geometry(mib(64), true),
        ..blank(0, mib(64))
    };
    shape::adopt(&mut sb, &stamp(1), &member, mib(48)).expect("there is room");
    sb
}

pub fn created(level: Level, members: u8, assume_clean: bool) -> Superblock {
    let mut sb = Superblock::default();
    let members: Vec<_> = (0..members).map(|n| blank(n, mib(64))).collect();
    let wish = CreateWish {
        level,
        chunk: Sectors(128),
        size: None,
        assume_clean,
    };
    shape::create(&mut sb, &stamp(1), &wish, &members).expect("a shape that can be");
    sb
}

/// `adopted()` at the start of its migration over `members` in all.
pub fn migrating(level: Level, members: u8) -> Superblock {
    let added: Vec<_> = (1..members).map(|n| blank(n, mib(64))).collect();
    let wish = MigrationWish {
        uuid: uuid(200),
        level,
        chunk: Some(Sectors(128)),
        added: &added,
        removed: MemberMask::EMPTY,
    };
    let mut sb = Superblock::default();
    shape::begin_migration(&adopted(), &wish, &mut sb).expect("a migration that can be");
    sb.generation += 1;
    sb
}

/// A listed device: its size and what its two slots hold.
#[derive(Clone)]
pub struct Disk {
    pub sectors: Sectors,
    pub slots: [Vec<u8>; 2],
    pub serial: Serial,
    /// Bytes of its data that are not zero, by their sectors.
    pub data: BTreeMap<u64, u8>,
}

impl Disk {
    pub fn empty(sectors: Sectors) -> Disk {
        let slot = vec![0u8; SUPERBLOCK_SIZE];
        Disk {
            sectors,
            slots: [slot.clone(), slot],
            serial: Serial::new(),
            data: BTreeMap::new(),
        }
    }

    pub fn put(&mut self, slot: usize, sb: &Superblock, member: u8) {
        encode(sb, MemberId(member), &mut self.slots[slot], crc);
    }

    /// A device that holds `sb` in slot 0 only.
    pub fn with(sb: &Superblock, member: u8) -> Disk {
        let mut disk = Disk::empty(sb.members[usize::from(member)].device_sectors);
        disk.put(0, sb, member);
        disk
    }

    pub fn known_crc(&self) -> u32 {
        let pieces = known_by(self.sectors).expect("it has room for a reserve");
        data_crc(pieces.iter().map(|(at, len)| (self, at.0, len.0)))
    }

    pub fn tear(&mut self, slot: usize) {
        self.slots[slot][5000] ^= 0x10;
    }
}

/// A checksum of what these sectors of disks hold, one after the other.
fn data_crc<'a>(pieces: impl Iterator<Item = (&'a Disk, u64, u64)>) -> u32 {
    let (mut bytes, mut before) = (Vec::new(), 0);
    for (disk, at, len) in pieces {
        for (sector, byte) in disk.data.range(at..at + len) {
            bytes.extend((before + sector - at).to_le_bytes());
            bytes.push(*byte);
        }
        before += len;
    }
    crc(&bytes)
}

pub struct Bench(pub Vec<Disk>);

impl Devices for Bench {
    fn sectors(&self, device: usize) -> Sectors {
        self.0[device].sectors
    }

    fn serial(&self, device: usize) -> Serial {
        self.0[device].serial
    }

    fn crc(&mut self, pieces: &[Piece]) -> Option<u32> {
        let disks = pieces
            .iter()
            .map(|piece| (&self.0[piece.device], piece.at.0, piece.len.0));
        Some(data_crc(disks))
    }

    fn read_superblock(
        &mut self,
        device: usize,
        slot: usize,
        into: &mut Superblock,
    ) -> Result<MemberId, DecodeError> {
        decode(&self.0[device].slots[slot], into, crc)
    }
}
