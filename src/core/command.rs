// SPDX-License-Identifier: GPL-2.0
//! What users write to the control files (DESIGN section 5): one line, read into
//! typed values, or refused with a sentence that says what is wrong.

mod knob;
mod value;
mod volume;
mod words;

pub use knob::{
    bitmap, journal, latency_target_us, migrate_state, size, sync_action, sync_max, sync_speed_max,
    MigrateState, SyncRequest,
};
pub use value::Paths;
pub use volume::{
    adopt, assemble, create, examine, member_action, migrate, stop, Adopt, Assemble, Create,
    MemberAction, Migrate,
};
pub use words::{line_of, LINE_MAX};
