//! Packages from suites of Debian that the machine does not list, without touching its own apt set-up.
//!
//! The mirror is the machine's own, the lists and the cache are private, and apt checks signatures against the Debian archive
//! keyring and every download against the signed lists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{cache, child};

/// Where newer kernels and Rust sources are kept, in the order they are asked.
const SUITES: [&str; 3] = ["trixie-backports", "sid", "trixie"];

const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// A package of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, as apt writes it.
    pub version: String,
}

/// A private apt with fresh lists.
pub struct Apt {
    conf: PathBuf,
}

impl Apt {
    /// Sets it up and fetches the lists.
    pub fn new() -> Result<Self> {
        if !child::found("apt-get") {
            bail!(
                "There is no apt-get here to fetch the kernel source with; give KERNEL_SRC= (a source tree or tarball) or KDIR= (a built tree)."
            );
        }
        let Some(keyring) = KEYRINGS.iter().find(|path| Path::new(path).is_file()) else {
            bail!(
                "The Debian archive keyring is missing, so downloads cannot be verified: install the package debian-archive-keyring."
            );
        };
        let Some(mirror) = mirror() else {
            bail!(
                "No Debian mirror is listed in /etc/apt, so the kernel source cannot be fetched; give KERNEL_SRC= (a source tree or tarball) or KDIR= (a built tree)."
            );
        };
        let dir = cache::root()?.join("apt");
        for sub in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub)).context("cannot make the private apt folder")?;
        }
        let list = SUITES
            .map(|suite| format!("deb [signed-by={keyring}] {mirror} {suite} main\n"))
            .concat();
        fs::write(dir.join("sources.list"), list)?;
        let conf = dir.join("apt.conf");
        fs::write(&conf, configuration(&dir))?;
        let apt = Self { conf };
        // One suite that is gone from the mirror is no failure as long as the others answer: the look-up after this tells.
        if !apt
            .command("apt-get")
            .arg("update")
            .output()?
            .status
            .success()
        {
            eprintln!("some Debian package lists could not be fetched; going on with the others");
        }
        Ok(apt)
    }

    /// All versions on offer, newest first.
    pub fn versions(&self, name: &str) -> Result<Vec<Package>> {
        let said = child::output(self.command("apt-cache").args(["madison", name]))?;
        Ok(parse_madison(name, &said))
    }

    /// Fetches a package and unpacks its files into `into`.
    pub fn unpack(&self, package: &Package, into: &Path) -> Result<()> {
        let downloads = into.join("download");
        fs::create_dir_all(&downloads)?;
        let wanted = format!("{}={}", package.name, package.version);
        child::logged(self.command("apt-get").args(["download", &wanted]).current_dir(&downloads), &child::log_path("download")?, |_| ())
            .with_context(|| format!("The package {wanted} could not be fetched from the Debian mirror; try again, or give KERNEL_SRC= or KDIR=."))?;
        let deb = fs::read_dir(&downloads)?
            .next()
            .context("apt-get download left no file")??
            .path();
        child::output(
            child::command("dpkg-deb")
                .arg("-x")
                .args([&deb, &into.to_path_buf()]),
        )?;
        cache::remove(&downloads)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = child::command(program);
        command.arg("-c").arg(&self.conf);
        command
    }
}

/// Options that keep apt away from the machine's own state, from its hooks, and from lists nobody reads here.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n#clear Acquire::IndexTargets::deb::DEP-11;\n\
         #clear Acquire::IndexTargets::deb::DEP-11-icons;\n\
         Dir::Etc::SourceList \"{dir}/sources.list\";\nDir::Etc::SourceParts \"/dev/null\";\n\
         Dir::State::Lists \"{dir}/lists\";\nDir::Cache \"{dir}/cache\";\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n"
    )
}

/// The machine's own Debian mirror, from its apt sources in either format.
fn mirror() -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(dir.filter_map(|file| Some(file.ok()?.path())));
    }
    files.sort();
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| mirror_in(&text))
}

/// The first address in a sources file that ends in `/debian`: Debian's own archive, by the name every mirror of it has.
fn mirror_in(text: &str) -> Option<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.contains("://") && word.ends_with("/debian"))
        .map(str::to_owned)
}

/// `name | version | where` lines, which apt sorts newest first.
fn parse_madison(name: &str, said: &str) -> Vec<Package> {
    let mut found: Vec<Package> = Vec::new();
    for line in said.lines() {
        let mut fields = line.split('|').map(str::trim);
        if fields.next() != Some(name) {
            continue;
        }
        if let Some(version) = fields
            .next()
            .filter(|version| found.iter().all(|known| known.version != *version))
        {
            found.push(Package {
                name: name.to_owned(),
                version: version.to_owned(),
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_from_either_format() {
        let deb822 = "Types: deb\n# URIs: http://old.example/debian\nURIs: http://mirror.example/debian\nSuites: bookworm\n";
        assert_eq!(
            mirror_in(deb822).as_deref(),
            Some("http://mirror.example/debian")
        );
        let one_line = "deb http://sec.example/debian-security bookworm-security main\ndeb [arch=amd64] https://mirror.example/debian/ bookworm main\n";
        assert_eq!(
            mirror_in(one_line).as_deref(),
            Some("https://mirror.example/debian")
        );
        assert_eq!(
            mirror_in("deb http://mirror.example/ubuntu noble main\n"),
            None
        );
    }

    #[test]
    fn versions_newest_first_and_once() {
        let said = "linux-source-7.2 | 7.2.13-1 | http://m/debian sid/main amd64 Packages\n\
                    linux-source-7.2 | 7.2.12-1~bpo13+1 | http://m/debian trixie-backports/main amd64 Packages\n\
                    linux-source-7.2 | 7.2.12-1~bpo13+1 | http://m/debian sid/main amd64 Packages\n";
        let versions: Vec<_> = parse_madison("linux-source-7.2", said)
            .into_iter()
            .map(|package| package.version)
            .collect();
        assert_eq!(versions, ["7.2.13-1", "7.2.12-1~bpo13+1"]);
        assert!(parse_madison("linux-source-7.3", said).is_empty());
    }
}
