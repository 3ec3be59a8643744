// SPDX-License-Identifier: GPL-2.0

//! [`Status`]: how a request or an I/O ended (`blk_status_t`). Any context.

use crate::sys::pb;
use kernel::{bindings, prelude::*};

/// `blk_status_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(u8);

impl Status {
    /// Done.
    pub const OK: Self = Self(0);
    /// The device can't do that.
    pub const NOTSUPP: Self = Self(pb::BLK_STS_NOTSUPP);
    /// It took too long.
    pub const TIMEOUT: Self = Self(pb::BLK_STS_TIMEOUT);
    /// No room on the device.
    pub const NOSPC: Self = Self(pb::BLK_STS_NOSPC);
    /// The way to the device failed.
    pub const TRANSPORT: Self = Self(pb::BLK_STS_TRANSPORT);
    /// The device failed.
    pub const TARGET: Self = Self(pb::BLK_STS_TARGET);
    /// The medium failed.
    pub const MEDIUM: Self = Self(pb::BLK_STS_MEDIUM);
    /// A checksum on the way is wrong.
    pub const PROTECTION: Self = Self(pb::BLK_STS_PROTECTION);
    /// No memory, or the like.
    pub const RESOURCE: Self = Self(pb::BLK_STS_RESOURCE);
    /// Any other error.
    pub const IOERR: Self = Self(pb::BLK_STS_IOERR);
    /// It would have had to wait.
    pub const AGAIN: Self = Self(pb::BLK_STS_AGAIN);
    /// The device is not there any more.
    pub const OFFLINE: Self = Self(pb::BLK_STS_OFFLINE);
    /// Odd size or alignment.
    pub const INVAL: Self = Self(pb::BLK_STS_INVAL);

    pub(super) const fn from_raw(raw: u8) -> Self {
        Self(raw)
    }

    pub(super) const fn raw(self) -> u8 {
        self.0
    }

    /// Whether it is done.
    pub fn is_ok(self) -> bool {
        self == Self::OK
    }

    /// The errno a user of the volume would see.
    pub fn to_result(self) -> Result {
        // SAFETY: `blk_status_to_errno` only looks the number up, and checks it.
        kernel::error::to_result(unsafe { bindings::blk_status_to_errno(self.0) })
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        // SAFETY: `errno_to_blk_status` only looks the number up; unknown ones become `IOERR`.
        Self(unsafe { bindings::errno_to_blk_status(error.to_errno()) })
    }
}
