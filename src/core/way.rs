// SPDX-License-Identifier: GPL-2.0
//! Which way a migration goes through the volume, so that all that depends on it is written once.
//!
//! Going up, what is done lies below a cursor and what is left above it; going down it is the
//! other way round. Cursors are sectors either way, and ranges have their start below their end.

use crate::geometry::{Logical, Range, Sectors};

/// From the volume's start to its end, or back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    #[default]
    Up,
    Down,
}

impl Way {
    /// The way of a migration that is `descending` or not.
    pub const fn of(descending: bool) -> Way {
        match descending {
            true => Way::Down,
            false => Way::Up,
        }
    }

    /// Where it begins in a volume that ends at `end`.
    pub const fn begin(self, end: Logical) -> Logical {
        match self {
            Way::Up => Logical::ZERO,
            Way::Down => end,
        }
    }

    /// Where it ends in a volume that ends at `end`.
    pub const fn end(self, end: Logical) -> Logical {
        match self {
            Way::Up => end,
            Way::Down => Logical::ZERO,
        }
    }

    /// Whether `a` is come to before `b`.
    pub fn is_before(self, a: Logical, b: Logical) -> bool {
        match self {
            Way::Up => a < b,
            Way::Down => b < a,
        }
    }

    /// That of both which is come to last.
    pub fn later(self, a: Logical, b: Logical) -> Logical {
        match self {
            Way::Up => a.max(b),
            Way::Down => a.min(b),
        }
    }

    /// That of both which is come to first.
    pub fn sooner(self, a: Logical, b: Logical) -> Logical {
        match self {
            Way::Up => a.min(b),
            Way::Down => a.max(b),
        }
    }

    /// The edge of `range` that is come to first.
    pub const fn first(self, range: Range) -> Logical {
        match self {
            Way::Up => range.start,
            Way::Down => range.end,
        }
    }

    /// The edge of `range` that is come to last.
    pub const fn last(self, range: Range) -> Logical {
        match self {
            Way::Up => range.end,
            Way::Down => range.start,
        }
    }

    /// What lies between `from` and `to`, of which the latter is not come to sooner.
    pub fn between(self, from: Logical, to: Logical) -> Range {
        match self {
            Way::Up => Range::new(from, to),
            Way::Down => Range::new(to, from),
        }
    }

    /// `len` sectors on from `at`, but not past `limit`. Going down from a sector that is no
    /// multiple of `unit` (the volume's end) it is less, so that it ends on one; `len` is such
    /// a multiple.
    pub fn step(self, at: Logical, len: Sectors, unit: Sectors, limit: Logical) -> Logical {
        let to = match self {
            Way::Up => at + len,
            Way::Down => Logical(at.0.saturating_sub(len.0)).round_up(unit),
        };
        self.sooner(to, limit)
    }

    /// Sectors between the beginning of a volume that ends at `end`, and `at`.
    pub fn done(self, at: Logical, end: Logical) -> Sectors {
        match self {
            Way::Up => at.from_start(),
            Way::Down => end - at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whichever way, steps begin and end on multiples of the unit or at the volume's end, and
    /// cover all of it once.
    #[test]
    fn steps_cover_a_volume() {
        let unit = Sectors(16);
        for way in [Way::Up, Way::Down] {
            for end in [1, 15, 16, 17, 61, 64].map(Logical) {
                for len in [16, 48].map(Sectors) {
                    let (mut at, last) = (way.begin(end), way.end(end));
                    let mut covered = 0;
                    while at != last {
                        let next = way.step(at, len, unit, last);
                        assert!(way.is_before(at, next));
                        let range = way.between(at, next);
                        assert!(range.len() <= len);
                        assert_eq!(range.start.round_down(unit), range.start);
                        assert!(range.end == end || range.end.round_down(unit) == range.end);
                        covered += range.len().0;
                        at = next;
                        assert_eq!(way.done(at, end).0, covered);
                    }
                    assert_eq!(covered, end.0);
                }
            }
        }
    }
}
