// SPDX-License-Identifier: GPL-2.0
//! Members' copies of the write-intent bitmap: read at assembly, written before writes are.

use restripe_core::bitmap::{Bitmap, BITMAP_BYTES};
use restripe_core::geometry::MemberMask;

use super::chore::Chore;
use super::commit::failed_members;
use crate::sys::block::bio;
use crate::sys::block::{Flags, Status};
use crate::sys::parity::crc32c;
use crate::volume::VolumeMarks;

impl Chore {
    /// Adds to the marks what each member at `places` says; all, where one can't be read.
    pub(super) fn load_marks(&mut self, marks: &VolumeMarks, bitmap: &Bitmap, epoch: u64) {
        marks.reset(false);
        for (id, place) in self.places.iter() {
            let Some(member) = Chore::device(&self.devices, *id) else {
                marks.merge(bitmap, epoch, None, crc32c);
                continue;
            };
            let to = self.bytes.slice_mut(0..BITMAP_BYTES);
            let outcome = bio::scope(|batch| batch.read(member, place.0, to, id.0));
            let bytes = outcome.is_ok().then(|| self.bytes.as_slice());
            marks.merge(bitmap, epoch, bytes, crc32c);
        }
    }

    /// Writes the marks to the members at `places`; those that failed.
    pub(super) fn write_bitmap(&mut self, marks: &VolumeMarks, bitmap: &Bitmap) -> MemberMask {
        marks.encode(
            bitmap,
            &mut self.bytes.as_mut_slice()[..BITMAP_BYTES],
            crc32c,
        );
        let (devices, bytes, places) = (&self.devices, &self.bytes, &self.places);
        let outcome = bio::scope(|batch| {
            for (id, place) in places.iter() {
                match Chore::device(devices, *id) {
                    Some(member) => {
                        let flags = Flags::FUA | Flags::SYNC | Flags::META;
                        let from = bytes.slice(0..BITMAP_BYTES);
                        batch.write(member, place.0, from, flags, id.0);
                    }
                    None => batch.fail(id.0, Status::OFFLINE),
                }
            }
        });
        failed_members(&outcome)
    }
}
