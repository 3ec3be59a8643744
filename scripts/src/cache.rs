//! The cache: folders that are whole or not there.
//!
//! An entry is filled in `NAME.part` beside its place, stamped, flushed to disk and renamed. A run that is killed leaves a `.part`
//! that the next run throws away, so nothing half-made is ever taken for whole. A lock file per entry keeps two runs apart.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock, syncfs};
use sha2::{Digest, Sha256};

/// Lies in every whole entry and says what it was made from.
const STAMP: &str = ".restripe-whole";

/// `$RESTRIPE_CACHE`, else `~/.cache/restripe`.
pub fn root() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("RESTRIPE_CACHE").filter(|dir| !dir.is_empty()) {
        return std::path::absolute(dir).context("RESTRIPE_CACHE is not a usable path");
    }
    match std::env::var_os("HOME").filter(|dir| !dir.is_empty()) {
        Some(home) => Ok(PathBuf::from(home).join(".cache/restripe")),
        None => bail!(
            "There is no place for the cache: neither RESTRIPE_CACHE nor HOME is set; set RESTRIPE_CACHE to a folder with 15 GB free."
        ),
    }
}

/// A name for whatever the given parts describe: the same parts give the same name, and no others do.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// One folder of the cache.
#[derive(Clone, Debug)]
pub struct Entry {
    dir: PathBuf,
}

impl Entry {
    /// The entry `name` among those of one kind (`kernel`, `source`, ..).
    pub fn new(kind: &str, name: &str) -> Result<Self> {
        Ok(Self::at(root()?.join(kind).join(name)))
    }

    /// The entry in the given folder.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// All whole entries of a kind, by name.
    pub fn all(kind: &str) -> Result<Vec<Self>> {
        let Ok(list) = fs::read_dir(root()?.join(kind)) else {
            return Ok(Vec::new());
        };
        let mut entries: Vec<_> = list
            .filter_map(|item| Some(Self::at(item.ok()?.path())))
            .filter(|entry| entry.whole().is_some())
            .collect();
        entries.sort_by(|a, b| a.dir.cmp(&b.dir));
        Ok(entries)
    }

    /// The entry's own name.
    pub fn name(&self) -> String {
        self.dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The folder, if it is whole.
    pub fn whole(&self) -> Option<PathBuf> {
        self.dir.join(STAMP).is_file().then(|| self.dir.clone())
    }

    /// The folder, filled by `fill` first if it is not there. `fill` gets an empty folder to work in.
    pub fn or_fill(&self, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        if let Some(dir) = self.whole() {
            return Ok(dir);
        }
        let _lock = self.lock()?;
        // Another run may have filled it while this one waited for the lock.
        if let Some(dir) = self.whole() {
            return Ok(dir);
        }
        let part = self.beside("part");
        for leftover in [&part, &self.dir] {
            remove(leftover)?;
        }
        fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
        fill(&part)?;
        self.seal(&part)?;
        Ok(self.dir.clone())
    }

    /// Stamps and flushes a filled folder and puts it in its place.
    fn seal(&self, part: &Path) -> Result<()> {
        let mut stamp =
            File::create(part.join(STAMP)).context("cannot write the cache entry's stamp")?;
        writeln!(stamp, "{}", self.name())?;
        // The rename must not reach the disk before what it names.
        syncfs(&stamp).context("cannot flush the cache to disk")?;
        fs::rename(part, &self.dir)
            .with_context(|| format!("cannot move the cache entry to {}", self.dir.display()))
    }

    /// Waits until no other run works on this entry, and keeps others out until the file is dropped.
    pub fn lock(&self) -> Result<File> {
        let path = self.beside("lock");
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| {
                format!(
                    "The cache folder {} cannot be written; set RESTRIPE_CACHE to one that can.",
                    parent.display()
                )
            })?;
        }
        let file = File::create(&path).with_context(|| {
            format!(
                "The cache file {} cannot be written; set RESTRIPE_CACHE to a folder that can.",
                path.display()
            )
        })?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            eprintln!(
                "another run is making {}; waiting for it",
                self.dir.display()
            );
            flock(&file, FlockOperation::LockExclusive).context("cannot lock the cache entry")?;
        }
        Ok(file)
    }

    /// `NAME.EXTENSION` beside the entry. Names hold dots (versions), so this appends and replaces nothing.
    fn beside(&self, extension: &str) -> PathBuf {
        self.dir
            .with_file_name(format!("{}.{extension}", self.name()))
    }
}

/// Removes a folder with all that is in it, if it is there.
pub fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn entry() -> (tempfile::TempDir, Entry) {
        let dir = tempfile::tempdir().unwrap();
        let entry = Entry::at(dir.path().join("kernel").join("lean-7.2.13-00ff"));
        (dir, entry)
    }

    #[test]
    fn filled_once_and_then_found() {
        let (_dir, entry) = entry();
        let fills = Cell::new(0);
        for _ in 0..2 {
            let dir = entry
                .or_fill(|part| {
                    fills.set(fills.get() + 1);
                    Ok(fs::write(part.join("image"), "whole")?)
                })
                .unwrap();
            assert_eq!(fs::read_to_string(dir.join("image")).unwrap(), "whole");
        }
        assert_eq!(fills.get(), 1);
    }

    #[test]
    fn failed_fill_leaves_nothing_that_looks_whole() {
        let (_dir, entry) = entry();
        let failed = entry.or_fill(|part| {
            fs::write(part.join("image"), "half")?;
            bail!("the compiler died")
        });
        assert!(failed.is_err());
        assert!(entry.whole().is_none());
        // The next fill starts with an empty folder, whatever the first one left.
        let dir = entry.or_fill(|part| {
            assert_eq!(fs::read_dir(part)?.count(), 0);
            Ok(())
        });
        assert!(!dir.unwrap().join("image").exists());
    }

    #[test]
    fn killed_fill_is_never_taken_for_whole() {
        let (_dir, entry) = entry();
        // What a run leaves that is killed in the midst of filling, just before its stamp, or between stamp and rename.
        for stamped in [false, true] {
            let part = entry.beside("part");
            fs::create_dir_all(&part).unwrap();
            fs::write(part.join("image"), "half").unwrap();
            if stamped {
                fs::write(part.join(STAMP), "").unwrap();
            }
            assert!(entry.whole().is_none());
        }
        // And a folder in the entry's place that nobody stamped.
        fs::create_dir_all(&entry.dir).unwrap();
        assert!(entry.whole().is_none());
        let dir = entry
            .or_fill(|part| Ok(fs::write(part.join("image"), "whole")?))
            .unwrap();
        assert_eq!(fs::read_to_string(dir.join("image")).unwrap(), "whole");
    }

    #[test]
    fn two_runs_fill_once() {
        let (_dir, entry) = entry();
        let fills = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let dir = entry.or_fill(|part| {
                        fills.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        Ok(fs::write(part.join("image"), "whole")?)
                    });
                    assert!(dir.unwrap().join("image").exists());
                });
            }
        });
        assert_eq!(fills.into_inner(), 1);
    }

    #[test]
    fn keys_tell_parts_apart() {
        let of = |parts: &[&str]| key(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), of(&["ab", ""]));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Entry::at(file.path().join("kernel/lean"))
            .or_fill(|_| Ok(()))
            .unwrap_err();
        assert!(error.to_string().contains("RESTRIPE_CACHE"), "{error}");
    }
}
