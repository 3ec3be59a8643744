// SPDX-License-Identifier: GPL-2.0
//! The whole volume as images of its members say it is, and whether copies and parity are true.

use std::borrow::Cow;

use restripe_core::admit::{Cursor, Map, Route};
use restripe_core::bitmap::Bitmap;
use restripe_core::geometry::{Logical, MemberId, Offset, Physical, Range, Sectors, SlotId};
use restripe_core::journal::{Patch, runs};
use restripe_core::placement::{Place, Set};
use restripe_core::stripe::{Buf, Plan, Read, plan_rebuild, read};

use crate::disk::{Image, Tag, slice};
use crate::marks::VolumeMarks;
use crate::oracle::{Oracle, Wrong};
use crate::plan::{calculate, parity, scratch_at};
use crate::scenario::Scenario;
use crate::world::Failure;

/// Where reads of a whole volume are to come from.
pub struct Reader<'a> {
    pub scenario: &'a Scenario,
    pub images: &'a [Image],
    pub map: &'a Map,
    pub cursor: Cursor,
    pub window: &'a [Tag],
    pub window_start: u64,
    /// What is read in the place of what lies there.
    pub overlay: &'a [Patch],
    /// Where the bitmap is in force: what it has no mark for is true.
    pub marks: Option<(Bitmap, &'a VolumeMarks)>,
}

impl Reader<'_> {
    fn at(&self, member: MemberId, at: u64, len: u64) -> Cow<'_, [Tag]> {
        let place = Place {
            member,
            at: Physical(at),
            run: Sectors(len),
        };
        let mut runs = runs(self.overlay, place).map(|run| {
            let (member, image) = (run.member.0, &self.images[usize::from(run.member.0)]);
            slice(self.scenario.disk_shape(member), image, run.at.0, run.run.0)
        });
        let first = runs.next().unwrap_or_default();
        if first.len() as u64 == len {
            return Cow::Borrowed(first);
        }
        Cow::Owned(runs.fold(first.to_vec(), |all, run| [&all, run].concat()))
    }

    /// Calls `check` with every sector below `end` and what it reads as; None where it can't be read.
    pub fn for_each(
        &self,
        end: u64,
        mut check: impl FnMut(u64, Option<Tag>) -> Result<(), Wrong>,
    ) -> Result<(), Wrong> {
        let mut x = Logical::ZERO;
        while x.0 < end {
            let (route, to) = self.map.route_read(&self.cursor, x);
            let to = to.min(Logical(end));
            if route == Route::Window {
                for y in x.0..to.0 {
                    check(y, Some(self.window[(y - self.window_start) as usize]))?;
                }
                x = to;
                continue;
            }
            let set = self.map.set(route);
            let alive = self.map.alive_at(&self.cursor, x).0;
            x += match read(set, alive, x, to - x) {
                Read::Direct(place) => {
                    let tags = self.at(place.member, place.at.0, place.run.0);
                    for (y, tag) in (x.0..).zip(&*tags) {
                        check(y, Some(*tag))?;
                    }
                    place.run
                }
                Read::Rebuild(len) => {
                    let plan = plan_rebuild(set, alive, x, len, Sectors::ZERO);
                    for (y, tag) in (x.0..).zip(self.rebuild(&plan, len)) {
                        check(y, Some(tag))?;
                    }
                    len
                }
                Read::Lost(len) => {
                    for y in x.0..x.0 + len.0 {
                        check(y, None)?;
                    }
                    len
                }
            };
        }
        Ok(())
    }

    /// What a plan that only reads makes of what is there.
    fn rebuild(&self, plan: &Plan, len: Sectors) -> Vec<Tag> {
        let mut scratch = vec![0; plan.scratch().0 as usize];
        for t in &plan.reads {
            let Buf::Lane(lane, at) = t.buf else {
                unreachable!("plans read into scratch");
            };
            let tags = self.at(t.member, t.at.0, t.len.0);
            scratch[scratch_at(plan, lane, at)..][..tags.len()].copy_from_slice(&tags);
        }
        let mut data = vec![0; len.0 as usize];
        calculate(plan, &mut scratch, &mut data, 0);
        data
    }

    /// Whether both sets are true where they hold something.
    ///
    /// # Errors
    /// Where one is not.
    pub fn check_sets(&self, oracle: &Oracle) -> Result<(), Failure> {
        let size = Logical(self.map.size.0);
        let (way, copied) = (self.cursor.way, self.cursor.copied);
        let Some(target) = &self.map.target else {
            let all = Range::new(Logical::ZERO, size);
            return self.check_redundancy(&self.map.source, all, oracle);
        };
        let first = self.cursor.window.map_or(copied, |w| way.last(w));
        self.check_redundancy(&self.map.source, way.between(first, way.end(size)), oracle)?;
        self.check_redundancy(target, self.cursor.moved(size), oracle)?;
        Ok(())
    }

    /// Whether copies are alike and parity is true where the set says so, of what it holds.
    fn check_redundancy(&self, set: &Set, held: Range, oracle: &Oracle) -> Result<(), Failure> {
        let layout = &set.layout;
        let from = held.start;
        let end = held.end.round_up(layout.stripe()).0;
        let end = Logical(end.min(layout.capacity().0));
        let is_true = |start: Logical, end: Logical| {
            let unmarked = |(bitmap, marks): &(Bitmap, &VolumeMarks)| {
                !marks.touches(bitmap, Range::new(start, end))
            };
            end <= set.resync || self.marks.as_ref().is_some_and(unmarked)
        };
        if held.is_empty() || !layout.level.is_redundant() {
            return Ok(());
        }
        let tag = |slot: SlotId, offset: Offset| {
            let place = set.place(slot, offset);
            self.at(place.member, place.at.0, 1)[0]
        };
        let wrong = |x: Logical| {
            Err(format!(
                "{} is not true for sector {} although it is synced up to sector {}, or not marked",
                layout.level.name(),
                x.0,
                set.resync.0
            ))
        };
        if layout.level.has_copies() {
            for x in (from.0..end.0).map(Logical) {
                let (alive, _) = self.map.alive_at(&self.cursor, x);
                let is_there = |step| {
                    let copy = layout.copy(x, step);
                    alive.has(set.member(copy.slot, copy.offset))
                };
                if !(0..layout.copies()).all(is_there) || !is_true(x, x + Sectors(1)) {
                    continue;
                }
                let mut tags = (0..layout.copies()).map(|step| {
                    let copy = layout.copy(x, step);
                    tag(copy.slot, copy.offset)
                });
                let first = tags.next();
                if !tags.all(|tag| Some(tag) == first) && !oracle.may_be_discarded(x.0) {
                    return wrong(x);
                }
            }
            return Ok(());
        }
        let mut row = layout.row(from);
        while (row + 1) * layout.stripe().0 <= end.0 {
            let x = Logical(row * layout.stripe().0);
            if !is_true(x, x + layout.stripe()) {
                row += 1;
                continue;
            }
            let (alive, _) = self.map.alive_at(&self.cursor, x);
            for offset in (row * layout.chunk.0..(row + 1) * layout.chunk.0).map(Offset) {
                let is_there = |slot| alive.has(set.member(SlotId(slot), offset));
                if !(0..layout.slots).all(is_there) {
                    continue;
                }
                let data: Vec<Tag> = (0..layout.data_slots())
                    .map(|index| tag(layout.data_slot(row, index), offset))
                    .collect();
                let slots = layout.parity_slots(row);
                let mut pairs = slots.zip(parity(&data));
                if !pairs.all(|(slot, sum)| tag(slot, offset) == sum) {
                    return wrong(x);
                }
            }
            row += 1;
        }
        Ok(())
    }
}
