// SPDX-License-Identifier: GPL-2.0

//! Devices that a line names: opening them, and saying what is wrong with them.

use core::fmt::Write;

use kernel::{
    prelude::*,
    str::CString,
    sync::{Arc, Mutex},
};
use restripe_core::{
    geometry::Sectors,
    ondisk::{member_geometry, Name, Serial},
    probe::UNIT_SIZE,
    refusal,
    shape::NewMember,
    text::Refusal,
};

use super::{last_error::no_memory, new_uuid, registry::Registry, Shared};
use crate::sys::block::bio::BioSet;
use crate::sys::block::member::{Access, Member, OpenError};
use crate::volume::Volume;

/// How the devices of a line are opened.
pub(super) struct Opener<'a> {
    registry: &'a Mutex<Registry>,
    access: Access,
    bios: Arc<BioSet>,
}

impl<'a> Opener<'a> {
    /// For a volume to come, or for none.
    pub(super) fn new(shared: &'a Shared, access: Access) -> Result<Self, Refusal> {
        let bios = BioSet::new().map_err(no_memory)?;
        let registry = &shared.registry;
        Ok(Opener {
            registry,
            access,
            bios,
        })
    }

    /// For a volume that there is.
    pub(super) fn of(shared: &'a Shared, volume: &Volume, access: Access) -> Self {
        Opener {
            registry: &shared.registry,
            access,
            bios: volume.bios().clone(),
        }
    }

    /// Opens one. `others` are those that the same line named before.
    pub(super) fn open<'d>(
        &self,
        name: &'d str,
        others: &[Device<'d>],
    ) -> Result<Device<'d>, Refusal> {
        let path = CString::try_from_fmt(fmt!("{}", name)).map_err(|_| {
            refusal!(
                EINVAL,
                "{} is no path of a device; give one as /dev/vdb",
                name
            )
        })?;
        let member = Member::open(&path, self.access, self.bios.clone())
            .map_err(|error| self.refuse(name, &path, error, others))?;
        let member = Arc::new(member, GFP_KERNEL).map_err(no_memory)?;
        let device = Device { name, member };
        if let Some(twin) = device.twin(others) {
            return Err(same(twin, name));
        }
        Ok(device)
    }

    /// Opens all that a line names, each once.
    pub(super) fn open_all<'d>(&self, names: &[&'d str]) -> Result<KVec<Device<'d>>, Refusal> {
        let mut devices = KVec::with_capacity(names.len(), GFP_KERNEL).map_err(no_memory)?;
        for name in names {
            let device = self.open(name, &devices)?;
            devices.push(device, GFP_KERNEL).map_err(no_memory)?;
        }
        Ok(devices)
    }

    /// Why it can't be opened.
    fn refuse(&self, name: &str, path: &CStr, error: OpenError, others: &[Device<'_>]) -> Refusal {
        match error {
            OpenError::NotFound => refusal!(
                ENOENT,
                "{} does not exist, or no device is behind it; check the name",
                name
            ),
            OpenError::NotBlockDevice => refusal!(
                EINVAL,
                "{} is not a block device; give a disk or a partition",
                name
            ),
            OpenError::WriteProtected => write_protected(name),
            OpenError::NoMedium => refusal!(ENODEV, "{} has no medium in it; insert one", name),
            OpenError::Busy => self.busy(name, path, others),
            OpenError::Other(error) => refusal!(
                EIO,
                "{} can't be opened (error {}); see the kernel's log",
                name,
                error.to_errno()
            ),
        }
    }

    /// Who has it.
    fn busy(&self, name: &str, path: &CStr, others: &[Device<'_>]) -> Refusal {
        if let Ok(member) = Member::open(path, Access::Examine, self.bios.clone()) {
            let devt = member.devt();
            if let Some(twin) = others.iter().find(|other| other.member.devt() == devt) {
                return same(twin, name);
            }
            if let Some(holder) = self.registry.lock().holder(devt) {
                return belongs_to(name, holder);
            }
        }
        refusal!(
            EBUSY,
            "{} is in use: mounted, or held by another program or array; unmount it or end what uses it",
            name
        )
    }
}

/// An open device, and what the user calls it.
pub(super) struct Device<'a> {
    pub(super) name: &'a str,
    pub(super) member: Arc<Member>,
}

impl<'a> Device<'a> {
    fn twin<'d>(&self, others: &'d [Device<'a>]) -> Option<&'d Device<'a>> {
        let devt = self.member.devt();
        others.iter().find(|other| other.member.devt() == devt)
    }

    pub(super) fn sectors(&self) -> Sectors {
        Sectors(self.member.sectors())
    }

    /// It as one that comes in, with a uuid of its own from now on.
    pub(super) fn as_new(&self, adopted: bool) -> Result<NewMember<'a>, Refusal> {
        if self.member.is_read_only() {
            return Err(write_protected(self.name));
        }
        // What lies on a member is placed, and read, in units of 4096 bytes.
        if self.member.logical_block_size() > UNIT_SIZE as u32 {
            return Err(refusal!(
                EINVAL,
                "{} has logical blocks of {} bytes and the largest that can be used are {}; choose another device",
                self.name,
                self.member.logical_block_size(),
                UNIT_SIZE
            ));
        }
        let geometry = member_geometry(self.sectors(), adopted).map_err(|refusal| {
            // Its sentence says what is wrong, and which device it is has to be said too.
            Refusal {
                errno: refusal.errno,
                ..refusal!(ENOSPC, "{}: {}", self.name, refusal)
            }
        })?;
        Ok(NewMember {
            name: self.name,
            uuid: new_uuid(),
            serial: serial(&self.member),
            geometry,
            logical_block: self.member.logical_block_size(),
            zoned: self.member.is_zoned(),
        })
    }
}

/// The identifier the device has for life, in hexadecimal digits; nothing where it tells none.
pub(super) fn serial(member: &Member) -> Serial {
    let mut text = Serial::new();
    if let Some((id, len)) = member.unique_id() {
        for byte in id.iter().take(len) {
            // A Text takes what fits, and 32 digits do.
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

fn same(twin: &Device<'_>, name: &str) -> Refusal {
    if twin.name == name {
        refusal!(EINVAL, "{} is given twice; give every device once", name)
    } else {
        refusal!(
            EINVAL,
            "{} and {} are the same device; give every device once",
            twin.name,
            name
        )
    }
}

fn write_protected(name: &str) -> Refusal {
    refusal!(
        EROFS,
        "{} can't be written to; make it writable or choose another device",
        name
    )
}

fn belongs_to(name: &str, volume: Name) -> Refusal {
    refusal!(
        EBUSY,
        "{} is a member of the volume {} already; choose another device, or stop that volume",
        name,
        volume
    )
}
