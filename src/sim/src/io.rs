// SPDX-License-Identifier: GPL-2.0
//! Transfers to members, each with a beginning and an end of its own, and the
//! groups of them that somebody waits for.

use restripe_core::engine::{Event, Who};
use restripe_core::geometry::{MemberId, MemberMask};
use restripe_core::stripe::{Buf, Plan, Transfer};

use crate::disk::Tag;
use crate::plan::scratch_at;
use crate::world::World;

/// Who waits for a group of transfers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Job(u8),
    Request(u64),
    Flush(Who),
    Commit,
    Heads,
    Sign,
    /// Superblocks of members that leave: all of them, and whether the newer ones are still there.
    Dismiss(MemberMask, bool),
    Replay,
    Bitmap,
}

/// Transfers that are waited for together.
pub struct Batch {
    owner: Owner,
    left: usize,
    failed: MemberMask,
}

impl Batch {
    /// Whether one of its transfers failed.
    pub fn has_failures(&self) -> bool {
        !self.failed.is_empty()
    }
}

/// Where what was read goes: index into the owner's data or scratch.
#[derive(Clone, Copy, Debug)]
pub enum Dest {
    Data(usize),
    Scratch(usize),
}

#[derive(Debug)]
pub enum What {
    Read {
        at: u64,
        len: u64,
        dest: Dest,
        early: Option<Vec<Tag>>,
    },
    Write {
        at: u64,
        tags: Vec<Tag>,
        fua: bool,
        name: Option<usize>,
    },
    Flush {
        mark: usize,
    },
    /// A superblock into a slot.
    Superblock {
        at: u64,
        tags: Vec<Tag>,
        slot: usize,
        name: Option<usize>,
    },
}

/// A transfer under way.
#[derive(Debug)]
pub struct Op {
    pub member: u8,
    pub what: What,
    batch: u32,
    /// Takes long, so that much can happen meanwhile.
    pub lazy: bool,
}

/// A group that is being put together.
pub struct Group {
    owner: Owner,
    ops: Vec<(u8, What)>,
}

impl Group {
    pub fn new(owner: Owner) -> Group {
        Group {
            owner,
            ops: Vec::new(),
        }
    }

    pub fn read(&mut self, member: MemberId, at: u64, len: u64, dest: Dest) {
        self.ops.push((
            member.0,
            What::Read {
                at,
                len,
                dest,
                early: None,
            },
        ));
    }

    pub fn write(&mut self, member: MemberId, at: u64, tags: Vec<Tag>, fua: bool) {
        self.ops.push((
            member.0,
            What::Write {
                at,
                tags,
                fua,
                name: None,
            },
        ));
    }

    pub fn superblock(&mut self, member: MemberId, at: u64, tags: Vec<Tag>, slot: usize) {
        self.ops.push((
            member.0,
            What::Superblock {
                at,
                tags,
                slot,
                name: None,
            },
        ));
    }

    pub fn flush(&mut self, member: MemberId, mark: usize) {
        self.ops.push((member.0, What::Flush { mark }));
    }

    /// The reads of a plan; `base` is where its request data begin in the owner's.
    pub fn plan_reads(&mut self, plan: &Plan, base: usize) {
        for t in &plan.reads {
            let dest = match t.buf {
                Buf::Data(at) => Dest::Data(base + at.0 as usize),
                Buf::Lane(lane, at) => Dest::Scratch(scratch_at(plan, lane, at)),
            };
            self.read(t.member, t.at.0, t.len.0, dest);
        }
    }

    /// The writes of a plan.
    pub fn plan_writes(
        &mut self,
        plan: &Plan,
        data: &[Tag],
        base: usize,
        scratch: &[Tag],
        fua: bool,
    ) {
        for t in &plan.writes {
            self.write(
                t.member,
                t.at.0,
                plan_tags(plan, t, data, base, scratch),
                fua,
            );
        }
    }
}

pub(crate) fn plan_tags(
    plan: &Plan,
    t: &Transfer,
    data: &[Tag],
    base: usize,
    scratch: &[Tag],
) -> Vec<Tag> {
    let len = t.len.0 as usize;
    match t.buf {
        Buf::Data(at) => data[base + at.0 as usize..][..len].to_vec(),
        Buf::Lane(lane, at) => scratch[scratch_at(plan, lane, at)..][..len].to_vec(),
    }
}

impl World {
    /// Begins all transfers of a group; where there is none, it ends at once.
    pub(crate) fn begin(&mut self, group: Group) {
        if group.ops.is_empty() {
            return self.batch_done(group.owner, MemberMask::EMPTY);
        }
        let id = self.next_batch;
        self.next_batch += 1;
        self.batches.insert(
            id,
            Batch {
                owner: group.owner,
                left: group.ops.len(),
                failed: MemberMask::EMPTY,
            },
        );
        for (member, mut what) in group.ops {
            self.log(|| format!("  begin {:?} member {member} {}", group.owner, brief(&what)));
            let early = self.rng.bool();
            let disk = &mut self.disks[usize::from(member)];
            if !disk.dead && early {
                // The device is quick: the effect comes before the answer.
                match &mut what {
                    What::Read { at, len, early, .. } => {
                        *early = Some(disk.read(*at, *len).to_vec())
                    }
                    What::Write { at, tags, name, .. }
                    | What::Superblock { at, tags, name, .. } => {
                        *name = Some(disk.apply(*at, tags));
                    }
                    What::Flush { .. } => {}
                }
            }
            let lazy = self.rng.u8(..8) == 0;
            self.ops.push(Op {
                member,
                what,
                batch: id,
                lazy,
            });
        }
        self.dirty = true;
    }

    /// Which transfer ends next; lazy ones hardly ever, if there is something else to do.
    pub(crate) fn pick_op(&self, rng: &mut fastrand::Rng, busy: bool) -> Option<usize> {
        let index = rng.usize(..self.ops.len());
        if !self.ops[index].lazy || rng.u8(..24) == 0 {
            return Some(index);
        }
        let eager: Vec<usize> = (0..self.ops.len()).filter(|i| !self.ops[*i].lazy).collect();
        match rng.choice(&eager) {
            Some(index) => Some(*index),
            None if busy => None,
            None => Some(index),
        }
    }

    /// Ends the transfer at `index` of those under way.
    pub(crate) fn end_op(&mut self, index: usize) {
        let op = self.ops.swap_remove(index);
        let member = usize::from(op.member);
        self.log(|| format!("  end member {member} {}", brief(&op.what)));
        let disk = &mut self.disks[member];
        let unread = matches!(op.what, What::Read { at, len, .. } if disk.is_bad(at, len));
        let dead = disk.dead || disk.errors > 0 || unread;
        disk.errors = disk.errors.saturating_sub(1);
        let owner = self.batches[&op.batch].owner;
        if dead {
            if let What::Write {
                at,
                tags,
                name: None,
                ..
            } = &op.what
            {
                // Some of it got there all the same.
                if self.rng.bool() {
                    self.disks[member].apply(*at, tags);
                    self.dirty = true;
                }
            }
        } else {
            self.effect(op.member, owner, op.what);
        }
        let Some(batch) = self.batches.get_mut(&op.batch) else {
            unreachable!("a transfer belongs to a group");
        };
        batch.left -= 1;
        if dead {
            batch.failed.insert(MemberId(op.member));
        }
        if batch.left == 0 {
            let failed = batch.failed;
            self.batches.remove(&op.batch);
            self.batch_done(owner, failed);
        }
    }

    fn effect(&mut self, member: u8, owner: Owner, what: What) {
        let disk = &mut self.disks[usize::from(member)];
        match what {
            What::Read {
                at,
                len,
                dest,
                early,
            } => {
                let tags = early.unwrap_or_else(|| disk.read(at, len).to_vec());
                self.deliver(owner, dest, &tags);
            }
            What::Write {
                at,
                tags,
                fua,
                name,
            } => {
                let name = name.unwrap_or_else(|| disk.apply(at, &tags));
                if fua || disk.write_through {
                    disk.harden(name);
                }
                self.dirty = true;
            }
            What::Superblock {
                at,
                tags,
                slot,
                name,
            } => {
                let name = name.unwrap_or_else(|| disk.apply(at, &tags));
                disk.harden(name);
                self.last_slot[usize::from(member)] = Some(slot);
                self.dirty = true;
            }
            What::Flush { mark } => {
                disk.flush(mark);
                self.dirty = true;
            }
        }
    }

    fn deliver(&mut self, owner: Owner, dest: Dest, tags: &[Tag]) {
        let (data, scratch) = match owner {
            Owner::Heads => {
                let Dest::Data(at) = dest else {
                    unreachable!("heads have no scratch");
                };
                self.heads.data[at..at + tags.len()].copy_from_slice(tags);
                return;
            }
            Owner::Job(job) => {
                let task = &mut self.jobs[usize::from(job)];
                (&mut task.data, &mut task.scratch)
            }
            Owner::Request(id) => match self.requests.get_mut(&id) {
                Some(request) => (&mut request.data, &mut request.scratch),
                None => return,
            },
            Owner::Flush(_)
            | Owner::Commit
            | Owner::Sign
            | Owner::Dismiss(..)
            | Owner::Replay
            | Owner::Bitmap => unreachable!("they read nothing"),
        };
        match dest {
            Dest::Data(at) => data[at..at + tags.len()].copy_from_slice(tags),
            Dest::Scratch(at) => scratch[at..at + tags.len()].copy_from_slice(tags),
        }
    }

    fn batch_done(&mut self, owner: Owner, failed: MemberMask) {
        match owner {
            Owner::Job(job) => self.job_io_done(job, failed),
            Owner::Request(id) => self.request_io_done(id, failed),
            Owner::Flush(who) => self.tell(Event::Flushed { who, failed }),
            Owner::Commit => self.tell(Event::Committed { failed }),
            Owner::Bitmap => self.tell(Event::BitmapWritten { failed }),
            Owner::Heads => self.heads_io_done(failed),
            Owner::Sign => self.tell(Event::Signed { failed }),
            Owner::Dismiss(members, true) => self.wipe(members, false),
            Owner::Dismiss(members, false) => {
                for member in members.iter() {
                    self.last_slot[usize::from(member.0)] = None;
                }
                self.wiped = self.wiped | members;
                self.gone = self.gone | members;
                self.tell(Event::Dismissed { members });
            }
            Owner::Replay => self.replay_goes_on(failed),
        }
    }
}

fn brief(what: &What) -> String {
    match what {
        What::Read { at, len, .. } => format!("read {at}+{len}"),
        What::Write {
            at,
            tags,
            fua,
            name,
        } => {
            let how = if *fua { " fua" } else { "" };
            let early = if name.is_some() { " (applied)" } else { "" };
            format!("write {at}+{}{how}{early}", tags.len())
        }
        What::Superblock { slot, .. } => format!("superblock slot {slot}"),
        What::Flush { .. } => "flush".to_string(),
    }
}
