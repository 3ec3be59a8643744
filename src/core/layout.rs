// SPDX-License-Identifier: GPL-2.0
//! Logical sectors of a volume <-> (slot, offset), and where parity lives.
//!
//! Knows nothing of disks. The layouts are md's, block for block: one-zone
//! raid0, raid1 over all slots, raid5 left-symmetric (drivers/md/raid0.c,
//! raid1.c, raid5.c `raid5_compute_sector`).

mod linear;
mod raid0;
mod raid1;
mod raid5;

use crate::geometry::{div, div_up, rem, Logical, Offset, Sectors, SlotId, MAX_SLOTS};
use crate::refusal;
use crate::text::Refusal;

/// Smallest chunk a user may ask for, in sectors (4096 bytes).
pub const MIN_CHUNK: Sectors = Sectors::from_bytes(4096);
/// Largest chunk a user may ask for, in sectors (1048576 bytes).
pub const MAX_CHUNK: Sectors = Sectors::from_bytes(1 << 20);
/// The chunk where none is asked for, in sectors (65536 bytes).
pub const DEFAULT_CHUNK: Sectors = Sectors::from_bytes(65536);

/// How a volume's data lie over slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    #[default]
    Linear,
    Raid0,
    Raid1,
    Raid5,
}

impl Level {
    /// The word users write and read for it (DESIGN section 5).
    pub const fn name(self) -> &'static str {
        match self {
            Level::Linear => "linear",
            Level::Raid0 => "raid0",
            Level::Raid1 => "raid1",
            Level::Raid5 => "raid5",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Level> {
        [Level::Linear, Level::Raid0, Level::Raid1, Level::Raid5]
            .into_iter()
            .find(|level| level.name() == name)
    }

    /// Fewest members (DESIGN section 5).
    pub const fn min_slots(self) -> u8 {
        match self {
            Level::Linear => 1,
            Level::Raid0 | Level::Raid1 => 2,
            Level::Raid5 => 3,
        }
    }

    /// Whether data are cut into chunks that go round the slots.
    pub const fn is_striped(self) -> bool {
        matches!(self, Level::Raid0 | Level::Raid5)
    }

    /// Whether stripes have a parity that a write must keep true.
    pub const fn has_parity(self) -> bool {
        matches!(self, Level::Raid5)
    }

    /// Whether there is anything besides the one copy of the data.
    pub const fn is_redundant(self) -> bool {
        matches!(self, Level::Raid1 | Level::Raid5)
    }
}

/// A level with its numbers: the shape of a set, without its disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    pub level: Level,
    /// Chunk; one sector where the level is not striped.
    pub chunk: Sectors,
    pub slots: u8,
    /// Sectors used of each slot; a multiple of `chunk`.
    pub slot_len: Sectors,
}

/// Where a run of logical sectors lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    pub slot: SlotId,
    pub offset: Offset,
    /// Sectors from here on that follow each other in the slot too.
    pub run: Sectors,
}

impl Layout {
    /// A layout, with `slot_len` rounded down to whole chunks.
    ///
    /// # Errors
    /// `EINVAL` when the chunk or the number of slots is not one the level takes.
    pub fn new(
        level: Level,
        chunk: Sectors,
        slots: u8,
        slot_len: Sectors,
    ) -> Result<Layout, Refusal> {
        if slots < level.min_slots() {
            return Err(refusal!(
                EINVAL,
                "{} needs at least {} members and {} are given; add members or choose another level",
                level.name(),
                level.min_slots(),
                slots
            ));
        }
        if usize::from(slots) > MAX_SLOTS || (level == Level::Linear && slots > 1) {
            let most = if level == Level::Linear { 1 } else { MAX_SLOTS };
            return Err(refusal!(
                EINVAL,
                "{} takes at most {} members and {} are given; leave some out",
                level.name(),
                most,
                slots
            ));
        }
        let chunk = if level.is_striped() {
            if !chunk.0.is_power_of_two() || chunk < MIN_CHUNK || chunk > MAX_CHUNK {
                return Err(refusal!(
                    EINVAL,
                    "a chunk of {} bytes can't be used; give a power of two from {} to {} bytes",
                    chunk.bytes(),
                    MIN_CHUNK.bytes(),
                    MAX_CHUNK.bytes()
                ));
            }
            chunk
        } else {
            Sectors(1)
        };
        Ok(Layout {
            level,
            chunk,
            slots,
            slot_len: slot_len.round_down(chunk),
        })
    }

    /// Slots' worth of data in a stripe.
    pub const fn data_slots(&self) -> u64 {
        match self.level {
            Level::Linear | Level::Raid1 => 1,
            Level::Raid0 => self.slots as u64,
            Level::Raid5 => self.slots as u64 - 1,
        }
    }

    /// Data sectors of a stripe: the multiple that cursors lie on.
    pub const fn stripe(&self) -> Sectors {
        Sectors(self.chunk.0 * self.data_slots())
    }

    /// Sectors of data the set can hold.
    pub const fn capacity(&self) -> Sectors {
        Sectors(self.slot_len.0 * self.data_slots())
    }

    /// Missing slots that data survive.
    pub const fn max_missing(&self) -> u8 {
        match self.level {
            Level::Linear | Level::Raid0 => 0,
            Level::Raid1 => self.slots - 1,
            Level::Raid5 => 1,
        }
    }

    /// Where `x` lies; on raid1, the offset that all slots share and the leg
    /// that is its first choice for reads.
    pub fn locate(&self, x: Logical) -> Spot {
        match self.level {
            Level::Linear => linear::locate(self, x),
            Level::Raid0 => raid0::locate(self, x),
            Level::Raid1 => raid1::locate(self, x),
            Level::Raid5 => raid5::locate(self, x),
        }
    }

    /// The slot `step` places behind `slot`, round and round.
    pub const fn slot_after(&self, slot: SlotId, step: u8) -> SlotId {
        let sum = slot.0 as u64 + step as u64;
        SlotId(rem(sum, self.slots as u64) as u8)
    }

    /// The stripe (row of chunks) that `x` lies in.
    pub const fn row(&self, x: Logical) -> u64 {
        div(x.0, self.stripe().0)
    }

    /// Slot of the parity of row `row`, where the level has one.
    pub fn parity_slot(&self, row: u64) -> Option<SlotId> {
        match self.level {
            Level::Raid5 => Some(raid5::parity_slot(self, row)),
            _ => None,
        }
    }

    /// Slot of data chunk `index` (0 is the first of the row) of row `row`;
    /// on raid1 and linear, index 0 only, and the slot is the first.
    pub fn data_slot(&self, row: u64, index: u64) -> SlotId {
        match self.level {
            Level::Linear | Level::Raid1 => SlotId(0),
            Level::Raid0 => SlotId(index as u8),
            Level::Raid5 => raid5::data_slot(self, row, index),
        }
    }

    /// First offset, in every slot, of the row that `x` lies in.
    pub const fn row_offset(&self, x: Logical) -> Offset {
        Offset(self.row(x) * self.chunk.0)
    }

    /// Sectors of every slot that hold rows wholly or partly below `x`.
    pub const fn used_below(&self, x: Logical) -> Offset {
        Offset(div_up(x.0, self.stripe().0) * self.chunk.0)
    }
}
