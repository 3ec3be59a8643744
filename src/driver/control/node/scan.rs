// SPDX-License-Identifier: GPL-2.0

//! `scan=1`: all members are read before a migration, in a thread of its own. `sync_action` says
//! `scan` meanwhile, `sync_completed` how far it is, `plan` what came of it. Nothing is written.

use core::fmt::Write;

use kernel::{
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Relaxed, Release},
        Arc,
    },
};
use restripe_core::{
    command,
    geometry::{MemberId, MemberMask, Sectors},
    ondisk::Superblock,
    pace::Pace,
    refusal,
    scan::{Piece, Scan, PIECE},
    text::{Refusal, Text},
};

use super::{
    migrate::{Next, Planned},
    Node,
};
use crate::control::{device::Device, disks, examine::Growing, last_error::no_memory};
use crate::sys::{
    block::member::Member,
    mem::Buffer,
    work::{Kthread, KthreadControl},
};
use crate::volume::now_ms;

/// A scan under way, or one that is over and nobody has asked since. Dropping it ends it.
pub(super) struct Running {
    progress: Arc<Progress>,
    _thread: Kthread,
}

/// In sectors.
struct Progress {
    done: Atomic<u64>,
    total: u64,
    over: Atomic<u32>,
}

/// How far the scan is; nothing where none is under way.
pub(super) fn progress(node: &Node) -> Option<(Sectors, Sectors)> {
    let scan = node.scan.lock();
    let progress = &scan.as_ref()?.progress;
    let is_over = progress.over.load(Acquire) != 0;
    (!is_over).then(|| {
        let done = progress.done.load(Relaxed);
        (Sectors(done), Sectors(progress.total))
    })
}

/// Ends the scan, if there is one, and waits for its end: a piece being read at most.
pub(super) fn end(node: &Node) {
    let scan = node.scan.lock().take();
    drop(scan);
}

/// # Errors
/// `EBUSY` while a scan is under way.
pub(super) fn refuse_beside(node: &Node) -> Result<(), Refusal> {
    match progress(node) {
        None => Ok(()),
        Some(_) => Err(refusal!(
            EBUSY,
            "the members are being read for a migration to come; wait until sync_action says idle, or write idle to it"
        )),
    }
}

/// Starts reading for what was planned; what the line asks for comes after it.
pub(super) fn start(
    node: &Node,
    line: &[u8],
    devices: &[Device<'_>],
    planned: &Planned<'_>,
) -> Result<(), Refusal> {
    let work = Work::new(node, line, devices, planned).map_err(no_memory)?;
    let progress = work.progress.clone();
    // One that is over gives way; its thread has ended.
    end(node);
    let thread =
        Kthread::spawn(c"restripe_scan", move |control| work.run(control)).map_err(no_memory)?;
    *node.scan.lock() = Some(Running {
        progress,
        _thread: thread,
    });
    Ok(())
}

/// What the thread has.
struct Work {
    next: Arc<Next>,
    line: KVec<u8>,
    /// The devices that the line adds, in its order.
    added: KVec<Arc<Member>>,
    /// All that are read.
    members: KVec<(MemberId, Arc<Member>)>,
    scan: Scan<KBox<Superblock>>,
    buffer: Buffer,
    progress: Arc<Progress>,
}

impl Work {
    fn new(
        node: &Node,
        line: &[u8],
        devices: &[Device<'_>],
        planned: &Planned<'_>,
    ) -> Result<Work> {
        let mut text = KVec::with_capacity(line.len(), GFP_KERNEL)?;
        text.extend_from_slice(line, GFP_KERNEL)?;
        let mut added = KVec::with_capacity(devices.len(), GFP_KERNEL)?;
        let mut members = KVec::new();
        let mut alive = MemberMask::EMPTY;
        for (device, new) in devices.iter().zip(&planned.members) {
            added.push(device.member.clone(), GFP_KERNEL)?;
            if let Some(id) = planned.superblock.member_by_uuid(new.uuid) {
                members.push((id, device.member.clone()), GFP_KERNEL)?;
                alive.insert(id);
            }
        }
        for (id, row) in planned.superblock.rows() {
            let member = node.next.volume.member(id).filter(|_| !alive.has(id));
            if let Some(member) = member.filter(|_| row.state.is_live()) {
                members.push((id, member), GFP_KERNEL)?;
                alive.insert(id);
            }
        }
        let mut superblock = crate::superblock::empty()?;
        superblock.copy_from(&planned.superblock);
        let scan = Scan::of(superblock, alive);
        let (_, total) = scan.progress();
        let progress = Progress {
            done: Atomic::new(0),
            total: total.0,
            over: Atomic::new(0),
        };
        Ok(Work {
            next: node.next.clone(),
            line: text,
            added,
            members,
            scan,
            buffer: Buffer::new(PIECE.bytes() as usize)?,
            progress: Arc::new(progress, GFP_KERNEL)?,
        })
    }

    fn run(mut self, control: &KthreadControl) {
        let text = if self.read_all(control) {
            self.go_on()
        } else {
            words(format_args!(
                "scan: ended before all was read; nothing was changed\n"
            ))
        };
        *self.next.plan.lock() = text;
        self.progress.over.store(1, Release);
        self.next.shared.note_change();
    }

    /// Whether it came to the end, or to a sector that can't be read.
    fn read_all(&mut self, control: &KthreadControl) -> bool {
        let mut pace = Pace::default();
        while let Some(piece) = self.scan.next_piece() {
            let cap = self.next.volume.status().speed_max;
            if pace.speed_max != cap {
                pace.set(cap);
            }
            let now = now_ms();
            if let Some(at) = pace.wait_until(now) {
                // CAST: A piece's time at the slowest: a week.
                control.wait_timeout((at - now) as u32, || false);
            }
            if control.should_stop() {
                return false;
            }
            pace.started(now_ms(), piece.len);
            let readable = self.read(&piece);
            self.scan.done(readable);
            self.progress.done.store(self.scan.progress().0 .0, Relaxed);
            self.next.shared.note_change();
        }
        true
    }

    fn read(&mut self, piece: &Piece) -> bool {
        let of = self.members.iter().find(|(id, _)| *id == piece.member);
        // CAST: At most a piece.
        let bytes = piece.len.bytes() as usize;
        of.is_some_and(|(_, member)| disks::read(member, piece.start.0, &mut self.buffer, bytes))
    }

    /// All is read: what the line asks for, decided anew. Gives what `plan` is to say.
    fn go_on(&self) -> KVec<u8> {
        let mut said = KVec::new();
        let outcome = self.next.shared.last_error.answer(&self.line, || {
            self.migrate(&mut said).inspect_err(|refusal| {
                pr_warn!(
                    "the migration does not begin: {}\n",
                    refusal.sentence.as_str()
                );
                said = words(format_args!("refused: {}\n", refusal.sentence));
            })
        });
        match outcome {
            Ok(()) | Err(_) => said,
        }
    }

    fn migrate(&self, said: &mut KVec<u8>) -> Result<(), Refusal> {
        self.scan.verdict(|id| self.name(id))?;
        let command = command::migrate(&self.line)?;
        let mut devices = KVec::with_capacity(self.added.len(), GFP_KERNEL).map_err(no_memory)?;
        for (name, member) in command.add.iter().zip(&self.added) {
            let member = member.clone();
            devices
                .push(Device { name, member }, GFP_KERNEL)
                .map_err(no_memory)?;
        }
        let planned = Planned::new(&self.next, &command, &devices)?;
        if !command.dry_run {
            planned.begin(&self.next, &devices)?;
        }
        let mut text = Growing(planned.text);
        let (done, _) = self.scan.progress();
        let _ = writeln!(text, "scan: {} bytes read, no error", done.bytes());
        *said = text.0;
        Ok(())
    }

    fn name(&self, id: MemberId) -> Text<64> {
        let mut text = Text::new();
        if let Some((_, member)) = self.members.iter().find(|(of, _)| *of == id) {
            // A Text takes what fits.
            let _ = write!(text, "/dev/{}", member.name());
        }
        text
    }
}

/// A line for `plan`, or nothing where there is no memory for it.
fn words(text: core::fmt::Arguments<'_>) -> KVec<u8> {
    let mut line = Growing(KVec::new());
    let _ = line.write_fmt(text);
    line.0
}
