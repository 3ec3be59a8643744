// SPDX-License-Identifier: GPL-2.0

//! [`Padded`]: a value with cache lines of its own, for arrays that several CPUs write to.

use core::ops::Deref;

/// Two lines, as CPUs fetch them in pairs.
#[repr(align(128))]
pub struct Padded<T>(pub T);

impl<T> Deref for Padded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
