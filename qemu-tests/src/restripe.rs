//! restripe's sysfs interface, as scenarios use it.

use std::fmt;

use anyhow::{Context, Result, bail};

use crate::vm::Vm;
use crate::wire::{FuzzSpec, Request};

const CLASS: &str = "/sys/class/restripe";

/// A line that restripe did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub errno: i32,
    /// What `last_error` says afterwards: a count, the line, and a sentence.
    pub last_error: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; last_error: {}",
            std::io::Error::from_raw_os_error(self.errno),
            self.last_error
        )
    }
}

/// The path of a volume's attribute.
pub fn attr_path(volume: &str, attr: &str) -> String {
    format!("/sys/block/{volume}/restripe/{attr}")
}

impl Vm {
    /// Writes a line to a control file of the class, such as `adopt`.
    pub fn control(&self, file: &str, line: &str) -> Result<Result<(), Refusal>> {
        self.write_line(&format!("{CLASS}/{file}"), line)
    }

    /// The same, which must be taken.
    pub fn must(&self, file: &str, line: &str) -> Result<()> {
        taken(self.control(file, line)?, file, line)
    }

    /// The same, which must be refused.
    pub fn refused(&self, file: &str, line: &str) -> Result<Refusal> {
        match self.control(file, line)? {
            Err(refusal) => Ok(refusal),
            Ok(()) => bail!("`{line}` to {file} was taken, where a refusal was due"),
        }
    }

    /// Reads a control file of the class.
    pub fn class(&self, file: &str) -> Result<String> {
        self.read_line(&format!("{CLASS}/{file}"))
    }

    /// Reads a volume's attribute.
    pub fn attr(&self, volume: &str, attr: &str) -> Result<String> {
        self.read_line(&attr_path(volume, attr))
    }

    /// Reads a volume's attribute that is a number.
    pub fn number(&self, volume: &str, attr: &str) -> Result<u64> {
        let text = self.attr(volume, attr)?;
        text.parse()
            .with_context(|| format!("{attr} of {volume} says {text:?}, which is no number"))
    }

    /// Writes a volume's attribute.
    pub fn set(&self, volume: &str, attr: &str, line: &str) -> Result<Result<(), Refusal>> {
        self.write_line(&attr_path(volume, attr), line)
    }

    /// The same, which must be taken.
    pub fn must_set(&self, volume: &str, attr: &str, line: &str) -> Result<()> {
        taken(self.set(volume, attr, line)?, attr, line)
    }

    /// The same, which must be refused.
    pub fn set_refused(&self, volume: &str, attr: &str, line: &str) -> Result<Refusal> {
        match self.set(volume, attr, line)? {
            Err(refusal) => Ok(refusal),
            Ok(()) => bail!("`{line}` to {attr} of {volume} was taken, where a refusal was due"),
        }
    }

    /// Waits until a volume's attribute says what is wanted.
    pub fn wait_volume(
        &self,
        volume: &str,
        attr: &str,
        wanted: impl FnMut(&str) -> bool,
    ) -> Result<String> {
        self.wait_attr(&attr_path(volume, attr), wanted)
    }

    /// Waits until the durable cursor of a migration is at `sector` or beyond, or the migration is over.
    pub fn wait_position(&self, volume: &str, sector: u64) -> Result<String> {
        self.wait_volume(volume, "migrate_position", |text| {
            text == "none" || text.parse().is_ok_and(|at: u64| at >= sector)
        })
    }

    /// Waits until so many sectors of a migration are done; false if it was over before.
    pub fn wait_done(&self, volume: &str, sectors: u64) -> Result<bool> {
        let text = self.wait_volume(volume, "sync_completed", |text| {
            completed(text).is_none_or(|(done, _)| done >= sectors)
        })?;
        Ok(text != "none")
    }

    /// Waits until no migration runs; what was blocked or paused on the way is an error.
    pub fn wait_migrated(&self, volume: &str) -> Result<()> {
        let state = self.wait_volume(volume, "migrate_state", |state| {
            !matches!(state, "running" | "aborting")
        })?;
        if state != "none" {
            bail!(
                "the migration of {volume} is {state}; last_error: {}",
                self.class("last_error")?
            );
        }
        Ok(())
    }

    /// Runs a parity check to its end and gives the number of sectors that differ.
    pub fn check_parity(&self, volume: &str) -> Result<u64> {
        // Behind the end of a migration a resync may begin between a look and the line.
        loop {
            self.wait_volume(volume, "sync_action", |action| action == "idle")?;
            match self.set(volume, "sync_action", "check")? {
                Err(refusal) if refusal.last_error.contains("sync_action is resync") => {}
                said => break taken(said, "sync_action", "check")?,
            }
        }
        self.wait_volume(volume, "sync_action", |action| action == "idle")?;
        self.number(volume, "mismatch_cnt")
    }

    /// Writes many lines of nonsense to control files; gives how many were taken and refused, in words.
    pub fn fuzz(&self, spec: FuzzSpec) -> Result<String> {
        Ok(self.finish(|job| Request::Fuzz { job, spec })?.note)
    }

    /// Takes a virtio disk such as `vdb` away under whoever uses it.
    pub fn unplug(&self, disk: &str) -> Result<()> {
        self.ok(&format!(
            "device=$(basename $(readlink -f /sys/block/{disk}/device))
             echo $device > /sys/bus/virtio/drivers/virtio_blk/unbind"
        ))?;
        Ok(())
    }

    fn write_line(&self, path: &str, line: &str) -> Result<Result<(), Refusal>> {
        match self.write_attr(path, format!("{line}\n").as_bytes())? {
            0 => Ok(Ok(())),
            errno => Ok(Err(Refusal {
                errno,
                last_error: self.class("last_error")?,
            })),
        }
    }

    fn read_line(&self, path: &str) -> Result<String> {
        let bytes = self.get(path)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

/// What `sync_completed` says: sectors done, and in all; nothing where it says `none`.
pub fn completed(text: &str) -> Option<(u64, u64)> {
    let (done, total) = text.split_once(" / ")?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

fn taken(result: Result<(), Refusal>, file: &str, line: &str) -> Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(refusal) => bail!("`{line}` to {file} was refused: {refusal}"),
    }
}
