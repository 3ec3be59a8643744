// SPDX-License-Identifier: GPL-2.0
//! What a volume shall be: pure functions that make superblocks.
//!
//! None of them raises the generation or the epoch: who commits does that.

mod create;
mod examine;
mod head;
mod member;
mod migration;
mod plan;
mod reach;
mod resize;
mod target;
mod trim;
mod witness;

pub use create::{adopt, create, Wish as CreateWish};
pub use examine::{write_examine, write_volume};
pub use head::{head_coming_home, heads_leaving, move_heads};
pub use member::{
    change_for, check_change, is_at_work, is_placed, make_change, take_spares, Change,
};
pub use migration::{
    begin_migration, common_row, finish_migration, leavers, needs_stash, turn_migration, way_of,
    Wish as MigrationWish, MAX_ROW, PIECE,
};
pub use plan::write_plan;
pub use reach::{reach, Reach};
pub use resize::resize;
pub use trim::trimmed;
pub use witness::{adopt_full, settle, with_witness, Tail};

use crate::geometry::{MemberId, Sectors, SlotId};
use crate::layout::Layout;
use crate::ondisk::{Geometry, Member, MemberState, Name, Serial, Uuid, UNIT};
use crate::placement::Extent;
use crate::refusal;
use crate::text::{Refusal, Text};

/// A device that comes in.
#[derive(Clone, Copy, Debug)]
pub struct NewMember<'a> {
    /// What the user calls it.
    pub name: &'a str,
    /// Made for it just now.
    pub uuid: Uuid,
    pub serial: Serial,
    pub geometry: Geometry,
    /// Bytes.
    pub logical_block: u32,
    pub zoned: bool,
}

impl NewMember<'_> {
    fn row(&self) -> Member {
        Member {
            uuid: self.uuid,
            serial: self.serial,
            device_sectors: self.geometry.device,
            state: MemberState::InSync,
            adopted: self.geometry.adopted,
            regions: self.geometry.regions,
            ..Member::default()
        }
    }

    /// Devices that can't be written where, and as finely as, restripe has to.
    fn check_device(&self) -> Result<(), Refusal> {
        if self.zoned {
            return Err(refusal!(
                EOPNOTSUPP,
                "{} is a zoned device and restripe can't use those; choose another one",
                self.name
            ));
        }
        if u64::from(self.logical_block) > UNIT.bytes() {
            return Err(refusal!(
                EINVAL,
                "{} has logical blocks of {} bytes and restripe can't use more than {}; choose another device",
                self.name,
                self.logical_block,
                UNIT.bytes()
            ));
        }
        Ok(())
    }
}

/// What every superblock of a new volume needs from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamp {
    pub uuid: Uuid,
    pub name: Name,
    pub writer: Text<32>,
    /// Seconds since 1970.
    pub now: u64,
}

/// The extent that backs `len` sectors of a slot from a member's first data sector on.
fn whole_slot(slot: u8, member: MemberId, geometry: &Geometry, len: Sectors) -> Extent {
    Extent {
        slot: SlotId(slot),
        member,
        start: geometry.data_start,
        len,
    }
}

/// The largest volume a layout holds: whole 4096 bytes, whole logical blocks.
fn volume_of(layout: &Layout, logical_block: u32) -> Sectors {
    let unit = UNIT.0.max(Sectors::from_bytes(u64::from(logical_block)).0);
    layout.capacity().round_down(Sectors(unit))
}

/// The least data area among `members`, and whose it is.
fn smallest<'a>(members: &'a [NewMember<'a>]) -> Option<&'a NewMember<'a>> {
    members.iter().min_by_key(|m| m.geometry.data_len)
}
