// SPDX-License-Identifier: GPL-2.0

//! Tells who watches a volume what has changed: pollers of its files, and udev. In a thread of its
//! own, so that a volume's work never waits for it.

use kernel::{prelude::*, str::CString, sync::Arc};

use super::{registry::Running, Shared};
use crate::sys::work::{Kthread, KthreadControl};
use crate::volume::{Observer, Status};

/// Files that are told of by a uevent too, and what they said last.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Told {
    migrate_state: &'static str,
    array_state: &'static str,
    degraded: u8,
    cannot_recover: bool,
}

impl Told {
    fn of(status: &Status) -> Told {
        Told {
            migrate_state: status.migrate_state,
            array_state: status.array_state,
            degraded: status.degraded,
            cannot_recover: status.recover_blocked.is_some(),
        }
    }
}

impl Observer for Shared {
    fn changed(&self) {
        self.note_change();
    }
}

/// Starts the thread.
pub(super) fn start(shared: Arc<Shared>) -> Result<Kthread> {
    Kthread::spawn(c"restripe_events", move |control| run(&shared, control))
}

fn run(shared: &Shared, control: &KthreadControl) {
    while !control.should_stop() {
        shared
            .wake
            .wait_idle(|| control.should_stop() || shared.has_changed());
        if shared.take_change() {
            for (name, running) in shared.registry.lock().running() {
                if tell(name.as_str(), running).is_err() {
                    pr_warn!("{}: no memory to tell of a change\n", name.as_str());
                }
            }
        }
    }
}

fn tell(name: &str, running: &mut Running) -> Result {
    let status = running.volume.status();
    running.files.follow_members()?;
    for file in [c"sync_completed", c"migrate_position", c"sync_action"] {
        running.files.notify(file);
    }
    let told = Told::of(&status);
    let before = core::mem::replace(&mut running.told, told);
    if told == before {
        return Ok(());
    }
    if told.migrate_state != before.migrate_state {
        if let Some(why) = &status.blocked {
            pr_warn!("{}: the migration is blocked: {}\n", name, why.as_str());
        }
    }
    if told.cannot_recover && !before.cannot_recover {
        if let Some(why) = &status.recover_blocked {
            pr_warn!(
                "{}: a member can't be rebuilt: {}; write idle to sync_action to try again\n",
                name,
                why.as_str()
            );
        }
    }
    let changed = [
        (c"migrate_state", told.migrate_state != before.migrate_state),
        (c"array_state", told.array_state != before.array_state),
        (c"degraded", told.degraded != before.degraded),
    ];
    for (file, _) in changed.iter().filter(|(_, changed)| *changed) {
        running.files.notify(file);
    }
    let migrate = CString::try_from_fmt(fmt!("RESTRIPE_MIGRATE_STATE={}", told.migrate_state))?;
    let array = CString::try_from_fmt(fmt!("RESTRIPE_ARRAY_STATE={}", told.array_state))?;
    let degraded = CString::try_from_fmt(fmt!("RESTRIPE_DEGRADED={}", told.degraded))?;
    if let Some(disk) = running.volume.disk() {
        disk.uevent_change(&[&migrate, &array, &degraded]);
    }
    Ok(())
}
