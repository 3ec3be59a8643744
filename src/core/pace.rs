// SPDX-License-Identifier: GPL-2.0
//! Rate governor of background work; time is an argument.

use crate::geometry::{div_up, Sectors};

/// Lets pieces start no faster than a cap allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// KiB a second; 0 is no cap.
    pub speed_max: u32,
    /// The time, in milliseconds, at which the next piece may start.
    next: u64,
}

impl Pace {
    pub fn new(speed_max: u32) -> Self {
        Pace { speed_max, next: 0 }
    }

    /// Changes the cap; a wait that the old one imposed ends.
    pub fn set(&mut self, speed_max: u32) {
        *self = Pace::new(speed_max);
    }

    /// Whether a piece may start at `now`; if not, when.
    pub fn wait_until(&self, now: u64) -> Option<u64> {
        (self.speed_max != 0 && self.next > now).then_some(self.next)
    }

    /// Takes note that a piece of `len` starts at `now`.
    pub fn started(&mut self, now: u64, len: Sectors) {
        if self.speed_max != 0 {
            // KiB = sectors / 2; milliseconds = KiB * 1000 / speed, rounded up.
            let cost = div_up(len.0 * 500, u64::from(self.speed_max));
            self.next = self.next.max(now) + cost;
        }
    }
}
