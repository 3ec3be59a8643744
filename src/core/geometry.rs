// SPDX-License-Identifier: GPL-2.0
//! Places and lengths as types of their own, so that units can't be mixed.
//!
//! Everything is counted in sectors of 512 bytes unless a name says bytes.

use core::ops::{Add, AddAssign, BitAnd, BitOr, Not, Sub};

/// Bytes in a sector, on every device and in every structure.
pub const SECTOR_SIZE: usize = 512;
/// log2 of [`SECTOR_SIZE`].
pub const SECTOR_SHIFT: u32 = 9;

/// Most members a volume may have, those that come and those that leave included.
pub const MAX_MEMBERS: usize = 32;
/// Most slots in a set.
pub const MAX_SLOTS: usize = 16;

/// `a / b`, for a `b` that is not 0.
///
/// Kernel 7.2's objtool knows this panic as one that never returns, and not that of a
/// plain division, of which it warns wherever the compiler can't prove it sound.
#[inline]
pub const fn div(a: u64, b: u64) -> u64 {
    match a.checked_div(b) {
        Some(quotient) => quotient,
        None => panic!("a division by zero"),
    }
}

/// `a % b`, for a `b` that is not 0; see [`div`].
#[inline]
pub const fn rem(a: u64, b: u64) -> u64 {
    match a.checked_rem(b) {
        Some(remainder) => remainder,
        None => panic!("a division by zero"),
    }
}

/// `a / b` rounded up, for a `b` that is not 0; see [`div`].
#[inline]
pub const fn div_up(a: u64, b: u64) -> u64 {
    let quotient = div(a, b);
    if quotient * b < a {
        quotient + 1
    } else {
        quotient
    }
}

/// The greatest number that divides both.
pub const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, rem(a, b));
    }
    a
}

/// A length in sectors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Sectors(pub u64);

impl Sectors {
    pub const ZERO: Sectors = Sectors(0);

    /// `bytes` as sectors, rounded down.
    pub const fn from_bytes(bytes: u64) -> Self {
        Sectors(bytes >> SECTOR_SHIFT)
    }

    /// This length in bytes.
    pub const fn bytes(self) -> u64 {
        self.0 << SECTOR_SHIFT
    }

    /// Rounded down to a multiple of `unit`.
    pub const fn round_down(self, unit: Sectors) -> Self {
        Sectors(self.0 - rem(self.0, unit.0))
    }

    /// Rounded up to a multiple of `unit`.
    pub const fn round_up(self, unit: Sectors) -> Self {
        Sectors(div_up(self.0, unit.0) * unit.0)
    }
}

impl Add for Sectors {
    type Output = Sectors;
    fn add(self, other: Sectors) -> Sectors {
        Sectors(self.0 + other.0)
    }
}

impl Sub for Sectors {
    type Output = Sectors;
    fn sub(self, other: Sectors) -> Sectors {
        Sectors(self.0 - other.0)
    }
}

macro_rules! place {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
        pub struct $name(pub u64);

        impl $name {
            pub const ZERO: $name = $name(0);

            /// Distance from the first sector.
            pub const fn from_start(self) -> Sectors {
                Sectors(self.0)
            }

            /// Rounded down to a multiple of `unit` from the first sector.
            pub const fn round_down(self, unit: Sectors) -> Self {
                $name(Sectors(self.0).round_down(unit).0)
            }

            /// Rounded up to a multiple of `unit` from the first sector.
            pub const fn round_up(self, unit: Sectors) -> Self {
                $name(Sectors(self.0).round_up(unit).0)
            }
        }

        impl Add<Sectors> for $name {
            type Output = $name;
            fn add(self, len: Sectors) -> $name {
                $name(self.0 + len.0)
            }
        }

        impl AddAssign<Sectors> for $name {
            fn add_assign(&mut self, len: Sectors) {
                self.0 += len.0;
            }
        }

        impl Sub<$name> for $name {
            type Output = Sectors;
            fn sub(self, start: $name) -> Sectors {
                Sectors(self.0 - start.0)
            }
        }
    };
}

place! {
    /// A sector of the volume, as the user sees it.
    Logical
}
place! {
    /// A sector of a slot, counted from the slot's own start.
    Offset
}
place! {
    /// A sector of a member device.
    Physical
}

/// A half-open range of the volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Range {
    pub start: Logical,
    pub end: Logical,
}

impl Range {
    pub fn new(start: Logical, end: Logical) -> Self {
        assert!(start <= end);
        Range { start, end }
    }

    pub fn len(&self) -> Sectors {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn overlaps(&self, other: &Range) -> bool {
        self.start < other.end && other.start < self.end
    }

    pub fn contains(&self, x: Logical) -> bool {
        self.start <= x && x < self.end
    }
}

/// A row of the volume's member table. It stays the member's own for life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct MemberId(pub u8);

/// A position in a RAID layout.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct SlotId(pub u8);

/// A set of slots, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct SlotMask(pub u16);

impl SlotMask {
    pub const EMPTY: SlotMask = SlotMask(0);

    pub const fn has(self, slot: SlotId) -> bool {
        self.0 & (1 << slot.0) != 0
    }

    pub fn insert(&mut self, slot: SlotId) {
        self.0 |= 1 << slot.0;
    }

    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

const _: () = assert!(MAX_SLOTS <= u16::BITS as usize);

/// A set of members, one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct MemberMask(pub u32);

impl MemberMask {
    pub const EMPTY: MemberMask = MemberMask(0);

    pub const fn of(member: MemberId) -> Self {
        MemberMask(1 << member.0)
    }

    pub const fn has(self, member: MemberId) -> bool {
        self.0 & (1 << member.0) != 0
    }

    pub fn insert(&mut self, member: MemberId) {
        self.0 |= 1 << member.0;
    }

    pub fn remove(&mut self, member: MemberId) {
        self.0 &= !(1 << member.0);
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// The members, lowest first.
    pub fn iter(self) -> impl Iterator<Item = MemberId> {
        (0..MAX_MEMBERS as u8)
            .map(MemberId)
            .filter(move |m| self.has(*m))
    }
}

impl BitAnd for MemberMask {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        MemberMask(self.0 & other.0)
    }
}

impl BitOr for MemberMask {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        MemberMask(self.0 | other.0)
    }
}

impl Not for MemberMask {
    type Output = Self;
    fn not(self) -> Self {
        MemberMask(!self.0)
    }
}
