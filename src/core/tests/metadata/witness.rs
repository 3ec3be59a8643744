// SPDX-License-Identifier: GPL-2.0
//! A full disk adopted with a witness, and the moment in which it has no superblock yet.

use super::common::{blank, geometry, mib, stamp, uuid, Bench, Disk};
use restripe_core::geometry::{MemberMask, Sectors};
use restripe_core::layout::Level;
use restripe_core::ondisk::{check, Serial, Superblock};
use restripe_core::recover::{recover, AssembleOptions, Assembly, Note};
use restripe_core::shape::{self, MigrationWish, NewMember};
use restripe_core::text::{Errno, Refusal};

fn full() -> NewMember<'static> {
    NewMember {
        geometry: geometry(mib(48), true),
        ..blank(0, mib(48))
    }
}

/// A disk of 48 MiB with something in each part of it.
fn full_disk() -> Disk {
    let mut disk = Disk::empty(mib(48));
    disk.data = [3, 255, 256, END - 1, END, SLOTS[0], SLOTS[1], mib(48).0 - 1]
        .map(|sector| (sector, 7))
        .into();
    disk
}

/// Where the reserve begins: 2 MiB before the end.
const END: u64 = 94_208;
/// The superblocks' places, 256 and 128 KiB before the end.
const SLOTS: [u64; 2] = [97_792, 98_048];

fn adopt(witness: Sectors, size: Sectors) -> Result<Superblock, Refusal> {
    let mut sb = Superblock::default();
    let devices = (&full(), &blank(1, witness));
    let tail = shape::adopt_full(&mut sb, &stamp(1), devices, size, full_disk().known_crc())?;
    assert_eq!(check(&sb), Ok(()));
    assert_eq!(tail.len, size - full().geometry.data_len);
    assert_eq!(tail.from.0, full().geometry.data_len.0);
    Ok(sb)
}

/// What a cut leaves when only the witness holds a superblock.
fn cut() -> Bench {
    let sb = adopt(mib(64), mib(48)).expect("it fits");
    let mut disk = full_disk();
    disk.serial = sb.members[0].serial;
    let mut witness = Disk::with(&sb, 1);
    let to = sb.sets[0].extents[1].start.0;
    let end = disk.data.range(END..);
    witness.data = end.map(|(at, byte)| (at - END + to, *byte)).collect();
    Bench(vec![disk, witness])
}

fn assemble(mut bench: Bench) -> Result<Assembly, Refusal> {
    let mut sb = Superblock::default();
    recover(
        &mut bench,
        &["/dev/full", "/dev/witness"],
        &AssembleOptions::default(),
        &mut sb,
    )
}

#[test]
fn the_volume_is_as_large_as_the_disk_and_can_leave_its_end() {
    let mut sb = adopt(mib(48), mib(48)).expect("it fits");
    assert_eq!(sb.volume_sectors, mib(48));
    shape::settle(&mut sb);
    assert_eq!(check(&sb), Ok(()));
    assert!(sb.unmarked().is_empty());
    let added = [blank(2, mib(48)), blank(3, mib(48))];
    let wish = |level, added| MigrationWish {
        uuid: uuid(200),
        level,
        chunk: Some(Sectors(128)),
        added,
        removed: MemberMask::EMPTY,
    };
    let mut next = Superblock::default();
    shape::begin_migration(&sb, &wish(Level::Raid5, &added), &mut next).expect("it has room");
    assert_eq!(check(&next), Ok(()));
    assert_eq!(next.sets[1].layout.slots, 4);
    let refused = shape::begin_migration(&sb, &wish(Level::Raid1, &added[..1]), &mut next)
        .expect_err("a mirror of disks no larger would never leave the end");
    assert_eq!(refused.errno, Errno::ENOSPC);
}

#[test]
fn witnesses_that_are_no_use_are_refused() {
    let not_needed = adopt(mib(64), mib(40)).expect_err("there is room");
    assert!(not_needed.sentence.as_str().contains("leave witness= out"));
    let small = adopt(mib(4), mib(48)).expect_err("its room is 1 MiB");
    assert_eq!(small.errno, Errno::ENOSPC);
}

#[test]
fn a_disk_without_a_superblock_yet_is_known_by_what_it_is() {
    let assembly = assemble(cut()).expect("the disk is as it was");
    assert_eq!(assembly.device_of_member[..2], [Some(0), Some(1)]);
    assert_eq!(assembly.last_slot[..2], [None, Some(0)]);
}

#[test]
fn another_disk_is_refused_with_the_reason() {
    let refused = |change: fn(&mut Disk), errno, word: &str| {
        let mut bench = cut();
        change(&mut bench.0[0]);
        let refusal = assemble(bench).expect_err(word);
        assert_eq!(refusal.errno, errno);
        let sentence = refusal.sentence.as_str();
        assert!(sentence.contains(word) && sentence.contains("/dev/full"));
    };
    refused(|d| d.sectors = mib(49), Errno::EINVAL, "bytes");
    refused(|d| d.serial = Serial::from("x"), Errno::EINVAL, "serial");
    // Its start, which tells of its use, and all that a copy is used of.
    for sector in [
        0,
        3,
        255,
        END,
        END + 9,
        SLOTS[0] + 32,
        SLOTS[1],
        mib(48).0 - 1,
    ] {
        let mut bench = cut();
        *bench.0[0].data.entry(sector).or_default() += 1;
        let refusal = assemble(bench).expect_err("it was written to");
        assert_eq!(refusal.errno, Errno::ESTALE, "sector {sector}");
        assert!(refusal.sentence.as_str().contains("written to"));
    }
    // What lies where it was may change, and so may what a superblock that a cut tore left.
    for sector in [256, END - 1, SLOTS[0], SLOTS[0] + 31] {
        let mut bench = cut();
        *bench.0[0].data.entry(sector).or_default() += 1;
        assemble(bench).expect("it is the disk");
    }
}

/// What a cut leaves when the disk holds its first superblock too, whose sectors nobody reads as data then.
fn cut_later() -> Bench {
    let mut bench = cut();
    let sb = adopt(mib(64), mib(48)).expect("it fits");
    bench.0[0].put(0, &sb, 0);
    bench
}

#[test]
fn a_disk_with_a_superblock_is_refused_if_it_was_used_before_it_was_a_member() {
    assemble(cut_later()).expect("the disk is as it was");
    for sector in [
        0,
        255,
        END + 256,
        SLOTS[0] - 1,
        SLOTS[1] + 32,
        mib(48).0 - 1,
    ] {
        let mut bench = cut_later();
        *bench.0[0].data.entry(sector).or_default() += 1;
        let refusal = assemble(bench).expect_err("it was written to");
        assert_eq!(refusal.errno, Errno::ESTALE, "sector {sector}");
        let sentence = refusal.sentence.as_str();
        assert!(sentence.contains("/dev/full") && sentence.contains("force=1"));
        assert!(sentence.ends_with("check its file system"), "{sentence}");
    }
    // What lies elsewhere may change, and so does what its own start writes to meanwhile.
    for sector in [
        256,
        END - 1,
        END,
        END + 255,
        SLOTS[0],
        SLOTS[0] + 31,
        SLOTS[1],
        SLOTS[1] + 31,
    ] {
        let mut bench = cut_later();
        *bench.0[0].data.entry(sector).or_default() += 1;
        assemble(bench).expect("it is the disk");
    }
}

#[test]
fn a_disk_that_was_used_meanwhile_is_taken_as_it_is_by_force() {
    let mut bench = cut_later();
    *bench.0[0].data.entry(3).or_default() += 1;
    let options = AssembleOptions {
        force: true,
        ..AssembleOptions::default()
    };
    let mut sb = Superblock::default();
    let names = ["/dev/full", "/dev/witness"];
    let assembly = recover(&mut bench, &names, &options, &mut sb).expect("it is forced");
    assert_eq!(&assembly.notes[..], &[Note::UsedMeanwhile { device: 0 }]);
    // Without its superblock it may be any disk.
    let mut bench = cut();
    *bench.0[0].data.entry(3).or_default() += 1;
    recover(&mut bench, &names, &options, &mut sb).expect_err("nobody knows it");
}

/// Where the data ended before the place of the second superblock, nothing tells what that wrote over.
#[test]
fn a_disk_whose_end_was_free_is_taken_for_what_its_superblock_says() {
    let mut disk = full_disk();
    let sb = adopt(mib(64), Sectors(SLOTS[1])).expect("it fits");
    disk.put(0, &sb, 0);
    disk.data.insert(SLOTS[1] + 7, 9);
    assemble(Bench(vec![disk, Disk::with(&sb, 1)])).expect("it is the disk");
}

/// The place of its first superblock held data, of which its witness has the copy.
#[test]
fn what_a_torn_superblock_spoilt_is_named_where_the_disk_was_used_since() {
    let refused = |spoilt: Option<u64>| {
        let mut bench = cut();
        bench.0[0].data.insert(3, 9);
        if let Some(sector) = spoilt {
            *bench.0[0].data.entry(sector).or_default() += 1;
        }
        let refusal = assemble(bench).expect_err("it was written to");
        assert_eq!(refusal.errno, Errno::ESTALE);
        refusal.sentence.as_str().to_owned()
    };
    assert!(refused(None).contains("it holds all of its data"));
    let sentence = refused(Some(SLOTS[0] + 31));
    let from = SLOTS[0] * 512;
    assert!(sentence.contains(&format!("16384 bytes from byte {from} on")));
    // The witness's data end 2 MiB before its end, and the disk's reserve does at its own.
    let copy = (64 << 20) - (2 << 20) - (256 << 10);
    assert!(
        sentence.contains(&format!("/dev/witness from byte {copy} on")),
        "{sentence}"
    );
    assert!(sentence.ends_with("with force=1"), "{sentence}");
}
