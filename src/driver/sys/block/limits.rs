// SPDX-License-Identifier: GPL-2.0

//! [`Limits`]: what the volume's queue takes and prefers. Any context.

use super::Member;
use crate::sys::pb;
use kernel::{bindings, prelude::*};

/// What a volume's queue takes and prefers, beyond what its members set together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// In bytes. At least that of every member; it must not rise under a live volume.
    pub logical_block_size: u32,
    /// In bytes. 0: as the members have it.
    pub physical_block_size: u32,
    /// What is best read and written at once, in bytes: a chunk. 0: as the members have it.
    pub io_min: u32,
    /// What is best for long I/O, in bytes: a stripe. 0: as the members have it.
    pub io_opt: u32,
    /// No request crosses a multiple of this many sectors. 0: no such bound.
    pub chunk_sectors: u32,
    /// The longest request, in sectors. 0: as long as the block layer likes.
    pub max_sectors: u32,
    /// The most discarded at once, in sectors. 0: no discard.
    pub max_discard_sectors: u32,
    /// What is discarded as a whole, in bytes. 0: a block.
    pub discard_granularity: u32,
    /// The most zeroed at once, in sectors. 0: no write zeroes.
    pub max_write_zeroes_sectors: u32,
    /// Pages under write must not change: for parity, and for what is written to two places.
    pub stable_writes: bool,
}

/// The longest request unless said otherwise, in sectors: 4 MiB.
const MAX_SECTORS: u32 = 8192;

impl Limits {
    /// Nothing asked for: a plain disk with such blocks, in bytes.
    pub const fn new(logical_block_size: u32) -> Self {
        Self {
            logical_block_size,
            physical_block_size: 0,
            io_min: 0,
            io_opt: 0,
            chunk_sectors: 0,
            max_sectors: 0,
            max_discard_sectors: 0,
            discard_granularity: 0,
            max_write_zeroes_sectors: 0,
            stable_writes: false,
        }
    }

    /// In the kernel's form, on top of what `members` set. Write cache and FUA are always on: the
    /// driver passes flushes to every member, and a member without a cache is done with one at
    /// once.
    pub(super) fn raw<'a>(
        &self,
        members: impl Iterator<Item = &'a Member>,
    ) -> bindings::queue_limits {
        let mut lim: bindings::queue_limits = pin_init::zeroed();
        // SAFETY: It only fills the limits in.
        unsafe { bindings::blk_set_stacking_limits(&mut lim) };
        for member in members {
            // SAFETY: The device is open; the prefix is a string.
            unsafe {
                bindings::queue_limits_stack_bdev(
                    &mut lim,
                    member.bdev(),
                    0,
                    c"restripe".as_char_ptr(),
                )
            };
        }
        lim.logical_block_size = lim.logical_block_size.max(self.logical_block_size);
        lim.physical_block_size = lim
            .physical_block_size
            .max(self.physical_block_size)
            .max(lim.logical_block_size);
        if self.io_min != 0 {
            lim.io_min = self.io_min.max(lim.physical_block_size);
        }
        if self.io_opt != 0 {
            lim.io_opt = self.io_opt;
        }
        lim.chunk_sectors = self.chunk_sectors;
        // Members split what is too long for them.
        lim.max_hw_sectors = match self.max_sectors {
            0 => MAX_SECTORS,
            n => n,
        };
        lim.max_dev_sectors = 0;
        lim.max_sectors = 0;
        lim.max_user_sectors = 0;
        lim.max_segments = 256;
        lim.max_segment_size = u32::MAX;
        lim.max_discard_segments = 1;
        lim.max_hw_discard_sectors = self.max_discard_sectors;
        lim.max_user_discard_sectors = u32::MAX;
        lim.discard_granularity = self.discard_granularity.max(lim.logical_block_size);
        lim.discard_alignment = 0;
        lim.alignment_offset = 0;
        lim.max_secure_erase_sectors = 0;
        lim.max_write_zeroes_sectors = self.max_write_zeroes_sectors;
        lim.max_hw_wzeroes_unmap_sectors = 0;
        lim.max_user_wzeroes_unmap_sectors = 0;
        lim.max_hw_zone_append_sectors = 0;
        lim.atomic_write_hw_max = 0;
        lim.features &= bindings::BLK_FEAT_ROTATIONAL | pb::BLK_FEAT_STABLE_WRITES;
        // Stacking drops FUA without a write cache, and both where no member has one.
        lim.features |= pb::BLK_FEAT_WRITE_CACHE | pb::BLK_FEAT_FUA;
        if self.stable_writes {
            lim.features |= pb::BLK_FEAT_STABLE_WRITES;
        }
        lim
    }
}
