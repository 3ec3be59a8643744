//! What has come of a log's cuts so far, a line each in a file beside it, so that a run that was broken off can go on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::run::Outcome;

pub struct Done {
    file: File,
    path: PathBuf,
    earlier: BTreeMap<usize, Line>,
}

/// What an earlier run found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub end: End,
    /// VMs that looked: more than one if the cut was cut again.
    pub looks: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Kept,
    Lost,
    Failed,
}

impl End {
    const NAMES: [(Self, &'static str); 3] =
        [(Self::Kept, "kept"), (Self::Lost, "lost"), (Self::Failed, "failed")];

    fn name(self) -> &'static str {
        let of = |end| Self::NAMES.iter().find(|(other, _)| *other == end);
        of(self).expect("each end has a name").1
    }

    fn named(name: &str) -> Option<Self> {
        let (end, _) = Self::NAMES.into_iter().find(|(_, other)| *other == name)?;
        Some(end)
    }
}

impl Done {
    /// Of a log that is new.
    pub fn none(log: &Path) -> Result<Self> {
        let path = log.with_extension("done");
        fs::write(&path, "").with_context(|| format!("write {}", path.display()))?;
        Self::of(log)
    }

    pub fn of(log: &Path) -> Result<Self> {
        let path = log.with_extension("done");
        let file = File::options()
            .append(true)
            .create(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        // A line that was broken off is that of a cut that has to be made again.
        let earlier = text.lines().filter_map(parse).collect();
        Ok(Self { file, path, earlier })
    }

    pub fn earlier(&self, cut: usize) -> Option<Line> {
        self.earlier.get(&cut).copied()
    }

    pub fn add(&self, cut: usize, outcome: &Outcome, looks: usize) -> Result<()> {
        let line = format!("\n{cut} {looks} {}.", outcome.end().name());
        (&self.file)
            .write_all(line.as_bytes())
            .with_context(|| format!("write {}", self.path.display()))
    }
}

fn parse(line: &str) -> Option<(usize, Line)> {
    let [cut, looks, end] = line.strip_suffix('.')?.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let (end, looks) = (End::named(end)?, looks.parse().ok()?);
    Some((cut.parse().ok()?, Line { end, looks }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_found_again_and_what_was_broken_off_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("case.log");
        let done = Done::none(&log).unwrap();
        done.add(7, &Outcome::Kept, 1).unwrap();
        done.add(12, &Outcome::Lost("words".into()), 3).unwrap();
        fs::write(dir.path().join("case.done"), "\n7 1 kept.\n12 3 lost.\n1 2 kep").unwrap();
        let again = Done::of(&log).unwrap();
        again.add(2, &Outcome::Failed(anyhow::anyhow!("words")), 1).unwrap();
        let again = Done::of(&log).unwrap();
        let line = |end, looks| Some(Line { end, looks });
        assert_eq!(again.earlier(7), line(End::Kept, 1));
        assert_eq!(again.earlier(12), line(End::Lost, 3));
        assert_eq!(again.earlier(2), line(End::Failed, 1));
        assert_eq!(again.earlier(1), None);
        assert_eq!(Done::none(&log).unwrap().earlier(7), None);
    }
}
