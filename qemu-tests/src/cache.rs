//! Things made once and kept outside the checkout, each under a name that holds the digest of all it was made from.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The cache folder.
pub fn dir() -> Result<PathBuf> {
    let dir = match env::var_os("RESTRIPE_CACHE") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(
            env::var_os("HOME").context("HOME is not set; set RESTRIPE_CACHE to a folder")?,
        )
        .join(".cache/restripe"),
    };
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    Ok(dir)
}

/// A short digest of all parts in order.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Writes a file so that it is there whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    make(path, |draft| {
        fs::write(draft, bytes).with_context(|| format!("write {}", draft.display()))
    })
}

/// Makes a file under another name and renames it when it is whole; does nothing if it is there.
pub fn make(path: &Path, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let built = build(&draft);
    if built.is_err() {
        // The error that matters is the build's.
        let _: std::io::Result<()> = fs::remove_file(&draft);
        return built;
    }
    fs::rename(&draft, path).with_context(|| format!("put {} in its place", path.display()))
}
