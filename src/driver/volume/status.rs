// SPDX-License-Identifier: GPL-2.0
//! What a volume says of itself.

use restripe_core::geometry::Sectors;
use restripe_core::text::Text;

use super::{now_ms, Volume};

/// A moment of a volume.
pub(crate) struct Status {
    pub(crate) migrate_state: &'static str,
    pub(crate) array_state: &'static str,
    pub(crate) sync_action: &'static str,
    /// The durable cursor of a migration, in sectors of the volume.
    pub(crate) position: Option<u64>,
    /// Done, and in all.
    pub(crate) sync: Option<(Sectors, Sectors)>,
    /// KiB a second.
    pub(crate) speed_kib: u64,
    /// KiB a second; 0 is no cap.
    pub(crate) speed_max: u32,
    /// Slots missing.
    pub(crate) degraded: u8,
    /// Why a migration can't go on, or did not begin.
    pub(crate) blocked: Option<Text<160>>,
    /// Why members can't be rebuilt.
    pub(crate) recover_blocked: Option<Text<160>>,
    pub(crate) size: Sectors,
}

impl Volume {
    /// How it is now.
    pub(crate) fn status(&self) -> Status {
        let mut status = self.engine(|engine| Status {
            migrate_state: engine.migrate_state(),
            array_state: engine.array_state(),
            sync_action: engine.sync_action().name(),
            position: engine.migrate_position().map(|at| at.0),
            sync: engine.sync_completed(),
            speed_kib: 0,
            speed_max: engine.speed_max(),
            degraded: engine.degraded(),
            blocked: engine.blocked().map(Text::from),
            recover_blocked: engine.recover_blocked().map(Text::from),
            size: engine.size(),
        });
        if let Some((done, _)) = status.sync {
            status.speed_kib = self.meter().lock().speed(now_ms(), done);
        }
        status
    }
}
