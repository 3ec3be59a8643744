//! Real files for the guest's disks: the kernel source's documentation in an ext4 or XFS image, made without mounting anything.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::vm::Vm;
use crate::wire::{ManifestLine, Request};
use crate::{cache, tools};

/// As many images are kept.
const KEPT: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    Ext4,
    Xfs,
}

/// A tree of files on the host and what each of them holds.
#[derive(Debug, Clone)]
pub struct Tree {
    root: PathBuf,
    pub manifest: Vec<ManifestLine>,
}

impl Tree {
    /// The kernel source's documentation, or the part of it below `part` ("" for all).
    pub fn documentation(part: &str) -> Result<Self> {
        let source = restripe_scripts::source_tree()?;
        Self::of(&source.join("Documentation").join(part))
    }

    /// Reads a tree.
    pub fn of(root: &Path) -> Result<Self> {
        let mut manifest = Vec::new();
        for entry in WalkDir::new(root).sort_by_file_name() {
            let entry = entry.with_context(|| format!("walk {}", root.display()))?;
            if entry.file_type().is_file() {
                let path = entry.path();
                let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
                let below = path
                    .strip_prefix(root)
                    .context("a path is not below its root")?;
                manifest.push(ManifestLine {
                    path: below
                        .to_str()
                        .with_context(|| format!("{} is no UTF-8", path.display()))?
                        .to_owned(),
                    size: bytes.len() as u64,
                    sha256: Sha256::digest(&bytes).into(),
                });
            }
        }
        ensure!(
            !manifest.is_empty(),
            "there are no files below {}",
            root.display()
        );
        Ok(Self {
            root: root.to_owned(),
            manifest,
        })
    }

    /// A file's content.
    pub fn read(&self, line: &ManifestLine) -> Result<Vec<u8>> {
        let path = self.root.join(&line.path);
        fs::read(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Bytes in all files.
    pub fn bytes(&self) -> u64 {
        self.manifest.iter().map(|line| line.size).sum()
    }

    /// An image of `size` bytes with these files on it; cached.
    pub fn image(&self, filesystem: Filesystem, size: u64) -> Result<PathBuf> {
        let (name, make): (_, fn(&Self, &Path) -> Result<()>) = match filesystem {
            Filesystem::Ext4 => ("ext4", Self::mkfs_ext4),
            Filesystem::Xfs => ("xfs", Self::mkfs_xfs),
        };
        let lines: Vec<_> = self
            .manifest
            .iter()
            .flat_map(|line| [line.path.as_bytes(), line.sha256.as_slice()])
            .collect();
        let length = size.to_le_bytes();
        let parts = [name.as_bytes(), &length].into_iter().chain(lines);
        cache::file("image", &cache::key(parts), name, KEPT, |draft| {
            let file = fs::File::create(draft).with_context(|| format!("make {}", draft.display()))?;
            file.set_len(size).with_context(|| format!("make {} {size} bytes long", draft.display()))?;
            make(self, draft)
        })
    }

    fn mkfs_ext4(&self, image: &Path) -> Result<()> {
        let mkfs = tools::need("mkfs.ext4", "e2fsprogs")?;
        // Room to grow by a thousand times is reserved for the group descriptors, as a plain mkfs does.
        run(Command::new(mkfs)
            .args([
                "-q",
                "-F",
                "-b",
                "4096",
                "-E",
                "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0",
                "-d",
            ])
            .arg(&self.root)
            .arg(image))
    }

    fn mkfs_xfs(&self, image: &Path) -> Result<()> {
        let mkfs = tools::need("mkfs.xfs", "xfsprogs")?;
        let proto = image.with_extension("proto");
        fs::write(&proto, self.protofile()?)
            .with_context(|| format!("write {}", proto.display()))?;
        let made = run(Command::new(mkfs)
            .args(["-q", "-f", "-p"])
            .arg(&proto)
            .arg(image));
        fs::remove_file(&proto).with_context(|| format!("remove {}", proto.display()))?;
        made
    }

    /// The tree in the words of mkfs.xfs -p: two lines of no meaning, then folders nested, each ended by `$`.
    fn protofile(&self) -> Result<String> {
        let mut text = String::from("/dev/null\n0 0\nd--755 0 0\n");
        folder(&self.root, &mut text)?;
        text.push_str("$\n");
        Ok(text)
    }
}

fn folder(path: &Path, text: &mut String) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(path)
        .and_then(|entries| entries.collect::<std::io::Result<_>>())
        .with_context(|| format!("list {}", path.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = entry
            .file_name()
            .into_string()
            .map_err(|name| anyhow::anyhow!("{} is no UTF-8", name.to_string_lossy()))?;
        ensure!(
            !name.contains(char::is_whitespace),
            "mkfs.xfs takes no space in a name: {}",
            path.display()
        );
        let mode = entry.metadata()?.mode() & 0o777;
        if kind.is_dir() {
            writeln!(text, "{name} d--{mode:03o} 0 0")?;
            folder(&path, text)?;
            text.push_str("$\n");
        } else if kind.is_symlink() {
            writeln!(
                text,
                "{name} l--777 0 0 {}",
                fs::read_link(&path)?.display()
            )?;
        } else if kind.is_file() {
            writeln!(text, "{name} ---{mode:03o} 0 0 {}", path.display())?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("run {}", command.get_program().to_string_lossy()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{} failed: {said}", command.get_program().to_string_lossy());
    }
    Ok(())
}

impl Vm {
    /// Checks every file of a tree that is mounted at `root`, by size and sha256. Gives how many.
    pub fn check_tree(&self, root: &str, tree: &Tree) -> Result<usize> {
        let manifest = tree.manifest.clone();
        let done = self.finish(|job| Request::CheckTree {
            job,
            root: root.to_owned(),
            manifest,
        })?;
        ensure!(done.status == 0, "below {root}: {}", done.note);
        Ok(tree.manifest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/b"), b"bb").unwrap();
        fs::write(dir.path().join("a"), b"").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("l")).unwrap();
        let tree = Tree::of(dir.path()).unwrap();
        (dir, tree)
    }

    #[test]
    fn a_manifest_names_every_file() {
        let (_dir, tree) = small();
        let names: Vec<_> = tree
            .manifest
            .iter()
            .map(|line| (line.path.as_str(), line.size))
            .collect();
        assert_eq!(names, [("a", 0), ("sub/b", 2)]);
        assert_eq!(tree.bytes(), 2);
        assert!(Tree::of(&tree.root.join("sub/none")).is_err());
    }

    #[test]
    fn a_protofile_nests() {
        let (dir, tree) = small();
        let at = dir.path().display();
        let text = tree.protofile().unwrap();
        let modes_aside = text.replace("600", "644").replace("d--700", "d--755");
        assert_eq!(
            modes_aside,
            format!(
                "/dev/null\n0 0\nd--755 0 0\na ---644 0 0 {at}/a\nl l--777 0 0 a\nsub d--755 0 0\nb ---644 0 0 {at}/sub/b\n$\n$\n"
            )
        );
    }
}
