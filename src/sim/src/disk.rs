// SPDX-License-Identifier: GPL-2.0
//! A disk with a volatile cache, a sector at a time: each sector's content is a
//! tag of 64 bits, over which parity is XOR as it is over bytes.

use std::collections::BTreeSet;
use std::rc::Rc;

/// What a sector holds.
pub type Tag = u64;

/// A piece of the device that is simulated; touching any other sector is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: u64,
    pub len: u64,
}

/// A device's size and the pieces of it that matter.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    pub sectors: u64,
    pub windows: Vec<Window>,
}

impl Shape {
    /// Sorts the windows and merges those that touch.
    pub fn new(sectors: u64, mut windows: Vec<Window>) -> Shape {
        windows.sort_by_key(|w| w.start);
        let mut merged: Vec<Window> = Vec::new();
        for w in windows {
            match merged.last_mut() {
                Some(last) if last.start + last.len >= w.start => {
                    last.len = last.len.max(w.start + w.len - last.start);
                }
                _ => merged.push(w),
            }
        }
        Shape {
            sectors,
            windows: merged,
        }
    }

    /// Sectors simulated.
    pub fn len(&self) -> usize {
        self.windows.iter().map(|w| w.len as usize).sum()
    }

    /// Whether nothing is simulated.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Index of `len` sectors from `at`.
    pub fn index(&self, at: u64, len: u64) -> usize {
        let mut before = 0;
        for w in &self.windows {
            if w.start <= at && at < w.start + w.len {
                assert!(
                    at + len <= w.start + w.len,
                    "sectors {at}+{len} run out of what the member has for them"
                );
                return before + (at - w.start) as usize;
            }
            before += w.len as usize;
        }
        panic!("sector {at} of a member is nobody's");
    }
}

/// What a device holds, every simulated sector.
pub type Image = Vec<Tag>;

/// Sectors of `image` from `at` on.
pub fn slice<'a>(shape: &Shape, image: &'a Image, at: u64, len: u64) -> &'a [Tag] {
    let index = shape.index(at, len);
    &image[index..index + len as usize]
}

/// What is simulated of `len` sectors from `at` on.
pub fn within<'a>(
    shape: &'a Shape,
    image: &'a Image,
    at: u64,
    len: u64,
) -> impl Iterator<Item = Tag> + use<'a> {
    let windows = shape.windows.iter();
    windows.flat_map(move |w| {
        let (from, to) = (w.start.max(at), (w.start + w.len).min(at + len));
        let tags = (from < to).then(|| slice(shape, image, from, to - from));
        tags.unwrap_or_default().iter().copied()
    })
}

/// A write that a crash may drop or tear: sectors by index.
#[derive(Clone, Debug)]
pub struct Entry {
    pub sectors: Vec<(u32, Tag)>,
}

/// The disk.
pub struct Disk {
    pub shape: Rc<Shape>,
    durable: Image,
    visible: Image,
    /// Writes in the cache, in order.
    pub log: Vec<Entry>,
    /// Writes ever taken out of the log, so that places in it have stable names.
    flushed: usize,
    /// Writes are durable as soon as they are done.
    pub write_through: bool,
    /// Answers nothing any more.
    pub dead: bool,
    /// So many transfers to come fail.
    pub errors: u32,
    /// Sectors, by index, that can't be read until they are written.
    bad: BTreeSet<u32>,
}

impl Disk {
    pub fn new(shape: Rc<Shape>, image: Image, write_through: bool) -> Disk {
        assert_eq!(shape.len(), image.len());
        Disk {
            shape,
            visible: image.clone(),
            durable: image,
            log: Vec::new(),
            flushed: 0,
            write_through,
            dead: false,
            errors: 0,
            bad: BTreeSet::new(),
        }
    }

    pub fn read(&self, at: u64, len: u64) -> &[Tag] {
        slice(&self.shape, &self.visible, at, len)
    }

    /// A sector can't be read from now on.
    pub fn spoil(&mut self, at: u64) {
        self.bad.insert(self.shape.index(at, 1) as u32);
    }

    /// All can be read.
    pub fn heal(&mut self) {
        self.bad.clear();
    }

    /// Whether some of these sectors can't be read.
    pub fn is_bad(&self, at: u64, len: u64) -> bool {
        let index = self.shape.index(at, len) as u32;
        self.bad.range(index..index + len as u32).next().is_some()
    }

    pub fn visible(&self) -> &Image {
        &self.visible
    }

    pub fn durable(&self) -> &Image {
        &self.durable
    }

    /// A write as a crash sees it while it is under way.
    pub fn entry(&self, at: u64, tags: &[Tag]) -> Entry {
        let index = self.shape.index(at, tags.len() as u64) as u32;
        Entry {
            sectors: (index..).zip(tags.iter().copied()).collect(),
        }
    }

    /// The write reaches the cache: reads see it, a crash may still take it.
    pub fn apply(&mut self, at: u64, tags: &[Tag]) -> usize {
        let entry = self.entry(at, tags);
        for &(index, tag) in &entry.sectors {
            self.visible[index as usize] = tag;
            self.bad.remove(&index);
        }
        self.log.push(entry);
        self.flushed + self.log.len() - 1
    }

    /// The write that [`apply`](Self::apply) named is durable, and all it covers is gone.
    pub fn harden(&mut self, name: usize) {
        let Some(place) = name.checked_sub(self.flushed) else {
            return;
        };
        let entry = self.log[place].clone();
        let (Some(first), Some(last)) = (entry.sectors.first(), entry.sectors.last()) else {
            return;
        };
        let (first, last) = (first.0, last.0);
        for &(index, tag) in &entry.sectors {
            self.durable[index as usize] = tag;
        }
        for older in &mut self.log[..=place] {
            older
                .sectors
                .retain(|(index, _)| !(first..=last).contains(index));
        }
    }

    /// Where the cache's content ends now: what a flush that begins now covers.
    pub fn mark(&self) -> usize {
        self.flushed + self.log.len()
    }

    /// Everything before `mark` is durable.
    pub fn flush(&mut self, mark: usize) {
        let count = mark.saturating_sub(self.flushed);
        for entry in self.log.drain(..count) {
            for (index, tag) in entry.sectors {
                self.durable[index as usize] = tag;
            }
        }
        self.flushed += count;
    }

    /// Puts content there at once, durably: what is done to a device before it is a member.
    pub fn force(&mut self, at: u64, tags: &[Tag]) {
        let index = self.shape.index(at, tags.len() as u64);
        self.durable[index..index + tags.len()].copy_from_slice(tags);
        self.visible[index..index + tags.len()].copy_from_slice(tags);
    }
}
