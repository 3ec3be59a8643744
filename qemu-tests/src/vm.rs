//! A running VM: what a scenario can do with it.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::link::{Job, Link};
use crate::qemu::{Life, Machine, Process};
use crate::wire::{JobId, LISTENING, PIECE, Reply, Request};

/// A boot takes seconds; a loaded machine may need minutes. Only there to end a hang.
const BOOT: Duration = Duration::from_secs(600);

/// Where the module lies in the guest.
const MODULE: &str = "/run/restripe.ko";

pub struct Vm {
    link: Link,
    process: Process,
    console: PathBuf,
    release: String,
    /// Whether its kernel notes whose memory is whose.
    pub(crate) leaks: bool,
}

/// What a command said, and how it ended.
#[derive(Debug, Clone, Default)]
pub struct Output {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
    /// The agent's own words, where the command was not a shell's.
    pub note: String,
}

/// A shell script under way in the guest.
pub struct Command {
    job: Job,
    script: String,
    output: Gathered,
}

#[derive(Default)]
struct Gathered {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Vm {
    /// Boots, or goes on, and waits until the agent is up. The console goes to the file `console`.
    pub fn boot(machine: &Machine, console: &Path) -> Result<Self> {
        Self::boot_within(machine, console, BOOT)?.with_context(|| {
            format!(
                "the VM's agent was not up after {} s\n{}",
                BOOT.as_secs(),
                crate::console::tail(console)
            )
        })
    }

    /// The same, but gives up after a while.
    pub fn boot_within(
        machine: &Machine,
        console: &Path,
        within: Duration,
    ) -> Result<Option<Self>> {
        let (process, from, to) = Process::start(machine, console)?;
        let link = Link::new(from, to);
        if let Life::Thaws(frozen) = &machine.life {
            let (console, release) = (console.to_owned(), frozen.release.clone());
            return Ok(Some(Self { link, process, console, release, leaks: machine.leaks }));
        }
        let ready = link.wait_ready(within).with_context(|| {
            format!(
                "boot a VM\n{}{}",
                process.complaints(),
                crate::console::tail(console)
            )
        })?;
        let Some(release) = ready else {
            return Ok(None);
        };
        let vm = Self {
            link,
            process,
            console: console.to_owned(),
            release,
            leaks: machine.leaks,
        };
        if let Some(module) = &machine.module {
            vm.load(module)?;
        }
        Ok(Some(vm))
    }

    /// Ends the VM such that others can go on from here, which hold nothing of its disks. Gives the kernel's release.
    pub fn freeze(mut self, devices: &Path) -> Result<String> {
        self.ok("for disk in /dev/vd?; do blockdev --flushbufs $disk; done
                 echo 3 > /proc/sys/vm/drop_caches")?;
        self.process.freeze(devices)?;
        self.link.close();
        Ok(self.release)
    }

    fn load(&self, module: &Path) -> Result<()> {
        let bytes = std::fs::read(module)
            .with_context(|| format!("read the module {}", module.display()))?;
        self.put(MODULE, 0o600, &bytes)?;
        self.ok(&format!("insmod {MODULE}"))?;
        Ok(())
    }

    /// By which another thread can end it.
    pub fn handle(&self) -> Result<OwnedFd> {
        self.process.handle()
    }

    /// The guest kernel's release.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// Runs a script by `bash -euo pipefail` and gives what it said, however it ended.
    pub fn sh(&self, script: &str) -> Result<Output> {
        self.spawn(script)?.wait()
    }

    /// Runs a script that must succeed and gives its standard output.
    pub fn ok(&self, script: &str) -> Result<String> {
        self.spawn(script)?.ok()
    }

    /// Starts a script in the background.
    pub fn spawn(&self, script: &str) -> Result<Command> {
        let job = self.start(|job| Request::Run {
            job,
            script: script.to_owned(),
        })?;
        Ok(Command {
            job,
            script: script.to_owned(),
            output: Gathered::default(),
        })
    }

    /// Ends a script early, with all that it started.
    pub fn stop(&self, command: Command) -> Result<Output> {
        self.stop_job(command.job.id)?;
        command.wait()
    }

    /// Writes a file in the guest.
    pub fn put(&self, path: &str, mode: u32, data: &[u8]) -> Result<()> {
        let mut pieces = data.chunks(PIECE).peekable();
        let mut append = false;
        loop {
            let piece = pieces.next().unwrap_or_default().to_vec();
            let done = self.finish(|job| Request::Put {
                job,
                path: path.to_owned(),
                mode,
                append,
                data: piece,
            })?;
            ensure!(done.status == 0, "put {path}: {}", done.note);
            if pieces.peek().is_none() {
                return Ok(());
            }
            append = true;
        }
    }

    /// Reads a file in the guest.
    pub fn get(&self, path: &str) -> Result<Vec<u8>> {
        let job = self.start(|job| Request::Get {
            job,
            path: path.to_owned(),
        })?;
        let mut output = Gathered::default();
        let (status, note) = output.drain(&job, &format!("get {path}"))?;
        ensure!(status == 0, "get {path}: {note}");
        Ok(output.stdout)
    }

    /// Writes a line to a sysfs file with one system call; gives the errno, 0 for none.
    pub fn write_attr(&self, path: &str, line: &[u8]) -> Result<i32> {
        let done = self.finish(|job| Request::WriteAttr {
            job,
            path: path.to_owned(),
            line: line.to_vec(),
        })?;
        // The agent itself fails with status 1 and says why; the kernel's EPERM comes without a chain of words.
        ensure!(
            done.status != 1 || done.note.contains("os error"),
            "write {path}: {}",
            done.note
        );
        Ok(done.status)
    }

    /// Waits until a sysfs file says what is wanted, woken by the kernel's notifications; gives what it said.
    /// A file that isn't there says `absent`.
    pub fn wait_attr(&self, path: &str, wanted: impl FnMut(&str) -> bool) -> Result<String> {
        let watch = self.watch(path)?;
        let result = watch.wait(wanted);
        if result.is_ok() {
            self.stop_job(watch.job.id)?;
        }
        result
    }

    /// Follows a sysfs file.
    pub fn watch(&self, path: &str) -> Result<Watch> {
        Ok(Watch {
            job: self.start(|job| Request::Watch {
                job,
                path: path.to_owned(),
            })?,
            path: path.to_owned(),
        })
    }

    /// Follows a sysfs file by nothing but the kernel's wake-ups of who polls it. What it says now has been taken.
    pub fn notified(&self, path: &str) -> Result<Watch> {
        let watch = Watch {
            job: self.start(|job| Request::Notified {
                job,
                path: path.to_owned(),
            })?,
            path: path.to_owned(),
        };
        watch.wait(|_| true)?;
        Ok(watch)
    }

    /// Listens to uevents from now on.
    pub fn uevents(&self) -> Result<Watch> {
        let watch = Watch {
            job: self.start(|job| Request::Uevents { job })?,
            path: "uevents".to_owned(),
        };
        watch.wait(|text| text == LISTENING)?;
        Ok(watch)
    }

    /// Ends what was followed.
    pub fn unwatch(&self, watch: Watch) -> Result<()> {
        self.stop_job(watch.job.id)
    }

    /// Starts a request that answers under its job's number.
    pub fn start(&self, request: impl FnOnce(JobId) -> Request) -> Result<Job> {
        self.link.start(request).map_err(|e| self.explain(e))
    }

    /// Starts a request and waits for its end.
    pub fn finish(&self, request: impl FnOnce(JobId) -> Request) -> Result<Output> {
        let job = self.start(request)?;
        let mut output = Gathered::default();
        let (status, note) = output
            .drain(&job, "a request")
            .map_err(|e| self.explain(e))?;
        Ok(output.into_output(status, note))
    }

    pub fn stop_job(&self, job: JobId) -> Result<()> {
        self.link
            .send(&Request::Stop { job })
            .map_err(|e| self.explain(e))
    }

    /// Cuts the power: QEMU is killed, nothing is written any more. All that the guest had said is handed out.
    pub fn power_cut(mut self) -> Result<()> {
        self.process.kill()?;
        self.link.close();
        Ok(())
    }

    /// Syncs, ends the VM and waits for its end.
    pub fn shutdown(mut self) -> Result<()> {
        self.link
            .send(&Request::PowerOff)
            .map_err(|e| self.explain(e))?;
        self.process.wait().map_err(|e| self.explain(e))?;
        self.link.close();
        Ok(())
    }

    /// Adds what is known about the VM to an error.
    fn explain(&self, e: anyhow::Error) -> anyhow::Error {
        e.context(format!(
            "{}{}",
            self.process.complaints(),
            crate::console::tail(&self.console)
        ))
    }
}

impl Command {
    /// Waits for the end.
    pub fn wait(mut self) -> Result<Output> {
        let (status, note) = self.output.drain(&self.job, &self.script)?;
        Ok(self.output.into_output(status, note))
    }

    /// Waits for the end, which must be success.
    pub fn ok(self) -> Result<String> {
        let script = self.script.clone();
        let output = self.wait()?;
        ensure!(output.status == 0, "`{script}` failed: {output}");
        Ok(output.stdout)
    }

    /// Waits until the output so far holds some words.
    pub fn wait_output(&mut self, words: &str) -> Result<()> {
        while !String::from_utf8_lossy(&self.output.stdout).contains(words) {
            match self.job.next()? {
                Some(Reply::Done { status, text, .. }) => {
                    bail!(
                        "`{}` ended with status {status} before it said {words:?} {text}",
                        self.script
                    )
                }
                Some(reply) => self.output.take(reply),
                None => bail!("the VM ended under `{}`", self.script),
            }
        }
        Ok(())
    }
}

impl Gathered {
    fn take(&mut self, reply: Reply) {
        match reply {
            Reply::Stdout { data, .. } => self.stdout.extend(data),
            Reply::Stderr { data, .. } => self.stderr.extend(data),
            Reply::Ready { .. }
            | Reply::Value { .. }
            | Reply::Acks { .. }
            | Reply::Seen { .. }
            | Reply::Flushed { .. }
            | Reply::Done { .. } => {}
        }
    }

    /// Takes all until the job is done; gives its status and the agent's words.
    fn drain(&mut self, job: &Job, what: &str) -> Result<(i32, String)> {
        loop {
            match job.next().with_context(|| format!("`{what}`"))? {
                Some(Reply::Done { status, text, .. }) => return Ok((status, text)),
                Some(reply) => self.take(reply),
                None => bail!("the VM ended under `{what}`"),
            }
        }
    }

    fn into_output(self, status: i32, note: String) -> Output {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Output {
            status,
            stdout: text(self.stdout),
            stderr: text(self.stderr),
            note,
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        for (name, text) in [
            ("stdout", &self.stdout),
            ("stderr", &self.stderr),
            ("agent", &self.note),
        ] {
            if !text.is_empty() {
                write!(f, "\n{name}: {}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// A sysfs file that is being followed.
pub struct Watch {
    job: Job,
    path: String,
}

impl Watch {
    /// Waits until the file says what is wanted.
    pub fn wait(&self, mut wanted: impl FnMut(&str) -> bool) -> Result<String> {
        let mut last = String::new();
        loop {
            match self
                .job
                .next()
                .with_context(|| format!("{} stays at {last:?}", self.path))?
            {
                Some(Reply::Value { text, .. }) if wanted(&text) => return Ok(text),
                Some(Reply::Value { text, .. }) => last = text,
                Some(Reply::Done { text, .. }) => bail!("the watch of {} ended: {text}", self.path),
                Some(_) => {}
                None => bail!("the VM ended while {} was {last:?}", self.path),
            }
        }
    }
}
