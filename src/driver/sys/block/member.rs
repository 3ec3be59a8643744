// SPDX-License-Identifier: GPL-2.0

//! [`Member`]: an open block device, ours alone if it is to be written to; [`HolderLink`]: shows
//! it under the volume in `lsblk`.

use super::bio::BioSet;
use super::gen_disk::{Disk, DiskRef};
use super::mq::Operations;
use crate::sys::pb;
use core::{ptr::NonNull, str};
use kernel::{
    bindings,
    error::{from_err_ptr, to_result},
    prelude::*,
    sync::Arc,
};

/// How a device is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// To look at: beside others, without writing.
    Examine,
    /// For ourselves, without writing.
    ReadOnly,
    /// For ourselves.
    ReadWrite,
}

/// Why a device can't be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// No such path, or no device behind it.
    NotFound,
    /// Something else than a block device.
    NotBlockDevice,
    /// Mounted, in an array, or held otherwise.
    Busy,
    /// It can't be written to.
    WriteProtected,
    /// No medium in it.
    NoMedium,
    /// Anything else.
    Other(Error),
}

impl OpenError {
    fn new(error: Error) -> Self {
        match error {
            ENOENT | ENXIO | ENODEV | ENOTDIR => Self::NotFound,
            ENOTBLK => Self::NotBlockDevice,
            EBUSY => Self::Busy,
            EACCES | EROFS | EPERM => Self::WriteProtected,
            e if e.to_errno() == -(bindings::ENOMEDIUM as i32) => Self::NoMedium,
            e => Self::Other(e),
        }
    }

    /// What to answer to the user.
    pub fn errno(self) -> Error {
        match self {
            Self::NotFound => ENOENT,
            Self::NotBlockDevice => ENOTBLK,
            Self::Busy => EBUSY,
            Self::WriteProtected => EACCES,
            Self::NoMedium => ENXIO,
            Self::Other(e) => e,
        }
    }
}

/// An open block device. Closes when dropped: in *task* context.
pub struct Member {
    file: NonNull<bindings::file>,
    bdev: NonNull<bindings::block_device>,
    /// Its address is whom the block layer knows as the holder of the device.
    _holder: KBox<u8>,
    bios: Arc<BioSet>,
    /// Opened for ourselves.
    is_ours: bool,
    info: pb::restripe_bdev_info,
    name: [u8; 32],
}

// SAFETY: An open device may be used and closed by any task.
unsafe impl Send for Member {}
// SAFETY: The block layer does its own locking.
unsafe impl Sync for Member {}

impl Member {
    /// Opens the device at `path`, in the calling task's name space: call it in the task that
    /// writes the control file. I/O to it takes its bios from `bios`. *Task* context.
    pub fn open(path: &CStr, access: Access, bios: Arc<BioSet>) -> Result<Self, OpenError> {
        let holder = KBox::new(0, GFP_KERNEL).map_err(|e| OpenError::Other(e.into()))?;
        let (mode, who): (_, *const u8) = match access {
            Access::Examine => (pb::BLK_OPEN_READ, core::ptr::null()),
            Access::ReadOnly => (pb::BLK_OPEN_READ, &*holder),
            Access::ReadWrite => (pb::BLK_OPEN_READ | pb::BLK_OPEN_WRITE, &*holder),
        };
        // SAFETY: The path is a string; the holder lives as long as the member, which closes the
        // device first.
        let file = from_err_ptr(unsafe {
            bindings::bdev_file_open_by_path(
                path.as_char_ptr(),
                mode,
                who.cast_mut().cast(),
                core::ptr::null(),
            )
        })
        .map_err(OpenError::new)?;
        // SAFETY: It is the file of a block device.
        let bdev = unsafe { bindings::file_bdev(file) };
        let mut name = [0; 32];
        // SAFETY: The device is open, and the name has room for as many bytes as we say.
        let info = unsafe {
            pb::restripe_bdev_name(bdev, name.as_mut_ptr().cast(), name.len());
            pb::restripe_bdev_info(bdev)
        };
        let member = Self {
            // SAFETY: Neither is null for an open device.
            file: unsafe { NonNull::new_unchecked(file) },
            // SAFETY: As above.
            bdev: unsafe { NonNull::new_unchecked(bdev) },
            _holder: holder,
            bios,
            is_ours: access != Access::Examine,
            info,
            name,
        };
        if member.is_ours {
            member.write_back()?;
        }
        Ok(member)
    }

    /// Has the device hold what others wrote to it through the page cache, and the page cache
    /// nothing: whoever has it open still keeps that, which would come over ours later.
    fn write_back(&self) -> Result<(), OpenError> {
        // SAFETY: The device is open.
        unsafe {
            let written = bindings::sync_blockdev(self.bdev());
            bindings::invalidate_bdev(self.bdev());
            to_result(written).map_err(OpenError::Other)
        }
    }

    fn now(&self) -> pb::restripe_bdev_info {
        // SAFETY: The device is open.
        unsafe { pb::restripe_bdev_info(self.bdev()) }
    }

    pub(in crate::sys::block) fn bdev(&self) -> *mut bindings::block_device {
        self.bdev.as_ptr()
    }

    /// What the kernel calls it, as `vda`.
    pub fn name(&self) -> &str {
        let end = self.name.iter().position(|b| *b == 0);
        let name = self.name.get(..end.unwrap_or(self.name.len()));
        str::from_utf8(name.unwrap_or(&[])).unwrap_or("?")
    }

    /// The device number: the same for all paths to one device.
    pub fn devt(&self) -> u32 {
        self.info.devt
    }

    /// How long it is now, in sectors.
    pub fn sectors(&self) -> u64 {
        self.now().sectors
    }

    /// In bytes.
    pub fn logical_block_size(&self) -> u32 {
        self.info.logical_block_size
    }

    /// In bytes.
    pub fn physical_block_size(&self) -> u32 {
        self.info.physical_block_size
    }

    /// Whether it is written zone by zone.
    pub fn is_zoned(&self) -> bool {
        self.info.zoned
    }

    /// Whether it can't be written to.
    pub fn is_read_only(&self) -> bool {
        self.now().read_only
    }

    /// Whether what it acknowledges may be lost without a flush.
    pub fn has_write_cache(&self) -> bool {
        self.now().write_cache
    }

    /// Whether it does FUA by itself.
    pub fn has_fua(&self) -> bool {
        self.info.fua
    }

    /// The most it discards at once, in sectors; 0 if it can't.
    pub fn max_discard_sectors(&self) -> u32 {
        self.now().max_discard_sectors
    }

    /// The most it zeroes at once, in sectors; 0 if it can't.
    pub fn max_write_zeroes_sectors(&self) -> u32 {
        self.now().max_write_zeroes_sectors
    }

    /// Whether it is a spinning disk.
    pub fn is_rotational(&self) -> bool {
        self.info.rotational
    }

    /// Where bios for it come from.
    pub fn bios(&self) -> &Arc<BioSet> {
        &self.bios
    }

    /// The identifier the device has for life, and its length, if it tells one.
    pub fn unique_id(&self) -> Option<([u8; 16], usize)> {
        let mut id = [0; 16];
        // SAFETY: The device is open, and the identifier has at most 16 bytes.
        let len = unsafe { pb::restripe_bdev_unique_id(self.bdev(), id.as_mut_ptr()) };
        let len = usize::try_from(len).ok()?;
        (len <= id.len()).then_some((id, len))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.is_ours {
            // What others have read meanwhile is not what it holds now.
            // SAFETY: The device is open.
            unsafe { bindings::invalidate_bdev(self.bdev()) };
        }
        // SAFETY: It is open, and this is its one reference.
        unsafe { bindings::bdev_fput(self.file.as_ptr()) };
    }
}

/// Links a member and the volume's disk in sysfs. To be made after [`Disk::add`], and dropped
/// before the disk. *Task* context.
pub struct HolderLink {
    member: Arc<Member>,
    disk: DiskRef,
}

impl HolderLink {
    /// Fails for a member that was opened to examine it, and for a disk not added.
    pub fn new<T: Operations>(member: Arc<Member>, disk: &Disk<T>) -> Result<Self> {
        let disk = disk.get();
        // SAFETY: The device is open, and the disk there.
        unsafe {
            if (*member.bdev()).bd_holder.is_null() || (*disk.raw()).slave_dir.is_null() {
                return Err(EINVAL);
            }
            to_result(pb::restripe_link_holder(member.bdev(), disk.raw()))?;
        }
        Ok(Self { member, disk })
    }
}

impl HolderLink {
    /// The number of the device that is linked.
    pub fn devt(&self) -> u32 {
        self.member.devt()
    }
}

impl Drop for HolderLink {
    fn drop(&mut self) {
        // SAFETY: They were linked by `new`, and both are kept by us.
        unsafe { pb::restripe_unlink_holder(self.member.bdev(), self.disk.raw()) };
    }
}
