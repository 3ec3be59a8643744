// SPDX-License-Identifier: GPL-2.0
//! (slot, offset) <-> (member, sector): a slot is a list of extents, so a slot
//! may span several disks.

use crate::geometry::{
    Logical, MemberId, MemberMask, Offset, Physical, Range, Sectors, SlotId, SlotMask,
};
use crate::layout::{Layout, Level};
use crate::list::List;

/// Most extents in all the slots of a set.
pub const MAX_EXTENTS: usize = 32;

/// A contiguous piece of a member that backs a piece of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    pub slot: SlotId,
    pub member: MemberId,
    pub start: Physical,
    pub len: Sectors,
}

/// A place on a member, and the sectors from there on that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    pub member: MemberId,
    pub at: Physical,
    pub run: Sectors,
}

/// A layout and where its slots lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Set {
    pub layout: Layout,
    /// Sorted by slot; within a slot in the order of its offsets.
    pub extents: List<Extent, MAX_EXTENTS>,
    /// Copies and parity are true below this sector of the volume (a multiple
    /// of the stripe, or the capacity); above it they are not to be relied on.
    pub resync: Logical,
    /// All that was ever written beyond `resync` was written in rows whose parity was made anew, so
    /// that it can be rebuilt; what nobody wrote there is whatever P makes of it, and Q may say
    /// otherwise. Of sets with parity only.
    pub is_fresh: bool,
    /// Below this they are not to be relied on either. Known to maps only, of the target of a
    /// migration that goes down: its rows below the durable cursor are being made.
    pub true_from: Logical,
}

impl Set {
    /// Whether copies and parity are known to be true all over the rows of `range` (DESIGN I8).
    pub fn is_synced(&self, range: Range) -> bool {
        let stripe = self.layout.stripe();
        self.true_from <= range.start.round_down(stripe)
            && range.end.round_up(stripe) <= self.resync
    }

    /// Whether what is missing of the rows of `range` can be rebuilt from the rest of them (DESIGN I8):
    /// their parity is true, or of what was written there it is.
    pub fn is_rebuildable(&self, range: Range) -> bool {
        let stripe = self.layout.stripe();
        let is_made = self.true_from <= range.start.round_down(stripe);
        is_made && self.tells_up_to(range.end.round_up(stripe))
    }

    /// The same of all rows up to `end` that are made.
    pub fn tells_up_to(&self, end: Logical) -> bool {
        end <= self.resync || self.is_fresh
    }

    /// Whether it is laid out and lies as the other one does.
    pub fn lies_as(&self, other: &Set) -> bool {
        (&self.layout, &self.extents) == (&other.layout, &other.extents)
    }

    /// Its parity and copies are to be relied on as far as those of `other`, which lies as it does.
    pub fn trust_as(&mut self, other: &Set) {
        (self.resync, self.is_fresh) = (other.resync, other.is_fresh);
    }

    /// Where `offset` of `slot` lies.
    ///
    /// # Panics
    /// When the set has no such place: callers bound their sectors by the capacity.
    pub fn place(&self, slot: SlotId, offset: Offset) -> Place {
        let mut before = 0;
        for extent in &self.extents {
            if extent.slot != slot {
                continue;
            }
            let end = before + extent.len.0;
            if offset.0 < end {
                let within = offset.0 - before;
                return Place {
                    member: extent.member,
                    at: extent.start + Sectors(within),
                    run: extent.len - Sectors(within),
                };
            }
            before = end;
        }
        panic!("slot {} has no offset {}", slot.0, offset.0);
    }

    /// The member that backs `offset` of `slot`.
    pub fn member(&self, slot: SlotId, offset: Offset) -> MemberId {
        self.place(slot, offset).member
    }

    /// Every member that backs any slot.
    pub fn members(&self) -> MemberMask {
        let mut mask = MemberMask::EMPTY;
        for extent in &self.extents {
            mask.insert(extent.member);
        }
        mask
    }

    /// Members that it lies on, as md counts them: one a slot, and of a linear set all.
    pub fn disks(&self) -> u32 {
        match self.layout.level {
            Level::Linear => self.members().count(),
            _ => u32::from(self.layout.slots),
        }
    }

    /// Slots of which some extent is not on one of `alive`.
    pub fn missing_slots(&self, alive: MemberMask) -> SlotMask {
        let mut slots = SlotMask::EMPTY;
        for extent in &self.extents {
            if !alive.has(extent.member) {
                slots.insert(extent.slot);
            }
        }
        slots
    }

    /// How many slots those are.
    pub fn missing(&self, alive: MemberMask) -> u8 {
        self.missing_slots(alive).count() as u8
    }

    /// Whether all data can be read with only `alive` left.
    pub fn survives(&self, alive: MemberMask) -> bool {
        self.layout.survives(self.missing_slots(alive))
    }

    /// Whether, with only `alive` left, there is anything by which copies or parity can
    /// be made true, or compared: two copies of some data, or all of every row.
    pub fn can_compare(&self, alive: MemberMask) -> bool {
        let missing = self.missing_slots(alive);
        match self.layout.level.has_parity() {
            true => missing == SlotMask::EMPTY,
            false => self.layout.has_two_copies(missing),
        }
    }
}
