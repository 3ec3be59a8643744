// SPDX-License-Identifier: GPL-2.0
//! Blocks of format version 1 as disks hold them since it was frozen: every later build reads them, and reads this in
//! them. The files are made by `make.rs`, once; what they say is written here by hand.

mod hex;

use restripe_core::geometry::{Logical, MemberId, MemberMask, Physical, Range, Sectors};
use restripe_core::layout::Level;
use restripe_core::ondisk::{
    decode, encode, encode_signature, is_signature, BitmapSector, DecodeError, JournalEntry,
    JournalHeader, RegionKind, Serial, Signature, StashHeader, Superblock, Uuid,
};
use restripe_core::recover::{recover, AssembleOptions, Devices, Piece};

const CREATED: [&str; 3] = [
    include_str!("v1-created-0.hex"),
    include_str!("v1-created-1.hex"),
    include_str!("v1-created-2.hex"),
];
const MIGRATING: [&str; 3] = [
    include_str!("v1-migrating-0.hex"),
    include_str!("v1-migrating-1.hex"),
    include_str!("v1-migrating-2.hex"),
];
const ADOPTING: &str = include_str!("v1-adopting-1.hex");
const NAMES: [&str; 3] = ["vda", "vdb", "vdc"];
/// 64 MiB.
const DEVICE: Sectors = Sectors(131_072);

fn uuid(text: &str) -> Uuid {
    Uuid::parse(text).expect("a uuid")
}

fn read(text: &str, member: u8) -> Superblock {
    let mut sb = Superblock::default();
    let found = decode(&hex::read(text), &mut sb, crc32c::crc32c).expect("version 1 is read");
    assert_eq!(found, MemberId(member));
    sb
}

/// Disks that hold these superblocks in their first places.
struct Disks(Vec<Vec<u8>>);

impl Devices for Disks {
    fn sectors(&self, _: usize) -> Sectors {
        DEVICE
    }

    fn serial(&self, device: usize) -> Serial {
        Serial::from(NAMES[device])
    }

    fn crc(&mut self, _: &[Piece]) -> Option<u32> {
        Some(0x8765_4321)
    }

    fn read_superblock(
        &mut self,
        device: usize,
        slot: usize,
        into: &mut Superblock,
    ) -> Result<MemberId, DecodeError> {
        match slot {
            0 => decode(&self.0[device], into, crc32c::crc32c),
            _ => Err(DecodeError::Absent),
        }
    }
}

fn assemble(files: [&str; 3]) -> Superblock {
    let mut sb = Superblock::default();
    let options = AssembleOptions::default();
    let assembly = recover(
        &mut Disks(files.map(hex::read).into()),
        &NAMES,
        &options,
        &mut sb,
    )
    .expect("it assembles");
    assert_eq!(
        &assembly.device_of_member[..3],
        &[Some(0), Some(1), Some(2)]
    );
    sb
}

/// What both volumes say of themselves and of their members.
fn check_volume(sb: &Superblock) {
    assert_eq!(sb.version, 1);
    assert_eq!((sb.compat, sb.ro_compat, sb.incompat), (0, 0, 0));
    assert_eq!(sb.uuid, uuid("01010101-0101-4101-8101-010101010101"));
    assert_eq!(sb.name.as_str(), "restripe7");
    assert_eq!(sb.writer.as_str(), "restripe golden");
    assert_eq!(sb.created, 1_795_000_000);
    assert_eq!(sb.logical_block, 512);
    assert_eq!(sb.members.len(), 3);
    for (n, (row, name)) in sb.members.iter().zip(NAMES).enumerate() {
        assert_eq!(row.uuid, Uuid::from_random([0x10 + n as u8; 16]));
        assert_eq!(row.serial.as_str(), name);
        assert_eq!(row.state.name(), "in_sync");
        assert_eq!(row.device_sectors, DEVICE);
        // The reserve is the last 2 MiB.
        let place = |kind| row.region(kind).map(|r| (r.start.0, r.len.0));
        assert_eq!(place(RegionKind::Head), Some((126_976, 256)));
        assert_eq!(place(RegionKind::SuperblockA), Some((130_560, 32)));
        assert_eq!(place(RegionKind::SuperblockB), Some((130_816, 32)));
        for kind in [
            RegionKind::Data,
            RegionKind::Stash,
            RegionKind::Bitmap,
            RegionKind::Journal,
        ] {
            assert!(row.region(kind).is_some(), "{kind:?} of {name}");
        }
    }
}

#[test]
fn a_volume_at_rest_is_read_and_assembled() {
    for (member, text) in CREATED.into_iter().enumerate() {
        let sb = read(text, member as u8);
        check_volume(&sb);
        assert_eq!((sb.epoch, sb.generation, sb.updated), (3, 7, 1_795_000_100));
        assert!(sb.clean && !sb.marked && sb.migration.is_none());
        let [set] = &sb.sets[..] else {
            panic!("one set")
        };
        assert_eq!(
            (set.layout.level, set.layout.chunk, set.layout.slots),
            (Level::Raid5, Sectors(128), 3)
        );
        assert_eq!(set.resync, Logical(25_600));
        // 61 MiB of each, two thirds of it data.
        assert_eq!(set.layout.slot_len, Sectors(124_928));
        assert_eq!(sb.volume_sectors, Sectors(249_856));
        for (n, extent) in set.extents.iter().enumerate() {
            assert_eq!(
                (usize::from(extent.slot.0), usize::from(extent.member.0)),
                (n, n)
            );
            assert_eq!(
                (extent.start, extent.len),
                (Physical(2048), Sectors(124_928))
            );
        }
        assert_eq!(sb.mismatch_cnt, 5);
        assert_eq!(sb.mismatches[..], [Range::new(Logical(512), Logical(768))]);
    }
    let sb = assemble(CREATED);
    assert_eq!((sb.epoch, sb.generation), (4, 7));
    check_volume(&sb);
}

#[test]
fn a_migration_is_read_and_goes_on() {
    for (member, text) in MIGRATING.into_iter().enumerate() {
        let sb = read(text, member as u8);
        check_volume(&sb);
        assert_eq!((sb.epoch, sb.generation, sb.clean), (4, 12, false));
        assert_eq!(sb.volume_sectors, Sectors(98_304));
        let migration = sb.migration.expect("it migrates");
        assert_eq!(migration.uuid, uuid("02020202-0202-4202-8202-020202020202"));
        assert_eq!((migration.source, migration.target), (0, 1));
        assert!(!migration.descending && migration.paused && !migration.aborting);
        assert_eq!(
            (migration.cursor, migration.retired_stash),
            (Logical(7680), 6)
        );
        assert_eq!(
            (migration.speed_max, migration.sync_max),
            (20_000, Some(Logical(65_536)))
        );
        let levels: Vec<_> = sb.sets.iter().map(|set| set.layout.level).collect();
        assert_eq!(levels, [Level::Linear, Level::Raid5]);
        let ranges: Vec<_> = sb
            .ranges
            .iter()
            .map(|r| (r.start.0, r.end.0, r.set))
            .collect();
        assert_eq!(ranges, [(0, 7680, 1), (7680, 98_304, 0)]);
        // The adopted disk's first 128 KiB live in its reserve, on both sets.
        assert!(sb.members[0].adopted && !sb.members[1].adopted);
        for set in &sb.sets {
            assert_eq!(
                (set.extents[0].start, set.extents[0].len),
                (Physical(126_976), Sectors(256))
            );
            assert_eq!(set.extents[1].start, Physical(256));
        }
    }
    let sb = assemble(MIGRATING);
    let migration = sb.migration.expect("it goes on");
    assert_eq!(
        (sb.epoch, migration.cursor, migration.paused),
        (5, Logical(7680), true)
    );
}

/// A full disk has no superblock before its witness has one, and is known by what it is.
#[test]
fn an_adoption_is_read_and_goes_on() {
    let sb = read(ADOPTING, 1);
    assert_eq!(sb.volume_sectors, DEVICE);
    let [disk, witness] = &sb.members[..] else {
        panic!("two members")
    };
    assert_eq!((disk.serial.as_str(), disk.adopted), ("vda", true));
    assert_eq!((disk.unmarked, witness.unmarked), (Some(0x8765_4321), None));
    // What the reserve takes, 2 MiB, is at the end of the witness's data.
    let extents: Vec<_> = sb.sets[0]
        .extents
        .iter()
        .map(|e| (e.member.0, e.start.0, e.len.0))
        .collect();
    assert_eq!(extents, [(0, 0, 126_976), (1, 122_880, 4096)]);

    let mut disks = Disks(vec![vec![0; 16_384], hex::read(ADOPTING)]);
    let options = AssembleOptions::default();
    let mut sb = Superblock::default();
    let assembly = recover(&mut disks, &NAMES[..2], &options, &mut sb).expect("it assembles");
    assert_eq!(&assembly.device_of_member[..2], &[Some(0), Some(1)]);
}

/// What is read is written again byte for byte, but for what only this build's writer says.
#[test]
fn what_is_read_is_written_alike() {
    let members = (0..3).cycle().zip(CREATED.into_iter().chain(MIGRATING));
    for (member, text) in members.chain([(1, ADOPTING)]) {
        let golden = hex::read(text);
        let mut again = vec![0; golden.len()];
        encode(
            &read(text, member),
            MemberId(member),
            &mut again,
            crc32c::crc32c,
        );
        assert!(golden == again, "member {member}");
    }
}

#[test]
fn a_changed_bit_shows() {
    let golden = hex::read(CREATED[0]);
    for at in (12..golden.len()).step_by(97) {
        let mut bytes = golden.clone();
        bytes[at] ^= 1;
        let found = decode(&bytes, &mut Superblock::default(), crc32c::crc32c);
        assert_eq!(found, Err(DecodeError::Torn), "byte {at}");
    }
}

#[test]
fn a_stash_is_read() {
    let bytes = hex::read(include_str!("v1-stash.hex"));
    let header = StashHeader::decode(&bytes, crc32c::crc32c).expect("a stash");
    assert_eq!(
        header,
        StashHeader {
            migration: uuid("02020202-0202-4202-8202-020202020202"),
            number: 7,
            range: Range::new(Logical(7680), Logical(7936)),
            data_at: Physical(126_984),
            data_len: Sectors(256),
            data_crc: 0x1234_abcd,
        }
    );
    // It is the next one of the migration in the superblocks here.
    let migration = read(MIGRATING[0], 0).migration.expect("it migrates");
    assert!(header.valid(&migration, 0x1234_abcd) && !header.valid(&migration, 0x1234_abce));
}

#[test]
fn a_signature_is_known() {
    let bytes = hex::read(include_str!("v1-signature.hex"));
    assert!(is_signature(&bytes));
    let mut again = vec![0; bytes.len()];
    let signature = Signature {
        volume: uuid("01010101-0101-4101-8101-010101010101"),
        member: uuid("11111111-1111-4111-9111-111111111111"),
    };
    encode_signature(&signature, &mut again, crc32c::crc32c);
    assert!(bytes == again);
}

#[test]
fn parity_that_is_being_made_is_read() {
    let bytes = hex::read(include_str!("v1-fresh-0.hex"));
    // The first set's flags.
    assert_eq!(bytes[256 + 6], 1);
    let set = read(include_str!("v1-fresh-0.hex"), 0).sets[0];
    assert!(set.is_fresh);
    assert_eq!(set.resync, Logical(25_600));
    assert!(!read(CREATED[0], 0).sets[0].is_fresh);
}

#[test]
fn a_bitmap_is_read() {
    let bytes = hex::read(include_str!("v1-bitmap.hex"));
    let (sector, bits) = BitmapSector::decode(&bytes, crc32c::crc32c).expect("a bitmap");
    assert_eq!(
        sector,
        BitmapSector {
            volume: uuid("01010101-0101-4101-8101-010101010101"),
            epoch: 3,
            index: 2,
            shift: 11,
        }
    );
    for bit in 0..bits.len() * 8 {
        let is_set = bits[bit / 8] >> (bit % 8) & 1 == 1;
        assert_eq!(is_set, bit % 100 == 3, "bit {bit}");
    }
}

#[test]
fn a_journal_is_read() {
    let bytes = hex::read(include_str!("v1-journal.hex"));
    let header = JournalHeader::decode(&bytes, crc32c::crc32c).expect("a record");
    assert_eq!(
        header,
        JournalHeader {
            volume: uuid("01010101-0101-4101-8101-010101010101"),
            epoch: 3,
            lap: 9,
            sequence: 77,
            at: Sectors(64),
            payload: Sectors(24),
            payload_crc: 0xcafe_f00d,
            set: 0x0123_4567_89ab_cdef,
            members: MemberMask(0b101),
        }
    );
    let entry = |member, len| JournalEntry {
        member: MemberId(member),
        at: Physical(3328),
        len: Sectors(len),
    };
    let entries: Vec<_> = JournalHeader::entries(&bytes).collect();
    assert_eq!(entries, [entry(0, 8), entry(2, 16)]);
}
