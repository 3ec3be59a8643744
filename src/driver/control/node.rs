// SPDX-License-Identifier: GPL-2.0

//! A volume's files in sysfs: `/sys/block/restripeN/restripe/`.

mod action;
mod member;
mod migrate;
mod progress;
mod scan;
mod shape;

use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{Arc, Mutex},
};
use restripe_core::{
    geometry::{MemberId, MemberMask},
    refusal,
    text::Refusal,
};

use super::{last_error::no_memory, Shared};
use crate::sys::sysfs::{Attr, Kobject, Page};
use crate::volume::Volume;
use member::MemberNode;

/// What the files of a volume show and act on.
#[pin_data]
pub(super) struct Node {
    shared: Arc<Shared>,
    volume: Arc<Volume>,
    next: Arc<migrate::Next>,
    /// The members being read before a migration.
    #[pin]
    scan: Mutex<Option<scan::Running>>,
}

impl Node {
    fn answer(&self, line: &[u8], act: impl FnOnce() -> Result<(), Refusal>) -> Result {
        self.shared.last_error.answer(line, act)
    }

    fn too_long(&self, line: &[u8]) {
        self.shared.last_error.too_long(line);
    }
}

static FILES: &[Attr<Node>] = &[
    Attr::ro(c"uuid", shape::show_uuid),
    Attr::ro(c"level", shape::show_level),
    Attr::ro(c"chunk_size", shape::show_chunk_size),
    Attr::ro(c"raid_disks", shape::show_raid_disks),
    Attr::ro(c"target_level", shape::show_target_level),
    Attr::ro(c"target_chunk_size", shape::show_target_chunk_size),
    Attr::ro(c"target_raid_disks", shape::show_target_raid_disks),
    rw(c"size", shape::show_size, shape::store_size),
    Attr::ro(c"array_state", shape::show_array_state),
    Attr::ro(c"degraded", shape::show_degraded),
    Attr::ro(c"mismatch_cnt", shape::show_mismatch_cnt),
    Attr::ro(c"mismatches", shape::show_mismatches),
    wo(c"migrate", migrate::store),
    Attr::ro(c"plan", migrate::show_plan),
    rw(
        c"migrate_state",
        progress::show_migrate_state,
        progress::store_migrate_state,
    ),
    Attr::ro(c"migrate_position", progress::show_migrate_position),
    Attr::ro(c"sync_completed", progress::show_sync_completed),
    Attr::ro(c"sync_speed", progress::show_sync_speed),
    rw(
        c"sync_speed_max",
        progress::show_sync_speed_max,
        progress::store_sync_speed_max,
    ),
    rw(
        c"sync_max",
        progress::show_sync_max,
        progress::store_sync_max,
    ),
    rw(c"journal", shape::show_journal, shape::store_journal),
    Attr::ro(c"journal_in_force", shape::show_journal_in_force),
    rw(c"bitmap", shape::show_bitmap, shape::store_bitmap),
    Attr::ro(c"bitmap_in_force", shape::show_bitmap_in_force),
    Attr::ro(c"bitmap_chunk", shape::show_bitmap_chunk),
    Attr::ro(c"bitmap_dirty", shape::show_bitmap_dirty),
    rw(
        c"latency_target_us",
        progress::show_latency_target,
        progress::store_latency_target,
    ),
    rw(
        c"sync_action",
        progress::show_sync_action,
        progress::store_sync_action,
    ),
    wo(c"member_action", action::store),
];

/// A file to be written.
const fn wo(name: &'static CStr, store: Store) -> Attr<Node> {
    Attr::wo(name, store).or_too_long(Node::too_long)
}

/// A file to be read and written.
const fn rw(name: &'static CStr, show: Show, store: Store) -> Attr<Node> {
    Attr::rw(name, show, store).or_too_long(Node::too_long)
}

type Show = fn(&Node, &mut Page<'_>) -> Result;
type Store = fn(&Node, &[u8]) -> Result;

/// The folders. What lies under another is dropped before it.
pub(super) struct Files {
    members: KVec<(MemberId, Kobject<MemberNode>)>,
    folder: Kobject<Node>,
    node: Kobject<Node>,
    data: Arc<Node>,
    volume: Arc<Volume>,
}

impl Files {
    /// Makes them all, under the volume's disk.
    pub(super) fn new(shared: &Arc<Shared>, volume: &Arc<Volume>) -> Result<Self, Refusal> {
        let next =
            Arc::pin_init(migrate::Next::new(shared, volume), GFP_KERNEL).map_err(no_files)?;
        let data = Arc::pin_init(
            pin_init!(Node {
                shared: shared.clone(),
                volume: volume.clone(),
                next,
                scan <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )
        .map_err(no_files)?;
        let disk = volume.disk().ok_or(ENODEV).map_err(no_files)?;
        let node = Kobject::new(&*disk, c"restripe", FILES, data.clone()).map_err(no_files)?;
        let folder = Kobject::new(&node, c"members", &[], data.clone()).map_err(no_files)?;
        let mut files = Files {
            members: KVec::new(),
            folder,
            node,
            data,
            volume: volume.clone(),
        };
        files.follow_members().map_err(no_files)?;
        Ok(files)
    }

    /// Makes folders for members that have come, and drops those of members that have gone.
    pub(super) fn follow_members(&mut self) -> Result {
        let wanted = self.volume.superblock(|sb| {
            let mut mask = MemberMask::EMPTY;
            for (id, _) in sb.rows() {
                mask.insert(id);
            }
            mask
        });
        self.members.retain(|(id, _)| wanted.has(*id));
        for id in wanted.iter() {
            if self.members.iter().any(|(there, _)| *there == id) {
                continue;
            }
            let data = Arc::new(MemberNode::new(self.volume.clone(), id), GFP_KERNEL)?;
            let name = CString::try_from_fmt(fmt!("{}", id.0))?;
            let member = Kobject::new(&self.folder, &name, member::FILES, data)?;
            self.members.push((id, member), GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Takes them away, waits for their calls, and for what those left running.
    pub(super) fn end(self) {
        let data = self.data.clone();
        drop(self);
        scan::end(&data);
    }

    /// Wakes who polls the file.
    pub(super) fn notify(&self, name: &CStr) {
        self.node.notify(name);
    }
}

fn no_files(error: Error) -> Refusal {
    if error == ENOMEM {
        return no_memory(error);
    }
    refusal!(
        EIO,
        "the volume's files in sysfs can't be made (error {}); see the kernel's log",
        error.to_errno()
    )
}

/// A value in a line of its own.
fn line(page: &mut Page<'_>, value: impl core::fmt::Display) -> Result {
    use core::fmt::Write;
    writeln!(page, "{value}")?;
    Ok(())
}
