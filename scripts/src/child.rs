//! Programs that are run, and what is said when they fail.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How many of the last lines of a failed program are shown.
const SHOWN: usize = 30;

/// A command that inherits nothing from the `make` and the `cargo` that may have started this program: the kernel's own make
/// would take up the outer one's flags and variables.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for name in [
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "MAKEOVERRIDES",
        "GNUMAKEFLAGS",
        "LD_LIBRARY_PATH",
        "KDIR",
        "KERNEL_SRC",
        "V",
    ] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// What a program printed on its standard output; an error if it is missing or fails.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("The program `{name}` cannot be run; is it installed?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{name}` failed ({}): {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program, keeps all that it prints in the log file, and hands every line to `line`. A failure shows the log's last lines.
pub fn logged(command: &mut Command, log: &Path, mut line: impl FnMut(&str)) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file =
        File::create(log).with_context(|| format!("cannot write the log {}", log.display()))?;
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn();
    // The command holds the pipe's other end: without this the loop below would never see the end of it.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child =
        child.with_context(|| format!("The program `{name}` cannot be run; is it installed?"))?;
    let mut last = VecDeque::with_capacity(SHOWN);
    let mut reader = BufReader::new(reader);
    let mut buffer = Vec::new();
    while reader.read_until(b'\n', &mut buffer)? > 0 {
        file.write_all(&buffer)?;
        let text = String::from_utf8_lossy(&buffer).trim_end().to_owned();
        line(&text);
        if last.len() == SHOWN {
            last.pop_front();
        }
        last.push_back(text);
        buffer.clear();
    }
    let status = child.wait()?;
    if !status.success() {
        let tail: Vec<_> = last.into();
        bail!(
            "`{name}` failed ({status}); its last lines, of {}:\n{}",
            log.display(),
            tail.join("\n")
        );
    }
    Ok(())
}

/// Where the log of a job lies.
pub fn log_path(job: &str) -> Result<PathBuf> {
    Ok(crate::cache::root()?
        .join("logs")
        .join(format!("{job}.log")))
}

/// Whether a program is found in `PATH`.
pub fn found(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
