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

use anyhow::Result;

/// The top of the checkout that this program was built from.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the scripts crate lies one level below the top of the checkout")
}

/// An unpacked kernel source tree: real files of every size, for tests that need some (its `Documentation`), and for reading.
pub fn source_tree() -> Result<PathBuf> {
    Ok(source::ensure()?.tree)
}
