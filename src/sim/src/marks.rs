// SPDX-License-Identifier: GPL-2.0
//! The write-intent bitmap: marks in memory, and on members.

use std::cell::{Cell, RefCell};

use restripe_core::bitmap::{BITMAP_BYTES, Bitmap, Marks, ROWS, Row, Word};
use restripe_core::engine::Event;
use restripe_core::geometry::{Logical, MemberMask, Range, Sectors};
use restripe_core::ondisk::{Superblock, UNIT};
use restripe_core::rules::Rule;

use crate::blobs::{Blobs, crc};
use crate::disk::{Image, slice};
use crate::io::{Group, Owner};
use crate::scenario::Scenario;
use crate::world::World;

/// log2 of the sectors of a region: so short that there are several.
pub const SHIFT: u8 = 3;
/// Milliseconds between two sweeps.
pub const INTERVAL: u64 = 150;

/// 32 bits; there is one thread.
#[derive(Default, Debug)]
pub struct Bits(Cell<u32>);

impl Word for Bits {
    fn get(&self) -> u32 {
        self.0.get()
    }

    fn set(&self, bits: u32) {
        self.0.set(self.0.get() | bits);
    }

    fn clear(&self, bits: u32) {
        self.0.set(self.0.get() & !bits);
    }
}

/// A volume's marks.
pub type VolumeMarks = Marks<Vec<Row<Bits>>>;

/// None yet.
pub fn no_marks() -> VolumeMarks {
    Marks::new((0..ROWS).map(|_| Row::default()).collect())
}

/// Makes of `marks` what the bitmaps of the members that take part say.
pub fn load(
    marks: &VolumeMarks,
    (scenario, blobs, images): (&Scenario, &RefCell<Blobs>, &[Image]),
    sb: &Superblock,
    (bitmap, epoch): (&Bitmap, u64),
) {
    marks.reset(false);
    for member in sb.live().iter() {
        let shape = scenario.disk_shape(member.0);
        let image = &images[usize::from(member.0)];
        let tags = slice(shape, image, scenario.bitmap(member.0), UNIT.0);
        let bytes = blobs.borrow().get(tags);
        marks.merge(bitmap, epoch, Some(&bytes), crc);
    }
}

impl World {
    pub(crate) fn load_marks(&mut self, bitmap: &Bitmap, epoch: u64) {
        if self.view.map.rules.broken(Rule::Stale) {
            // As a build does that knows of no bitmap: it writes without marks.
            self.marks.reset(true);
            self.marks.written(true);
        } else {
            let images: Vec<Image> = self.disks.iter().map(|d| d.visible().clone()).collect();
            let from = (&*self.scenario, &*self.blobs, &images[..]);
            let sb = self.engine.superblock();
            load(&self.marks, from, sb, (bitmap, epoch));
            self.marked = Some(self.marked_rows(bitmap));
        }
        self.tell(Event::MarksLoaded);
    }

    pub(crate) fn write_bitmap(
        &mut self,
        bitmap: &Bitmap,
        members: MemberMask,
        (clears, all): (bool, bool),
    ) {
        if all {
            self.marks.reset(true);
            self.marked = None;
        }
        self.marks.compose(clears);
        let mut bytes = vec![0; BITMAP_BYTES];
        self.marks.encode(bitmap, &mut bytes, crc);
        let tags = self.blobs.borrow_mut().put(&bytes);
        let mut group = Group::new(Owner::Bitmap);
        for member in members.iter() {
            let at = self.scenario.bitmap(member.0);
            group.write(member, at, tags.clone(), true);
        }
        self.begin(group);
    }

    pub(crate) fn sweep(&mut self, bitmap: &Bitmap, below: Logical, capacity: Sectors) {
        let swept = self.marks.sweep(bitmap, below, capacity);
        self.swept += u64::from(swept.any);
        self.tell(Event::Swept(swept));
    }

    pub(crate) fn next_marked(&mut self, from: Logical) {
        let Some(bitmap) = self.engine.map().bitmap else {
            return;
        };
        let run = self.marks.next_marked(&bitmap, from);
        self.tell(Event::MarkedRun { from, run });
    }

    /// Sectors of all rows that lie in marked regions, some of each at least.
    fn marked_rows(&self, bitmap: &Bitmap) -> u64 {
        let (end, stripe) = (self.view.map.size.0, self.view.map.source.layout.stripe());
        let rows = (0..end).step_by(stripe.0 as usize).map(Logical);
        let marked = rows.filter(|x| self.marks.touches(bitmap, Range::new(*x, *x + stripe)));
        marked.count() as u64 * stripe.0
    }

    /// A resync goes over marked regions only.
    pub(crate) fn check_resync(&mut self, range: Range) {
        self.resynced = true;
        let map = *self.engine.map();
        let (Some(bitmap), stripe) = (map.bitmap, map.source.layout.stripe()) else {
            return;
        };
        let mut rows = (range.start.0..range.end.0).step_by(stripe.0 as usize);
        let unmarked = rows.find(|x| {
            let row = Range::new(Logical(*x), Logical(*x) + stripe);
            !self.marks.touches(&bitmap, row)
        });
        if let Some(x) = unmarked {
            self.fail(format!("sector {x} is resynced and not marked"));
        }
    }

    /// Whether it began with less than half of it to be resynced, and some of that was.
    pub(crate) fn is_spared(&self) -> bool {
        let little = |most| most * 2 < self.view.map.size.0;
        self.resynced && self.marked.is_some_and(little)
    }
}
