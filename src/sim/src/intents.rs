// SPDX-License-Identifier: GPL-2.0
//! The engine's intents, carried out along the rules that bind the driver too.

use std::cell::Cell;
use std::rc::Rc;

use restripe_core::engine::{Event, Intent, Who};
use restripe_core::geometry::{MemberMask, Sectors};
use restripe_core::ondisk::{SUPERBLOCK_SECTORS, SUPERBLOCK_SIZE, encode};

use crate::blobs::crc;
use crate::io::{Group, Owner};
use crate::world::{FIRST_REQUEST, View, World};

impl World {
    pub(crate) fn carry_out(&mut self, intent: Intent) {
        match intent {
            Intent::Lock { job, start, end } => {
                if self.locks.lock(start, end, u64::from(job)) {
                    self.tell(Event::Locked { job });
                }
            }
            Intent::Unlock { job } => self.unlock(u64::from(job)),
            Intent::Replay { epoch } => self.begin_replay(epoch),
            Intent::LoadMarks { bitmap, epoch } => self.load_marks(&bitmap, epoch),
            Intent::WriteBitmap {
                bitmap,
                members,
                clears,
                all,
            } => self.write_bitmap(&bitmap, members, (clears, all)),
            Intent::Marked { all } => self.marks.written(all),
            Intent::Sweep {
                bitmap,
                below,
                capacity,
            } => self.sweep(&bitmap, below, capacity),
            Intent::NextMarked { from } => self.next_marked(from),
            Intent::Load { job, range } => self.load(job, range),
            Intent::LoadStash {
                job,
                members,
                header,
            } => self.load_stash(job, members, header),
            Intent::StashData { job, members, .. } => self.stash_data(job, members),
            Intent::StashHeader {
                job,
                members,
                number,
                range,
            } => {
                self.stash_header(job, members, number, range);
            }
            Intent::Store {
                job,
                which,
                range,
                whole,
            } => self.store(job, which, range, whole),
            Intent::Scrub {
                job,
                which,
                range,
                kind,
                alive,
                onto,
            } => self.scrub(job, (which, range, kind), (alive, onto)),
            Intent::Flush { who, members } => self.flush(who, members),
            Intent::Commit { members } => self.commit(members),
            Intent::MoveHeads { members, back } => self.move_heads(members, back),
            Intent::Sign { members } => self.sign(members),
            Intent::Dismiss { members } => self.wipe(members, true),
            Intent::Publish => self.publish(),
            Intent::Drain { who } => {
                let waits: Vec<u64> = self
                    .requests
                    .iter()
                    .filter(|(_, r)| r.view.is_some())
                    .map(|(id, _)| *id)
                    .collect();
                if waits.is_empty() {
                    self.tell(Event::Drained { who });
                } else {
                    self.drains.push((who, waits));
                }
            }
            Intent::Settle { retry } => self.settle(retry),
            Intent::Ready => self.ready = true,
            Intent::Failed => self.failed = true,
            Intent::Resized { size } => self.check_size(size),
            Intent::Changed => {}
            Intent::Stopped => self.stopped = true,
        }
    }

    fn check_size(&mut self, size: Sectors) {
        if size.0 < self.strict.len() {
            self.fail(format!("the volume shrank to {} sectors", size.0));
        }
        self.grow();
    }

    /// The cursor moves within a view where it may; another map is another view.
    fn publish(&mut self) {
        let (map, cursor) = (*self.engine.map(), self.engine.cursor());
        let before = self.view.map.rebuilding;
        if !before.is_empty() && before & map.alive == before {
            self.rebuilt += 1;
        }
        self.failing = self.failing & map.alive;
        if let Some(journal) = &map.journal {
            self.ring.fit(journal);
        }
        if map == self.view.map && cursor.may_follow(&self.view.cursor.get(), map.rules) {
            self.view.cursor.set(cursor);
        } else {
            // Requests of the older view go on under it, and see its cursor as it was.
            self.view = Rc::new(View {
                map,
                cursor: Cell::new(cursor),
            });
        }
        for id in std::mem::take(&mut self.parked) {
            self.enter(id);
        }
    }

    fn flush(&mut self, who: Who, members: MemberMask) {
        let mut group = Group::new(Owner::Flush(who));
        for member in members.iter() {
            let mark = self.disks[usize::from(member.0)].mark();
            group.flush(member, mark);
        }
        self.begin(group);
    }

    fn commit(&mut self, members: MemberMask) {
        let mut group = Group::new(Owner::Commit);
        let mut bytes = vec![0; SUPERBLOCK_SIZE];
        for member in members.iter() {
            encode(self.engine.superblock(), member, &mut bytes, crc);
            let tags = self.blobs.borrow_mut().put(&bytes);
            let slot = self.engine.next_slot(self.last_slot[usize::from(member.0)]);
            let at = self.scenario.slots(member.0)[slot];
            group.superblock(member, at, tags, slot);
        }
        self.begin(group);
    }

    /// Wipes the older superblocks of members that leave, or then the newer ones.
    pub(crate) fn wipe(&mut self, members: MemberMask, older: bool) {
        let mut group = Group::new(Owner::Dismiss(members, older));
        for member in members.iter() {
            let newest = self.last_slot[usize::from(member.0)].unwrap_or(0);
            let slot = if older { 1 - newest } else { newest };
            let blank = vec![0; SUPERBLOCK_SECTORS.0 as usize];
            group.write(member, self.scenario.slots(member.0)[slot], blank, true);
        }
        self.begin(group);
    }

    /// Gives back a range; whoever waited for it goes on.
    pub(crate) fn unlock(&mut self, owner: u64) {
        let mut granted = Vec::new();
        self.locks.unlock(owner, |next| granted.push(next));
        for owner in granted {
            if owner < FIRST_REQUEST {
                self.tell(Event::Locked { job: owner as u8 });
            } else {
                self.granted(owner);
            }
        }
    }

    /// A request left the map it was admitted under.
    pub(crate) fn left(&mut self, id: u64) {
        let mut done = Vec::new();
        self.drains.retain_mut(|(who, waits)| {
            waits.retain(|other| *other != id);
            if waits.is_empty() {
                done.push(*who);
            }
            !waits.is_empty()
        });
        for who in done {
            self.tell(Event::Drained { who });
        }
    }
}
