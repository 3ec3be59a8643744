// SPDX-License-Identifier: GPL-2.0
//! From the superblocks found on the listed devices: which is true, what to
//! resume, what to refuse (DESIGN I1, I4, I6 to I8, sections 4 and 5).
//!
//! Devices are looked at one superblock at a time, so that one in memory is
//! enough: first for who they are (`recover/find.rs`), then the newest is read
//! again and judged (`recover/judge.rs`).

mod find;
mod judge;
mod known;
mod note;

pub use note::Note;

use crate::geometry::{MemberId, MemberMask, Physical, Sectors, MAX_MEMBERS};
use crate::list::List;
use crate::ondisk::{DecodeError, Name, Serial, Superblock, Uuid};
use crate::text::Refusal;

/// Most devices that can be listed.
pub const MAX_DEVICES: usize = MAX_MEMBERS;

/// Some sectors of a listed device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    pub device: usize,
    pub at: Physical,
    pub len: Sectors,
}

/// The listed devices, by their index in the list.
pub trait Devices {
    /// Size of the device.
    fn sectors(&self, device: usize) -> Sectors;

    /// Serial of the device.
    fn serial(&self, device: usize) -> Serial;

    /// CRC-32C of these pieces, one after the other, where they can be read.
    fn crc(&mut self, pieces: &[Piece]) -> Option<u32>;

    /// Reads the superblock in slot 0 or 1 of the device into `into` and decodes it.
    ///
    /// # Errors
    /// Why there is none to go by; `into` then holds anything.
    fn read_superblock(
        &mut self,
        device: usize,
        slot: usize,
        into: &mut Superblock,
    ) -> Result<MemberId, DecodeError>;
}

/// How to assemble.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AssembleOptions {
    /// The volume that is wanted; that of the first device where none is said.
    pub uuid: Option<Uuid>,
    /// Go on without members that are missing.
    pub degraded: bool,
    /// Go on where parity may be wrong, or a disk was used while it was being adopted.
    pub force: bool,
    /// Write nothing at all.
    pub read_only: bool,
    /// A migration is to stay where it is.
    pub paused: bool,
    /// A new name.
    pub name: Option<Name>,
}

/// A volume as it can be assembled. Its superblock is what `recover` filled in,
/// to be committed to all present members before the first write, unless
/// assembled read-only (that commit raises the generation; the epoch is raised already).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assembly {
    /// Index of the device of every member that takes part.
    pub device_of_member: [Option<u8>; MAX_MEMBERS],
    /// The slot of each of these that holds its last durable superblock (DESIGN I7).
    pub last_slot: [Option<u8>; MAX_MEMBERS],
    /// Members of sets that had taken part until now and were not found.
    pub missing: MemberMask,
    /// It was not stopped in order: copies and parity are stale until resynced.
    pub unclean: bool,
    /// The epoch of the superblock found: records of the journal count if they are of it.
    pub epoch: u64,
    /// What the user should know.
    pub notes: List<Note, { 2 * MAX_DEVICES }>,
}

/// Decides what the listed devices are together. `names` are what the user calls
/// them, in the order of the list. On success `superblock` is the volume's.
///
/// # Errors
/// Whatever speaks against assembling them, with the device's name; nothing has
/// been written to any of them.
pub fn recover(
    devices: &mut dyn Devices,
    names: &[&str],
    options: &AssembleOptions,
    superblock: &mut Superblock,
) -> Result<Assembly, Refusal> {
    let mut finds = find::none();
    find::find(devices, names, options, superblock, &mut finds)?;
    judge::judge(devices, names, options, &finds, superblock)
}
