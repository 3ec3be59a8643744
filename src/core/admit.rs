// SPDX-License-Identifier: GPL-2.0
//! Where a piece of a request goes: source, target, both, the window's memory, or wait.
//!
//! A request is admitted under one [`Map`], an immutable snapshot, and one
//! [`Cursor`]. Writes that could meet each other or the mover first take their
//! [`Map::lock_range`] in the volume's [`range_lock`](crate::range_lock); the cursor is
//! read after that, so it can't move through a write that holds its range.

use crate::bitmap::Bitmap;
use crate::geometry::{rem, Logical, MemberMask, Range, Sectors};
use crate::journal::Journal;
use crate::placement::Set;
use crate::rules::{Rule, Rules};
use crate::stripe::BAND;
use crate::way::Way;

/// What a volume looks like to requests. Replaced whole when it changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Map {
    /// Sectors that the user sees.
    pub size: Sectors,
    /// The set that holds everything, or what is not migrated yet.
    pub source: Set,
    /// The set that a running migration moves to.
    pub target: Option<Set>,
    /// Members that are read and written: present and in sync.
    pub alive: MemberMask,
    /// Members that are being rebuilt, all of them together: true, and so alive, below
    /// [`Cursor::recovered`]; neither read nor written from there on.
    pub rebuilding: MemberMask,
    /// Writes must first have the superblock say `active` (DESIGN I6).
    pub clean: bool,
    /// Writes wait for the next map: locks are about to change their meaning.
    pub hold: bool,
    /// Writes of parity sets go through it first, but those of the gap at the target: rows there
    /// are not the truth yet.
    pub journal: Option<Journal>,
    /// Writes wait until their regions are marked in it.
    pub bitmap: Option<Bitmap>,
    /// Writes of the gap wait for the next map. They change the source, where it is read or has places
    /// that the target shares, before the target follows; that must be over when a commit makes the
    /// target the truth.
    pub gap_waits: bool,
    /// No writes at all, for good: read-only assembly or failed volume.
    pub read_only: bool,
    /// All of them hold, but in a build for tests.
    pub rules: Rules,
}

/// How far a migration is; moves without a new map.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    pub way: Way,
    /// As it is durable on members: DESIGN's d.
    pub durable: Logical,
    /// As copied so far: DESIGN's c, never come to before `durable`.
    pub copied: Logical,
    /// The stash window that is being rewritten, if any: its data are in memory.
    pub window: Option<Range>,
    /// Members that are being rebuilt hold what is theirs of all sectors below.
    pub recovered: Logical,
}

impl Cursor {
    /// Whether requests under way may see this one after `before`. It moves where none of them is, for
    /// who moves it holds that range alone; but a rebuild that is taken back is so at once, and a write
    /// that asked who is alive would get another answer when it asks again.
    pub fn may_follow(&self, before: &Cursor, rules: Rules) -> bool {
        self.recovered >= before.recovered || rules.broken(Rule::Part)
    }

    /// What the target holds for good, of a volume that ends at `end`.
    pub fn settled(&self, end: Logical) -> Range {
        self.way.between(self.way.begin(end), self.durable)
    }

    /// What the source and the target both hold (DESIGN I3).
    pub fn gap(&self) -> Range {
        self.way.between(self.durable, self.copied)
    }

    /// What is read at the target, of a volume that ends at `end`.
    pub fn moved(&self, end: Logical) -> Range {
        self.way.between(self.way.begin(end), self.copied)
    }

    /// What is not copied yet, of a volume that ends at `end`.
    pub fn left(&self, end: Logical) -> Range {
        self.way.between(self.copied, self.way.end(end))
    }

    /// What the source alone or also the source holds, of a volume that ends at `end`.
    pub fn at_source(&self, end: Logical) -> Range {
        self.way.between(self.durable, self.way.end(end))
    }
}

/// Where a run of a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// The source set alone.
    Source,
    /// The target set alone.
    Target,
    /// A write in the gap: the source first, and only when that is done the
    /// target. Reads of the gap see the target, so what one has seen is in both; or the source,
    /// where that has copies.
    Both,
    /// The window being rewritten: reads are served from its memory, writes
    /// can't get here because the mover holds the range.
    Window,
}

impl Map {
    /// Whether the volume has all of `range`. A request for more began before the volume was cut off, and
    /// ends with an error as one that begins now: its places may be somebody else's soon.
    pub fn holds(&self, range: Range) -> bool {
        range.end.0 <= self.size.0
    }

    /// Where a read of `x` goes, and up to where that holds.
    pub fn route_read(&self, cursor: &Cursor, x: Logical) -> (Route, Logical) {
        let (route, end) = self.route(cursor, x);
        let has_copies = self.source.layout.level.has_copies();
        if route != Route::Target || !has_copies || self.rules.broken(Rule::Seen) {
            return (route, end);
        }
        // What the target reads may lie in the place of a copy that a resync of the source would
        // write over: so the source is read, from the copy that counts there. A commit that takes
        // it over waits for such reads, and for the writes that they may have seen.
        Self::route_moved(cursor, x, Route::Source, end)
    }

    /// Members that are alive where `x` lies, and up to where.
    pub fn alive_at(&self, cursor: &Cursor, x: Logical) -> (MemberMask, Logical) {
        if x < cursor.recovered && !self.rebuilding.is_empty() {
            (self.alive | self.rebuilding, cursor.recovered)
        } else {
            (self.alive, Logical(u64::MAX))
        }
    }

    /// Members that keep anything that counts.
    pub fn kept(&self) -> MemberMask {
        self.alive | self.rebuilding
    }

    /// The set that is read, and up to where it is that and the same members are alive.
    fn route(&self, cursor: &Cursor, x: Logical) -> (Route, Logical) {
        let (route, end) = self.route_by_cursor(cursor, x);
        (route, end.min(self.alive_at(cursor, x).1))
    }

    fn route_by_cursor(&self, cursor: &Cursor, x: Logical) -> (Route, Logical) {
        let end = Logical(self.size.0);
        if self.target.is_none() {
            return (Route::Source, end);
        }
        if let Some(window) = cursor.window {
            if window.contains(x) {
                return (Route::Window, window.end);
            }
        }
        let moved = cursor.moved(end);
        if moved.contains(x) {
            return (Route::Target, moved.end);
        }
        // Up to where the target, or the window before it, begins.
        let edge = cursor.window.map_or(moved.start, |window| window.start);
        (Route::Source, if x < edge { edge } else { end })
    }

    /// Where a write of `x` goes, and up to where that holds.
    pub fn route_write(&self, cursor: &Cursor, x: Logical) -> (Route, Logical) {
        let (route, end) = self.route(cursor, x);
        if route != Route::Target || self.rules.broken(Rule::I3) {
            return (route, end);
        }
        let (route, end) = Self::route_moved(cursor, x, Route::Both, end);
        match route {
            Route::Both => (route, self.one_record(x).min(end)),
            _ => (route, end),
        }
    }

    /// Where what is moved goes: `in_gap` what is not settled of it. Going up, the gap lies behind what
    /// is settled; going down, before it.
    fn route_moved(cursor: &Cursor, x: Logical, in_gap: Route, end: Logical) -> (Route, Logical) {
        let gap = cursor.gap();
        if gap.contains(x) {
            (in_gap, gap.end.min(end))
        } else if x < gap.start {
            (Route::Target, gap.start.min(end))
        } else {
            (Route::Target, end)
        }
    }

    /// Up to where a write of the gap from `x` on is one record of the source's journal: one that
    /// waited for room behind its first would leave what source and target share as the one has it.
    fn one_record(&self, x: Logical) -> Logical {
        let layout = &self.source.layout;
        if self.journal.is_none() || !layout.level.has_parity() {
            return Logical(u64::MAX);
        }
        let spot = layout.locate(x);
        x + spot.run.min(BAND - Sectors(rem(spot.offset.0, BAND.0)))
    }

    /// The set behind a route that has just one.
    pub fn set(&self, route: Route) -> &Set {
        match (route, &self.target) {
            (Route::Target, Some(target)) => target,
            _ => &self.source,
        }
    }

    /// What a write of `range` must hold alone, as keys of the volume's range
    /// lock; None where nothing can be disturbed (one copy, no migration).
    ///
    /// While migrating, keys are sectors of the volume, widened to whole rows of
    /// a parity set. Otherwise they are slot offsets on a parity set, so that
    /// small writes to one row go on side by side, and sectors on a mirror.
    pub fn lock_range(&self, range: Range) -> Option<(u64, u64)> {
        if let Some(target) = &self.target {
            let (mut start, mut end) = (range.start, range.end);
            for set in [&self.source, target] {
                if set.layout.level.has_parity() {
                    start = start.min(range.start.round_down(set.layout.stripe()));
                    end = end.max(range.end.round_up(set.layout.stripe()));
                }
            }
            return Some((start.0, end.0));
        }
        let layout = &self.source.layout;
        if layout.level.has_parity() {
            let first = layout.locate(range.start);
            if range.len() <= first.run {
                return Some((first.offset.0, first.offset.0 + range.len().0));
            }
            return Some((
                layout.row_offset(range.start).0,
                layout.used_below(range.end).0,
            ));
        }
        layout
            .level
            .is_redundant()
            .then_some((range.start.0, range.end.0))
    }

    /// Same, for a degraded read of a parity set, which must not see a stripe half written.
    pub fn rebuild_lock_range(&self, range: Range) -> (u64, u64) {
        self.lock_range(range)
            .expect("only parity sets are rebuilt from, and those are locked")
    }

    /// Members that may keep a record of rows of the source, or of the target. As long as that
    /// set bears what is lost, one of them is left that has it.
    pub fn record_members(&self, is_target: bool) -> MemberMask {
        let set = match &self.target {
            Some(target) if is_target => target,
            _ => &self.source,
        };
        self.flush_members() & set.members()
    }

    /// Members that a FLUSH must reach.
    pub fn flush_members(&self) -> MemberMask {
        let target = self.target.map_or(MemberMask::EMPTY, |t| t.members());
        let mut members = (self.source.members() | target) & self.kept();
        if self.rules.broken(Rule::I6) {
            if let Some(last) = members.iter().last() {
                members.remove(last);
            }
        }
        members
    }
}
