// SPDX-License-Identifier: GPL-2.0
//! What a read may return, now and after a crash.
//!
//! Per sector it keeps the writes that some read could still see. One write is
//! older than another if it had ended before the other began; those that overlap
//! in time have no order until a read has seen one of them.

use crate::disk::Tag;

/// Which write of a sector; 0 is what was there at the start.
pub type Version = u32;

/// Zeroes: what padding holds.
const ZEROES: Version = Version::MAX;
/// Anything: what new capacity holds.
const ANYTHING: Version = Version::MAX - 1;

/// Set in the version of a write of zeroes, and of a discard.
const ZEROED: Version = 1 << 30;
/// Set in that of a discard besides: what was there before is as right.
const DISCARDED: Version = 1 << 29;

/// The version that write `version` has if it is one of zeroes.
pub fn zeroed(version: Version) -> Version {
    version | ZEROED
}

/// The version that it has if it is a discard.
pub fn discarded(version: Version) -> Version {
    version | ZEROED | DISCARDED
}

fn is_discarded(version: Version) -> bool {
    version < ANYTHING && version & DISCARDED != 0
}

/// The content that write `version` gives sector `x` of the volume.
pub fn tag(x: u64, version: Version) -> Tag {
    if version == ZEROES || (version < ANYTHING && version & ZEROED != 0) {
        return 0;
    }
    // SplitMix64 over both, never a blob's tag and never zero.
    let mut z = (x << 32 | u64::from(version)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> 1 | 1
}

#[derive(Clone, Copy, Debug)]
struct Write {
    version: Version,
    begun: u64,
    /// When it was acknowledged, or failed.
    ended: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Sector {
    /// Writes whose content a read that begins now may return.
    live: Vec<Write>,
    /// Writes whose content a read after a crash now may return.
    keep: Vec<Write>,
    /// Writes since the last crash, and when they began.
    all: Vec<(Version, u64)>,
    /// Older than what a read has seen of a write that is still under way. Another read may
    /// find them as long as it is, but no flush makes them the newest any more.
    outdone: Vec<Version>,
}

/// What a read may return when it began.
pub struct Glance {
    begun: u64,
    live: Vec<Vec<Version>>,
}

/// What a flush will make durable.
pub struct Promise {
    begun: u64,
    live: Vec<Vec<Version>>,
}

/// The history of a volume.
#[derive(Clone, Debug)]
pub struct Oracle {
    sectors: Vec<Sector>,
    /// A value that was read is the newest (it can't be taken back).
    reads_count: bool,
    clock: u64,
}

/// A value that nobody may see.
#[derive(Clone, Debug)]
pub struct Wrong {
    pub sector: u64,
    pub found: String,
    pub allowed: Vec<Version>,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "sector {} holds {}; allowed are versions {:?}",
            self.sector, self.found, self.allowed
        )
    }
}

impl Oracle {
    /// A volume of `len` sectors of version 0, durable.
    pub fn new(len: u64, reads_count: bool) -> Oracle {
        let first = Write {
            version: 0,
            begun: 0,
            ended: Some(0),
        };
        let sector = Sector {
            live: vec![first],
            keep: vec![first],
            all: Vec::new(),
            outdone: Vec::new(),
        };
        Oracle {
            sectors: vec![sector; len as usize],
            reads_count,
            clock: 0,
        }
    }

    pub fn len(&self) -> u64 {
        self.sectors.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.sectors.is_empty()
    }

    /// The volume has `len` sectors now: up to `padded` zeroes, then anything.
    pub fn grow(&mut self, len: u64, padded: u64) {
        let now = self.tick();
        for x in self.len()..len {
            let first = Write {
                version: if x < padded { ZEROES } else { ANYTHING },
                begun: now,
                ended: Some(now),
            };
            self.sectors.push(Sector {
                live: vec![first],
                keep: vec![first],
                all: Vec::new(),
                outdone: Vec::new(),
            });
        }
    }

    /// The volume is cut off at `len` sectors.
    pub fn truncate(&mut self, len: u64) {
        self.sectors.truncate(len as usize);
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A write begins. What lies behind the end that was known is not looked at.
    pub fn write_begins(&mut self, start: u64, len: u64, version: Version) {
        let begun = self.tick();
        for x in start..(start + len).min(self.len()) {
            let write = Write {
                version,
                begun,
                ended: None,
            };
            let sector = &mut self.sectors[x as usize];
            sector.live.push(write);
            sector.all.push((version, begun));
            sector.keep.push(write);
        }
    }

    /// A write has ended well; `durable` if it was FUA.
    pub fn write_acked(&mut self, start: u64, len: u64, version: Version, durable: bool) {
        let now = self.tick();
        for x in start..(start + len).min(self.len()) {
            let sector = &mut self.sectors[x as usize];
            end(&mut sector.keep, version, now);
            let begun = end(&mut sector.live, version, now);
            // Where a read saw a later one already it is old news.
            let Some(begun) = begun else {
                continue;
            };
            sector
                .live
                .retain(|w| w.version == version || w.ended.is_none_or(|e| e >= begun));
            if durable && sector.keep.iter().any(|w| w.version == version) {
                sector
                    .keep
                    .retain(|w| w.version == version || w.ended.is_none_or(|e| e >= begun));
            }
        }
    }

    /// A write has ended with an error, or was a discard: it may have landed or not.
    pub fn write_failed(&mut self, start: u64, len: u64, version: Version) {
        let now = self.tick();
        for x in start..(start + len).min(self.len()) {
            let sector = &mut self.sectors[x as usize];
            end(&mut sector.keep, version, now);
            end(&mut sector.live, version, now);
        }
    }

    pub fn read_begins(&mut self, start: u64, len: u64) -> Glance {
        let begun = self.tick();
        let live = (start..start + len)
            .map(|x| self.versions(x, |s| &s.live))
            .collect();
        Glance { begun, live }
    }

    fn versions(&self, x: u64, which: impl Fn(&Sector) -> &Vec<Write>) -> Vec<Version> {
        self.sectors
            .get(x as usize)
            .map_or(Vec::new(), |s| which(s).iter().map(|w| w.version).collect())
    }

    /// A read has ended with `tags`.
    ///
    /// # Errors
    /// When it returned what it may not.
    pub fn read_ended(&mut self, start: u64, glance: &Glance, tags: &[Tag]) -> Result<(), Wrong> {
        self.tick();
        for (i, &found) in tags.iter().enumerate() {
            let x = start + i as u64;
            let Some(sector) = self.sectors.get_mut(x as usize) else {
                continue;
            };
            let seen_then = |v: Version| glance.live[i].contains(&v);
            let newer = sector
                .all
                .iter()
                .filter(|(_, begun)| *begun > glance.begun)
                .map(|(version, _)| *version);
            let mut allowed: Vec<Version> = glance.live[i].clone();
            allowed.extend(newer.filter(|v| !seen_then(*v)));
            let mut matching = allowed.iter().copied().filter(|v| tag(x, *v) == found);
            let (version, more) = (matching.next(), matching.next());
            let Some(version) = version else {
                if allowed.contains(&ANYTHING) {
                    continue;
                }
                return Err(Wrong {
                    sector: x,
                    found: self.name(x, found),
                    allowed,
                });
            };
            // Zeroes don't tell which of several writes they are; and a discard promises nothing.
            if more.is_some() || allowed.iter().any(|v| is_discarded(*v)) {
                continue;
            }
            let seen = sector.live.iter().find(|w| w.version == version).copied();
            let (true, Some(seen)) = (self.reads_count, seen) else {
                continue;
            };
            let begun = glance.begun;
            let stays = |w: &Write| w.version == version || w.ended.is_none_or(|e| e >= begun);
            if seen.ended.is_some() {
                sector.live.retain(stays);
            } else {
                let old = sector.live.iter().filter(|w| !stays(w)).map(|w| w.version);
                sector.outdone.extend(old);
            }
        }
        Ok(())
    }

    /// A flush begins.
    pub fn flush_begins(&mut self) -> Promise {
        let begun = self.tick();
        let live = self.sectors.iter().map(|sector| {
            let newest = |w: &&Write| !sector.outdone.contains(&w.version);
            sector
                .live
                .iter()
                .filter(newest)
                .map(|w| w.version)
                .collect()
        });
        let live = live.collect();
        Promise { begun, live }
    }

    /// A flush has ended well.
    pub fn flush_acked(&mut self, promise: &Promise) {
        self.tick();
        for (sector, live) in self.sectors.iter_mut().zip(&promise.live) {
            sector
                .keep
                .retain(|w| w.begun > promise.begun || live.contains(&w.version));
        }
    }

    fn is_one_of(&self, writes: &[Write], x: u64, found: Tag) -> Result<(), Wrong> {
        if writes
            .iter()
            .any(|w| tag(x, w.version) == found || w.version == ANYTHING)
        {
            return Ok(());
        }
        Err(Wrong {
            sector: x,
            found: self.name(x, found),
            allowed: writes.iter().map(|w| w.version).collect(),
        })
    }

    /// Whether what `x` holds may have been discarded: of that nothing is promised, not even that copies
    /// of it are alike, where a member failed to discard it.
    pub fn may_be_discarded(&self, x: u64) -> bool {
        let sector = self.sectors.get(x as usize);
        let mut writes = sector
            .into_iter()
            .flat_map(|s| s.live.iter().chain(&s.keep));
        writes.any(|write| is_discarded(write.version))
    }

    /// Whether `found` may be read at `x` after a crash now.
    ///
    /// # Errors
    /// When not.
    pub fn may_survive(&self, x: u64, found: Tag) -> Result<(), Wrong> {
        self.is_one_of(&self.sectors[x as usize].keep, x, found)
    }

    /// Whether `found` may be read at `x` now, with no request under way.
    ///
    /// # Errors
    /// When not.
    pub fn may_be(&self, x: u64, found: Tag) -> Result<(), Wrong> {
        self.is_one_of(&self.sectors[x as usize].live, x, found)
    }

    /// The history that goes on after a crash now.
    pub fn crashed(&self) -> Oracle {
        let mut next = self.clone();
        let now = next.tick();
        for sector in &mut next.sectors {
            for write in &mut sector.keep {
                write.ended = Some(now);
            }
            sector.live.clone_from(&sector.keep);
            sector.all.clear();
            sector.outdone.clear();
        }
        next
    }

    fn name(&self, x: u64, found: Tag) -> String {
        if found == 0 {
            return "zeroes".to_string();
        }
        let reach = 2000;
        for other in std::iter::once(x).chain(0..self.len()) {
            if let Some(v) = (0..reach).find(|v| tag(other, *v) == found) {
                return if other == x {
                    format!("version {v}")
                } else {
                    format!("version {v} of sector {other}")
                };
            }
        }
        format!("garbage {found:#x}")
    }
}

/// Marks the write as ended; when it began.
fn end(writes: &mut [Write], version: Version, now: u64) -> Option<u64> {
    let write = writes.iter_mut().find(|w| w.version == version)?;
    write.ended = Some(now);
    Some(write.begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_flushed_may_be_lost_or_kept() {
        let mut oracle = Oracle::new(1, true);
        oracle.write_begins(0, 1, 1);
        oracle.write_acked(0, 1, 1, false);
        assert!(oracle.may_survive(0, tag(0, 0)).is_ok());
        assert!(oracle.may_survive(0, tag(0, 1)).is_ok());
        let promise = oracle.flush_begins();
        oracle.flush_acked(&promise);
        assert!(oracle.may_survive(0, tag(0, 0)).is_err());
        assert!(oracle.may_survive(0, tag(0, 1)).is_ok());
    }

    #[test]
    fn fua_is_durable_when_acknowledged() {
        let mut oracle = Oracle::new(1, true);
        oracle.write_begins(0, 1, 1);
        assert!(oracle.may_survive(0, tag(0, 0)).is_ok());
        oracle.write_acked(0, 1, 1, true);
        assert!(oracle.may_survive(0, tag(0, 0)).is_err());
    }

    #[test]
    fn a_value_read_and_flushed_stays() {
        let mut oracle = Oracle::new(1, true);
        oracle.write_begins(0, 1, 1);
        let glance = oracle.read_begins(0, 1);
        oracle
            .read_ended(0, &glance, &[tag(0, 1)])
            .expect("it is on its way");
        let promise = oracle.flush_begins();
        oracle.flush_acked(&promise);
        assert!(oracle.may_survive(0, tag(0, 0)).is_err());
    }

    #[test]
    fn a_read_may_not_go_back() {
        let mut oracle = Oracle::new(1, true);
        oracle.write_begins(0, 1, 1);
        oracle.write_begins(0, 1, 2);
        oracle.write_acked(0, 1, 1, false);
        oracle.write_acked(0, 1, 2, false);
        for v in [1, 2] {
            assert!(oracle.clone().may_be(0, tag(0, v)).is_ok());
        }
        let glance = oracle.read_begins(0, 1);
        oracle.read_ended(0, &glance, &[tag(0, 1)]).expect("either");
        let glance = oracle.read_begins(0, 1);
        assert!(oracle.read_ended(0, &glance, &[tag(0, 2)]).is_err());
    }

    #[test]
    fn zeroes_count_and_a_discard_need_not() {
        let mut oracle = Oracle::new(1, true);
        let begin = |oracle: &mut Oracle, version| {
            oracle.write_begins(0, 1, version);
            version
        };
        let zeroes = begin(&mut oracle, zeroed(1));
        oracle.write_acked(0, 1, zeroes, false);
        assert!(oracle.may_be(0, 0).is_ok() && oracle.may_be(0, tag(0, 0)).is_err());
        oracle.write_begins(0, 1, 2);
        oracle.write_acked(0, 1, 2, false);
        assert!(oracle.may_be(0, 0).is_err());
        let discard = begin(&mut oracle, discarded(3));
        oracle.write_failed(0, 1, discard);
        for found in [tag(0, 2), 0, tag(0, 2)] {
            let glance = oracle.read_begins(0, 1);
            oracle.read_ended(0, &glance, &[found]).expect("either");
        }
        let promise = oracle.flush_begins();
        oracle.flush_acked(&promise);
        assert!(oracle.may_survive(0, tag(0, 2)).is_ok() && oracle.may_survive(0, 0).is_ok());
        assert!(oracle.may_survive(0, tag(0, 0)).is_err());
        oracle.write_begins(0, 1, 4);
        oracle.write_acked(0, 1, 4, true);
        assert!(oracle.may_survive(0, 0).is_err());
    }

    #[test]
    fn an_acknowledged_write_is_seen() {
        let mut oracle = Oracle::new(1, false);
        oracle.write_begins(0, 1, 1);
        oracle.write_acked(0, 1, 1, false);
        let glance = oracle.read_begins(0, 1);
        assert!(oracle.read_ended(0, &glance, &[tag(0, 0)]).is_err());
    }
}
