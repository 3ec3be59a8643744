// SPDX-License-Identifier: GPL-2.0
//! How fast background work goes: over the last seconds.

use restripe_core::geometry::Sectors;

/// Milliseconds between two samples.
const INTERVAL: u64 = 1000;

/// Two samples, the older of which is one to two intervals old.
#[derive(Default)]
pub(crate) struct Meter {
    old: Option<(u64, Sectors)>,
    new: Option<(u64, Sectors)>,
}

impl Meter {
    /// Takes note of how much is done.
    pub(crate) fn sample(&mut self, now: u64, done: Option<Sectors>) {
        let Some(done) = done else {
            *self = Meter::default();
            return;
        };
        if self.new.is_some_and(|(_, at)| at > done) {
            // Something else began.
            *self = Meter::default();
        }
        match self.new {
            Some((then, _)) if now < then + INTERVAL => {}
            _ => (self.old, self.new) = (self.new, Some((now, done))),
        }
    }

    /// KiB a second.
    pub(crate) fn speed(&self, now: u64, done: Sectors) -> u64 {
        let Some((then, at)) = self.old.or(self.new) else {
            return 0;
        };
        let sectors = done.0.saturating_sub(at.0);
        let time = now.saturating_sub(then).max(1);
        // KiB are two sectors, seconds a thousand milliseconds.
        sectors * 500 / time
    }
}
