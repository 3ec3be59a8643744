//! What came to the disks, in order, and what their user had acknowledged in between.

use serde::{Deserialize, Serialize};

use super::image::Image;
use crate::wire::Ack;

/// The unit that a disk writes whole or not at all.
pub const SECTOR: usize = 512;

/// What a request leaves on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Data(Vec<u8>),
    /// So many bytes of zeroes: a write-zeroes, or a discard, which here leaves the same.
    Zeroes(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    pub disk: usize,
    /// Byte.
    pub at: u64,
    pub content: Content,
    /// It is on the medium when it is answered.
    pub fua: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Received and answered. It may be lost as long as no flush of its disk follows.
    Write(Write),
    /// All writes of this disk so far are on the medium.
    Flush { disk: usize },
    /// The guest's writer had these acknowledgements. They are put down a little later than it had them, so that a cut never asks for more.
    Acks(Vec<Ack>),
    /// The guest had read values as new as these.
    Seen(Vec<Ack>),
    /// A flush of the volume was acknowledged that began after so many of all `Acks` and `Seen`.
    Flushed { before: u64 },
}

/// All that happened to some disks, which were blank.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Bytes of each disk.
    pub sizes: Vec<u64>,
    pub events: Vec<Event>,
}

impl Log {
    /// A log that makes these of blank disks.
    pub fn of(images: &[Image]) -> Self {
        let mut events = Vec::new();
        for (disk, image) in images.iter().enumerate() {
            events.extend(image.data().map(|(at, data)| {
                Event::Write(Write {
                    disk,
                    at,
                    content: Content::Data(data.to_vec()),
                    fua: false,
                })
            }));
            events.push(Event::Flush { disk });
        }
        Self {
            sizes: images.iter().map(Image::size).collect(),
            events,
        }
    }
}

impl Write {
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::Data(data) => data.len() as u64,
            Content::Zeroes(len) => *len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn apply(&self, image: &mut Image) {
        match &self.content {
            Content::Data(data) => image.write(self.at, data),
            Content::Zeroes(len) => image.zero(self.at, *len),
        }
    }

    /// Applies only those sectors of it that `wanted` says, which counts from 0. Disks write whole sectors, and so do guests.
    pub fn apply_torn(&self, image: &mut Image, mut wanted: impl FnMut(usize) -> bool) {
        let sectors = (self.len() as usize).div_ceil(SECTOR);
        for index in (0..sectors).filter(|&index| wanted(index)) {
            let from = index * SECTOR;
            let at = self.at + from as u64;
            match &self.content {
                Content::Data(data) => {
                    image.write(at, &data[from..data.len().min(from + SECTOR)]);
                }
                Content::Zeroes(len) => image.zero(at, (SECTOR as u64).min(len - from as u64)),
            }
        }
    }
}
