// SPDX-License-Identifier: GPL-2.0

//! [`Op`] and [`Flags`]: what a request or an I/O asks for (`blk_opf_t`). Any context.

use crate::sys::pb;
use core::ops::BitOr;
use kernel::bindings;

/// The operation of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Fill the pages.
    Read,
    /// Store the pages.
    Write,
    /// Has no data and no sectors: pass it on as a flush of every member.
    Flush,
    /// The range is not needed any more.
    Discard,
    /// The range is to read as zeroes.
    WriteZeroes,
    /// Never sent to a disk with our limits; end it with `NOTSUPP`.
    Other,
}

impl Op {
    pub(super) fn from_opf(opf: u32) -> Self {
        match opf & pb::REQ_OP_MASK {
            bindings::req_op_REQ_OP_READ => Self::Read,
            bindings::req_op_REQ_OP_WRITE => Self::Write,
            bindings::req_op_REQ_OP_FLUSH => Self::Flush,
            bindings::req_op_REQ_OP_DISCARD => Self::Discard,
            bindings::req_op_REQ_OP_WRITE_ZEROES => Self::WriteZeroes,
            _ => Self::Other,
        }
    }

    /// Whether the medium is changed.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Write | Self::Discard | Self::WriteZeroes)
    }
}

/// The flags that go with an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(u32);

impl Flags {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// On stable media before it completes.
    pub const FUA: Self = Self(pb::REQ_FUA);
    /// Flush the volatile cache first.
    pub const PREFLUSH: Self = Self(pb::REQ_PREFLUSH);
    /// Somebody waits for it.
    pub const SYNC: Self = Self(pb::REQ_SYNC);
    /// File system metadata.
    pub const META: Self = Self(pb::REQ_META);
    /// Before others.
    pub const PRIO: Self = Self(pb::REQ_PRIO);
    /// More is about to follow.
    pub const IDLE: Self = Self(pb::REQ_IDLE);
    /// Reading ahead: may fail at any time.
    pub const RAHEAD: Self = Self(pb::REQ_RAHEAD);
    /// Background I/O.
    pub const BACKGROUND: Self = Self(pb::REQ_BACKGROUND);
    /// Fail rather than wait.
    pub const NOWAIT: Self = Self(pb::REQ_NOWAIT);
    /// Swapping.
    pub const SWAP: Self = Self(pb::REQ_SWAP);
    /// With write zeroes: keep the blocks allocated.
    pub const NOUNMAP: Self = Self(pb::REQ_NOUNMAP);

    /// What a member may see of a request's flags. PREFLUSH was done by the block layer's flush
    /// machinery; NOWAIT, RAHEAD and fail-fast would let one copy fail where another succeeds;
    /// the rest belongs to the submitter's own bio.
    const FOR_MEMBER: u32 = Self::FUA.0
        | Self::SYNC.0
        | Self::META.0
        | Self::PRIO.0
        | Self::IDLE.0
        | Self::BACKGROUND.0
        | Self::SWAP.0
        | Self::NOUNMAP.0;

    pub(super) fn from_opf(opf: u32) -> Self {
        Self(opf & !pb::REQ_OP_MASK)
    }

    pub(super) fn raw(self) -> u32 {
        self.0
    }

    /// The flags to send a request's data to a member with.
    pub fn for_member(self) -> Self {
        Self(self.0 & Self::FOR_MEMBER)
    }

    /// Whether all of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// All but those of `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
