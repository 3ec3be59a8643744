// SPDX-License-Identifier: GPL-2.0
//! Ranges that one holder at a time has, first come, first served.

use crate::list::List;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    start: u64,
    end: u64,
    owner: u64,
    held: bool,
}

/// At most `N` holders and waiters. Who waits is before all that come later and
/// overlap, so nobody starves.
pub struct RangeLock<const N: usize> {
    entries: List<Entry, N>,
}

impl<const N: usize> RangeLock<N> {
    pub fn new() -> Self {
        RangeLock {
            entries: List::new(),
        }
    }

    /// Asks for `start..end` in the name of `owner` (unique among holders and
    /// waiters). True: it is held now. False: `unlock` will name the owner later.
    pub fn lock(&mut self, start: u64, end: u64, owner: u64) -> bool {
        debug_assert!(self.entries.iter().all(|e| e.owner != owner));
        let held = !overlaps(&self.entries, start, end);
        self.entries.push(Entry {
            start,
            end,
            owner,
            held,
        });
        held
    }

    /// Gives back what `owner` holds, and calls `granted` for every owner that holds its range now.
    pub fn unlock(&mut self, owner: u64, mut granted: impl FnMut(u64)) {
        let index = self
            .entries
            .iter()
            .position(|e| e.owner == owner)
            .expect("unlock by who does not hold");
        let gone = self.entries.remove(index);
        assert!(gone.held, "unlock by a waiter");
        for i in index..self.entries.len() {
            let entry = self.entries[i];
            if !entry.held
                && entry.start < gone.end
                && gone.start < entry.end
                && !overlaps(&self.entries[..i], entry.start, entry.end)
            {
                self.entries[i].held = true;
                granted(entry.owner);
            }
        }
    }
}

impl<const N: usize> Default for RangeLock<N> {
    fn default() -> Self {
        Self::new()
    }
}

fn overlaps(entries: &[Entry], start: u64, end: u64) -> bool {
    entries.iter().any(|e| e.start < end && start < e.end)
}
