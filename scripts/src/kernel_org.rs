//! Release tarballs of kernel.org: only when asked for by `KERNEL_SRC=kernel.org`.
//!
//! The sums file there is signed. Its checksum is always compared; its signature too where gpg holds the key of the kernel.org
//! checksum autosigner, and a line says so where it does not.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::cache::Entry;
use crate::child;
use crate::progress::Progress;
use crate::source::{self, SERIES, Source};

const FOLDER: &str = "https://cdn.kernel.org/pub/linux/kernel/v7.x";

/// The release of this version, or the newest of the first series that is there.
pub(crate) fn ensure(version: Option<&str>) -> Result<Source> {
    if let Some(version) = version {
        let entry = entry(version)?;
        if entry.whole().is_some() {
            return source::from_entry(&entry);
        }
    }
    let progress = Progress::new("fetching the kernel source from kernel.org", 0);
    let scratch = Entry::new("source", "kernel.org-sums")?;
    let _lock = scratch.lock()?;
    let dir = crate::cache::root()?.join("kernel.org");
    fs::create_dir_all(&dir)?;
    let sums_file = dir.join("sha256sums.asc");
    fetch("sha256sums.asc", &sums_file)?;
    check_signature(&sums_file)?;
    let sums = fs::read_to_string(&sums_file)?;
    let (version, sum) = choose(&sums, version)?;
    let entry = entry(&version)?;
    entry.or_fill(|part| {
        let name = format!("linux-{version}.tar.xz");
        let tarball = part.join(&name);
        fetch(&name, &tarball)?;
        if sha256(&tarball)? != sum {
            bail!("{name} from kernel.org does not have the checksum that its signed list gives: the download is damaged or not genuine; try again.");
        }
        source::untar(&tarball, part)?;
        fs::remove_file(&tarball)?;
        Ok(())
    })?;
    progress.finish();
    source::from_entry(&entry)
}

fn entry(version: &str) -> Result<Entry> {
    Entry::new("source", &format!("kernel.org-{version}"))
}

fn fetch(name: &str, to: &Path) -> Result<()> {
    child::output(child::command("curl").args(["-fsSL", "--retry", "3", "-o"]).arg(to).arg(format!("{FOLDER}/{name}")))
        .with_context(|| format!("{name} could not be fetched from kernel.org; give KERNEL_SRC= (a source tree or tarball) instead."))?;
    Ok(())
}

fn check_signature(sums: &Path) -> Result<()> {
    if !child::found("gpg") {
        eprintln!(
            "gpg is not installed: the checksum list of kernel.org is trusted by its HTTPS connection alone"
        );
        return Ok(());
    }
    let said = child::command("gpg")
        .args(["--batch", "--status-fd", "1", "--verify"])
        .arg(sums)
        .output()?;
    let status = String::from_utf8_lossy(&said.stdout).into_owned();
    if status.contains("BADSIG") {
        bail!("The checksum list of kernel.org has a bad signature: do not use it.");
    }
    if !status.contains("GOODSIG") {
        eprintln!(
            "gpg does not hold the key of the kernel.org checksum autosigner: its list is trusted by its HTTPS connection alone"
        );
    }
    Ok(())
}

/// Version and checksum of the wanted tarball in a `SUM  linux-7.2.13.tar.xz` list.
fn choose(sums: &str, wanted: Option<&str>) -> Result<(String, String)> {
    let listed: Vec<(&str, &str)> = sums
        .lines()
        .filter_map(|line| {
            let (sum, name) = line.split_once("  ")?;
            Some((name.strip_prefix("linux-")?.strip_suffix(".tar.xz")?, sum))
        })
        .collect();
    let found = match wanted {
        Some(wanted) => listed.iter().find(|(version, _)| *version == wanted),
        None => SERIES.iter().find_map(|series| {
            let of_series =
                |version: &str| version == *series || version.starts_with(&format!("{series}."));
            listed
                .iter()
                .filter(|(version, _)| of_series(version))
                .max_by_key(|(version, _)| source::numbers(version))
        }),
    };
    match found {
        Some((version, sum)) => Ok(((*version).to_owned(), (*sum).to_owned())),
        None => bail!(
            "kernel.org lists no release {}.",
            wanted.map_or_else(|| SERIES.join(" or "), str::to_owned)
        ),
    }
}

fn sha256(file: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut fs::File::open(file)?, &mut hash)?;
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUMS: &str = "-----BEGIN PGP SIGNED MESSAGE-----\n\
        aa  linux-7.2.9.tar.xz\nbb  linux-7.2.13.tar.xz\ncc  linux-7.3.1.tar.xz\ndd  patch-7.2.14.xz\nee  linux-7.20.1.tar.xz\n";

    #[test]
    fn newest_release_of_the_first_series() {
        assert_eq!(
            choose(SUMS, None).unwrap(),
            ("7.2.13".to_owned(), "bb".to_owned())
        );
        assert_eq!(choose(SUMS, Some("7.2.9")).unwrap().1, "aa");
        assert_eq!(choose("cc  linux-7.3.1.tar.xz\n", None).unwrap().0, "7.3.1");
        assert!(
            choose(SUMS, Some("7.2.99"))
                .unwrap_err()
                .to_string()
                .contains("7.2.99")
        );
    }

    #[test]
    fn checksum_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        fs::write(&file, "abc").unwrap();
        assert_eq!(
            sha256(&file).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
