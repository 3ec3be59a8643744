//! Watches a sysfs attribute: woken by the kernel's notification where there is one, and looking by itself now and then where not.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use qemu_tests::wire::{JobId, Reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{Outcome, Stop, port::Port};

/// Longest time between two looks at an attribute that sends no notification.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// What is reported for an attribute that isn't there.
const ABSENT: &str = "absent";

pub fn watch(job: JobId, path: &str, port: &Port, stop: &Stop) -> Outcome {
    let mut reported = None;
    let mut file = None;
    while !stop.asked() {
        if file.is_none() {
            file = File::open(path).ok();
        }
        let text = match file.as_ref().map(read) {
            Some(Ok(text)) => text,
            Some(Err(_)) => {
                file = None;
                ABSENT.to_owned()
            }
            None => ABSENT.to_owned(),
        };
        if reported.as_ref() != Some(&text) {
            port.send(&Reply::Value {
                job,
                text: text.clone(),
            })?;
            reported = Some(text);
        }
        match &file {
            Some(file) => poll(&mut [PollFd::new(file, PollFlags::PRI)], Some(&LOOK_EVERY))?,
            None => poll(&mut [], Some(&LOOK_EVERY))?,
        };
    }
    Ok((0, String::new()))
}

/// Reports what the attribute says now, and then only what it says whenever the kernel wakes who polls it.
pub fn notified(job: JobId, path: &str, port: &Port, stop: &Stop) -> Outcome {
    let file = File::open(path).with_context(|| format!("open {path}"))?;
    let say = || {
        let text = read(&file).with_context(|| format!("read {path}"))?;
        port.send(&Reply::Value { job, text })
    };
    say()?;
    while !stop.asked() {
        // The time is only there to see a stop: nothing is read, and so nothing reported, when it is over.
        if poll(&mut [PollFd::new(&file, PollFlags::PRI)], Some(&LOOK_EVERY))? > 0 {
            say()?;
        }
    }
    Ok((0, String::new()))
}

/// One system call, so that the kernel sees the line whole, and its own errno is what comes back.
pub fn write(path: &str, line: &[u8]) -> Outcome {
    let mut file = File::options()
        .write(true)
        .open(path)
        .with_context(|| format!("open {path}"))?;
    match file.write(line) {
        Ok(n) if n == line.len() => Ok((0, String::new())),
        Ok(n) => bail!("{path} took {n} of {} bytes", line.len()),
        Err(e) => match e.raw_os_error() {
            Some(errno) => Ok((errno, e.to_string())),
            None => Err(e).with_context(|| format!("write {path}")),
        },
    }
}

fn read(file: &File) -> Result<String> {
    let mut buffer = [0; 4096];
    let n = file.read_at(&mut buffer, 0)?;
    Ok(String::from_utf8_lossy(&buffer[..n]).trim().to_owned())
}
