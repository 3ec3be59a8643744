//! `bench.json` and the page that is printed.
//!
//! `bench.json` is one object:
//! - `schema`: `restripe-bench-1`; another number if a field's meaning changes, or one goes.
//! - `about`: `revision` (git, with `-dirty` where files differ from it), `kernel` (release), `qemu` (its version's first line),
//!   `accelerator` (that of the second part; the first is always TCG with icount), `host_cpus`.
//! - `costs.floor[]`: `work`, and `instructions` for one of its I/Os on a RAM disk alone.
//! - `costs.rows[]`: `level`, `members`, `work`, `md` and `restripe` (instructions for one I/O), `ratio` (restripe / md), `mark` (the
//!   ratio's upper bound), `met`. An instruction is one that the guest's only CPU carries out, fio's own included.
//! - `migration`, or null where the filter left it out: `disk_bytes`, `data_bytes`, `bytes_per_second` (of each disk), `limit_seconds`,
//!   `host_load` (the host's load average over the minute before), `share` (`limit_seconds` / restripe's `seconds`), `mark` (its lower
//!   bound), `met`, and for `md` and `restripe`: `seconds`, `steps[]` (`name`, `seconds`), `before` and `during` (`reads` and `writes`:
//!   how many were counted, `read_p99_us` and `write_p99_us`: microseconds that 99 % of them took at most, `read_longest_us` and
//!   `write_longest_us`).

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use qemu_tests::qemu::QEMU;
use restripe_scripts::checkout;
use serde::Serialize;

use super::cost::Costs;
use super::migration::Migration;
use super::{Setting, cost_table, migration_table};

const SCHEMA: &str = "restripe-bench-1";

#[derive(Debug, Serialize)]
pub struct Report {
    schema: &'static str,
    about: About,
    costs: Costs,
    migration: Option<Migration>,
}

/// What was measured, and on what.
#[derive(Debug, Serialize)]
pub struct About {
    revision: String,
    kernel: String,
    qemu: String,
    accelerator: &'static str,
    host_cpus: usize,
}

impl About {
    pub fn gather(setting: &Setting) -> Result<Self> {
        Ok(Self {
            revision: said(
                "git",
                &[
                    "-C",
                    &checkout().to_string_lossy(),
                    "describe",
                    "--always",
                    "--abbrev=12",
                    "--dirty",
                    "--exclude=*",
                ],
            )?,
            kernel: setting.release.get().cloned().unwrap_or_default(),
            qemu: said(QEMU, &["--version"])?,
            accelerator: setting.bench.accel.option(),
            host_cpus: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

/// The first line that a program prints.
fn said(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(words)
        .output()
        .with_context(|| format!("run {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .unwrap_or("unknown")
        .to_owned())
}

impl Report {
    pub fn new(about: About, costs: Costs, migration: Option<Migration>) -> Self {
        Self {
            schema: SCHEMA,
            about,
            costs,
            migration,
        }
    }

    /// Writes `bench.json` and `bench.md`; gives the latter's text.
    pub fn write(&self) -> Result<String> {
        let dir = checkout().join("target/bench");
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let json = serde_json::to_string_pretty(self).context("put the figures into JSON")?;
        fs::write(dir.join("bench.json"), json + "\n").context("write bench.json")?;
        let markdown = self.markdown();
        fs::write(dir.join("bench.md"), &markdown).context("write bench.md")?;
        Ok(markdown)
    }

    fn markdown(&self) -> String {
        let About {
            revision,
            kernel,
            qemu,
            accelerator,
            host_cpus,
        } = &self.about;
        let mut page =
            format!("# restripe beside md\n\nrestripe {revision}, Linux {kernel}, {qemu}.\n");
        if !self.costs.rows.is_empty() {
            page += &cost_table::markdown(&self.costs);
        }
        if let Some(migration) = &self.migration {
            page += &migration_table::markdown(
                migration,
                &format!(
                    "{accelerator}, {host_cpus} host CPUs with a load of {:.1}",
                    migration.host_load
                ),
            );
        }
        page
    }
}

/// How a mark is told.
pub fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}
