// SPDX-License-Identifier: GPL-2.0
//! What users write: read right, or refused with a sentence that helps.

use proptest::prelude::*;
use restripe_core::command::*;
use restripe_core::geometry::{Logical, MemberId, MemberMask, Sectors};
use restripe_core::layout::Level;
use restripe_core::ondisk::{JournalMode, Uuid};
use restripe_core::text::{Errno, Refusal};

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
fn adopt_lines() {
    let got = adopt(b"dev=/dev/vda size=1048576 name=data\n").expect("right");
    assert_eq!(got.dev, "/dev/vda");
    assert_eq!(got.size, Some(Sectors(2048)));
    assert_eq!(got.name.map(|n| n.to_string()), Some("data".into()));
    let got = adopt(b"  dev=/dev/disk/by-id/x=y \t").expect("right");
    assert_eq!(
        (got.dev, got.size, got.name),
        ("/dev/disk/by-id/x=y", None, None)
    );
    refused(adopt(b"size=4096"), Errno::EINVAL, &["adopt needs dev="]);
    refused(adopt(b"dev=vda"), Errno::EINVAL, &["\"vda\"", "/dev/vdb"]);
    refused(adopt(b"dev=/dev/a,/dev/b"), Errno::EINVAL, &["one device"]);
    refused(adopt(b"dev="), Errno::EINVAL, &["dev= has no value"]);
    refused(
        adopt(b"/dev/vda"),
        Errno::EINVAL,
        &["key=value", "dev=, size=, witness=, force=, name="],
    );
    refused(
        adopt(b"dev=/dev/vda colour=red"),
        Errno::EINVAL,
        &["\"colour\"", "dev="],
    );
    refused(
        adopt(b"dev=/dev/vda dev=/dev/vdb"),
        Errno::EINVAL,
        &["dev= is there twice"],
    );
    for bad in [
        "0",
        "1000",
        "-512",
        "1k",
        "+512",
        "0x200",
        "18446744073709551616",
        "18446744073709551104",
    ] {
        refused(
            adopt(format!("dev=/dev/vda size={bad}").as_bytes()),
            Errno::EINVAL,
            &["size="],
        );
    }
    for bad in ["a/b", "..", "0x", "-x", "a.b", "\u{e4}", &"x".repeat(32)] {
        refused(
            adopt(format!("dev=/dev/vda name={bad}").as_bytes()),
            Errno::EINVAL,
            &["name="],
        );
    }
}

#[test]
fn create_lines() {
    let got = create(b"level=raid5 chunk=4096 members=/dev/a,/dev/b,/dev/c size=8192 assume_clean=1 force=1 name=r5")
        .expect("right");
    assert_eq!(got.level, Level::Raid5);
    assert_eq!(got.chunk, Sectors(8));
    assert_eq!(got.members[..], ["/dev/a", "/dev/b", "/dev/c"]);
    assert!(got.assume_clean && got.force);
    let got = create(b"members=/dev/a,/dev/b level=raid0").expect("right");
    assert_eq!(got.chunk, Sectors(128));
    assert!(!got.assume_clean && !got.force);
    assert!(create(b"level=linear members=/dev/a").is_ok());
    refused(
        create(b"members=/dev/a,/dev/b"),
        Errno::EINVAL,
        &["create needs level="],
    );
    refused(
        create(b"level=raid1"),
        Errno::EINVAL,
        &["create needs members="],
    );
    refused(
        create(b"level=raid7 members=/dev/a"),
        Errno::EINVAL,
        &["\"raid7\"", "raid5"],
    );
    let raid10 = |line: &str| create(line.as_bytes()).map(|got| got.level);
    let four = "members=/dev/a,/dev/b,/dev/c,/dev/d";
    for (copies, words) in [(2, ""), (2, "copies=2"), (3, "copies=3"), (4, "copies=4")] {
        let got = raid10(&format!("level=raid10 {four} {words}"));
        assert_eq!(got, Ok(Level::Raid10 { copies }));
    }
    refused(
        raid10(&format!("level=raid10 {four} copies=5")),
        Errno::EINVAL,
        &["at least 5", "4"],
    );
    for bad in ["0", "1", "17", "258", "x"] {
        let line = format!("level=raid10 {four} copies={bad}");
        refused(raid10(&line), Errno::EINVAL, &["copies="]);
    }
    refused(
        create(b"level=raid6 members=/dev/a,/dev/b,/dev/c"),
        Errno::EINVAL,
        &["raid6", "at least 4", "3"],
    );
    refused(
        create(b"level=raid5 members=/dev/a,/dev/b"),
        Errno::EINVAL,
        &["at least 3", "2"],
    );
    refused(
        create(b"level=raid1 members=/dev/a"),
        Errno::EINVAL,
        &["at least 2"],
    );
    assert!(create(b"level=linear members=/dev/a,/dev/b").is_ok());
    refused(
        create(b"level=raid0 members=/dev/a,/dev/a"),
        Errno::EINVAL,
        &["/dev/a", "twice"],
    );
    refused(
        create(b"level=raid0 members=/dev/a,,/dev/b"),
        Errno::EINVAL,
        &["members="],
    );
    refused(
        create(b"level=raid0 members=/dev/a,/dev/b,"),
        Errno::EINVAL,
        &["members="],
    );
    for bad in ["0", "2048", "65537", "2097152", "4097", "x", "4294971392"] {
        let line = format!("level=raid0 members=/dev/a,/dev/b chunk={bad}");
        refused(create(line.as_bytes()), Errno::EINVAL, &["chunk="]);
    }
    let many: Vec<_> = (0..17).map(|n| format!("/dev/d{n}")).collect();
    let line = format!("level=raid1 members={}", many.join(","));
    refused(create(line.as_bytes()), Errno::EINVAL, &["at most"]);
    let many: Vec<_> = (0..300).map(|n| format!("/dev/d{n}")).collect();
    let line = format!("level=raid1 members={}", many.join(","));
    refused(create(line.as_bytes()), Errno::EINVAL, &["leave some out"]);
    refused(
        create(b"level=raid0 members=/dev/a,/dev/b force=yes"),
        Errno::EINVAL,
        &["force=\"yes\""],
    );
    refused(
        create(b"level=raid0 members=/dev/a,/dev/b spares=/dev/c"),
        Errno::EOPNOTSUPP,
        &["spares="],
    );
    refused(
        create(b"level=raid0 members=/dev/a,/dev/b copies=2"),
        Errno::EINVAL,
        &["copies="],
    );
}

#[test]
fn assemble_lines() {
    let got = assemble(b"members=/dev/b,/dev/a uuid=07070707-0707-4707-8707-070707070707 degraded=1 force=1 read_only=1 paused=1 name=x")
        .expect("right");
    assert_eq!(got.members[..], ["/dev/b", "/dev/a"]);
    let options = got.options;
    assert_eq!(options.uuid, Some(Uuid::from_random([7; 16])));
    assert!(options.degraded && options.force && options.read_only && options.paused);
    assert_eq!(options.name.map(|n| n.to_string()), Some("x".into()));
    let plain = assemble(b"members=/dev/a degraded=0")
        .expect("right")
        .options;
    assert!(!plain.degraded && !plain.force && !plain.read_only && !plain.paused);
    refused(assemble(b"uuid=1"), Errno::EINVAL, &["members="]);
    refused(
        assemble(b"members=/dev/a uuid=1"),
        Errno::EINVAL,
        &["uuid=\"1\"", "examine"],
    );
}

#[test]
fn migrate_lines() {
    let got =
        migrate(b"level=raid5 add=/dev/b,/dev/c chunk=65536 dry_run=1 force=1").expect("right");
    assert_eq!((got.level, got.chunk), (Level::Raid5, Some(Sectors(128))));
    assert_eq!(got.add[..], ["/dev/b", "/dev/c"]);
    assert!(got.dry_run && got.force);
    assert!(migrate(b"level=raid1")
        .expect("counted later")
        .add
        .is_empty());
    refused(migrate(b"add=/dev/b"), Errno::EINVAL, &["level="]);
    refused(
        migrate(b"level=raid1 add=/dev/b,/dev/b"),
        Errno::EINVAL,
        &["twice"],
    );
    let got = migrate(b"level=raid1 remove=1,3").expect("right");
    assert_eq!((got.chunk, got.remove), (None, MemberMask(0b1010)));
    refused(
        migrate(b"level=raid1 remove=1,x"),
        Errno::EINVAL,
        &["remove=\"x\""],
    );
    refused(
        migrate(b"level=raid1 remove=32"),
        Errno::EINVAL,
        &["remove=32"],
    );
}

#[test]
fn short_lines() {
    assert_eq!(
        stop(b"name=restripe0\n").expect("right").as_str(),
        "restripe0"
    );
    refused(stop(b"restripe0"), Errno::EINVAL, &["name="]);
    assert_eq!(examine(b"dev=/dev/a").expect("right"), "/dev/a");
    refused(examine(b"dev=a"), Errno::EINVAL, &["dev="]);
}

#[test]
fn member_actions() {
    let add = member_action(b"add=/dev/e force=1").expect("right");
    assert_eq!(
        add,
        MemberAction::Add {
            dev: "/dev/e",
            force: true
        }
    );
    assert_eq!(
        member_action(b"fail=2").expect("right"),
        MemberAction::Fail(MemberId(2))
    );
    assert_eq!(
        member_action(b"remove=0").expect("right"),
        MemberAction::Remove(MemberId(0))
    );
    let replace = member_action(b"with=/dev/e replace=1").expect("right");
    assert_eq!(
        replace,
        MemberAction::Replace {
            member: MemberId(1),
            with: "/dev/e",
            force: false
        }
    );
    refused(member_action(b"force=1"), Errno::EINVAL, &["exactly one"]);
    refused(
        member_action(b"fail=1 remove=1"),
        Errno::EINVAL,
        &["exactly one"],
    );
    refused(
        member_action(b"fail=1 with=/dev/e"),
        Errno::EINVAL,
        &["replace="],
    );
    refused(member_action(b"replace=1"), Errno::EINVAL, &["with="]);
    refused(member_action(b"fail=32"), Errno::EINVAL, &["members/"]);
    refused(
        member_action(b"fail=4294967296"),
        Errno::EINVAL,
        &["members/"],
    );
}

#[test]
fn knobs() {
    assert_eq!(size(b"4096\n").expect("right"), Sectors(8));
    refused(size(b"4097"), Errno::EINVAL, &["512"]);
    assert_eq!(journal(b"always\n").expect("right"), JournalMode::Always);
    assert_eq!(journal(b"auto").expect("right"), JournalMode::Auto);
    assert_eq!(journal(b"off").expect("right"), JournalMode::Off);
    refused(journal(b"on"), Errno::EINVAL, &["\"on\"", "always"]);
    assert_eq!(sync_action(b"check\n").expect("right"), SyncRequest::Check);
    assert_eq!(sync_action(b"repair").expect("right"), SyncRequest::Repair);
    assert_eq!(sync_action(b"idle").expect("right"), SyncRequest::Idle);
    refused(sync_action(b"Check"), Errno::EINVAL, &["\"Check\"", "idle"]);
    assert_eq!(migrate_state(b"pause").expect("right"), MigrateState::Pause);
    assert_eq!(
        migrate_state(b"resume").expect("right"),
        MigrateState::Resume
    );
    assert_eq!(migrate_state(b"abort").expect("right"), MigrateState::Abort);
    refused(
        migrate_state(b"running"),
        Errno::EINVAL,
        &["pause, resume or abort"],
    );
    assert_eq!(sync_speed_max(b"0").expect("right"), 0);
    refused(
        sync_speed_max(b"4294967296"),
        Errno::EINVAL,
        &["4294967295"],
    );
    refused(
        latency_target_us(b"fast"),
        Errno::EINVAL,
        &["latency_target_us", "number"],
    );
    assert_eq!(sync_max(b"max\n").expect("right"), None);
    assert_eq!(sync_max(b"80").expect("right"), Some(Logical(80)));
    refused(sync_max(b"most"), Errno::EINVAL, &["sync_max"]);
}

#[test]
fn what_is_no_line_is_refused() {
    refused(line_of(&[b'a'; LINE_MAX]), Errno::E2BIG, &["4096"]);
    assert!(line_of(&[b'a'; LINE_MAX - 1]).is_ok());
    refused(line_of(b""), Errno::EINVAL, &["empty"]);
    refused(line_of(b" \n"), Errno::EINVAL, &["empty"]);
    refused(
        line_of(b"dev=/dev/a\ndev=/dev/b\n"),
        Errno::EINVAL,
        &["one at a time"],
    );
    refused(line_of(b"a\0b"), Errno::EINVAL, &["line"]);
    refused(line_of(b"\xff\xfe"), Errno::EINVAL, &["text"]);
}

#[test]
fn long_values_leave_room_for_the_sentence() {
    let line = format!("dev=/dev/a name={}", "9".repeat(3000));
    refused(
        adopt(line.as_bytes()),
        Errno::EINVAL,
        &["...", "a letter first"],
    );
    let line = format!("{}=1", "k".repeat(3000));
    refused(create(line.as_bytes()), Errno::EINVAL, &["...", "force="]);
    refused(
        adopt(b"dev=/dev/a name=\x1b[2Jx"),
        Errno::EINVAL,
        &["\"?[2Jx\""],
    );
}

/// Reads a line as each of the commands.
fn read_all(line: &[u8]) -> usize {
    [
        adopt(line).is_ok(),
        create(line).is_ok(),
        assemble(line).is_ok(),
        stop(line).is_ok(),
        examine(line).is_ok(),
        migrate(line).is_ok(),
        member_action(line).is_ok(),
        size(line).is_ok(),
        sync_action(line).is_ok(),
        sync_speed_max(line).is_ok(),
        sync_max(line).is_ok(),
        migrate_state(line).is_ok(),
        latency_target_us(line).is_ok(),
    ]
    .iter()
    .filter(|ok| **ok)
    .count()
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(line in prop::collection::vec(any::<u8>(), 0..5000)) {
        if line.len() >= LINE_MAX {
            prop_assert_eq!(read_all(&line), 0);
        } else {
            // A number is a size, a speed, a sector and a latency at once.
            prop_assert!(read_all(&line) <= 4);
        }
    }

    #[test]
    fn words_in_any_mix_never_panic(line in "((dev|members|level|chunk|add|fail|with|size|name|uuid|force|x)=(/dev/[a-z],?|raid[0-9]|[0-9]{1,22}|1|,|=)* ?){0,9}\n?") {
        prop_assert!(read_all(line.as_bytes()) <= 4);
    }
}
