//! The guest's whole system in one archive: the agent as init, Debian's tools, busybox for the rest.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use cpio::newc;

use crate::{cache, tools};

const BUSYBOX: &str = "/usr/libexec/busybox";

/// As many archives of earlier contents are kept; each is about 100 MB.
const KEPT: usize = 4;

enum Entry {
    Folder,
    Link(String),
    Program(Vec<u8>),
    Text(&'static str),
}

/// Makes the archive, or finds the one made of the same parts.
pub fn build() -> Result<PathBuf> {
    let entries = entries(tools::bytes(&agent()?)?)?;
    let parts = entries
        .iter()
        .flat_map(|(path, entry)| [path.as_bytes(), entry.bytes()]);
    cache::file("initramfs", &cache::key(parts), "initramfs.cpio", KEPT, |file| write(&entries, file))
}

/// Links the agent statically, since the guest has no libraries of its build machine's making.
fn agent() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "rustc",
            "--release",
            "--quiet",
            "--bin",
            "restripe-agent",
            "--no-default-features",
            "--message-format",
            "json",
        ])
        // Its own triple, so that its objects lie beside those of the host's build and not in their place.
        .args(["--target", "x86_64-unknown-linux-gnu", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .args([
            "--",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "strip=symbols",
        ])
        .output()
        .context("run cargo to build the agent")?;
    ensure!(
        output.status.success(),
        "the agent does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in output
        .stdout
        .split(|&b| b == b'\n')
        .filter(|line| !line.is_empty())
    {
        let message: serde_json::Value =
            serde_json::from_slice(line).context("read cargo's message")?;
        match message["executable"].as_str() {
            Some(path) if message["target"]["name"] == "restripe-agent" => {
                return Ok(PathBuf::from(path));
            }
            _ => {}
        }
    }
    bail!("cargo built the agent but did not say where it lies");
}

fn entries(agent: Vec<u8>) -> Result<BTreeMap<String, Entry>> {
    let mut entries = BTreeMap::new();
    for path in tools::all()? {
        let bytes = tools::bytes(&path)?;
        insert(&mut entries, &tools::merged(&path), Entry::Program(bytes));
    }
    let busybox = tools::need("busybox", "busybox-static")?;
    for name in tools::busybox_names(&busybox)? {
        insert(
            &mut entries,
            &Path::new(BUSYBOX).join(name),
            Entry::Link("busybox".into()),
        );
    }
    insert(
        &mut entries,
        &Path::new(BUSYBOX).join("busybox"),
        Entry::Program(tools::bytes(&busybox)?),
    );
    for top in ["bin", "sbin", "lib", "lib64"] {
        insert(
            &mut entries,
            &Path::new("/").join(top),
            Entry::Link(format!("usr/{top}")),
        );
    }
    if !entries.contains_key("usr/bin/sh") {
        insert(
            &mut entries,
            Path::new("/usr/bin/sh"),
            Entry::Link("bash".into()),
        );
    }
    insert(&mut entries, Path::new("/init"), Entry::Program(agent));
    insert(
        &mut entries,
        Path::new("/etc/passwd"),
        Entry::Text("root:x:0:0:root:/tmp:/bin/bash\n"),
    );
    insert(
        &mut entries,
        Path::new("/etc/group"),
        Entry::Text("root:x:0:\ndisk:x:6:\n"),
    );
    insert(
        &mut entries,
        Path::new("/etc/mtab"),
        Entry::Link("../proc/self/mounts".into()),
    );
    for folder in ["dev", "proc", "sys", "run", "tmp", "mnt"] {
        entries.insert(folder.into(), Entry::Folder);
    }
    Ok(entries)
}

/// Adds an entry and the folders above it.
fn insert(entries: &mut BTreeMap<String, Entry>, path: &Path, entry: Entry) {
    let name = |path: &Path| path.to_string_lossy().trim_start_matches('/').to_owned();
    for folder in path
        .ancestors()
        .skip(1)
        .map(name)
        .filter(|name| !name.is_empty())
    {
        entries.entry(folder).or_insert(Entry::Folder);
    }
    entries.insert(name(path), entry);
}

/// Names sort so that a folder stands before what it holds.
fn write(entries: &BTreeMap<String, Entry>, draft: &Path) -> Result<()> {
    let file = File::create(draft).with_context(|| format!("make {}", draft.display()))?;
    let mut out: Box<dyn Write> = Box::new(BufWriter::new(file));
    for (ino, (name, entry)) in (1..).zip(entries) {
        let mode = match entry {
            Entry::Folder => 0o040_755,
            Entry::Link(_) => 0o120_777,
            Entry::Program(_) => 0o100_755,
            Entry::Text(_) => 0o100_644,
        };
        let bytes = entry.bytes();
        let size = u32::try_from(bytes.len())
            .with_context(|| format!("{name} is too large for an initramfs"))?;
        let mut writer = newc::Builder::new(name)
            .ino(ino)
            .mode(mode)
            .nlink(1)
            .write(out, size);
        writer
            .write_all(bytes)
            .with_context(|| format!("pack {name}"))?;
        out = writer.finish().with_context(|| format!("pack {name}"))?;
    }
    newc::trailer(out)
        .and_then(|mut out| out.flush())
        .context("end the initramfs")
}

impl Entry {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Folder => &[],
            Self::Link(to) => to.as_bytes(),
            Self::Program(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_reads_what_we_pack() {
        let dir = tempfile::tempdir().unwrap();
        let mut entries = BTreeMap::new();
        insert(
            &mut entries,
            Path::new("/a/b/c"),
            Entry::Program(b"program".to_vec()),
        );
        insert(&mut entries, Path::new("/a/l"), Entry::Link("b/c".into()));
        let archive = dir.path().join("x.cpio");
        write(&entries, &archive).unwrap();
        let listing = Command::new("cpio")
            .arg("-tv")
            .stdin(File::open(&archive).unwrap())
            .output()
            .unwrap();
        assert!(listing.status.success());
        let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
        let names: Vec<_> = listing
            .lines()
            .filter_map(|line| line.split_whitespace().nth(8))
            .collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/l"]);
        assert!(
            listing.contains("a/l -> b/c") && listing.contains("-rwxr-xr-x"),
            "{listing}"
        );
    }
}
