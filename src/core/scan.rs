// SPDX-License-Identifier: GPL-2.0
//! Reading all members before a migration (`scan=1`): a sector that can't be read is better
//! known while nothing has moved. The executor reads what [`Scan::next`] names and answers by
//! [`Scan::done`]; nothing is written.

use core::ops::Deref;

use crate::geometry::{MemberId, MemberMask, Physical, Sectors};
use crate::ondisk::{RegionKind, Superblock};
use crate::refusal;
use crate::text::{Refusal, Text};

/// What is read at once (1 MiB).
pub const PIECE: Sectors = Sectors(2048);

/// A run of sectors of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Piece {
    pub member: MemberId,
    pub start: Physical,
    pub len: Sectors,
}

/// How far it is. `S` is where a superblock lives: a box.
#[derive(Debug)]
pub struct Scan<S: Deref<Target = Superblock>> {
    /// Whose members are read.
    sb: S,
    alive: MemberMask,
    /// Indexes of the member that is being read and of its region.
    member: usize,
    region: usize,
    /// Of that, what has been read.
    read: Sectors,
    /// How much to read at once: less while the place of an error is looked for.
    piece: Sectors,
    /// Where the piece ends that could not be read as a whole.
    suspect: Physical,
    /// Least that can be read: a logical block.
    least: Sectors,
    done: Sectors,
    total: Sectors,
    /// The first sector that can't be read.
    found: Option<(MemberId, Physical)>,
}

impl<S: Deref<Target = Superblock>> Scan<S> {
    /// Over all regions of those members of `sb` that are `alive`, whatever lies there: data, room
    /// for data, the reserve.
    pub fn of(sb: S, alive: MemberMask) -> Self {
        let least = Sectors::from_bytes(u64::from(sb.logical_block.max(512)));
        let mut scan = Scan {
            sb,
            alive,
            member: 0,
            region: 0,
            read: Sectors::ZERO,
            piece: PIECE,
            suspect: Physical::ZERO,
            least,
            done: Sectors::ZERO,
            total: Sectors::ZERO,
            found: None,
        };
        while let Some(run) = scan.run() {
            scan.total = scan.total + run.len;
            scan.region += 1;
        }
        (scan.member, scan.region) = (0, 0);
        scan
    }

    /// What is left of the region that is being read; goes on to the first that is to be read from
    /// where it is.
    fn run(&mut self) -> Option<Piece> {
        while let Some(row) = self.sb.members.get(self.member) {
            let member = MemberId(self.member as u8);
            let is_read = row.is_used() && self.alive.has(member);
            match row.regions.get(self.region).filter(|_| is_read) {
                None => (self.member, self.region) = (self.member + 1, 0),
                Some(region)
                    if matches!(region.kind, RegionKind::Free | RegionKind::Unknown(_)) =>
                {
                    self.region += 1
                }
                Some(region) => {
                    return Some(Piece {
                        member,
                        start: region.start + self.read,
                        len: region.len - self.read,
                    })
                }
            }
        }
        None
    }

    /// What is to be read next; nothing when all is read, or a sector was found that can't be.
    pub fn next_piece(&mut self) -> Option<Piece> {
        if self.found.is_some() {
            return None;
        }
        let run = self.run()?;
        Some(Piece {
            len: run.len.min(self.piece),
            ..run
        })
    }

    /// What [`next`](Scan::next) named was read, or could not be.
    ///
    /// # Panics
    /// When there was nothing to be read.
    pub fn done(&mut self, readable: bool) {
        let piece = self
            .next_piece()
            .expect("only what was asked for is answered");
        if readable {
            self.read = self.read + piece.len;
            self.done = self.done + piece.len;
            let region = self.sb.members[self.member].regions[self.region];
            if self.read == region.len {
                (self.region, self.read) = (self.region + 1, Sectors::ZERO);
                self.suspect = Physical::ZERO;
            }
            if piece.start + piece.len >= self.suspect {
                self.piece = PIECE;
            }
        } else if piece.len <= self.least {
            self.found = Some((piece.member, piece.start));
        } else {
            // The first half next, and then what comes behind it.
            self.suspect = piece.start + piece.len;
            let half = Sectors(piece.len.0 / 2).round_up(self.least);
            self.piece = half.min(piece.len - self.least);
        }
    }

    /// Sectors read, and to be read in all.
    pub fn progress(&self) -> (Sectors, Sectors) {
        (self.done, self.total)
    }

    /// What speaks against the migration, if anything; `name` is what the user calls a member.
    ///
    /// # Errors
    /// `EIO` where a sector can't be read.
    pub fn verdict(&self, name: impl Fn(MemberId) -> Text<64>) -> Result<(), Refusal> {
        match self.found {
            None => Ok(()),
            Some((member, at)) => Err(refusal!(
                EIO,
                "member {} ({}) can't be read at its sector {}; nothing was changed: mend or replace it, then migrate",
                member.0,
                name(member),
                at.0
            )),
        }
    }
}
