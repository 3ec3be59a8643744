//! The programs the guest gets: the host's own Debian tools with the libraries they need.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// (Debian package, its programs that scenarios use)
const TOOLS: [(&str, &[&str]); 12] = [
    ("bash", &["bash"]),
    (
        "coreutils",
        &["dd", "cp", "sync", "stat", "timeout", "truncate", "mkfifo"],
    ),
    ("diffutils", &["cmp"]),
    ("dmsetup", &["dmsetup"]),
    (
        "e2fsprogs",
        &["mkfs.ext4", "e2fsck", "resize2fs", "tune2fs", "dumpe2fs"],
    ),
    ("fdisk", &["sfdisk"]),
    ("fio", &["fio"]),
    ("gdisk", &["sgdisk"]),
    ("mdadm", &["mdadm"]),
    ("mount", &["mount", "umount", "losetup"]),
    (
        "util-linux",
        &[
            "blkid",
            "lsblk",
            "blockdev",
            "blkdiscard",
            "blkzone",
            "wipefs",
            "dmesg",
            "fstrim",
            "mkswap",
            "findmnt",
        ],
    ),
    (
        "xfsprogs",
        &["mkfs.xfs", "xfs_repair", "xfs_growfs", "xfs_info", "xfs_io"],
    ),
];

/// Finds a program as a root shell would.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    // Debian's own first: what a user has put in front of them may be a script that needs more than itself.
    more.into_iter()
        .chain(env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// Finds a program or says which package has it.
pub fn need(name: &str, package: &str) -> Result<PathBuf> {
    find(name).with_context(|| format!("{name} is missing (Debian: apt-get install {package})"))
}

/// All programs and the libraries that they load, by the path they have in the guest.
pub fn all() -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    let mut missing = Vec::new();
    for (package, names) in TOOLS {
        for name in names {
            match find(name) {
                Some(path) => {
                    files.insert(path);
                }
                None => missing.push(format!("{name} (Debian: apt-get install {package})")),
            }
        }
    }
    if !missing.is_empty() {
        bail!("programs are missing: {}", missing.join(", "));
    }
    let libraries = libraries(&files)?;
    files.extend(libraries);
    Ok(files)
}

/// What `ldd` says the programs load.
fn libraries(programs: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd")
        .args(programs)
        .env("LC_ALL", "C")
        .output()
        .context("run ldd (Debian: libc-bin)")?;
    parse_ldd(&String::from_utf8_lossy(&output.stdout))
}

fn parse_ldd(text: &str) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        // "libc.so.6 => /lib/libc.so.6 (0x..)", "/lib64/ld-linux-x86-64.so.2 (0x..)", "linux-vdso.so.1 (0x..)", "/usr/bin/fio:"
        if line.ends_with("not found") {
            bail!("a library is missing on this machine: {line}");
        }
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        let path = path.split_once(" (").map_or("", |(path, _)| path);
        if path.starts_with('/') {
            found.insert(PathBuf::from(path));
        }
    }
    Ok(found)
}

/// Where a file goes in a guest whose /bin, /sbin and /lib are links into /usr, as in every Debian since 12.
pub fn merged(path: &Path) -> PathBuf {
    for top in ["bin", "sbin", "lib", "lib64"] {
        if let Ok(rest) = path.strip_prefix(Path::new("/").join(top)) {
            return Path::new("/usr").join(top).join(rest);
        }
    }
    path.to_owned()
}

/// The names under which busybox knows how to run.
pub fn busybox_names(busybox: &Path) -> Result<Vec<String>> {
    let output = Command::new(busybox)
        .arg("--list")
        .output()
        .context("run busybox --list")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// A program's bytes.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_is_understood() {
        let text = "/usr/bin/fio:\n\tlinux-vdso.so.1 (0x7ffd)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x7f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n/usr/bin/bash:\n\tstatically linked\n";
        let want = [
            "/lib/x86_64-linux-gnu/libm.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ]
        .map(PathBuf::from);
        assert_eq!(parse_ldd(text).unwrap(), BTreeSet::from(want));
        assert!(parse_ldd("\tlibm.so.6 => not found\n").is_err());
    }

    #[test]
    fn the_guest_has_one_tree() {
        assert_eq!(
            merged(Path::new("/lib64/ld.so")),
            Path::new("/usr/lib64/ld.so")
        );
        assert_eq!(
            merged(Path::new("/usr/lib/a.so")),
            Path::new("/usr/lib/a.so")
        );
    }
}
