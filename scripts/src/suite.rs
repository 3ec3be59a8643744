//! `make test`: the host's tests and the scenarios in virtual machines, counted together.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::checkout;
use crate::child;

/// How many passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Passed.
    pub passed: u64,
    /// Failed, a suite that could not run at all among them.
    pub failed: u64,
}

impl Count {
    /// Takes up what a line says, if it is the closing line of a runner.
    fn add_line(&mut self, line: &str) {
        let line = line.trim();
        // cargo's: `test result: ok. 12 passed; 0 failed; ..`. The harness's own: `12 passed, 0 failed`, alone on its line.
        let (text, separator) = match line.strip_prefix("test result: ") {
            Some(rest) => (
                rest.split_once(". ").map_or(rest, |(_, counts)| counts),
                ';',
            ),
            None => (line, ','),
        };
        let mut parts = text.split(separator).map(str::trim);
        let mut number = |word: &str| {
            parts
                .next()?
                .strip_suffix(word)?
                .trim_end()
                .parse::<u64>()
                .ok()
        };
        if let (Some(passed), Some(failed)) = (number("passed"), number("failed")) {
            self.passed += passed;
            self.failed += failed;
        }
    }
}

/// Runs everything and prints the sum as the last line, and before it what took how long, a set-up that went before among it. An
/// error is a suite that could not be started.
pub fn run(set_up: Duration) -> Result<Count> {
    let host = ["test", "--release", "--workspace", "--no-fail-fast"];
    let scenarios = [
        "run",
        "--release",
        "--quiet",
        "-p",
        "qemu-tests",
        "--bin",
        "qemu-tests",
        "--",
        "test",
    ];
    let mut total = Count::default();
    let mut times = format!("set-up {} s", set_up.as_secs());
    let suites = [
        ("host tests", host.as_slice()),
        ("scenarios", scenarios.as_slice()),
    ];
    for (name, arguments) in suites {
        let begun = Instant::now();
        let count = suite(arguments)?;
        total.passed += count.passed;
        total.failed += count.failed;
        times += &format!(", {name} with their builds {} s", begun.elapsed().as_secs());
    }
    println!("{times}");
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total)
}

fn suite(arguments: &[&str]) -> Result<Count> {
    let mut cargo = child::command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in ["KDIR", "KERNEL_SRC"] {
        if let Some(value) = std::env::var_os(name) {
            cargo.env(name, value);
        }
    }
    let mut running = cargo
        .args(arguments)
        .current_dir(checkout())
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo cannot be run")?;
    let mut count = Count::default();
    let output = running
        .stdout
        .take()
        .context("cargo's output is not to be had")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        count.add_line(&String::from_utf8_lossy(&line));
        let mut out = std::io::stdout().lock();
        // The closing lines of each suite are shown but not alone on their line: there is one sum, and it comes last.
        if String::from_utf8_lossy(&line)
            .trim_end()
            .ends_with("failed")
        {
            out.write_all(b"  ")?;
        }
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    if !running.wait()?.success() && count.failed == 0 {
        eprintln!(
            "`cargo {}` failed and counted no failure: it counts as one",
            arguments.join(" ")
        );
        count.failed = 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[&str]) -> Count {
        let mut count = Count::default();
        lines.iter().for_each(|line| count.add_line(line));
        count
    }

    #[test]
    fn closing_lines_of_both_kinds_are_summed() {
        let lines = [
            "running 12 tests",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            "20 passed, 1 failed",
        ];
        assert_eq!(
            count(&lines),
            Count {
                passed: 35,
                failed: 3
            }
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(
            count(&[
                "scenario cuts: 20 passed so far",
                "passed, failed",
                "12 passed"
            ]),
            Count::default()
        );
    }
}
