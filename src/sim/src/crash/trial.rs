// SPDX-License-Identifier: GPL-2.0
//! Whether what is assembled after a crash is right, with all members and without each.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use fastrand::Rng;
use restripe_core::bitmap::Bitmap;
use restripe_core::geometry::{MemberId, MemberMask};
use restripe_core::ondisk::{JournalMode, Superblock};
use restripe_core::recover::{AssembleOptions, Devices};
use restripe_core::rules::{Rule, Rules};
use restripe_core::text::Errno;

use super::assemble::{Found, Listed, assemble, worth_listing};
use crate::blobs::Blobs;
use crate::disk::{Image, slice};
use crate::journal::records;
use crate::marks::{SHIFT, VolumeMarks, load, no_marks};
use crate::oracle::{Oracle, Wrong};
use crate::scenario::{Scenario, SetSpec};
use crate::world::Failure;

/// What the newest superblock on a member says.
struct Word {
    age: (u64, u64),
    by: MemberId,
    rebuilding: MemberMask,
}

/// What is checked of a crash state.
pub struct Trial<'a> {
    pub scenario: &'a Scenario,
    pub blobs: &'a Rc<RefCell<Blobs>>,
    /// Members that are there.
    pub present: MemberMask,
    /// A member failed before: what was never read may differ, and an assembly may need force.
    pub faulted: bool,
    /// A member failed that the volume can't do without: it trusts its parity no more.
    pub flaky: bool,
    /// The journal is not in force although it has to be: a member failed just now, and writes are
    /// about that began without it.
    pub exposed: bool,
    /// Members that did not answer before the crash, whether that is durably known or not.
    pub silent: MemberMask,
    pub strict: &'a Oracle,
    pub loose: &'a Oracle,
    pub rules: Rules,
}

impl Trial<'_> {
    /// Assembles what a crash left and compares every sector. None where it is right that
    /// the volume can't be assembled.
    ///
    /// # Errors
    /// When something is lost, or can't be assembled although it should.
    pub fn check(&self, images: &[Image]) -> Result<Option<Found>, Failure> {
        let options = AssembleOptions {
            degraded: self.faulted,
            ..AssembleOptions::default()
        };
        let listed = worth_listing(self.scenario, self.blobs, images, self.present);
        if self.scenario.is_witnessed() && listed.is_empty() {
            // Nothing tells of a volume yet: the disk is to be what it was.
            return self.check_plain(&images[0]).map(|()| None);
        }
        let found = match assemble(self.scenario, self.blobs, images, self.present, &options) {
            Ok(found) => found,
            // Parity may be wrong and a member is gone: the user is asked.
            Err(refusal)
                if self.faulted && refusal.errno == Errno::EUCLEAN && !self.is_covered() =>
            {
                return Ok(None);
            }
            Err(refusal) => return Err(format!("not assembled: {refusal}")),
        };
        let oracle = if self.faulted {
            self.loose
        } else {
            self.strict
        };
        let replayed = self.replayed(&found, images);
        self.compare(&found, &replayed, oracle)?;
        let marks = self.marks(&found, images);
        let mut reader = found.reader(self.scenario, &replayed);
        reader.marks = marks.as_ref().map(|(bitmap, marks)| (*bitmap, marks));
        reader.check_sets(oracle)?;
        Ok(Some(found))
    }

    /// Whether a disk that is being adopted, and was written to by something else since, is refused.
    ///
    /// # Errors
    /// Where it is assembled all the same.
    pub fn check_used(
        &self,
        images: &[Image],
        found: &Found,
        rng: &mut Rng,
    ) -> Result<bool, Failure> {
        let is_held = found.last_slot[0].is_some();
        if found.superblock.unmarked().is_empty() || (is_held && !self.scenario.has_whole_end()) {
            return Ok(false);
        }
        let (at, index) = self.scenario.used_sector(is_held, rng);
        let mut images = images.to_vec();
        images[0][index] ^= 2;
        let options = AssembleOptions::default();
        match assemble(self.scenario, self.blobs, &images, self.present, &options) {
            Err(refusal) if refusal.errno == Errno::ESTALE => Ok(true),
            Err(refusal) => Err(format!("used elsewhere, and refused for {refusal}")),
            Ok(_) => Err(format!(
                "sector {at} of the disk was written to while it was being adopted, and it is taken"
            )),
        }
    }

    /// Assembles without writing anything: every sector reads as it does for `found`, which is the
    /// same without that word, once it has written what it has to.
    ///
    /// # Errors
    /// Where one does not, or it can't be assembled.
    pub fn check_read_only(&self, images: &[Image], found: &Found) -> Result<(), Failure> {
        let options = AssembleOptions {
            degraded: self.faulted,
            ..AssembleOptions::default()
        };
        let oracle = match self.faulted {
            true => self.loose,
            false => self.strict,
        };
        let writable = (found, &*self.replayed(found, images));
        self.read_only(images, (self.present, &options), writable, oracle)
    }

    /// The same with other members and options. `writable` is what it is to read as, and what its members
    /// hold then.
    fn read_only(
        &self,
        images: &[Image],
        (present, options): (MemberMask, &AssembleOptions),
        writable: (&Found, &[Image]),
        oracle: &Oracle,
    ) -> Result<(), Failure> {
        let options = AssembleOptions {
            read_only: true,
            ..*options
        };
        let mut found = assemble(self.scenario, self.blobs, images, present, &options)
            .map_err(|refusal| format!("not assembled read-only: {refusal}"))?;
        if self.rules.broken(Rule::Through) {
            found.look_past_the_journal();
        }
        self.compare(&found, images, oracle)
            .map_err(|why| format!("read-only, {why}"))?;
        let end = found.map.size.0;
        let mut tags = Vec::new();
        let _ = found.reader(self.scenario, images).for_each(end, |_, tag| {
            tags.push(tag);
            Ok(())
        });
        let (found, images) = writable;
        let reader = found.reader(self.scenario, images);
        let mut differs = None;
        let _ = reader.for_each(end, |x, tag| {
            let seen = tags[x as usize];
            if seen != tag {
                differs = Some(format!(
                    "sector {x} reads as {seen:?}, and writable as {tag:?}"
                ));
            }
            Ok(())
        });
        differs.map_or(Ok(()), |why| Err(format!("read-only, {why}")))
    }

    /// Short of a member and journaled: nothing may ever ask for force.
    fn is_covered(&self) -> bool {
        let journaled = self.scenario.journal != JournalMode::Off && !self.exposed;
        self.scenario.absent.is_some() && !self.flaky && journaled
    }

    /// What the bitmap found says, if it is in force.
    fn marks(&self, found: &Found, images: &[Image]) -> Option<(Bitmap, VolumeMarks)> {
        let sb = &found.superblock;
        if !sb.marked {
            return None;
        }
        let (bitmap, marks) = (Bitmap::of(sb, SHIFT), no_marks());
        let epoch = match self.rules.broken(Rule::Stale) {
            true => 0,
            false => sb.epoch - 1,
        };
        let from = (self.scenario, &**self.blobs, images);
        load(&marks, from, sb, (&bitmap, epoch));
        Some((bitmap, marks))
    }

    /// What the members hold when the journal has been replayed.
    fn replayed<'a>(&self, found: &Found, images: &'a [Image]) -> Cow<'a, [Image]> {
        let Some(epoch) = found.replay else {
            return Cow::Borrowed(images);
        };
        let window = found.stash.map(|stash| stash.header.range);
        let found = records(
            self.scenario,
            self.blobs,
            images,
            &found.superblock,
            (epoch, window),
        );
        if found.is_empty() {
            return Cow::Borrowed(images);
        }
        let mut images = images.to_vec();
        for record in found {
            for (entry, tags) in record.writes {
                let shape = self.scenario.disk_shape(entry.member.0);
                let index = shape.index(entry.at.0, entry.len.0);
                images[usize::from(entry.member.0)][index..index + tags.len()]
                    .copy_from_slice(&tags);
            }
        }
        Cow::Owned(images)
    }

    /// Whether a full disk is as it was before anything was done to it.
    fn check_plain(&self, image: &Image) -> Result<(), Failure> {
        let shape = self.scenario.disk_shape(0);
        for (x, at) in (0..).zip(self.scenario.plain_places()) {
            let tag = slice(shape, image, at, 1)[0];
            self.strict
                .may_survive(x, tag)
                .map_err(|wrong| format!("on the disk that was not adopted yet {wrong}"))?;
        }
        Ok(())
    }

    fn compare(&self, found: &Found, images: &[Image], oracle: &Oracle) -> Result<(), Failure> {
        if found.map.size.0 < oracle.len() {
            return Err(format!(
                "the volume has {} sectors and had {}",
                found.map.size.0,
                oracle.len()
            ));
        }
        let reader = found.reader(self.scenario, images);
        let result = reader.for_each(oracle.len(), |x, tag| match tag {
            Some(tag) => oracle.may_survive(x, tag),
            None => Err(Wrong {
                sector: x,
                found: "nothing that can be read".into(),
                allowed: Vec::new(),
            }),
        });
        result.map_err(|wrong| {
            format!(
                "after a crash {wrong}; cursor {}, epoch {}, generation {}, stash {:?}",
                found.cursor.durable.0,
                found.superblock.epoch,
                found.superblock.generation,
                found.stash.map(|s| (s.header.number, s.header.range))
            )
        })
    }

    /// What the newest superblock on each member that would be listed says; None on one without any.
    fn words(&self, images: &[Image]) -> Vec<Option<Word>> {
        let members = worth_listing(self.scenario, self.blobs, images, self.present);
        let mut listed = Listed {
            scenario: self.scenario,
            blobs: self.blobs,
            images,
            members: &members,
        };
        let mut scratch = Box::<Superblock>::default();
        let mut word = |device: usize, slot| {
            listed
                .read_superblock(device, slot, &mut scratch)
                .ok()
                .map(|_| Word {
                    age: scratch.age(),
                    by: MemberId(members[device]),
                    rebuilding: scratch.rebuilding(),
                })
        };
        (0..members.len())
            .map(|device| {
                let slots = (0..2).filter_map(|slot| word(device, slot));
                slots.max_by_key(|word| word.age)
            })
            .collect()
    }

    /// Assembles without each member in turn, where redundancy bears it.
    ///
    /// # Errors
    /// When something is lost then.
    pub fn check_degraded(&self, images: &[Image], found: &Found) -> Result<usize, Failure> {
        let mut tried = 0;
        let sets = [Some(found.map.source), found.map.target];
        let sets = || sets.iter().flatten();
        // In the middle of a commit the members left may know of another set only; and a window's
        // stash bears as many losses as the weaker of both, wherever it lies.
        let words = self.words(images);
        let age = |word: &Option<Word>| word.as_ref().map(|word| word.age);
        let agree = words.windows(2).all(|two| age(&two[0]) == age(&two[1]));
        let at_rest = found.superblock.migration.is_none() && agree;
        let either = |alive: MemberMask| {
            let mut all = self.scenario.specs().map(SetSpec::set);
            at_rest || all.all(|set| set.layout.max_missing() > 0 && set.survives(alive))
        };
        // That another was rebuilt may have been said on the member that is gone, and nowhere else.
        let rebuilding_without = |member: MemberId| {
            let others = words.iter().flatten().filter(|word| word.by != member);
            let newest = others.max_by_key(|word| word.age);
            newest.map_or(MemberMask::EMPTY, |word| word.rebuilding)
        };
        let bears = |alive: MemberMask| {
            either(alive)
                && sets().all(|set| {
                    let end = found.map.size.0;
                    // A member that failed and is not known to is one loss already.
                    let lost = self.flaky || !(found.map.alive & self.silent).is_empty();
                    let journaled = found.superblock.journal.in_force && !lost;
                    let covered = journaled && set.resync.0 >= end;
                    let parity_bears =
                        !set.layout.level.has_parity() || found.superblock.clean || covered;
                    // Copies that were never made alike hold anything.
                    let synced = self.scenario.synced || set.resync.0 >= found.map.size.0;
                    set.survives(alive) && parity_bears && synced
                })
        };
        for member in self.present.iter() {
            let mut present = self.present;
            present.remove(member);
            let without = found.map.alive & present & !rebuilding_without(member);
            if !bears(without) || !found.map.alive.has(member) {
                continue;
            }
            let options = AssembleOptions {
                degraded: true,
                ..AssembleOptions::default()
            };
            let degraded = match assemble(self.scenario, self.blobs, images, present, &options) {
                Ok(degraded) => degraded,
                Err(refusal) if refusal.errno == Errno::EUCLEAN => continue,
                Err(refusal) => {
                    return Err(format!(
                        "not assembled without member {}: {refusal}",
                        member.0
                    ));
                }
            };
            tried += 1;
            // What one member alone showed to a reader may be gone with it.
            let replayed = self.replayed(&degraded, images);
            self.compare(&degraded, &replayed, self.loose)
                .and_then(|()| {
                    let writable = (&degraded, &*replayed);
                    self.read_only(images, (present, &options), writable, self.loose)
                })
                .map_err(|why| format!("without member {}: {why}", member.0))?;
        }
        Ok(tried)
    }
}
