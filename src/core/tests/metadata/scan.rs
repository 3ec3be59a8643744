// SPDX-License-Identifier: GPL-2.0
//! Every sector that can't be read is found and named, and nothing is left unread.

use std::collections::BTreeSet;

use restripe_core::geometry::{MemberId, MemberMask, Physical, Sectors};
use restripe_core::layout::Level;
use restripe_core::ondisk::Superblock;
use restripe_core::scan::{Scan, PIECE};
use restripe_core::text::{Errno, Text};

use super::common::{created, mib, migrating};

fn everyone(sb: &Superblock) -> MemberMask {
    let mut mask = MemberMask::EMPTY;
    for (id, _) in sb.rows() {
        mask.insert(id);
    }
    mask
}

/// Reads to the end with these sectors of member 1 broken; gives the pieces read.
fn read(scan: &mut Scan<&Superblock>, bad: &BTreeSet<u64>) -> Vec<(MemberId, Physical, Sectors)> {
    let mut pieces = Vec::new();
    while let Some(piece) = scan.next_piece() {
        assert!(piece.len > Sectors::ZERO && piece.len <= PIECE);
        let range = piece.start.0..piece.start.0 + piece.len.0;
        let readable = piece.member != MemberId(1) || bad.range(range).next().is_none();
        scan.done(readable);
        if readable {
            pieces.push((piece.member, piece.start, piece.len));
        }
        assert!(pieces.len() < 10_000, "it comes to an end");
    }
    pieces
}

fn name(member: MemberId) -> Text<64> {
    Text::from(["vda", "vdb", "vdc"][usize::from(member.0)])
}

#[test]
fn every_sector_is_read_once() {
    for sb in [created(Level::Raid5, 3, true), migrating(Level::Raid1, 2)] {
        let mut scan = Scan::of(&sb, everyone(&sb));
        let pieces = read(&mut scan, &BTreeSet::new());
        for (id, row) in sb.rows() {
            let mut of_member = pieces.iter().filter(|(member, _, _)| *member == id);
            for region in &row.regions {
                let mut at = region.start;
                while at < region.end() {
                    let (_, start, len) = of_member.next().expect("all regions are read");
                    assert_eq!(*start, at);
                    at += *len;
                }
                assert_eq!(at, region.end());
            }
            assert_eq!(of_member.next(), None);
        }
        let (done, total) = scan.progress();
        let read: u64 = pieces.iter().map(|(_, _, len)| len.0).sum();
        assert_eq!((done.0, total.0), (read, read));
        assert_eq!(scan.verdict(name), Ok(()));
    }
}

#[test]
fn the_first_bad_sector_is_named() {
    let sb = created(Level::Raid5, 3, true);
    let first = sb.members[1].regions[0].start.0;
    let last = sb.members[1].regions.iter().map(|r| r.end().0);
    let end = last.max().expect("regions");
    for bad in [
        first,
        first + 1,
        first + 7,
        first + PIECE.0 - 1,
        first + PIECE.0,
        first + 3 * PIECE.0 + 1234,
        end - 1,
    ] {
        let mut scan = Scan::of(&sb, everyone(&sb));
        // Another one behind it makes no difference.
        let pieces = read(&mut scan, &BTreeSet::from([bad, (bad + 5).min(end - 1)]));
        let refusal = scan.verdict(name).expect_err("a sector is bad");
        assert_eq!(refusal.errno, Errno::EIO);
        let said = refusal.to_string();
        assert!(
            said.contains("member 1 (vdb)") && said.contains(&format!("sector {bad};")),
            "{said}"
        );
        let read_up_to = pieces
            .iter()
            .filter(|(member, _, _)| *member == MemberId(1))
            .map(|(_, start, len)| start.0 + len.0)
            .max()
            .unwrap_or(first);
        assert_eq!(read_up_to, bad);
    }
}

#[test]
fn blocks_are_not_cut() {
    let mut sb = created(Level::Raid5, 3, true);
    sb.logical_block = 4096;
    let first = sb.members[1].regions[0].start.0;
    let mut scan = Scan::of(&sb, everyone(&sb));
    for (_, start, len) in read(&mut scan, &BTreeSet::from([first + 8 * 37 + 3])) {
        assert_eq!((start.0 % 8, len.0 % 8), (0, 0));
    }
    let refusal = scan.verdict(name).expect_err("a sector is bad");
    assert!(
        refusal
            .to_string()
            .contains(&format!("sector {};", first + 8 * 37)),
        "{refusal}"
    );
}

#[test]
fn what_can_be_read_the_second_time_is_no_error() {
    let sb = created(Level::Raid1, 2, true);
    let mut scan = Scan::of(&sb, everyone(&sb));
    scan.done(false);
    let half = scan.next_piece().expect("the half");
    assert_eq!(half.len, Sectors(PIECE.0 / 2));
    read(&mut scan, &BTreeSet::new());
    assert_eq!(scan.verdict(name), Ok(()));
    let (done, total) = scan.progress();
    assert_eq!(done, total);
}

#[test]
fn members_that_are_away_are_not_read() {
    let sb = created(Level::Raid5, 3, true);
    let mut two = everyone(&sb);
    two.remove(MemberId(1));
    let mut scan = Scan::of(&sb, two);
    assert!(scan.progress().1 < mib(128));
    let all_bad: BTreeSet<_> = (0..mib(64).0).collect();
    let pieces = read(&mut scan, &all_bad);
    assert!(pieces.iter().all(|(member, _, _)| *member != MemberId(1)));
    assert_eq!(scan.verdict(name), Ok(()));
}
