//! The kernel's source: Debian's package, or what `KERNEL_SRC=` names.
//!
//! `KERNEL_SRC=` takes an unpacked tree, a tarball, `kernel.org` for the newest release there, or `kernel.org:7.2.13`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt::{Apt, Package};
use crate::cache::{self, Entry};
use crate::child;
use crate::kernel_org;
use crate::progress::Progress;

/// The series that restripe builds against, the first that is to be had.
pub const SERIES: [&str; 2] = ["7.2", "7.3"];

/// An unpacked source tree.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it lies.
    pub tree: PathBuf,
    /// What distinguishes it from any other.
    pub id: String,
    /// `7.2.13`.
    pub version: String,
    /// Whether it lies in the cache and never changes, so that its files may be shared by links.
    pub cached: bool,
}

/// The source that is asked for, fetched if it is not there.
pub fn ensure() -> Result<Source> {
    match std::env::var("KERNEL_SRC")
        .ok()
        .filter(|given| !given.is_empty())
    {
        None => debian(),
        Some(given) => match given.strip_prefix("kernel.org") {
            Some("") => kernel_org::ensure(None),
            Some(version) if version.starts_with(':') => kernel_org::ensure(Some(&version[1..])),
            _ => given_path(&PathBuf::from(given)),
        },
    }
}

fn debian() -> Result<Source> {
    let have: Vec<_> = Entry::all("source")?
        .into_iter()
        .filter(|entry| entry.name().starts_with("debian-"))
        .collect();
    let names: Vec<_> = have
        .iter()
        .map(|entry| entry.name()["debian-".len()..].to_owned())
        .collect();
    // What was fetched once is good enough, so that a second run asks no network.
    if let Some(index) = preferred(&names) {
        return from_entry(&have[index]);
    }
    let progress = Progress::new("fetching the kernel source from the Debian mirror", 0);
    let apt = Apt::new()?;
    let package = newest(|series| apt.versions(&format!("linux-source-{series}")))?;
    let entry = Entry::new("source", &format!("debian-{}", plain(&package.version)))?;
    entry.or_fill(|part| {
        let unpacked = part.join("package");
        apt.unpack(&package, &unpacked)?;
        let series = package.name.trim_start_matches("linux-source-");
        untar(
            &unpacked.join(format!("usr/src/linux-source-{series}.tar.xz")),
            part,
        )?;
        cache::remove(&unpacked)
    })?;
    progress.finish();
    from_entry(&entry)
}

/// The newest version of the first series that is on offer.
fn newest(offered: impl Fn(&str) -> Result<Vec<Package>>) -> Result<Package> {
    for series in SERIES {
        if let Some(package) = offered(series)?.into_iter().next() {
            return Ok(package);
        }
    }
    bail!(
        "The Debian mirror has neither linux-source-{}: give KERNEL_SRC= (a source tree, a tarball, or `kernel.org`) or KDIR= (a built tree).",
        SERIES.join(" nor linux-source-")
    )
}

/// Which of the versions to take: the first series that is there, of it the newest.
fn preferred(versions: &[String]) -> Option<usize> {
    SERIES.iter().find_map(|series| {
        (0..versions.len())
            .filter(|&index| versions[index].starts_with(&format!("{series}.")))
            .max_by_key(|&index| numbers(&versions[index]))
    })
}

/// The numbers in a version, which order it.
pub fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// A version with nothing in it that a makefile could trip over.
fn plain(version: &str) -> String {
    version.replace(
        |c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-',
        "_",
    )
}

/// Unpacks a kernel tarball to `part/linux`.
pub fn untar(tarball: &Path, part: &Path) -> Result<()> {
    let tree = part.join("linux");
    fs::create_dir_all(&tree)?;
    child::output(
        child::command("tar")
            .arg("-xf")
            .arg(tarball)
            .arg("-C")
            .arg(&tree)
            .arg("--strip-components=1"),
    )
    .with_context(|| {
        format!(
            "The kernel source {} could not be unpacked.",
            tarball.display()
        )
    })?;
    Ok(())
}

/// The source in a whole entry of the cache.
pub fn from_entry(entry: &Entry) -> Result<Source> {
    let dir = entry
        .whole()
        .with_context(|| format!("the cache entry {} is not whole", entry.name()))?;
    let tree = dir.join("linux");
    Ok(Source {
        version: version(&tree)?,
        tree,
        id: entry.name(),
        cached: true,
    })
}

fn given_path(path: &Path) -> Result<Source> {
    let path = fs::canonicalize(path)
        .with_context(|| format!("KERNEL_SRC is {}, which is not there: it takes an unpacked kernel source tree, a tarball, or `kernel.org`.", path.display()))?;
    let meta = fs::metadata(&path)?;
    if meta.is_file() {
        let stamp = format!(
            "{} {} {}.{}",
            path.display(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        let entry = Entry::new(
            "source",
            &format!("given-{}", cache::key([stamp.as_bytes()])),
        )?;
        entry.or_fill(|part| {
            let progress = Progress::new(&format!("unpacking {}", path.display()), 0);
            untar(&path, part)?;
            version(&part.join("linux"))?;
            progress.finish();
            Ok(())
        })?;
        return from_entry(&entry);
    }
    let version = version(&path)?;
    if path.join(".config").exists() || path.join("include/config").exists() {
        bail!(
            "KERNEL_SRC {} has been built in: run `make mrproper` there, or give it as KDIR= to use what was built.",
            path.display()
        );
    }
    Ok(Source {
        id: format!("given-{}", listing(&path)?),
        tree: path,
        version,
        cached: false,
    })
}

/// A hash of the names, sizes and times of all files below: a tree that somebody edits gives another one.
fn listing(tree: &Path) -> Result<String> {
    let mut said = child::output(child::command("find").arg(tree).args([
        "-name",
        ".git",
        "-prune",
        "-o",
        "-type",
        "f",
        "-printf",
        "%P %s %T@\\n",
    ]))?
    .lines()
    .map(str::to_owned)
    .collect::<Vec<_>>();
    said.sort();
    Ok(cache::key(said.iter().map(String::as_bytes)))
}

/// `7.2.13`, from a tree's Makefile.
pub fn version(tree: &Path) -> Result<String> {
    let text = fs::read_to_string(tree.join("Makefile")).unwrap_or_default();
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))
            .map(str::trim)
    };
    let (Some(major), Some(minor), Some(patch)) =
        (value("VERSION"), value("PATCHLEVEL"), value("SUBLEVEL"))
    else {
        bail!("{} is not a kernel source tree.", tree.display());
    };
    let series = format!("{major}.{minor}");
    if !SERIES.contains(&series.as_str()) {
        bail!(
            "The kernel in {} is of series {series}; restripe builds against {}.",
            tree.display(),
            SERIES.join(" and ")
        );
    }
    Ok(format!("{series}.{patch}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn first_series_else_second_else_a_sentence() {
        let both = |series: &str| {
            Ok(vec![package(
                &format!("linux-source-{series}"),
                &format!("{series}.4-1"),
            )])
        };
        assert_eq!(newest(both).unwrap().version, "7.2.4-1");
        let second = |series: &str| {
            if series == "7.2" {
                Ok(Vec::new())
            } else {
                both(series)
            }
        };
        assert_eq!(newest(second).unwrap().name, "linux-source-7.3");
        let error = newest(|_| Ok(Vec::new())).unwrap_err().to_string();
        assert!(
            error.contains("KERNEL_SRC=") && error.contains("KDIR="),
            "{error}"
        );
    }

    #[test]
    fn newest_of_the_first_series_in_the_cache() {
        let versions = ["7.3.4-1", "7.2.9-1", "7.2.13-1", "7.2.12-1_bpo13_1"].map(str::to_owned);
        assert_eq!(preferred(&versions), Some(2));
        assert_eq!(preferred(&versions[..1]), Some(0));
        assert_eq!(preferred(&["6.12.1-1".to_owned()]), None);
        assert_eq!(plain("7.2.12-1~bpo13+1"), "7.2.12-1_bpo13_1");
    }

    #[test]
    fn a_tree_is_known_by_its_makefile() {
        let tree = tempfile::tempdir().unwrap();
        let write = |minor: u32| {
            fs::write(
                tree.path().join("Makefile"),
                format!("VERSION = 7\nPATCHLEVEL = {minor}\nSUBLEVEL = 13\n"),
            )
            .unwrap()
        };
        assert!(
            version(tree.path())
                .unwrap_err()
                .to_string()
                .contains("not a kernel source tree")
        );
        write(2);
        assert_eq!(version(tree.path()).unwrap(), "7.2.13");
        write(1);
        assert!(
            version(tree.path())
                .unwrap_err()
                .to_string()
                .contains("7.2 and 7.3")
        );
    }

    #[test]
    fn an_edited_tree_is_another_one() {
        let tree = tempfile::tempdir().unwrap();
        fs::write(tree.path().join("a"), "one").unwrap();
        let before = listing(tree.path()).unwrap();
        assert_eq!(listing(tree.path()).unwrap(), before);
        fs::write(tree.path().join("a"), "three").unwrap();
        assert_ne!(listing(tree.path()).unwrap(), before);
    }
}
