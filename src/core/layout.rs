// SPDX-License-Identifier: GPL-2.0
//! Logical sectors of a volume <-> (slot, offset), and where parity lives.
//!
//! Knows nothing of disks. The layouts are md's, block for block: one-zone
//! raid0, raid1 over all slots, raid10 near, raid5 and raid6 left-symmetric
//! (drivers/md/raid0.c, raid1.c, raid10.c `__raid10_find_phys`, raid5.c
//! `raid5_compute_sector`). md's linear (drivers/md/md-linear.c) is one slot here
//! whose extents lie on all members, one behind the other.

mod linear;
mod raid0;
mod raid1;
mod raid10;
mod raid5;
mod raid6;

use crate::geometry::{div, div_up, rem, Logical, Offset, Sectors, SlotId, SlotMask, MAX_SLOTS};
use crate::refusal;
use crate::text::Refusal;

/// Smallest chunk a user may ask for, in sectors (4096 bytes).
pub const MIN_CHUNK: Sectors = Sectors::from_bytes(4096);
/// Largest chunk a user may ask for, in sectors (1048576 bytes).
pub const MAX_CHUNK: Sectors = Sectors::from_bytes(1 << 20);
/// The chunk where none is asked for, in sectors (65536 bytes).
pub const DEFAULT_CHUNK: Sectors = Sectors::from_bytes(65536);

/// Reads of one such region of a set with copies always choose the same copy (the
/// next living one where it is gone), and a resync copies from that very one: a value
/// that was read once is then the value that stays (DESIGN I6). Regions take turns, so
/// that a long read uses all members. In sectors; a multiple of every chunk.
const REGION: u64 = MAX_CHUNK.0;

/// How a volume's data lie over slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    #[default]
    Linear,
    Raid0,
    Raid1,
    Raid5,
    Raid6,
    /// md's near layout.
    Raid10 {
        copies: u8,
    },
}

impl Level {
    /// All of them, raid10 with the copies it has where none are asked for.
    pub const ALL: [Level; 6] = [
        Level::Linear,
        Level::Raid0,
        Level::Raid1,
        Level::Raid5,
        Level::Raid6,
        Level::Raid10 { copies: 2 },
    ];

    /// The word users write and read for it (DESIGN section 5).
    pub const fn name(self) -> &'static str {
        match self {
            Level::Linear => "linear",
            Level::Raid0 => "raid0",
            Level::Raid1 => "raid1",
            Level::Raid5 => "raid5",
            Level::Raid6 => "raid6",
            Level::Raid10 { .. } => "raid10",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Fewest members (DESIGN section 5).
    pub const fn min_slots(self) -> u8 {
        match self {
            Level::Linear => 1,
            Level::Raid0 | Level::Raid1 => 2,
            Level::Raid5 => 3,
            Level::Raid6 => 4,
            Level::Raid10 { copies } => copies,
        }
    }

    /// Slots that so many members make: a linear set has one, which lies on all of them.
    pub const fn slots_of(self, members: usize) -> u8 {
        match self {
            Level::Linear if members > 0 => 1,
            _ if members > u8::MAX as usize => u8::MAX,
            _ => members as u8,
        }
    }

    /// Whether data are cut into chunks that go round the slots.
    pub const fn is_striped(self) -> bool {
        !matches!(self, Level::Linear | Level::Raid1)
    }

    /// Whether stripes have a parity that a write must keep true.
    pub const fn has_parity(self) -> bool {
        matches!(self, Level::Raid5 | Level::Raid6)
    }

    /// Whether data lie in more than one place each.
    pub const fn has_copies(self) -> bool {
        matches!(self, Level::Raid1 | Level::Raid10 { .. })
    }

    /// Whether there is anything besides the one copy of the data.
    pub const fn is_redundant(self) -> bool {
        self.has_parity() || self.has_copies()
    }
}

/// A level with its numbers: the shape of a set, without its disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    pub level: Level,
    /// Chunk; one sector where the level is not striped.
    pub chunk: Sectors,
    pub slots: u8,
    /// Sectors used of each slot; a multiple of [`Layout::row_len`].
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
    /// A layout, with `slot_len` rounded down to whole rows.
    ///
    /// # Errors
    /// `EINVAL` when the chunk or the number of slots is not one the level takes.
    pub fn new(
        level: Level,
        chunk: Sectors,
        slots: u8,
        slot_len: Sectors,
    ) -> Result<Layout, Refusal> {
        if let Level::Raid10 { copies } = level {
            if copies < 2 || usize::from(copies) > MAX_SLOTS {
                return Err(refusal!(
                    EINVAL,
                    "raid10 can't have {} copies; give from 2 to {}, and at least as many members",
                    copies,
                    MAX_SLOTS
                ));
            }
        }
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
        let mut layout = Layout {
            level,
            chunk,
            slots,
            slot_len,
        };
        layout.slot_len = slot_len.round_down(layout.row_len());
        Ok(layout)
    }

    /// Data chunks in a row. A row is the least that is whole chunks of data in whole
    /// chunks of every slot: one chunk of each, but on raid10 perhaps more.
    pub const fn data_slots(&self) -> u64 {
        match self.level {
            Level::Linear | Level::Raid1 => 1,
            Level::Raid0 => self.slots as u64,
            Level::Raid5 | Level::Raid6 => self.slots as u64 - self.parities() as u64,
            Level::Raid10 { copies } => raid10::data_chunks(self.slots, copies),
        }
    }

    /// Sectors of every slot that a row takes.
    pub const fn row_len(&self) -> Sectors {
        match self.level {
            Level::Raid10 { copies } => {
                Sectors(self.chunk.0 * raid10::chunk_rows(self.slots, copies))
            }
            _ => self.chunk,
        }
    }

    /// Places that hold each sector of data.
    pub const fn copies(&self) -> u8 {
        match self.level {
            Level::Raid1 => self.slots,
            Level::Raid10 { copies } => copies,
            _ => 1,
        }
    }

    /// Chunks of parity in a row: none, P, or P and Q.
    pub const fn parities(&self) -> u8 {
        match self.level {
            Level::Raid5 => 1,
            Level::Raid6 => 2,
            _ => 0,
        }
    }

    /// Data sectors of a stripe: the multiple that cursors lie on.
    pub const fn stripe(&self) -> Sectors {
        Sectors(self.chunk.0 * self.data_slots())
    }

    /// Sectors of data the set can hold.
    pub const fn capacity(&self) -> Sectors {
        let rows = div(self.slot_len.0, self.row_len().0);
        Sectors(rows * self.stripe().0)
    }

    /// Missing slots that data survive, whichever they are; see [`Layout::survives`].
    pub const fn max_missing(&self) -> u8 {
        match self.level {
            Level::Linear | Level::Raid0 => 0,
            Level::Raid1 | Level::Raid10 { .. } => self.copies() - 1,
            Level::Raid5 | Level::Raid6 => self.parities(),
        }
    }

    /// Whether all data can be read without these slots.
    pub fn survives(&self, missing: SlotMask) -> bool {
        match self.level {
            Level::Raid10 { copies } => raid10::fewest_left(self.slots, copies, missing) > 0,
            _ => missing.count() <= u32::from(self.max_missing()),
        }
    }

    /// Whether any data are left in two places to compare, without these slots.
    pub fn has_two_copies(&self, missing: SlotMask) -> bool {
        match self.level {
            Level::Raid1 => missing.count() + 1 < u32::from(self.slots),
            Level::Raid10 { copies } => raid10::most_left(self.slots, copies, missing) > 1,
            _ => false,
        }
    }

    /// Where `x` lies; of several copies, that which is the first choice for reads.
    pub fn locate(&self, x: Logical) -> Spot {
        match self.level {
            Level::Linear => linear::locate(self, x),
            Level::Raid0 => raid0::locate(self, x),
            Level::Raid1 => raid1::locate(self, x, 0),
            Level::Raid5 => raid5::locate(self, x),
            Level::Raid6 => raid6::locate(self, x),
            Level::Raid10 { copies } => raid10::locate(self, x, copies, 0),
        }
    }

    /// Where copy `step` of `x` lies, in the order in which reads choose them;
    /// copy 0 is what [`Layout::locate`] says, and there are [`Layout::copies`].
    pub fn copy(&self, x: Logical, step: u8) -> Spot {
        match self.level {
            Level::Raid1 => raid1::locate(self, x, step),
            Level::Raid10 { copies } => raid10::locate(self, x, copies, step),
            _ => self.locate(x),
        }
    }

    /// The slot `step` places behind `slot`, round and round.
    pub const fn slot_after(&self, slot: SlotId, step: u8) -> SlotId {
        let sum = slot.0 as u64 + step as u64;
        SlotId(rem(sum, self.slots as u64) as u8)
    }

    /// The row that `x` lies in.
    pub const fn row(&self, x: Logical) -> u64 {
        div(x.0, self.stripe().0)
    }

    /// Slot of the parity P of row `row`, where the level has one.
    pub fn parity_slot(&self, row: u64) -> Option<SlotId> {
        match self.level {
            Level::Raid5 | Level::Raid6 => Some(raid5::parity_slot(self, row)),
            _ => None,
        }
    }

    /// Slot of the syndrome Q of row `row`, where the level has one.
    pub fn syndrome_slot(&self, row: u64) -> Option<SlotId> {
        match self.level {
            Level::Raid6 => Some(raid6::syndrome_slot(self, row)),
            _ => None,
        }
    }

    /// Slots of P and Q of row `row`, as far as the level has them.
    pub fn parity_slots(&self, row: u64) -> impl Iterator<Item = SlotId> {
        let slots = [self.parity_slot(row), self.syndrome_slot(row)];
        slots.into_iter().flatten()
    }

    /// Slot of data chunk `index` (0 is the first of the row) of row `row`; on raid1
    /// and linear, index 0 only; of several copies, the first of md's.
    pub fn data_slot(&self, row: u64, index: u64) -> SlotId {
        match self.level {
            Level::Linear | Level::Raid1 => SlotId(0),
            Level::Raid0 => SlotId(index as u8),
            Level::Raid5 => raid5::data_slot(self, row, index),
            Level::Raid6 => raid6::data_slot(self, row, index),
            Level::Raid10 { copies } => raid10::data_slot(self, copies, row, index),
        }
    }

    /// First offset, in every slot, of the row that `x` lies in.
    pub const fn row_offset(&self, x: Logical) -> Offset {
        Offset(self.row(x) * self.row_len().0)
    }

    /// Sectors of every slot that hold rows wholly or partly below `x`.
    pub const fn used_below(&self, x: Logical) -> Offset {
        Offset(div_up(x.0, self.stripe().0) * self.row_len().0)
    }
}
