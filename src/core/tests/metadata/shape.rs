// SPDX-License-Identifier: GPL-2.0
//! The superblocks that adopt, create, migrate and resize make.

use super::common::{adopted, blank, created, geometry, mib, migrating, stamp, uuid};
use restripe_core::geometry::{Logical, MemberId, MemberMask, Offset, Physical, Sectors, SlotId};
use restripe_core::layout::{Layout, Level};
use restripe_core::ondisk::{check, MapRange, MemberState, Superblock, HEAD_LEN};
use restripe_core::shape::{
    self, finish_migration, head_coming_home, heads_leaving, CreateWish, MigrationWish, NewMember,
};
use restripe_core::text::{Errno, Refusal};
use restripe_core::way::Way;

const WISH: CreateWish = CreateWish {
    level: Level::Raid5,
    chunk: Sectors(128),
    size: None,
    assume_clean: false,
};

fn create(wish: &CreateWish, members: &[NewMember<'_>]) -> Result<Superblock, Refusal> {
    let mut sb = Superblock::default();
    shape::create(&mut sb, &stamp(1), wish, members)?;
    assert_eq!(check(&sb), Ok(()));
    Ok(sb)
}

fn migrate(from: &Superblock, wish: &MigrationWish<'_>) -> Result<Superblock, Refusal> {
    let mut sb = Superblock::default();
    shape::begin_migration(from, wish, &mut sb)?;
    assert_eq!(check(&sb), Ok(()));
    Ok(sb)
}

fn wish<'a>(level: Level, added: &'a [NewMember<'a>]) -> MigrationWish<'a> {
    MigrationWish {
        uuid: uuid(200),
        level,
        chunk: Some(Sectors(128)),
        added,
        removed: MemberMask::EMPTY,
    }
}

#[track_caller]
fn refused<T: core::fmt::Debug>(got: Result<T, Refusal>, errno: Errno, words: &[&str]) {
    let refusal = got.expect_err("it should be refused");
    assert_eq!(refusal.errno, errno, "{refusal}");
    for word in words {
        assert!(
            refusal.to_string().contains(word),
            "\"{refusal}\" lacks {word:?}"
        );
    }
}

#[test]
fn an_adopted_disk_keeps_its_data_where_they_are() {
    let sb = adopted();
    assert_eq!(check(&sb), Ok(()));
    assert_eq!(sb.volume_sectors, mib(48));
    let set = &sb.sets[0];
    assert_eq!(set.layout.level, Level::Linear);
    for x in [0, 1, mib(48).0 - 1] {
        let place = set.place(SlotId(0), Offset(x));
        assert_eq!((place.member, place.at), (MemberId(0), Physical(x)));
    }
    // Its tail up to the reserve is there to grow into.
    assert_eq!(set.layout.slot_len, mib(62));
    assert!(sb.members[0].adopted && sb.clean);
}

#[test]
fn an_adopted_disk_too_full_is_refused() {
    let member = NewMember {
        geometry: geometry(mib(64), true),
        ..blank(0, mib(64))
    };
    let mut sb = Superblock::default();
    let got = shape::adopt(&mut sb, &stamp(1), &member, mib(62) + Sectors(8));
    refused(got, Errno::ENOSPC, &["bytes"]);
}

#[test]
fn created_slots_are_the_members_in_order() {
    let sb = create(
        &WISH,
        &[blank(2, mib(80)), blank(0, mib(64)), blank(1, mib(72))],
    )
    .expect("fits");
    let set = &sb.sets[0];
    // 64 MiB without 1 MiB in front and 2 MiB of reserve.
    assert_eq!(set.layout.slot_len, mib(61));
    let rest = [0, 1, 2].map(|id| shape::trimmed(&sb, set, MemberId(id)));
    let room = [80, 64, 72].map(|size| geometry(mib(size), false).data_len);
    assert_eq!(rest, room.map(|room| room - mib(61)));
    assert!(rest[0] > rest[2] && rest[2] > Sectors::ZERO);
    assert_eq!(sb.volume_sectors, mib(122));
    assert_eq!(sb.members[0].uuid, uuid(102));
    for (slot, extent) in set.extents.iter().enumerate() {
        assert_eq!(extent.slot, SlotId(slot as u8));
        assert_eq!(extent.member, MemberId(slot as u8));
        assert_eq!(extent.start, Physical(2048));
    }
    assert_eq!(set.resync, Logical::ZERO);
    assert_eq!(
        sb.ranges[..],
        [MapRange {
            start: Logical(0),
            end: Logical(mib(122).0),
            set: 0
        }]
    );
}

/// End to end, all of every member, and nothing of one is trimmed to another.
#[test]
fn a_linear_volume_is_all_of_its_members() {
    let linear = CreateWish {
        level: Level::Linear,
        ..WISH
    };
    let members = [
        blank(2, mib(80)),
        blank(0, mib(64)),
        blank(1, mib(72) + Sectors(3)),
    ];
    let sb = create(&linear, &members).expect("fits");
    let set = &sb.sets[0];
    let lens = members.map(|m| m.geometry.data_len);
    let rest = [0, 1, 2].map(|id| shape::trimmed(&sb, set, MemberId(id)));
    assert_eq!(rest, [Sectors::ZERO; 3]);
    assert_eq!(sb.volume_sectors, lens[0] + lens[1] + lens[2]);
    assert_eq!((set.layout.slots, set.disks()), (1, 3));
    let ends = [
        (0, 0, 2048),
        (lens[0].0 - 1, 0, 2047 + lens[0].0),
        (lens[0].0, 1, 2048),
        ((lens[0] + lens[1]).0, 2, 2048),
        (sb.volume_sectors.0 - 1, 2, 2047 + lens[2].0),
    ];
    for (x, member, at) in ends {
        let place = set.place(SlotId(0), Offset(x));
        assert_eq!((place.member.0, place.at.0), (member, at), "sector {x}");
    }
}

#[test]
fn only_redundant_sets_are_behind_a_resync() {
    let all = |sb: &Superblock| sb.sets[0].layout.capacity().0;
    let clean = created(Level::Raid5, 3, true);
    assert_eq!(clean.sets[0].resync.0, all(&clean));
    let striped = created(Level::Raid0, 2, false);
    assert_eq!(striped.sets[0].resync.0, all(&striped));
    assert_eq!(
        created(Level::Raid1, 2, false).sets[0].resync,
        Logical::ZERO
    );
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let two = [blank(0, mib(64)), blank(1, mib(64))];
    refused(
        create(&WISH, &two),
        Errno::EINVAL,
        &["raid5", "at least 3", "2"],
    );
    let raid1 = CreateWish {
        level: Level::Raid1,
        ..WISH
    };
    refused(create(&raid1, &two[..1]), Errno::EINVAL, &["raid1", "2"]);
    refused(create(&raid1, &[]), Errno::EINVAL, &["raid1"]);
    let many: Vec<_> = (0..20).map(|_| blank(0, mib(64))).collect();
    refused(create(&raid1, &many), Errno::EINVAL, &["at most", "20"]);
    let raid10 = CreateWish {
        level: Level::Raid10 { copies: 3 },
        ..WISH
    };
    refused(create(&raid10, &two), Errno::EINVAL, &["raid10", "3", "2"]);
    let chunk = CreateWish {
        level: Level::Raid0,
        chunk: Sectors(100),
        ..WISH
    };
    refused(
        create(&chunk, &two),
        Errno::EINVAL,
        &["51200", "power of two"],
    );
    let sized = CreateWish {
        size: Some(mib(62)),
        ..raid1
    };
    refused(
        create(&sized, &two),
        Errno::ENOSPC,
        &[&mib(62).bytes().to_string(), &mib(61).bytes().to_string()],
    );
    let none = CreateWish {
        size: Some(Sectors(0)),
        ..raid1
    };
    refused(create(&none, &two), Errno::ENOSPC, &["0 bytes"]);
    let zoned = [
        NewMember {
            zoned: true,
            ..two[0]
        },
        two[1],
    ];
    refused(create(&raid1, &zoned), Errno::EOPNOTSUPP, &["vda", "zoned"]);
}

#[test]
fn logical_blocks_larger_than_a_unit_are_refused() {
    let coarse = NewMember {
        logical_block: 8192,
        ..blank(1, mib(64))
    };
    let raid1 = CreateWish {
        level: Level::Raid1,
        ..WISH
    };
    refused(
        create(&raid1, &[blank(0, mib(64)), coarse]),
        Errno::EINVAL,
        &["vdb", "8192", "4096"],
    );
    refused(
        migrate(&adopted(), &wish(Level::Raid1, &[coarse])),
        Errno::EINVAL,
        &["vdb", "8192"],
    );
}

#[test]
fn logical_blocks_are_the_largest_of_all() {
    let members = [
        blank(0, mib(64)),
        NewMember {
            logical_block: 4096,
            ..blank(1, mib(64))
        },
    ];
    let raid1 = CreateWish {
        level: Level::Raid1,
        ..WISH
    };
    assert_eq!(create(&raid1, &members).expect("fits").logical_block, 4096);
    let odd = CreateWish {
        size: Some(Sectors(9)),
        ..raid1
    };
    refused(create(&odd, &members), Errno::EINVAL, &["4096"]);
}

#[test]
fn a_migration_begins_on_the_source_with_the_old_member_first() {
    let added = [blank(1, mib(64)), blank(2, mib(64))];
    let sb = migrate(&adopted(), &wish(Level::Raid5, &added)).expect("fits");
    let migration = sb.migration.expect("it migrates");
    assert_eq!((migration.source, migration.target), (0, 1));
    assert_eq!(migration.cursor, Logical::ZERO);
    assert_eq!(
        sb.ranges[..],
        [MapRange {
            start: Logical(0),
            end: Logical(mib(48).0),
            set: 0
        }]
    );
    assert_eq!(sb.volume_sectors, mib(48));
    let target = &sb.sets[1];
    assert_eq!(target.layout.slot_len, mib(61));
    assert_eq!(target.resync, Logical::ZERO);
    for slot in 0..3u8 {
        assert_eq!(target.member(SlotId(slot), Offset(0)), MemberId(slot));
    }
    assert_eq!(
        target.place(SlotId(0), Offset(256)).at,
        Physical(HEAD_LEN.0)
    );
    assert_eq!(target.place(SlotId(1), Offset(0)).at, Physical(2048));
    assert!(sb.members.iter().all(|m| m.state == MemberState::InSync));
}

#[test]
fn the_head_moves_to_the_reserve_in_both_sets() {
    let sb = migrating(Level::Raid5, 3);
    assert!(sb.head_moved(MemberId(0)));
    let head = geometry(mib(64), true).head;
    for set in &sb.sets {
        assert_eq!(set.place(SlotId(0), Offset(0)).at, head.start);
        assert_eq!(
            set.place(SlotId(0), Offset(255)).at,
            head.start + Sectors(255)
        );
        assert_eq!(set.place(SlotId(0), Offset(256)).at, Physical(HEAD_LEN.0));
    }
    assert_eq!(sb.sets[0].layout, adopted().sets[0].layout);
}

#[test]
fn the_head_comes_back_when_the_disk_is_alone_again() {
    let out = migrating(Level::Raid1, 2);
    assert_eq!(heads_leaving(&adopted(), &out), MemberMask::of(MemberId(0)));
    assert_eq!(head_coming_home(&out), None);
    let mut back = out.clone();
    if let Some(migration) = &mut back.migration {
        (migration.source, migration.target) = (1, 0);
    }
    back.map_from_cursor();
    assert_eq!(check(&back), Ok(()));
    assert_eq!(head_coming_home(&back), Some(MemberId(0)));
    finish_migration(&mut back);
    assert_eq!(back.sets[0].extents, adopted().sets[0].extents);
    assert!(!back.head_moved(MemberId(0)));
    assert_eq!(check(&back), Ok(()));
}

#[test]
fn migrations_that_cannot_be_are_refused() {
    let old = adopted();
    let one = [blank(1, mib(64))];
    let begin = |wish: &MigrationWish<'_>| migrate(&old, wish);
    refused(
        begin(&wish(Level::Raid5, &one)),
        Errno::EINVAL,
        &["at least 3"],
    );
    refused(
        begin(&wish(Level::Raid1, &[])),
        Errno::EINVAL,
        &["at least 2"],
    );
    refused(
        begin(&wish(Level::Linear, &[])),
        Errno::EINVAL,
        &["linear on these members already"],
    );
    let chunk = MigrationWish {
        chunk: Some(Sectors(3)),
        ..wish(Level::Raid0, &one)
    };
    refused(begin(&chunk), Errno::EINVAL, &["1536"]);
    let small = [blank(1, mib(32))];
    refused(
        begin(&wish(Level::Raid1, &small)),
        Errno::ENOSPC,
        &[
            "vdb is too small",
            &mib(48).bytes().to_string(),
            &mib(29).bytes().to_string(),
        ],
    );
    // Two halves of raid0 hold it though.
    assert!(begin(&wish(Level::Raid0, &small)).is_ok());
    let coarse = [NewMember {
        logical_block: 4096,
        ..one[0]
    }];
    refused(
        begin(&wish(Level::Raid1, &coarse)),
        Errno::EINVAL,
        &["vdb", "4096", "512"],
    );
    let zoned = [NewMember {
        zoned: true,
        ..one[0]
    }];
    refused(
        begin(&wish(Level::Raid1, &zoned)),
        Errno::EOPNOTSUPP,
        &["vdb", "zoned"],
    );
    let twin = [NewMember {
        uuid: old.members[0].uuid,
        ..one[0]
    }];
    refused(begin(&wish(Level::Raid1, &twin)), Errno::EEXIST, &["vdb"]);
    refused(
        migrate(&migrating(Level::Raid1, 2), &wish(Level::Raid1, &one)),
        Errno::EBUSY,
        &["running already"],
    );
    let stranger = MigrationWish {
        removed: MemberMask::of(MemberId(3)),
        ..wish(Level::Raid1, &one)
    };
    refused(begin(&stranger), Errno::EINVAL, &["remove=3", "member 3"]);
    let mut mirror = created(Level::Raid1, 2, true);
    mirror.members[1].state = MemberState::Rebuilding;
    refused(
        migrate(&mirror, &wish(Level::Raid5, &one)),
        Errno::EBUSY,
        &["member 1", "being rebuilt"],
    );
    // A member that failed can be kept only where it can be done without.
    mirror.members[1].state = MemberState::Faulty;
    refused(
        migrate(&mirror, &wish(Level::Raid0, &[])),
        Errno::EBUSY,
        &["member 1 is faulty", "remove=1"],
    );
    let three = [blank(3, mib(64))];
    assert!(migrate(&mirror, &wish(Level::Raid5, &three)).is_ok());
    // More than the new members hold: the size has to be reduced before.
    let wide = created(Level::Raid0, 3, true);
    let fewer = MigrationWish {
        removed: MemberMask::of(MemberId(2)),
        ..wish(Level::Raid0, &[])
    };
    refused(
        migrate(&wide, &fewer),
        Errno::ENOSPC,
        &[
            "reduce size",
            &mib(183).bytes().to_string(),
            &mib(122).bytes().to_string(),
        ],
    );
    // End to end, the second disk's data would have to move all at once.
    let concat = created(Level::Linear, 2, true);
    refused(
        migrate(&concat, &wish(Level::Raid0, &[])),
        Errno::ENOSPC,
        &["lies over more of the old one", "add= and remove="],
    );
}

/// Who comes in takes the place of who leaves, and all the others stay where they are.
#[test]
fn a_member_gives_its_place_to_another() {
    for (level, members) in [(Level::Raid1, 2), (Level::Raid5, 3), (Level::Raid6, 5)] {
        for old in (0..members).map(MemberId) {
            let now = created(level, members, true);
            let new = [blank(5, mib(80))];
            let wish = MigrationWish {
                chunk: None,
                removed: MemberMask::of(old),
                ..wish(level, &new)
            };
            let sb = migrate(&now, &wish).expect("it can be");
            let (source, target) = (&sb.sets[0], &sb.sets[1]);
            assert_eq!(source.layout, target.layout);
            for (before, after) in source.extents.iter().zip(&target.extents) {
                if before.member == old {
                    assert_eq!(after.member, MemberId(members));
                    assert_eq!((after.slot, after.len), (before.slot, before.len));
                } else {
                    assert_eq!(before, after);
                }
            }
            let rows = sb.volume_sectors.round_down(target.layout.stripe());
            assert!(!shape::needs_stash(source, target, Way::Up, rows));
            assert_eq!(shape::leavers(&sb), MemberMask::of(old));
        }
    }
}

#[test]
fn one_disk_to_raid_needs_no_stash_at_any_width() {
    for level in [Level::Raid0, Level::Raid1, Level::Raid5] {
        for members in level.min_slots()..=6 {
            for chunk in [8, 128, 2048] {
                let added: Vec<_> = (1..members).map(|n| blank(n, mib(64))).collect();
                let wish = MigrationWish {
                    chunk: Some(Sectors(chunk)),
                    ..wish(level, &added)
                };
                let sb = migrate(&adopted(), &wish).expect("fits");
                assert!(
                    !shape::needs_stash(&sb.sets[0], &sb.sets[1], Way::Up, sb.volume_sectors),
                    "{level:?} {members} {chunk}"
                );
            }
        }
    }
    // Where the old member is not the first slot, its first chunk is in the way.
    let mut sb = migrating(Level::Raid0, 2);
    let (a, b) = (sb.sets[0].extents[0], sb.sets[1].extents[2]);
    assert_eq!((a.member, b.member), (MemberId(0), MemberId(1)));
    let mut turned = sb.sets[1];
    for extent in turned.extents.iter_mut() {
        extent.slot = SlotId(1 - extent.slot.0);
    }
    sb.sets[1] = turned;
    assert!(shape::needs_stash(
        &sb.sets[0],
        &sb.sets[1],
        Way::Up,
        sb.volume_sectors
    ));
}

#[test]
fn common_rows_are_the_least_common_multiple() {
    let layout =
        |level, chunk, slots| Layout::new(level, Sectors(chunk), slots, mib(60)).expect("a layout");
    let linear = layout(Level::Linear, 1, 1);
    let raid5 = layout(Level::Raid5, 128, 4);
    assert_eq!(shape::common_row(&linear, &raid5), Sectors(384));
    let raid0 = layout(Level::Raid0, 64, 5);
    assert_eq!(shape::common_row(&raid0, &raid5), Sectors(1920));
}

#[test]
fn a_finished_migration_leaves_one_set_and_a_larger_volume() {
    for (level, grown) in [
        (Level::Raid0, mib(183)),
        (Level::Raid1, mib(61)),
        (Level::Raid5, mib(122)),
    ] {
        let mut sb = migrating(level, 3);
        let volume = sb.volume_sectors;
        if let Some(migration) = &mut sb.migration {
            migration.cursor = Logical(volume.0);
        }
        sb.map_from_cursor();
        shape::finish_migration(&mut sb);
        assert_eq!(check(&sb), Ok(()));
        assert_eq!(sb.volume_sectors, grown, "{level:?}");
        assert!(sb.migration.is_none());
        assert_eq!((sb.sets.len(), sb.present_set()), (1, 0));
        let set = &sb.sets[0];
        if level.is_redundant() {
            assert_eq!(set.resync, Logical(volume.0).round_up(set.layout.stripe()));
        } else {
            assert_eq!(set.resync.0, set.layout.capacity().0);
        }
        assert!(
            sb.head_moved(MemberId(0)),
            "it must not pass for what it was"
        );
    }
}

#[test]
fn sizes_within_the_set_can_be_set() {
    let mut sb = adopted();
    shape::resize(&mut sb, mib(62).bytes()).expect("the set holds it");
    assert_eq!(sb.volume_sectors, mib(62));
    assert_eq!(check(&sb), Ok(()));
    shape::resize(&mut sb, 4096).expect("smaller is fine");
    assert_eq!(check(&sb), Ok(()));
    refused(
        shape::resize(&mut sb, mib(62).bytes() + 4096),
        Errno::ENOSPC,
        &["bytes"],
    );
    refused(shape::resize(&mut sb, 0), Errno::EINVAL, &["512"]);
    refused(shape::resize(&mut sb, 1000), Errno::EINVAL, &["512"]);
    assert_eq!(sb.volume_sectors, Sectors(8));
    refused(
        shape::resize(&mut migrating(Level::Raid1, 2), 4096),
        Errno::EBUSY,
        &["migration"],
    );
}

#[test]
fn examine_says_everything() {
    let sb = migrating(Level::Raid5, 3);
    let mut text = String::new();
    shape::write_examine(&sb, MemberId(1), &mut text).expect("a String takes all");
    for line in [
        "member: 1",
        &format!("member_uuid: {}", uuid(101)),
        &format!("uuid: {}", uuid(1)),
        "name: restripe0",
        "epoch: 1",
        "generation: 1",
        "clean: 1",
        "set_0_level: linear",
        "set_1_level: raid5",
        "set_1_chunk: 65536",
        "migration: running",
        "migration_position: 0",
        "member_0_adopted: 1",
        "member_2_state: in_sync",
        "member_2_serial: vdc",
    ] {
        assert!(
            text.lines().any(|l| l == line),
            "{line:?} is not in\n{text}"
        );
    }
    assert!(text.lines().all(|line| line.contains(": ")), "{text}");
}

#[test]
fn examine_fits_a_page_with_eight_members() {
    let added: Vec<_> = (0..7)
        .map(|n| NewMember {
            uuid: uuid(50 + n),
            ..blank(1, mib(1 << 20))
        })
        .collect();
    let old = NewMember {
        geometry: geometry(mib(1 << 20), true),
        ..blank(0, mib(1 << 20))
    };
    let mut from = Superblock::default();
    shape::adopt(&mut from, &stamp(1), &old, mib(1 << 19)).expect("there is room");
    let wish = MigrationWish {
        ..wish(Level::Raid5, &added)
    };
    let sb = migrate(&from, &wish).expect("fits");
    let mut text = String::new();
    shape::write_examine(&sb, MemberId(0), &mut text).expect("a String takes all");
    assert!(text.len() <= 4096, "{} bytes", text.len());
}

#[test]
fn a_plan_says_capacity_and_failures_survived() {
    let mut text = String::new();
    shape::write_plan(&migrating(Level::Raid5, 3), &mut text).expect("a String takes all");
    for line in [
        "level: linear to raid5",
        &format!("capacity_before: {}", mib(48).bytes()),
        &format!("capacity_after: {}", mib(122).bytes()),
        "failures_survived_before: 0",
        "failures_survived_after: 1",
        "chunk: 0 to 65536",
        &format!("bytes_to_move: {}", mib(48).bytes()),
        // With a third of parity.
        &format!("bytes_to_write: {}", mib(72).bytes()),
        "bytes_at_once: 131072",
        "stash_windows: 0",
    ] {
        assert!(
            text.lines().any(|l| l == line),
            "{line:?} is not in\n{text}"
        );
    }
}

/// What the plan says under that name.
fn planned(sb: &Superblock, name: &str) -> String {
    let mut text = String::new();
    shape::write_plan(sb, &mut text).expect("a String takes all");
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let line = lines.find(|(said, _)| *said == name);
    line.expect("it speaks of that").1.to_owned()
}

/// Nothing is written to the disk that is mirrored, nor, but for the one that comes, where one takes
/// the place of another.
#[test]
fn what_lies_in_its_place_is_not_counted_as_written() {
    let mirrored = migrating(Level::Raid1, 3);
    let bytes = |sectors: Sectors| sectors.bytes().to_string();
    assert_eq!(planned(&mirrored, "bytes_to_write"), bytes(mib(2 * 48)));
    // One of three with a third of parity, of five with two of them, and of four with two copies.
    let replaced = [
        (Level::Raid5, 3, 2),
        (Level::Raid6, 5, 3),
        (Level::Raid10 { copies: 2 }, 4, 2),
    ];
    for (level, members, data) in replaced {
        let mut now = created(level, members, true);
        shape::resize(&mut now, mib(30).bytes()).expect("there is room");
        let new = [blank(members, mib(64))];
        let wish = MigrationWish {
            removed: MemberMask::of(MemberId(1)),
            ..wish(level, &new)
        };
        let replaced = migrate(&now, &wish).expect("fits");
        assert_eq!(planned(&replaced, "bytes_to_write"), bytes(mib(30 / data)));
    }
}

#[test]
fn windows_are_counted() {
    // Larger chunks on the same disks: every row lies on itself. A common row is 512 sectors.
    let mut now = created(Level::Raid0, 2, true);
    for (sectors, said) in [
        (512 * 7, "up to 7"),
        (512 * 100 + 8, "up to 101"),
        (512 * 200, "up to 200"),
    ] {
        shape::resize(&mut now, sectors * 512).expect("there is room");
        let wish = MigrationWish {
            chunk: Some(Sectors(256)),
            ..wish(Level::Raid0, &[])
        };
        assert_eq!(
            planned(&migrate(&now, &wish).expect("fits"), "stash_windows"),
            said
        );
    }
    // Slots in another order, from one disk: the first row lies on the old disk's first chunk, and the second on what
    // the first has left.
    let mut sb = migrating(Level::Raid0, 2);
    assert_eq!(planned(&sb, "stash_windows"), "0");
    for extent in sb.sets[1].extents.iter_mut() {
        extent.slot = SlotId(1 - extent.slot.0);
    }
    let (first, rest): (Vec<_>, Vec<_>) = {
        let all = sb.sets[1].extents.iter().copied();
        all.partition(|extent| extent.slot == SlotId(0))
    };
    sb.sets[1].extents.clear();
    for extent in first.into_iter().chain(rest) {
        sb.sets[1].extents.push(extent);
    }
    assert_eq!(planned(&sb, "stash_windows"), "up to 1");
}
