// SPDX-License-Identifier: GPL-2.0
//! The superblock's coding: what goes in comes out, what is damaged is refused.

use super::common::{adopted, crc, created, geometry, mib, migrating, uuid};
use proptest::prelude::*;
use restripe_core::geometry::{Logical, MemberId, Physical, Range, Sectors};
use restripe_core::layout::Level;
use restripe_core::ondisk::*;

fn encoded(sb: &Superblock) -> Vec<u8> {
    let mut bytes = vec![0xa5; SUPERBLOCK_SIZE];
    encode(sb, MemberId(0), &mut bytes, crc);
    bytes
}

fn reseal(bytes: &mut [u8]) {
    let sum = crc(&bytes[12..]);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
}

fn decoded(bytes: &[u8]) -> Result<Superblock, DecodeError> {
    let mut sb = Superblock::default();
    decode(bytes, &mut sb, crc).map(|_| sb)
}

/// Every shape there is, so that no field is left out.
fn shapes() -> Vec<Superblock> {
    let mut middle = migrating(Level::Raid5, 3);
    let volume = middle.volume_sectors;
    if let Some(migration) = &mut middle.migration {
        migration.cursor = Logical(256 * 10);
        migration.retired_stash = 7;
        migration.paused = true;
        migration.speed_max = 1000;
        migration.sync_max = Some(Logical(9));
    }
    middle.map_from_cursor();
    middle.marked = true;
    middle.journal = JournalState {
        mode: JournalMode::Always,
        in_force: true,
        retired: 77,
    };
    middle.mismatch_cnt = 12;
    middle.mismatches.push(Range::new(Logical(8), Logical(20)));
    middle.members[2].state = MemberState::Faulty;
    middle.members[2].left_epoch = 1;
    let mut done = middle.clone();
    if let Some(migration) = &mut done.migration {
        migration.cursor = Logical(volume.0);
        migration.descending = true;
        migration.aborting = true;
    }
    done.map_from_cursor();
    let mut unknown = adopted();
    let journal = unknown.members[0]
        .regions
        .iter()
        .position(|r| r.kind == RegionKind::Journal);
    unknown.members[0].regions[journal.expect("a journal")].kind = RegionKind::Unknown(99);
    unknown.compat = 0x8000;
    vec![
        adopted(),
        created(Level::Raid0, 4, false),
        created(Level::Raid1, 2, true),
        created(Level::Raid5, 6, false),
        migrating(Level::Raid1, 2),
        middle,
        done,
        unknown,
    ]
}

#[test]
fn what_goes_in_comes_out() {
    for sb in shapes() {
        assert_eq!(check(&sb), Ok(()));
        assert_eq!(decoded(&encoded(&sb)), Ok(sb));
    }
}

#[test]
fn the_member_it_is_for_comes_out() {
    let sb = created(Level::Raid5, 3, true);
    let mut bytes = vec![0; SUPERBLOCK_SIZE];
    encode(&sb, MemberId(2), &mut bytes, crc);
    assert_eq!(
        decode(&bytes, &mut Superblock::default(), crc),
        Ok(MemberId(2))
    );
    encode(&sb, MemberId(3), &mut bytes, crc);
    assert!(matches!(decoded(&bytes), Err(DecodeError::Inconsistent(_))));
}

#[test]
fn the_first_bytes_are_as_documented() {
    let sb = adopted();
    let bytes = encoded(&sb);
    assert_eq!(&bytes[..8], b"restrpSB");
    assert_eq!(bytes[8..12], crc(&bytes[12..]).to_le_bytes());
    assert_eq!(bytes[12..14], [1, 0]);
    assert_eq!(bytes[40..56], sb.uuid.0);
    assert_eq!(&bytes[56..65], b"restripe0");
    assert_eq!(bytes[152..160], sb.volume_sectors.0.to_le_bytes());
    assert_eq!(bytes[4096..4112], sb.members[0].uuid.0);
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = encoded(&created(Level::Raid5, 3, false));
    // All bits of what is in use, and some of every unused stretch.
    let ends = (0..1200).chain((1200..SUPERBLOCK_SIZE).step_by(13));
    for at in ends {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let error = decoded(&flipped).expect_err("a flipped bit goes unseen");
            let expected = if at < 8 {
                DecodeError::Foreign
            } else {
                DecodeError::Torn
            };
            assert_eq!(error, expected, "byte {at} bit {bit}");
        }
    }
}

#[test]
fn torn_between_two_versions_is_refused() {
    let (old, mut new) = (encoded(&adopted()), adopted());
    new.generation += 1;
    new.members[0].recovery = Logical(8);
    let new = encoded(&new);
    for cut in (512..SUPERBLOCK_SIZE).step_by(512) {
        let torn = [&new[..cut], &old[cut..]].concat();
        if torn != new {
            assert_eq!(decoded(&torn), Err(DecodeError::Torn), "cut at {cut}");
        }
    }
}

#[test]
fn what_is_no_superblock_is_told_apart() {
    assert_eq!(decoded(&[0; SUPERBLOCK_SIZE]), Err(DecodeError::Absent));
    assert_eq!(decoded(&[7; SUPERBLOCK_SIZE]), Err(DecodeError::Foreign));
    assert_eq!(decoded(&[0; 512]), Err(DecodeError::Unreadable));
}

#[test]
fn what_is_newer_is_refused() {
    let mut bytes = encoded(&adopted());
    bytes[12] = 2;
    reseal(&mut bytes);
    assert_eq!(decoded(&bytes), Err(DecodeError::Version(2)));
    let mut sb = adopted();
    sb.incompat = 4;
    assert_eq!(decoded(&encoded(&sb)), Err(DecodeError::Incompat(4)));
}

/// Contradictions, each made by one change to a superblock that is right.
#[test]
fn what_contradicts_itself_is_refused() {
    type Spoil = fn(&mut Superblock);
    let cases: &[(&str, Spoil)] = &[
        ("no uuid", |sb| sb.uuid = Uuid::NIL),
        ("logical block", |sb| sb.logical_block = 768),
        ("no size", |sb| sb.volume_sectors = Sectors::ZERO),
        ("huge", |sb| sb.volume_sectors = Sectors(u64::MAX)),
        ("odd size", |sb| {
            sb.logical_block = 4096;
            sb.volume_sectors = Sectors(12345);
        }),
        ("beyond its set", |sb| {
            sb.volume_sectors = sb.sets[0].layout.capacity() + Sectors(8);
            sb.ranges[0].end = Logical(sb.volume_sectors.0);
        }),
        ("range short", |sb| sb.ranges[0].end = Logical(8)),
        ("range late", |sb| sb.ranges[0].start = Logical(8)),
        ("no range", |sb| sb.ranges.clear()),
        ("range on no set", |sb| sb.ranges[0].set = 1),
        ("unused set", |sb| {
            let set = sb.sets[0];
            sb.sets.push(set);
        }),
        ("chunk", |sb| sb.sets[0].layout.chunk = Sectors(100)),
        ("chunk 0", |sb| sb.sets[0].layout.chunk = Sectors(0)),
        ("slots", |sb| sb.sets[0].layout.slots = 2),
        ("no slots", |sb| sb.sets[0].layout.slots = 0),
        ("slot length", |sb| {
            sb.sets[0].layout.slot_len = Sectors(129)
        }),
        ("no slot length", |sb| {
            sb.sets[0].layout.slot_len = Sectors(0)
        }),
        ("huge slots", |sb| {
            sb.sets[0].layout.slot_len = Sectors(!127)
        }),
        ("resync", |sb| sb.sets[0].resync = Logical(u64::MAX)),
        ("extent nowhere", |sb| sb.sets[0].extents[0].member.0 = 9),
        ("extent's slot", |sb| sb.sets[0].extents[2].slot.0 = 3),
        ("extent missing", |sb| {
            sb.sets[0].extents.remove(2);
        }),
        ("extents out of order", |sb| sb.sets[0].extents.swap(0, 1)),
        ("extent short", |sb| {
            sb.sets[0].extents[1].len = Sectors(128)
        }),
        ("extent empty", |sb| sb.sets[0].extents[1].len = Sectors(0)),
        ("extent before the data", |sb| {
            sb.sets[0].extents[1].start = Physical(0)
        }),
        ("extent in the reserve", |sb| {
            sb.sets[0].extents[1].start += Sectors(8)
        }),
        ("extent far away", |sb| {
            sb.sets[0].extents[1].start = Physical(u64::MAX)
        }),
        ("two slots on a member", |sb| {
            sb.sets[0].extents[1].member.0 = 0
        }),
        ("two slots on a member, apart", |sb| {
            sb.sets[0].layout.slot_len = Sectors(1280);
            sb.sets[0].resync = Logical(0);
            sb.sets[0].extents[1].member.0 = 0;
            sb.sets[0].extents[0].len = Sectors(1280);
            sb.sets[0].extents[1].len = Sectors(1280);
            sb.sets[0].extents[1].start += Sectors(1280);
            sb.volume_sectors = Sectors(2560);
            sb.ranges[0].end = Logical(2560);
        }),
        ("no member", |sb| sb.members[1].uuid = Uuid::NIL),
        ("twins", |sb| sb.members[1].uuid = sb.members[0].uuid),
        ("device size", |sb| {
            sb.members[1].device_sectors = Sectors(17)
        }),
        ("huge device", |sb| {
            sb.members[1].device_sectors = Sectors(u64::MAX)
        }),
        ("other device", |sb| sb.members[1].device_sectors = mib(65)),
        ("left later", |sb| sb.members[1].left_epoch = 2),
        ("recovery", |sb| sb.members[1].recovery = Logical(u64::MAX)),
        ("region outside", |sb| {
            sb.members[1].regions[0].len = mib(65)
        }),
        ("region far away", |sb| {
            sb.members[1].regions[0].start = Physical(u64::MAX)
        }),
        ("regions overlap", |sb| {
            sb.members[1].regions[1].start = Physical(4096)
        }),
        ("no superblock region", |sb| {
            sb.members[1].regions.remove(5);
        }),
        ("mismatch", |sb| {
            sb.mismatches.push(Range {
                start: Logical(8),
                end: Logical(8),
            })
        }),
    ];
    let good = created(Level::Raid5, 3, false);
    for (what, spoil) in cases {
        let mut sb = good.clone();
        spoil(&mut sb);
        let got = decoded(&encoded(&sb));
        assert!(
            matches!(got, Err(DecodeError::Inconsistent(_))),
            "{what}: {got:?}"
        );
    }
}

#[test]
fn a_migration_that_contradicts_itself_is_refused() {
    type Spoil = fn(&mut Superblock, &mut Migration);
    let cases: &[(&str, Spoil)] = &[
        ("no uuid", |_, m| m.uuid = Uuid::NIL),
        ("to itself", |_, m| m.target = 0),
        ("from nowhere", |_, m| m.source = 7),
        ("cursor within a stripe", |_, m| m.cursor = Logical(128)),
        ("cursor beyond", |_, m| m.cursor = Logical(u64::MAX)),
        ("target too small", |sb, _| {
            sb.sets[1].layout.slot_len = Sectors(128)
        }),
    ];
    for (what, spoil) in cases {
        let mut sb = migrating(Level::Raid5, 3);
        let mut migration = sb.migration.expect("it migrates");
        spoil(&mut sb, &mut migration);
        sb.migration = Some(migration);
        sb.map_from_cursor();
        let got = decoded(&encoded(&sb));
        assert!(
            matches!(got, Err(DecodeError::Inconsistent(_))),
            "{what}: {got:?}"
        );
    }
    let mut sb = migrating(Level::Raid5, 3);
    if let Some(migration) = &mut sb.migration {
        migration.cursor = Logical(256);
    }
    assert_eq!(
        check(&sb),
        Err("the ranges are not those the migration's cursor makes")
    );
}

#[test]
fn a_head_in_the_reserve_keeps_data_off_the_signature() {
    let mut sb = migrating(Level::Raid1, 2);
    assert!(sb.head_moved(MemberId(0)) && !sb.head_moved(MemberId(1)));
    assert_eq!(check(&sb), Ok(()));
    for set in sb.sets.iter_mut() {
        set.extents[1].start = Physical(8);
    }
    assert_eq!(check(&sb), Err("an extent lies where a signature stands"));
}

#[test]
fn the_reserve_follows_the_documented_formula() {
    let sizes = [
        (4, 2),
        (64, 2),
        (65, 3),
        (1024, 32),
        (4096, 128),
        (1 << 24, 128),
    ];
    for (device, reserve) in sizes {
        let device = mib(device);
        assert_eq!(
            reserve_start(device),
            Some(Physical((device - mib(reserve)).0))
        );
        let blank = geometry(device, false);
        assert_eq!(blank.data_start, Physical(2048));
        assert_eq!(blank.data_end(), Physical((device - mib(reserve)).0));
        assert_eq!(blank.stash.len.0, mib(reserve).0 / 2);
        assert_eq!(blank.stash_data(), blank.stash.len - UNIT);
        let adopted = geometry(device, true);
        assert_eq!(adopted.data_start, Physical(0));
        assert_eq!(adopted.data_len, device - mib(reserve));
        // A device's last odd sectors are not used.
        assert_eq!(
            geometry(device + Sectors(7), true).superblocks,
            adopted.superblocks
        );
    }
}

#[test]
fn superblocks_are_apart_and_inside() {
    for sectors in [
        mib(4).0,
        mib(64).0 + 1,
        mib(64).0 + 7,
        mib(300).0 + 100,
        mib(5000).0,
    ] {
        let g = geometry(Sectors(sectors), true);
        let [a, b] = g.superblocks;
        assert_eq!(superblock_places(Sectors(sectors)), Some([a, b]));
        assert!(b - a >= Sectors::from_bytes(64 << 10), "64 KiB apart (I7)");
        let end = Sectors(sectors).round_down(UNIT);
        assert!(b + SUPERBLOCK_SECTORS <= Physical(end.0));
        assert!(end - a.from_start() <= Sectors::from_bytes(256 << 10));
        for region in &g.regions {
            assert_eq!(region.start.0 % UNIT.0, 0, "{region:?}");
            assert_eq!(region.len.0 % UNIT.0, 0, "{region:?}");
        }
    }
}

#[test]
fn what_is_too_small_is_refused() {
    assert!(member_geometry(mib(3), true).is_ok());
    assert!(member_geometry(mib(4), false).is_ok());
    for (device, adopted) in [
        (mib(3) - Sectors(1), true),
        (mib(4) - Sectors(1), false),
        (Sectors(0), true),
        (Sectors(7), false),
    ] {
        let refusal = member_geometry(device, adopted).expect_err("too small");
        assert!(refusal.to_string().contains("bytes"), "{refusal}");
    }
    assert!(member_geometry(Sectors(u64::MAX), false).is_err());
}

#[test]
fn slots_take_turns() {
    assert_eq!(next_slot(None), 0);
    assert_eq!(next_slot(Some(0)), 1);
    assert_eq!(next_slot(Some(1)), 0);
}

#[test]
fn signature_is_known_again() {
    let mut block = vec![9; SIGNATURE_SIZE];
    assert!(!is_signature(&block));
    encode_signature(
        &Signature {
            volume: uuid(1),
            member: uuid(2),
        },
        &mut block,
        crc,
    );
    assert!(is_signature(&block));
    assert_eq!(block[20..36], uuid(1).0);
}

fn header() -> StashHeader {
    StashHeader {
        migration: uuid(200),
        number: 5,
        range: Range::new(Logical(256), Logical(512)),
        data_at: Physical(4000),
        data_len: Sectors(256),
        data_crc: 77,
    }
}

#[test]
fn a_stash_is_valid_only_for_its_migration_and_until_retired() {
    let mut bytes = vec![1; STASH_HEADER_SIZE];
    header().encode(&mut bytes, crc);
    let found = StashHeader::decode(&bytes, crc).expect("it is whole");
    assert_eq!(found, header());
    let migration = Migration {
        uuid: uuid(200),
        retired_stash: 4,
        ..Migration::default()
    };
    assert!(found.valid(&migration, 77));
    assert!(!found.valid(&migration, 78));
    assert!(!found.valid(
        &Migration {
            retired_stash: 5,
            ..migration
        },
        77
    ));
    assert!(!found.valid(
        &Migration {
            uuid: uuid(201),
            ..migration
        },
        77
    ));
    for at in (0..STASH_HEADER_SIZE).step_by(7).chain(0..80) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        assert_eq!(StashHeader::decode(&damaged, crc), None, "byte {at}");
    }
    assert_eq!(StashHeader::decode(&bytes[..100], crc), None);
}

#[test]
fn uuids_are_read_as_they_are_written() {
    let text = uuid(7).to_string();
    assert_eq!(text, "07070707-0707-4707-8707-070707070707");
    assert_eq!(Uuid::parse(&text), Some(uuid(7)));
    assert_eq!(Uuid::parse(&text.to_uppercase()), Some(uuid(7)));
    for bad in [
        "",
        "07070707",
        &text[1..],
        "07070707+0707-4707-8707-070707070707",
        "0707070g-0707-4707-8707-070707070707",
    ] {
        assert_eq!(Uuid::parse(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), SUPERBLOCK_SIZE)) {
        bytes[..8].copy_from_slice(b"restrpSB");
        bytes[12] = 1;
        bytes[13] = 0;
        bytes[15] = 0;
        bytes[32..40].fill(0);
        bytes[164..168].fill(3);
        reseal(&mut bytes);
        prop_assert!(decoded(&bytes).is_err());
    }

    /// Numbers of every size where a right superblock has its own: nothing
    /// panics, and what passes comes out as it went in.
    #[test]
    fn changed_fields_are_refused_or_kept(
        shape in 0..8usize,
        changes in prop::collection::vec((0..SUPERBLOCK_SIZE / 8, prop_oneof![
            any::<u64>(), 0..70000u64, Just(u64::MAX), Just(1 << 54), Just(1 << 63)]), 1..4),
        near in prop::bool::weighted(0.8),
    ) {
        let mut bytes = encoded(&shapes()[shape]);
        for (word, value) in changes {
            // Mostly where the tables of few members are.
            let word = if near { 2 + word % 130 + if word % 3 == 0 { 510 } else { 0 } } else { word.max(2) };
            bytes[word * 8..word * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
        reseal(&mut bytes);
        if let Ok(sb) = decoded(&bytes) {
            prop_assert_eq!(check(&sb), Ok(()));
            prop_assert_eq!(decoded(&encoded(&sb)), Ok(sb));
        }
    }
}
