// SPDX-License-Identifier: GPL-2.0
//! What the disks hold before the first life.

use fastrand::Rng;
use restripe_core::geometry::{Logical, Offset, SlotId};
use restripe_core::ondisk::UNIT;
use restripe_core::placement::Set;

use crate::disk::{Image, Tag};
use crate::oracle::tag;
use crate::plan::parity;
use crate::scenario::Scenario;

/// Content of a set that holds a volume of version 0, and garbage all around.
pub(super) fn first_images(scenario: &Scenario, rng: &mut Rng) -> Vec<Image> {
    let mut images: Vec<Image> = (0..scenario.disks())
        .map(|m| {
            let shape = scenario.disk_shape(m);
            let bitmap = shape.index(scenario.bitmap(m), UNIT.0);
            let bitmap = bitmap..bitmap + UNIT.0 as usize;
            // There never was a bitmap.
            let mut garbage = |index| match bitmap.contains(&index) {
                true => 0,
                false => rng.u64(1..1 << 62) << 1,
            };
            (0..shape.len()).map(&mut garbage).collect()
        })
        .collect();
    let blank = |images: &mut Vec<Image>, member: u8, at: u64, len: u64| {
        let index = scenario.disk_shape(member).index(at, len);
        images[usize::from(member)][index..index + len as usize].fill(0);
    };
    for member in 0..scenario.disks() {
        for at in scenario.slots(member) {
            blank(
                &mut images,
                member,
                at,
                restripe_core::ondisk::SUPERBLOCK_SECTORS.0,
            );
        }
    }
    let set = scenario.superblock().sets[0];
    let put = |images: &mut Vec<Image>, set: &Set, slot: SlotId, offset, tag: Tag| {
        let place = set.place(slot, offset);
        let index = scenario.disk_shape(place.member.0).index(place.at.0, 1);
        images[usize::from(place.member.0)][index] = tag;
    };
    for x in 0..set.layout.capacity().0 {
        let content = if x < scenario.size { tag(x, 0) } else { 0 };
        for step in 0..set.layout.copies() {
            let copy = set.layout.copy(Logical(x), step);
            let stale = !scenario.synced && step > 0 && rng.u8(..4) == 0;
            let content = if stale { rng.u64(1..) >> 1 } else { content };
            put(&mut images, &set, copy.slot, copy.offset, content);
        }
    }
    if set.layout.level.has_parity() {
        let chunk = set.layout.chunk.0;
        for offset in (0..set.layout.slot_len.0).map(Offset) {
            let row = offset.0 / chunk;
            let data: Vec<Tag> = (0..set.layout.data_slots())
                .map(|index| {
                    let place = set.place(set.layout.data_slot(row, index), offset);
                    let index = scenario.disk_shape(place.member.0).index(place.at.0, 1);
                    images[usize::from(place.member.0)][index]
                })
                .collect();
            for (slot, sum) in set.layout.parity_slots(row).zip(parity(&data)) {
                let stale = !scenario.synced && rng.u8(..4) == 0;
                let content = if stale { rng.u64(1..) >> 1 } else { sum };
                put(&mut images, &set, slot, offset, content);
            }
        }
    }
    images
}
