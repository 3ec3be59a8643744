// SPDX-License-Identifier: GPL-2.0
//! A vector of fixed capacity: the core never allocates.

use core::fmt;
use core::ops::{Deref, DerefMut};

/// At most `N` values, held in place.
///
/// The fields are public for one reason: a list can be larger than a kernel stack
/// can spare, and then the driver makes it field by field where it is to be.
#[derive(Clone, Copy)]
pub struct List<T: Copy + Default, const N: usize> {
    /// Those behind `len` are of no meaning.
    pub items: [T; N],
    /// At most `N`.
    pub len: usize,
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    /// An empty list.
    pub fn new() -> Self {
        List {
            items: [T::default(); N],
            len: 0,
        }
    }

    /// Appends `item`.
    ///
    /// # Panics
    /// When the list is full: capacities here are bounds proven by the caller,
    /// so running over one is a bug, never a condition to handle.
    pub fn push(&mut self, item: T) {
        assert!(self.len < N, "List of {N} is full");
        self.items[self.len] = item;
        self.len += 1;
    }

    /// Appends `item` if there is room; says whether it did.
    #[must_use]
    pub fn try_push(&mut self, item: T) -> bool {
        if self.len == N {
            return false;
        }
        self.push(item);
        true
    }

    /// Removes the item at `index`; those behind it move up.
    pub fn remove(&mut self, index: usize) -> T {
        let item = self[index];
        self.items.copy_within(index + 1..self.len, index);
        self.len -= 1;
        item
    }

    /// Removes all items.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        List::new()
    }
}

impl<T: Copy + Default, const N: usize> Deref for List<T, N> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.items[..self.len]
    }
}

impl<T: Copy + Default, const N: usize> DerefMut for List<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..self.len]
    }
}

impl<T: Copy + Default + PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Copy + Default + Eq, const N: usize> Eq for List<T, N> {}

impl<T: Copy + Default + fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Copy + Default, const N: usize> IntoIterator for &'a List<T, N> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
