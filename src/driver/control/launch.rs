// SPDX-License-Identifier: GPL-2.0

//! The last steps of every line that makes a volume: it starts, and its files appear.

use kernel::{prelude::*, sync::Arc};
use restripe_core::{
    geometry::MemberId,
    journal::Patch,
    ondisk::{FoundStash, Superblock},
    refusal,
    text::Refusal,
};

use super::{
    device::Device,
    events::Told,
    last_error::no_memory,
    node::Files,
    registry::{Reservation, Running},
    Shared,
};
use crate::sys::module::ModuleRef;
use crate::volume::{Present, Start, Volume};

/// What an assembly found besides superblocks.
#[derive(Default)]
pub(super) struct Found {
    /// The valid stash.
    pub(super) stash: Option<FoundStash>,
    /// The epoch whose journal is to be replayed.
    pub(super) replay: Option<u64>,
    /// What is read through the journal where it can't be replayed.
    pub(super) patches: KVVec<Patch>,
}

/// Starts the volume of `superblock` under the reserved name.
pub(super) fn launch(
    shared: &Arc<Shared>,
    reservation: Reservation,
    mut superblock: KBox<Superblock>,
    members: KVec<Present>,
    found: Found,
    read_only: bool,
) -> Result<(), Refusal> {
    let module = ModuleRef::get()
        .map_err(|_| refusal!(ENODEV, "the module is being removed; load it again first"))?;
    superblock.name = reservation.name();
    let volume = Volume::start(Start {
        superblock,
        members,
        stash: found.stash,
        replay: found.replay,
        patches: found.patches,
        read_only,
        observer: shared.clone(),
    })?;
    match running(shared, &volume, module) {
        Ok(running) => {
            reservation.keep(running);
            if let Some(disk) = volume.disk() {
                disk.uevent_change(&[]);
            }
            shared.note_change();
            Ok(())
        }
        Err(refusal) => {
            volume.stop();
            Err(refusal)
        }
    }
}

fn running(
    shared: &Arc<Shared>,
    volume: &Arc<Volume>,
    _module: ModuleRef,
) -> Result<KBox<Running>, Refusal> {
    let running = Running {
        files: Files::new(shared, volume)?,
        told: Told::default(),
        volume: volume.clone(),
        _module,
    };
    KBox::new(running, GFP_KERNEL).map_err(no_memory)
}

/// Devices as members in the order of the list.
pub(super) fn in_order(devices: &[Device<'_>]) -> Result<KVec<Present>, Refusal> {
    let mut members = KVec::with_capacity(devices.len(), GFP_KERNEL).map_err(no_memory)?;
    for (index, device) in devices.iter().enumerate() {
        let present = Present {
            // CAST: A line names far fewer devices.
            id: MemberId(index as u8),
            device: device.member.clone(),
            slot: None,
        };
        members.push(present, GFP_KERNEL).map_err(no_memory)?;
    }
    Ok(members)
}
