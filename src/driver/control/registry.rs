// SPDX-License-Identifier: GPL-2.0

//! The volumes there are, by name and uuid.
//!
//! The lock is held for moments only: never while a volume starts or stops, nor while a kobject is
//! taken away, so that no file's write waits for another's.

use kernel::{
    prelude::*,
    sync::{Arc, Mutex},
};
use restripe_core::{
    ondisk::{Name, Uuid},
    refusal,
    text::Refusal,
};

use super::{events::Told, last_error::no_memory, node::Files, Shared};
use crate::sys::module::ModuleRef;
use crate::volume::Volume;

/// What names of volumes begin with; a number follows. Nothing else is taken, so that no name can
/// be that of another disk or of a partition.
const PREFIX: &str = "restripe";
/// Numbers of volumes are below this.
const NUMBERS: u32 = 1 << 20;

/// A volume that can be used. Fields are dropped in this order.
pub(super) struct Running {
    pub(super) files: Files,
    pub(super) told: Told,
    pub(super) volume: Arc<Volume>,
    pub(super) _module: ModuleRef,
}

enum Stage {
    /// On its way: its name and uuid are taken.
    Starting,
    Running(KBox<Running>),
    Stopping,
}

struct Entry {
    name: Name,
    uuid: Uuid,
    stage: Stage,
}

/// All volumes.
pub(super) struct Registry {
    entries: KVec<Entry>,
}

impl Registry {
    pub(super) fn new() -> Self {
        Registry {
            entries: KVec::new(),
        }
    }

    /// Volumes that can be used.
    pub(super) fn running(&mut self) -> impl Iterator<Item = (&Name, &mut Running)> {
        self.entries
            .iter_mut()
            .filter_map(|entry| match &mut entry.stage {
                Stage::Running(running) => Some((&entry.name, &mut **running)),
                Stage::Starting | Stage::Stopping => None,
            })
    }

    /// The volume that holds the device with that number.
    pub(super) fn holder(&mut self, devt: u32) -> Option<Name> {
        self.running()
            .find(|(_, running)| {
                let members = running.volume.members().lock();
                members.iter().flatten().any(|member| member.devt() == devt)
            })
            .map(|(name, _)| *name)
    }

    fn find(&mut self, name: &str) -> Option<&mut Entry> {
        self.entries
            .iter_mut()
            .find(|entry| entry.name.as_str() == name)
    }

    fn free_name(&mut self) -> Result<Name, Refusal> {
        for number in 0..NUMBERS {
            let mut name = Name::new();
            // A Text takes what fits, and this does.
            let _ = core::fmt::Write::write_fmt(&mut name, format_args!("{PREFIX}{number}"));
            if self.find(name.as_str()).is_none() {
                return Ok(name);
            }
        }
        Err(refusal!(
            EBUSY,
            "there are too many volumes; stop one first"
        ))
    }
}

/// Whether it is a name that a volume may have.
fn check_name(name: &Name) -> Result<(), Refusal> {
    let number = name.as_str().strip_prefix(PREFIX).unwrap_or("");
    let canonical = number == "0" || !number.starts_with('0');
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    if digits && canonical && number.parse::<u32>().is_ok_and(|n| n < NUMBERS) {
        return Ok(());
    }
    Err(refusal!(
        EINVAL,
        "a volume can't be called {}; give name={}N where N is a number below {}",
        name,
        PREFIX,
        NUMBERS
    ))
}

/// A name and a uuid that are taken for a volume on its way; given back unless it gets there.
pub(super) struct Reservation {
    shared: Arc<Shared>,
    name: Name,
    kept: bool,
}

impl Reservation {
    /// Takes the name that is wanted, or the first free one.
    pub(super) fn new(
        shared: &Arc<Shared>,
        wanted: Option<Name>,
        uuid: Uuid,
    ) -> Result<Self, Refusal> {
        let mut registry = shared.registry.lock();
        let name = match wanted {
            Some(name) => name,
            None => registry.free_name()?,
        };
        check_name(&name)?;
        if registry.find(name.as_str()).is_some() {
            return Err(refusal!(
                EEXIST,
                "there is a volume {} already; give another one as name=",
                name
            ));
        }
        if let Some(twin) = registry.entries.iter().find(|entry| entry.uuid == uuid) {
            return Err(refusal!(
                EEXIST,
                "{} has the uuid {} already: these are members of the same volume, or copies of them; stop it first",
                twin.name,
                uuid
            ));
        }
        let entry = Entry {
            name,
            uuid,
            stage: Stage::Starting,
        };
        registry
            .entries
            .push(entry, GFP_KERNEL)
            .map_err(no_memory)?;
        drop(registry);
        Ok(Reservation {
            shared: shared.clone(),
            name,
            kept: false,
        })
    }

    pub(super) fn name(&self) -> Name {
        self.name
    }

    /// The volume can be used from now on.
    pub(super) fn keep(mut self, running: KBox<Running>) {
        self.kept = true;
        let mut registry = self.shared.registry.lock();
        if let Some(entry) = registry.find(self.name.as_str()) {
            entry.stage = Stage::Running(running);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.kept {
            let mut registry = self.shared.registry.lock();
            registry.entries.retain(|entry| entry.name != self.name);
        }
    }
}

/// Ends a volume that nobody has open.
pub(super) fn stop(shared: &Shared, name: &str) -> Result<(), Refusal> {
    let registry = &shared.registry;
    let running = take(registry, name)?;
    // May wait for somebody who opens or closes it just now: no lock is held.
    let claimed = running
        .volume
        .disk()
        .is_none_or(|disk| disk.claim_stop().is_ok());
    if !claimed {
        let mut registry = registry.lock();
        if let Some(entry) = registry.find(name) {
            entry.stage = Stage::Running(running);
        }
        // What changed meanwhile nobody was told of.
        shared.note_change();
        return Err(refusal!(
            EBUSY,
            "{} is open: mounted, or used by a program; unmount it or end what uses it",
            Name::from(name)
        ));
    }
    let Running {
        files,
        volume,
        told: _,
        _module,
    } = KBox::into_inner(running);
    files.end();
    volume.stop();
    drop(volume);
    registry
        .lock()
        .entries
        .retain(|entry| entry.name.as_str() != name);
    Ok(())
}

/// Takes the volume out, so that nobody else ends it.
fn take(registry: &Mutex<Registry>, name: &str) -> Result<KBox<Running>, Refusal> {
    let mut registry = registry.lock();
    let Some(entry) = registry.find(name) else {
        return Err(refusal!(
            ENODEV,
            "there is no volume {}; `volumes` lists those there are",
            Name::from(name)
        ));
    };
    match core::mem::replace(&mut entry.stage, Stage::Stopping) {
        Stage::Running(running) => Ok(running),
        other => {
            entry.stage = other;
            Err(refusal!(
                EBUSY,
                "{} is starting or stopping just now; try again",
                entry.name
            ))
        }
    }
}
