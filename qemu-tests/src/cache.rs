//! Things made once and kept in the project's cache, each under a name that tells all it was made from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use restripe_scripts::cache::{self, Entry};

pub use restripe_scripts::cache::key;

/// The file `file` of the entry `name`, made first if it is not there. Of each kind only the `keep` newest stay.
pub fn file(kind: &str, name: &str, file: &str, keep: usize, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let entry = Entry::new(kind, name)?;
    if let Some(dir) = entry.whole() {
        return Ok(dir.join(file));
    }
    let dir = entry.or_fill(|dir| make(&dir.join(file)))?;
    forget(kind, keep)?;
    Ok(dir.join(file))
}

fn forget(kind: &str, keep: usize) -> Result<()> {
    let mut dirs: Vec<_> = Entry::all(kind)?
        .into_iter()
        .filter_map(|entry| {
            let dir = entry.whole()?;
            Some((fs::metadata(&dir).and_then(|m| m.modified()).ok()?, dir))
        })
        .collect();
    dirs.sort();
    let surplus = dirs.len().saturating_sub(keep);
    dirs[..surplus].iter().try_for_each(|(_, dir)| cache::remove(dir))
}
