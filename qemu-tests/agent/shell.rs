//! Shell scripts as jobs, each in a process group of its own.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use qemu_tests::wire::{JobId, PIECE, Reply};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{Outcome, Stop, port::Port};

/// Real tools first; busybox fills the gaps.
const PATH: &str = "/usr/local/sbin:/usr/sbin:/usr/bin:/usr/libexec/busybox";

pub fn run(job: JobId, script: &str, port: &Port, stop: &Stop) -> Outcome {
    let mut child = Command::new("/usr/bin/bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .env("HOME", "/tmp")
        .env("MDADM_NO_UDEV", "1")
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("start bash")?;
    stop.set_group(child.id());
    let out = child.stdout.take().expect("stdout is piped");
    let err = child.stderr.take().expect("stderr is piped");
    let status = thread::scope(|s| {
        s.spawn(|| stream(out, port, |data| Reply::Stdout { job, data }));
        s.spawn(|| stream(err, port, |data| Reply::Stderr { job, data }));
        child.wait().context("wait for bash")
    })?;
    Ok((
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        String::new(),
    ))
}

fn stream(mut from: impl Read, port: &Port, reply: impl Fn(Vec<u8>) -> Reply) {
    let mut buffer = vec![0; PIECE];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        port.send_or_die(&reply(buffer[..n].to_vec()));
    }
}

pub fn kill_group(group: u32) {
    if let Some(pid) = i32::try_from(group).ok().and_then(Pid::from_raw) {
        // A group that has ended already is as good as killed.
        let _: Result<(), _> = kill_process_group(pid, Signal::KILL);
    }
}
