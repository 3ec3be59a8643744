//! What restripe is built and tested with, and how it comes to a fresh machine.
//!
//! Everything lands in one cache outside the checkout ([`cache`]), by content: an entry is whole or it is not there. A second run
//! only looks things up. Every failure is one plain sentence that says what is missing and how to get it.

pub mod apt;
pub mod cache;
pub mod child;
pub mod fragment;
pub mod kernel;
mod kernel_org;
pub mod module;
pub mod packages;
pub mod progress;
pub mod source;
pub mod suite;
pub mod toolchain;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Result;

/// The top of the checkout that this program runs for.
pub fn checkout() -> &'static Path {
    static TOP: OnceLock<PathBuf> = OnceLock::new();
    TOP.get_or_init(|| {
        // Two checkouts that share a target folder share this program too: what `cargo run` says of the one it was called in
        // goes before where it was compiled.
        let called_in = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let compiled_in = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        called_in
            .iter()
            .chain([&compiled_in])
            .flat_map(|dir| dir.ancestors())
            .find(|dir| dir.join("Kbuild").is_file())
            .unwrap_or(&compiled_in)
            .to_path_buf()
    })
}

/// An unpacked kernel source tree: real files of every size, for tests that need some (its `Documentation`), and for reading.
pub fn source_tree() -> Result<PathBuf> {
    Ok(source::ensure()?.tree)
}
