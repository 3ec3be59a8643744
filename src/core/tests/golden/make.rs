// SPDX-License-Identifier: GPL-2.0
//! Makes golden files of what this build writes, where there are none yet:
//! `cargo run -p restripe-core --example golden`.
//!
//! For a new kind of block, once, in the commit that brings it. A golden file that is there is never written again: it
//! stands for disks that exist.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use restripe_core::geometry::{Logical, MemberId, MemberMask, Physical, Range, Sectors};
use restripe_core::layout::Level;
use restripe_core::ondisk::{
    encode, encode_signature, member_geometry, BitmapSector, JournalEntry, JournalHeader, Name,
    Serial, Signature, StashHeader, Superblock, Uuid,
};
use restripe_core::shape::{self, CreateWish, MigrationWish, NewMember, Stamp};
use restripe_core::text::Text;

const MIB: u64 = 2048;

fn uuid(n: u8) -> Uuid {
    Uuid::from_random([n; 16])
}

fn member(n: u8, adopted: bool) -> NewMember<'static> {
    let name = ["vda", "vdb", "vdc"][usize::from(n)];
    NewMember {
        name,
        uuid: uuid(0x10 + n),
        serial: Serial::from(name),
        geometry: member_geometry(Sectors(64 * MIB), adopted).expect("large enough"),
        logical_block: 512,
        zoned: false,
    }
}

fn stamp() -> Stamp {
    Stamp {
        uuid: uuid(1),
        name: Name::from("restripe7"),
        writer: Text::from("restripe golden"),
        now: 1_795_000_000,
    }
}

/// A raid5 at rest in which a check has found something.
fn created() -> Superblock {
    let mut sb = Superblock::default();
    let wish = CreateWish {
        level: Level::Raid5,
        chunk: Sectors(128),
        size: None,
        assume_clean: false,
    };
    let members = [0, 1, 2].map(|n| member(n, false));
    shape::create(&mut sb, &stamp(), &wish, &members).expect("a shape that can be");
    (sb.epoch, sb.generation, sb.updated) = (3, 7, 1_795_000_100);
    (sb.sets[0].resync, sb.sets[0].is_fresh) = (Logical(256 * 100), false);
    sb.mismatches.push(Range::new(Logical(512), Logical(768)));
    sb.mismatch_cnt = 5;
    sb
}

/// It was never stopped but in order, and not all of its parity is made yet.
fn fresh() -> Superblock {
    let mut sb = created();
    sb.sets[0].is_fresh = true;
    sb
}

/// An adopted disk on its way to a raid5.
fn migrating() -> Superblock {
    let (mut now, mut sb) = (Superblock::default(), Superblock::default());
    shape::adopt(&mut now, &stamp(), &member(0, true), Sectors(48 * MIB)).expect("there is room");
    let added = [member(1, false), member(2, false)];
    let wish = MigrationWish {
        uuid: uuid(2),
        level: Level::Raid5,
        chunk: Some(Sectors(128)),
        added: &added,
        removed: Default::default(),
    };
    shape::begin_migration(&now, &wish, &mut sb).expect("a migration that can be");
    (sb.epoch, sb.generation, sb.clean) = (4, 12, false);
    let migration = sb.migration.as_mut().expect("it has begun");
    migration.cursor = Logical(256 * 30);
    migration.retired_stash = 6;
    migration.paused = true;
    migration.speed_max = 20_000;
    migration.sync_max = Some(Logical(65536));
    sb.map_from_cursor();
    sb
}

/// A full disk of which nothing but its witness tells that it is being adopted.
fn adopting() -> Superblock {
    let mut sb = Superblock::default();
    let devices = (&member(0, true), &member(1, false));
    shape::adopt_full(&mut sb, &stamp(), devices, Sectors(64 * MIB), 0x8765_4321)
        .expect("there is room");
    (sb.epoch, sb.generation, sb.clean) = (1, 1, true);
    sb
}

fn superblock(sb: &Superblock, member: u8) -> Vec<u8> {
    let mut bytes = vec![0; 16384];
    encode(sb, MemberId(member), &mut bytes, crc32c::crc32c);
    bytes
}

fn stash() -> Vec<u8> {
    let header = StashHeader {
        migration: uuid(2),
        number: 7,
        range: Range::new(Logical(256 * 30), Logical(256 * 31)),
        data_at: Physical(126_984),
        data_len: Sectors(256),
        data_crc: 0x1234_abcd,
    };
    let mut bytes = vec![0; 4096];
    header.encode(&mut bytes, crc32c::crc32c);
    bytes
}

fn signature() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let signature = Signature {
        volume: uuid(1),
        member: uuid(0x11),
    };
    encode_signature(&signature, &mut bytes, crc32c::crc32c);
    bytes
}

fn bitmap() -> Vec<u8> {
    let sector = BitmapSector {
        volume: uuid(1),
        epoch: 3,
        index: 2,
        shift: 11,
    };
    let mut bytes = vec![0; 512];
    let word = |word: usize| {
        (0..32).fold(0, |bits, i| {
            bits | u32::from((word * 32 + i) % 100 == 3) << i
        })
    };
    sector.encode(word, &mut bytes, crc32c::crc32c);
    bytes
}

fn journal() -> Vec<u8> {
    let header = JournalHeader {
        volume: uuid(1),
        epoch: 3,
        lap: 9,
        sequence: 77,
        at: Sectors(64),
        payload: Sectors(24),
        payload_crc: 0xcafe_f00d,
        set: 0x0123_4567_89ab_cdef,
        members: MemberMask(0b101),
    };
    let entries = [(0, 3328, 8), (2, 3328, 16)].map(|(member, at, len)| JournalEntry {
        member: MemberId(member),
        at: Physical(at),
        len: Sectors(len),
    });
    let mut bytes = vec![0; 4096];
    header.encode(entries.into_iter(), &mut bytes, crc32c::crc32c);
    bytes
}

/// Bytes in a line.
const ROW: usize = 16;

/// The text that `hex.rs` reads.
fn hex(about: &str, bytes: &[u8]) -> String {
    let mut text = format!("# {about}\nsize {}\n", bytes.len());
    for (row, bytes) in bytes.chunks(ROW).enumerate() {
        if bytes.iter().any(|byte| *byte != 0) {
            write!(text, "{:05x}:", row * ROW).expect("a String takes all");
            for byte in bytes {
                write!(text, " {byte:02x}").expect("a String takes all");
            }
            text.push('\n');
        }
    }
    text
}

fn main() -> std::io::Result<()> {
    let (created, migrating) = (created(), migrating());
    let mut files = Vec::new();
    for n in 0..3 {
        files.push((
            format!("created-{n}"),
            format!("superblock of member {n} of a raid5 at rest"),
            superblock(&created, n),
        ));
        files.push((
            format!("migrating-{n}"),
            format!("superblock of member {n} of a volume on its way from linear to raid5"),
            superblock(&migrating, n),
        ));
    }
    files.push((
        "adopting-1".to_owned(),
        "superblock of the witness, member 1, of a disk that has none yet".to_owned(),
        superblock(&adopting(), 1),
    ));
    files.push((
        "fresh-0".to_owned(),
        "superblock of member 0 of a raid5 whose parity is being made for the first time"
            .to_owned(),
        superblock(&fresh(), 0),
    ));
    for (name, about, bytes) in [
        ("stash", "header of a stash", stash()),
        (
            "signature",
            "signature at the start of a member",
            signature(),
        ),
        ("bitmap", "sector of the write-intent bitmap", bitmap()),
        ("journal", "header of a journal's record", journal()),
    ] {
        files.push((name.to_owned(), about.to_owned(), bytes));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (name, about, bytes) in files {
        let path = folder.join(format!("v1-{name}.hex"));
        let about = format!("restripe, on-disk format version 1: {about}");
        match File::create_new(&path) {
            Ok(mut file) => {
                file.write_all(hex(&about, &bytes).as_bytes())?;
                println!("{} is new", path.display());
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                println!("{} is there and stays as it is", path.display());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
