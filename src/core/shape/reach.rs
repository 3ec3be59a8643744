// SPDX-License-Identifier: GPL-2.0
//! Whether every row of a target can be written in its turn, and which of them need the stash.
//!
//! Rows are too many to be tried one by one. But where a target's row and the rows of the source
//! that are still needed meet changes only where either comes to the edge of an extent: between
//! two such places one moves past the other at a steady rate. So the rows on both sides of each
//! of them tell of all.

use super::common_row;
use crate::footprint::overwrites;
use crate::geometry::{div, Logical, Offset, Range, Sectors};
use crate::layout::Layout;
use crate::placement::{Extent, Set};
use crate::way::Way;

/// How a target can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// Every row is free when its turn comes.
    Free,
    /// Some overwrite what the source still needs for themselves: they go through the stash.
    Stash,
    /// More than the longest window lies over itself here.
    Never(Logical),
}

/// How `target` can be reached going that way, with windows of at most `most` sectors.
pub fn reach(source: &Set, target: &Set, way: Way, volume: Sectors, most: Sectors) -> Reach {
    let end = Logical(volume.0);
    let survey = Survey {
        source,
        target,
        end,
        way,
        row: common_row(&source.layout, &target.layout),
        most,
    };
    survey.reach()
}

struct Survey<'a> {
    source: &'a Set,
    target: &'a Set,
    end: Logical,
    way: Way,
    row: Sectors,
    most: Sectors,
}

/// First sector of the volume that `layout` has at `offset` of its slots, or behind it.
fn sector_at(layout: &Layout, offset: Offset) -> Logical {
    Logical(div(offset.0, layout.row_len().0) * layout.stripe().0)
}

/// Calls `visit` with every extent of a set and the offset that it begins at in its slot.
fn for_each_extent(set: &Set, mut visit: impl FnMut(&Extent, Offset)) {
    let (mut slot, mut before) = (None, Offset::ZERO);
    for extent in &set.extents {
        if slot != Some(extent.slot) {
            (slot, before) = (Some(extent.slot), Offset::ZERO);
        }
        visit(extent, before);
        before += extent.len;
    }
}

impl Survey<'_> {
    fn reach(&self) -> Reach {
        let mut found = Reach::Free;
        let mut look = |x: Logical| {
            if let Reach::Free | Reach::Stash = found {
                match self.around(x) {
                    Reach::Free => {}
                    other => found = other,
                }
            }
        };
        look(Logical::ZERO);
        look(self.end);
        for_each_extent(self.target, |extent, before| {
            look(sector_at(&self.target.layout, before));
            look(sector_at(&self.target.layout, before + extent.len));
            // Where its places come to those of the source's extents.
            for other in self
                .source
                .extents
                .iter()
                .filter(|o| o.member == extent.member)
            {
                for edge in [other.start, other.start + other.len] {
                    if extent.start <= edge && edge <= extent.start + extent.len {
                        let offset = before + (edge - extent.start);
                        look(sector_at(&self.target.layout, offset));
                    }
                }
            }
        });
        for_each_extent(self.source, |extent, before| {
            look(sector_at(&self.source.layout, before));
            look(sector_at(&self.source.layout, before + extent.len));
        });
        found
    }

    /// The rows before, at and behind `x`.
    fn around(&self, x: Logical) -> Reach {
        let at = x.min(self.end).round_down(self.row);
        let mut found = Reach::Free;
        for start in [
            at.0.checked_sub(self.row.0),
            Some(at.0),
            Some(at.0 + self.row.0),
        ] {
            let Some(start) = start.map(Logical).filter(|start| *start < self.end) else {
                continue;
            };
            let row = Range::new(start, (start + self.row).min(self.end));
            match self.one(row) {
                Reach::Free => {}
                Reach::Stash => found = Reach::Stash,
                never => return never,
            }
        }
        found
    }

    /// Whether writing `piece` leaves what is left from `from` on.
    fn is_clear(&self, from: Logical, piece: Range) -> bool {
        let live = self.way.between(from, self.way.end(self.end));
        !overwrites(self.source, live, self.end, self.target, piece)
    }

    fn one(&self, row: Range) -> Reach {
        let (way, first) = (self.way, self.way.first(row));
        if self.is_clear(first, row) {
            return Reach::Free;
        }
        let last = way.step(first, self.most, self.row, way.end(self.end));
        let mut to = way.last(row);
        loop {
            if self.is_clear(to, way.between(first, to)) {
                return Reach::Stash;
            }
            if to == last {
                return Reach::Never(row.start);
            }
            to = way.step(to, self.row, self.row, last);
        }
    }
}
