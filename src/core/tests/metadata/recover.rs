// SPDX-License-Identifier: GPL-2.0
//! Which superblock is believed, what is resumed and what refused.

use super::common::{adopted, created, mib, migrating, uuid, Bench, Disk};
use restripe_core::geometry::{Logical, MemberId, MemberMask, Range};
use restripe_core::layout::Level;
use restripe_core::ondisk::{check, MemberState, Migration, Name, Superblock, Uuid};
use restripe_core::recover::{recover, AssembleOptions, Assembly, Note};
use restripe_core::text::{Errno, Refusal};

const NAMES: [&str; 6] = ["vda", "vdb", "vdc", "vdd", "vde", "vdf"];

const PLAIN: AssembleOptions = AssembleOptions {
    uuid: None,
    degraded: false,
    force: false,
    read_only: false,
    paused: false,
    name: None,
};
const DEGRADED: AssembleOptions = AssembleOptions {
    degraded: true,
    ..PLAIN
};
const FORCED: AssembleOptions = AssembleOptions {
    force: true,
    ..DEGRADED
};

fn assemble(disks: &[Disk], options: &AssembleOptions) -> Result<(Superblock, Assembly), Refusal> {
    let mut sb = Superblock::default();
    let mut bench = Bench(disks.to_vec());
    let assembly = recover(&mut bench, &NAMES[..disks.len()], options, &mut sb)?;
    assert_eq!(
        check(&sb),
        Ok(()),
        "what is to be committed can be believed"
    );
    assert_eq!(bench.0.len(), disks.len());
    Ok((sb, assembly))
}

#[track_caller]
fn refused(disks: &[Disk], options: &AssembleOptions, errno: Errno, words: &[&str]) {
    let refusal = assemble(disks, options).expect_err("it should be refused");
    assert_eq!(refusal.errno, errno, "{refusal}");
    for word in words {
        assert!(
            refusal.to_string().contains(word),
            "\"{refusal}\" lacks {word:?}"
        );
    }
}

/// A disk for every member of `sb`.
fn disks(sb: &Superblock) -> Vec<Disk> {
    (0..sb.members.len() as u8)
        .map(|m| Disk::with(sb, m))
        .collect()
}

/// `sb` as committed next, on the disk of `member` in its other slot.
fn commit(disk: &mut Disk, slot: usize, sb: &Superblock, member: u8) {
    disk.put(slot, sb, member);
}

fn next(sb: &Superblock) -> Superblock {
    let mut next = sb.clone();
    next.generation += 1;
    next
}

/// As it is written down when `member` is lost while the volume runs.
fn without(sb: &Superblock, member: usize, epoch: u64) -> Superblock {
    let mut sb = next(sb);
    sb.members[member].state = MemberState::Faulty;
    sb.members[member].left_epoch = sb.epoch;
    sb.epoch = epoch;
    sb
}

#[test]
fn a_clean_volume_comes_back_in_a_new_epoch() {
    let sb = created(Level::Raid5, 3, true);
    let (truth, assembly) = assemble(&disks(&sb), &PLAIN).expect("all is well");
    assert_eq!(truth.age(), (sb.epoch + 1, sb.generation));
    assert!(!assembly.unclean && assembly.missing.is_empty());
    assert_eq!(
        assembly.device_of_member[..4],
        [Some(0), Some(1), Some(2), None]
    );
    assert_eq!(assembly.last_slot[..4], [Some(0), Some(0), Some(0), None]);
    assert_eq!(truth.sets[0].resync, sb.sets[0].resync);
    assert!(assembly.notes.is_empty());
}

#[test]
fn devices_may_be_listed_in_any_order() {
    let sb = created(Level::Raid5, 3, true);
    let mut listed = disks(&sb);
    listed.rotate_left(1);
    let (_, assembly) = assemble(&listed, &PLAIN).expect("all is well");
    assert_eq!(assembly.device_of_member[..3], [Some(2), Some(0), Some(1)]);
}

#[test]
fn the_newest_wins_even_on_one_member() {
    let sb = created(Level::Raid0, 3, true);
    let mut listed = disks(&sb);
    let mut newer = next(&sb);
    newer.name = Name::from("newer");
    commit(&mut listed[2], 1, &newer, 2);
    let (truth, assembly) = assemble(&listed, &PLAIN).expect("a cut in mid-commit");
    assert_eq!(truth.name.as_str(), "newer");
    // The others are members all the same, only their superblocks are older (I4).
    assert_eq!(assembly.device_of_member[..3], [Some(0), Some(1), Some(2)]);
    assert_eq!(assembly.last_slot[..3], [Some(0), Some(0), Some(1)]);
}

#[test]
fn a_higher_epoch_beats_a_higher_generation() {
    let sb = created(Level::Raid1, 2, true);
    let mut listed = disks(&sb);
    let mut many = sb.clone();
    many.generation = 1000;
    listed[0].put(0, &many, 0);
    let mut later = sb.clone();
    later.epoch += 1;
    later.name = Name::from("later");
    listed[1].put(0, &later, 1);
    let (truth, _) = assemble(&listed, &PLAIN).expect("a cut in mid-commit");
    assert_eq!(truth.name.as_str(), "later");
    assert_eq!(truth.epoch, sb.epoch + 2);
}

#[test]
fn one_damaged_slot_goes_on_and_is_written_next() {
    let sb = created(Level::Raid1, 2, true);
    let mut listed = disks(&sb);
    commit(&mut listed[0], 1, &next(&sb), 0);
    commit(&mut listed[1], 1, &next(&sb), 1);
    listed[0].tear(1);
    let (truth, assembly) = assemble(&listed, &PLAIN).expect("the other slot is whole");
    assert_eq!(truth.generation, sb.generation + 1);
    assert_eq!(assembly.last_slot[..2], [Some(0), Some(1)]);
    assert_eq!(
        assembly.notes[..],
        [Note::DamagedSlot { device: 0, slot: 1 }]
    );
    assert!(assembly.notes[0].sentence(&NAMES).as_str().contains("vda"));
}

#[test]
fn both_slots_damaged_on_one_member_need_degraded() {
    let sb = created(Level::Raid1, 2, true);
    let mut listed = disks(&sb);
    listed[1].put(1, &sb, 1);
    listed[1].tear(0);
    listed[1].tear(1);
    refused(&listed, &PLAIN, Errno::EUCLEAN, &["vdb", "degraded=1"]);
    let (truth, assembly) = assemble(&listed, &DEGRADED).expect("one leg is enough");
    assert_eq!(truth.members[1].state, MemberState::Missing);
    assert_eq!(assembly.missing, MemberMask::of(MemberId(1)));
    assert!(assembly.notes.contains(&Note::Damaged { device: 1 }));
}

#[test]
fn all_damaged_is_refused_whatever_is_said() {
    let sb = created(Level::Raid1, 2, true);
    let mut listed = disks(&sb);
    for disk in &mut listed {
        disk.tear(0);
    }
    refused(&listed, &FORCED, Errno::EUCLEAN, &["no listed device"]);
    refused(&listed[..1], &FORCED, Errno::EUCLEAN, &["no listed device"]);
}

#[test]
fn a_device_without_superblock_is_refused_by_name() {
    let sb = created(Level::Raid1, 2, true);
    let mut listed = disks(&sb);
    listed.push(Disk::empty(mib(64)));
    refused(&listed, &FORCED, Errno::EINVAL, &["vdc", "leave it out"]);
}

#[test]
fn a_newer_format_is_refused() {
    let mut sb = created(Level::Raid1, 2, true);
    sb.incompat = 1;
    refused(
        &disks(&sb),
        &PLAIN,
        Errno::EOPNOTSUPP,
        &["vda", "newer restripe"],
    );
    sb.incompat = 0;
    sb.ro_compat = 2;
    refused(&disks(&sb), &PLAIN, Errno::EROFS, &["read_only=1"]);
    let reading = AssembleOptions {
        read_only: true,
        ..PLAIN
    };
    assert!(assemble(&disks(&sb), &reading).is_ok());
}

#[test]
fn a_member_of_another_volume_is_refused_by_name() {
    let sb = created(Level::Raid1, 2, true);
    let mut listed = disks(&sb);
    let mut other = sb.clone();
    other.uuid = uuid(9);
    other.members[1].uuid = uuid(10);
    listed[1] = Disk::with(&other, 1);
    refused(
        &listed,
        &DEGRADED,
        Errno::EINVAL,
        &["vdb", &sb.uuid.to_string(), &uuid(9).to_string()],
    );
    let wanted = AssembleOptions {
        uuid: Some(uuid(9)),
        ..DEGRADED
    };
    refused(&listed, &wanted, Errno::EINVAL, &["vda"]);
    assert!(assemble(&listed[1..], &wanted).is_ok());
}

#[test]
fn a_copy_of_a_member_is_refused_with_both_names() {
    let sb = created(Level::Raid1, 2, true);
    let mut listed = disks(&sb);
    listed.push(Disk::with(&sb, 1));
    refused(&listed, &FORCED, Errno::EEXIST, &["vdb", "vdc"]);
}

#[test]
fn a_device_that_shrank_is_refused() {
    let sb = created(Level::Raid1, 2, true);
    let mut listed = disks(&sb);
    listed[1].sectors = mib(63);
    refused(
        &listed,
        &FORCED,
        Errno::ENOSPC,
        &["vdb", &mib(63).bytes().to_string()],
    );
}

#[test]
fn a_missing_member_needs_degraded_where_the_level_bears_it() {
    for (level, members) in [(Level::Raid1, 2), (Level::Raid5, 3)] {
        let sb = created(level, members, true);
        let listed = &disks(&sb)[1..];
        refused(listed, &PLAIN, Errno::ENODEV, &["member 0", "degraded=1"]);
        let (truth, assembly) = assemble(listed, &DEGRADED).expect("one may be lost");
        assert_eq!(assembly.missing, MemberMask::of(MemberId(0)));
        assert_eq!(truth.members[0].state, MemberState::Missing);
        assert_eq!(truth.members[0].left_epoch, sb.epoch);
        assert_eq!(truth.epoch, sb.epoch + 1);
        assert_eq!(truth.in_sync().count(), u32::from(members) - 1);
        // It is known from now on, so it need not be said again.
        let again: Vec<_> = (1..members).map(|m| Disk::with(&truth, m)).collect();
        assert!(assemble(&again, &PLAIN).is_ok());
    }
}

#[test]
fn too_many_missing_are_refused_whatever_is_said() {
    let cases = [
        (Level::Raid0, 2, 1),
        (Level::Raid5, 3, 2),
        (Level::Raid0, 4, 1),
    ];
    for (level, members, lost) in cases {
        let sb = created(level, members, true);
        refused(
            &disks(&sb)[lost..],
            &FORCED,
            Errno::ENODEV,
            &["member 0", level.name()],
        );
    }
    let sb = migrating(Level::Raid5, 3);
    refused(
        &disks(&sb)[1..],
        &FORCED,
        Errno::ENODEV,
        &["member 0", "linear"],
    );
}

#[test]
fn unclean_copies_are_resynced_from_the_start() {
    for (level, members) in [(Level::Raid1, 2), (Level::Raid5, 3)] {
        let mut sb = created(level, members, true);
        sb.clean = false;
        let (truth, assembly) = assemble(&disks(&sb), &PLAIN).expect("all are there");
        assert!(assembly.unclean);
        assert_eq!(truth.sets[0].resync, Logical::ZERO, "{level:?}");
        assert!(!truth.clean, "or a second cut would pass for clean");
    }
    let mut striped = created(Level::Raid0, 2, true);
    striped.clean = false;
    let (truth, _) = assemble(&disks(&striped), &PLAIN).expect("all are there");
    assert_eq!(
        truth.sets[0].resync, striped.sets[0].resync,
        "nothing to compare"
    );
}

#[test]
fn a_resync_that_was_stopped_goes_on_where_it_was() {
    let mut sb = created(Level::Raid5, 3, false);
    sb.sets[0].resync = Logical(2560);
    let (truth, _) = assemble(&disks(&sb), &PLAIN).expect("all are there");
    assert_eq!(truth.sets[0].resync, Logical(2560));
}

#[test]
fn unclean_parity_short_of_a_member_needs_force_and_says_the_risk() {
    let mut sb = created(Level::Raid5, 3, true);
    sb.clean = false;
    let listed = &disks(&sb)[1..];
    refused(listed, &PLAIN, Errno::ENODEV, &["degraded=1"]);
    refused(
        listed,
        &DEGRADED,
        Errno::EUCLEAN,
        &["force=1", "garbage", "risk"],
    );
    let only_force = AssembleOptions {
        force: true,
        ..PLAIN
    };
    refused(listed, &only_force, Errno::ENODEV, &["degraded=1"]);
    let (truth, assembly) = assemble(listed, &FORCED).expect("the risk is taken");
    assert!(assembly.notes.contains(&Note::Forced));
    // Parity is all there is to rebuild from: it has to count.
    assert_eq!(truth.sets[0].resync.0, truth.sets[0].layout.capacity().0);
}

#[test]
fn parity_that_was_written_whole_bears_a_member_before_it_is_synced() {
    for (level, disks_of) in [(Level::Raid5, 3), (Level::Raid6, 4)] {
        let mut sb = created(level, disks_of, false);
        assert!(sb.clean && sb.sets[0].is_fresh);
        let listed = &disks(&sb)[1..];
        let (truth, assembly) = assemble(listed, &DEGRADED).expect("all that was written is true");
        assert!(!assembly.notes.contains(&Note::Forced));
        let held = Range::new(Logical::ZERO, Logical(sb.volume_sectors.0));
        assert!(truth.sets[0].is_rebuildable(held));
        // Stripes of which only some were written at a cut are in there.
        sb.sets[0].is_fresh = false;
        refused(&disks(&sb)[1..], &DEGRADED, Errno::EUCLEAN, &["force=1"]);
    }
}

/// Below the cursor of a rebuild there are both parities of a row short of one member, and they
/// may not agree where nobody has written.
#[test]
fn parity_is_not_believed_where_a_rebuild_has_been() {
    let mut sb = created(Level::Raid6, 5, false);
    sb.members[0].state = MemberState::Rebuilding;
    sb.members[0].recovery = Logical(8192);
    let mut listed = disks(&sb);
    listed.remove(1);
    let (truth, assembly) = assemble(&listed, &DEGRADED).expect("all that was written is true");
    assert!(!assembly.notes.contains(&Note::Forced));
    assert!(truth.sets[0].is_fresh);
    assert_eq!(truth.sets[0].resync, Logical::ZERO);
}

/// It is replayed, or read through: either way rows that were being written are what it says.
#[test]
fn a_journal_makes_parity_true_read_only_too() {
    let mut sb = created(Level::Raid5, 3, true);
    sb.clean = false;
    sb.journal.in_force = true;
    for read_only in [false, true] {
        let options = AssembleOptions {
            read_only,
            ..DEGRADED
        };
        for listed in [&disks(&sb)[..], &disks(&sb)[1..]] {
            let (truth, assembly) = assemble(listed, &options).expect("the journal tells");
            assert!(!assembly.notes.contains(&Note::Forced));
            assert_eq!(truth.sets[0].resync.0, truth.sets[0].layout.capacity().0);
        }
    }
    sb.journal.in_force = false;
    let options = AssembleOptions {
        read_only: true,
        ..DEGRADED
    };
    refused(&disks(&sb)[1..], &options, Errno::EUCLEAN, &["force=1"]);
}

/// P of a raid6 short of one member is believed when the risk is taken, and Q, which may say
/// something else, is made anew when it is whole.
#[test]
fn parity_to_spare_is_not_believed_by_force() {
    let mut sb = created(Level::Raid6, 4, true);
    sb.clean = false;
    let (truth, _) = assemble(&disks(&sb)[1..], &FORCED).expect("the risk is taken");
    assert!(truth.sets[0].is_fresh);
    assert_eq!(truth.sets[0].resync, Logical::ZERO);
    let (truth, _) = assemble(&disks(&sb)[2..], &FORCED).expect("the risk is taken");
    assert_eq!(truth.sets[0].resync.0, truth.sets[0].layout.capacity().0);
    let (truth, _) = assemble(&disks(&sb), &PLAIN).expect("all are there");
    assert!(!truth.sets[0].is_fresh);
}

#[test]
fn an_unclean_mirror_with_one_leg_left_is_all_there_is() {
    let mut sb = created(Level::Raid1, 2, true);
    sb.clean = false;
    let (truth, _) = assemble(&disks(&sb)[..1], &DEGRADED).expect("one leg is enough");
    assert_eq!(truth.sets[0].resync.0, truth.sets[0].layout.capacity().0);
    let mut three = created(Level::Raid1, 3, true);
    three.clean = false;
    let (truth, _) = assemble(&disks(&three)[..2], &DEGRADED).expect("two legs are enough");
    assert_eq!(truth.sets[0].resync, Logical::ZERO);
}

#[test]
fn a_member_that_left_is_out_of_date() {
    let sb = created(Level::Raid1, 2, true);
    let mut listed = disks(&sb);
    commit(&mut listed[0], 1, &without(&sb, 1, sb.epoch), 0);
    let (truth, assembly) = assemble(&listed, &PLAIN).expect("the other leg is right");
    assert_eq!(assembly.device_of_member[..2], [Some(0), None]);
    assert_eq!(
        assembly.notes[..],
        [Note::OutOfDate {
            device: 1,
            member: MemberId(1)
        }]
    );
    assert_eq!(truth.members[1].state, MemberState::Faulty);
    assert_eq!(truth.members[1].left_epoch, sb.epoch);
}

#[test]
fn a_member_that_ran_alone_is_refused_with_both_names() {
    let sb = created(Level::Raid1, 2, true);
    // Each was assembled without the other, one of them more often.
    let (one, _) = assemble(&disks(&sb)[..1], &DEGRADED).expect("alone");
    let (other, _) = assemble(&disks(&sb)[1..], &DEGRADED).expect("alone");
    for more in [0, 1, 5] {
        let mut one = one.clone();
        one.generation += more;
        for listed in [
            [Disk::with(&one, 0), Disk::with(&other, 1)],
            [Disk::with(&other, 1), Disk::with(&one, 0)],
        ] {
            refused(
                &listed,
                &FORCED,
                Errno::ESTALE,
                &["vda", "vdb", "degraded=1"],
            );
        }
    }
    assert!(assemble(&[Disk::with(&one, 0)], &PLAIN).is_ok());
}

/// The cut fell into the commit of an assembly of both; then one ran alone.
#[test]
fn running_alone_after_a_cut_in_an_assembly_is_seen() {
    let sb = created(Level::Raid1, 2, true);
    let (both, _) = assemble(&disks(&sb), &PLAIN).expect("both");
    let first = next(&both);
    let (alone, _) = assemble(&disks(&sb)[1..], &DEGRADED).expect("alone");
    let alone = next(&alone);
    assert_eq!(first.age(), alone.age(), "the case where age tells nothing");
    let listed = [Disk::with(&first, 0), Disk::with(&alone, 1)];
    refused(&listed, &FORCED, Errno::ESTALE, &["vda", "vdb"]);
}

#[test]
fn a_member_removed_for_good_is_refused_by_name() {
    let sb = created(Level::Raid1, 3, true);
    let mut fewer = created(Level::Raid1, 2, true);
    fewer.generation = 9;
    let listed = [
        Disk::with(&fewer, 0),
        Disk::with(&fewer, 1),
        Disk::with(&sb, 2),
    ];
    refused(&listed, &FORCED, Errno::EINVAL, &["vdc", "leave it out"]);
}

#[test]
fn read_only_raises_nothing_and_pause_pauses() {
    let sb = migrating(Level::Raid5, 3);
    let options = AssembleOptions {
        read_only: true,
        ..PLAIN
    };
    let (truth, _) = assemble(&disks(&sb), &options).expect("all is well");
    assert_eq!(truth.age(), sb.age());
    assert!(!truth.migration.expect("it migrates").paused);
    let options = AssembleOptions {
        paused: true,
        name: Some(Name::from("other")),
        ..PLAIN
    };
    let (truth, _) = assemble(&disks(&sb), &options).expect("all is well");
    assert!(truth.migration.expect("it migrates").paused);
    assert_eq!(truth.name.as_str(), "other");
    // What was paused stays so.
    let (truth, _) = assemble(&disks(&truth), &PLAIN).expect("all is well");
    assert!(truth.migration.expect("it migrates").paused);
}

#[test]
fn a_migration_goes_on_where_its_newest_cursor_is() {
    let sb = migrating(Level::Raid5, 3);
    let mut listed = disks(&sb);
    let mut moved = next(&sb);
    if let Some(migration) = &mut moved.migration {
        migration.cursor = Logical(2560);
        migration.retired_stash = 3;
    }
    moved.map_from_cursor();
    moved.clean = false;
    commit(&mut listed[1], 1, &moved, 1);
    let (truth, _) = assemble(&listed, &PLAIN).expect("a cut in mid-commit");
    let migration = truth.migration.expect("it goes on");
    assert_eq!(
        (migration.cursor, migration.retired_stash),
        (Logical(2560), 3)
    );
    assert_eq!(
        truth.sets[1].resync,
        Logical::ZERO,
        "the target's part is stale too"
    );
}

/// DESIGN I4: new members' superblocks first, old ones last; any cut between.
#[test]
fn a_cut_between_the_first_superblocks_of_a_migration() {
    let (old, begun) = (adopted(), migrating(Level::Raid5, 3));
    // Nobody has the new one: the old set by itself.
    let alone = [Disk::with(&old, 0)];
    assert!(assemble(&alone, &PLAIN)
        .expect("as it was")
        .0
        .migration
        .is_none());
    // Both new members have it: nothing is missing, so it begins.
    let listed = [
        Disk::with(&old, 0),
        Disk::with(&begun, 1),
        Disk::with(&begun, 2),
    ];
    let (truth, assembly) = assemble(&listed, &PLAIN).expect("it begins");
    assert_eq!(truth.migration.map(|m| m.cursor), Some(Logical::ZERO));
    assert_eq!(assembly.notes[..], [Note::MigrationGoesOn]);
    // One new member is not listed: the old set, and the other is left over.
    let (truth, assembly) = assemble(&listed[..2], &PLAIN).expect("as it was");
    assert!(truth.migration.is_none());
    assert_eq!(truth.members.len(), 1);
    assert_eq!(
        truth.epoch,
        begun.epoch + 1,
        "older than that nothing may win again"
    );
    assert_eq!(assembly.device_of_member[..2], [Some(0), None]);
    assert_eq!(assembly.notes[..], [Note::LeftOver { device: 1 }]);
    // The old set went on; those left over stay that.
    let listed = [
        Disk::with(&next(&truth), 0),
        Disk::with(&begun, 1),
        Disk::with(&begun, 2),
    ];
    let (truth, assembly) = assemble(&listed, &PLAIN).expect("as it was");
    assert!(truth.migration.is_none());
    assert_eq!(assembly.notes.len(), 2);
    // Once the old member has it, it is true, whoever is missing.
    let mut both = Disk::with(&old, 0);
    both.put(1, &begun, 0);
    refused(
        &[both, Disk::with(&begun, 1)],
        &PLAIN,
        Errno::ENODEV,
        &["member 2"],
    );
}

/// A raid1 that begins to become a raid5: two members that it has, one that is new.
fn mirror_and_begun() -> (Superblock, Superblock) {
    let old = created(Level::Raid1, 2, true);
    let wide = created(Level::Raid5, 3, true);
    let mut begun = next(&old);
    begun.members = wide.members;
    begun.sets.push(wide.sets[0]);
    begun.migration = Some(Migration {
        uuid: uuid(200),
        target: 1,
        ..Migration::default()
    });
    assert_eq!(check(&begun), Ok(()));
    (old, begun)
}

#[test]
fn a_migration_that_one_old_member_knows_has_begun() {
    let (old, begun) = mirror_and_begun();
    // No old member knows: the old set, although the new member is newer.
    let listed = [Disk::with(&old, 0), Disk::with(&begun, 2)];
    let (truth, _) = assemble(&listed, &DEGRADED).expect("one leg is enough");
    assert!(truth.migration.is_none());
    // One of them knows: it is the truth, and the new member is missed.
    let listed = [Disk::with(&begun, 0), Disk::with(&old, 1)];
    refused(&listed, &PLAIN, Errno::ENODEV, &["member 2"]);
}

/// Only old members say that it did not begin: where none is found, the newest is the truth,
/// whatever else is listed (`make sim SEED=3596`).
#[test]
fn a_migration_whose_source_is_lost_is_not_taken_back_for_what_others_say() {
    let mut sb = migrating(Level::Raid5, 3);
    sb.clean = true;
    if let Some(migration) = &mut sb.migration {
        migration.cursor = Logical(sb.volume_sectors.0);
    }
    sb.map_from_cursor();
    sb.sets[1].resync = Logical(sb.volume_sectors.0);
    // A disk that left the volume before, with what it knew then.
    let mut left = adopted();
    left.members[0].uuid = uuid(99);
    let listed = [Disk::with(&sb, 1), Disk::with(&sb, 2), Disk::with(&left, 0)];
    let (truth, assembly) = assemble(&listed[..2], &DEGRADED).expect("the target holds it all");
    assert!(truth.migration.is_some());
    assert_eq!(assembly.missing, MemberMask::of(MemberId(0)));
    refused(&listed, &DEGRADED, Errno::EINVAL, &["vdc", "none any more"]);

    // A leg of the source that had failed before knows nothing of the migration either.
    let (old, mut begun) = mirror_and_begun();
    let mut moved = next(&begun);
    moved.members[1].state = MemberState::Faulty;
    moved.members[1].left_epoch = old.epoch;
    begun = moved;
    if let Some(migration) = &mut begun.migration {
        migration.cursor = Logical(begun.volume_sectors.0);
    }
    begun.map_from_cursor();
    begun.sets[1].resync = Logical(begun.volume_sectors.0);
    let listed = [Disk::with(&old, 1), Disk::with(&begun, 2)];
    refused(&listed, &DEGRADED, Errno::ENODEV, &["member 0"]);
}

#[test]
fn a_missing_spare_stops_nothing_and_is_noted() {
    let mut sb = created(Level::Raid1, 2, true);
    sb.members = created(Level::Raid1, 3, true).members;
    sb.members[2].state = MemberState::Spare;
    assert!(assemble(&disks(&sb), &PLAIN).is_ok());
    let (truth, assembly) = assemble(&disks(&sb)[..2], &PLAIN).expect("it is not needed");
    assert!(assembly.missing.is_empty());
    assert_eq!(truth.members[2].state, MemberState::Missing);
    assert_eq!(truth.members[2].left_epoch, sb.epoch);
}

#[test]
fn a_target_that_holds_nothing_needs_no_force() {
    let mut sb = migrating(Level::Raid5, 3);
    sb.clean = false;
    let listed = &disks(&sb)[..2];
    assert!(assemble(listed, &DEGRADED).is_ok());
    if let Some(migration) = &mut sb.migration {
        migration.cursor = Logical(256);
    }
    sb.map_from_cursor();
    refused(&disks(&sb)[..2], &DEGRADED, Errno::EUCLEAN, &["force=1"]);
}

#[test]
fn too_many_devices_are_refused() {
    let sb = adopted();
    let disks: Vec<_> = (0..100).map(|_| Disk::with(&sb, 0)).collect();
    let names: Vec<_> = (0..100).map(|_| "vda").collect();
    let got = recover(
        &mut Bench(disks),
        &names,
        &PLAIN,
        &mut Superblock::default(),
    );
    assert_eq!(got.expect_err("too many").errno, Errno::EINVAL);
}

#[test]
fn a_wrong_uuid_is_refused() {
    let wanted = AssembleOptions {
        uuid: Some(Uuid([7; 16])),
        ..PLAIN
    };
    refused(&disks(&adopted()), &wanted, Errno::EINVAL, &["vda"]);
}
