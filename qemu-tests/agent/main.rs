//! The guest's init: mounts what a system needs, then does what the host asks over a virtio-serial port.
//! It decides nothing: what is right or wrong is said by the scenario on the host.

mod attrs;
mod digest;
mod direct;
mod files;
mod fuzz;
mod port;
mod setup;
mod shell;
mod tree;
mod uevents;
mod verify;
mod writer;

use std::collections::HashMap;
use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context, Result};
use qemu_tests::wire::{self, JobId, Reply, Request};

use port::Port;

/// How a running job is told to end early.
#[derive(Clone, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    /// The job's process group, if it has one.
    group: Arc<AtomicU32>,
}

impl Stop {
    fn ask(&self) {
        self.asked.store(true, Ordering::SeqCst);
        shell::kill_group(self.group.load(Ordering::SeqCst));
    }

    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Says which process group to kill; kills it at once if the job was stopped in the meantime.
    pub fn set_group(&self, group: u32) {
        self.group.store(group, Ordering::SeqCst);
        if self.asked() {
            shell::kill_group(group);
        }
    }
}

/// How a job ended: a status as a shell would give it, and words.
pub type Outcome = Result<(i32, String)>;

fn main() -> Result<()> {
    setup::mount_all()?;
    setup::start_cpus()?;
    let (read, write) = setup::open_port()?;
    let port = Port::new(write);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("read the kernel's release")?;
    port.send(&Reply::Ready {
        release: release.trim().to_owned(),
    })?;

    let mut from = BufReader::new(read);
    let mut jobs = HashMap::new();
    while let Some(request) = wire::receive(&mut from)? {
        dispatch(request, &port, &mut jobs);
    }
    // The host is gone: nobody is left to obey.
    setup::power_off()
}

fn dispatch(request: Request, port: &Port, jobs: &mut HashMap<JobId, Stop>) {
    let mut start = |job: JobId, work: Box<dyn FnOnce(Port, Stop) -> Outcome + Send>| {
        let stop = Stop::default();
        jobs.insert(job, stop.clone());
        let port = port.clone();
        std::thread::spawn(move || {
            let (status, text) = work(port.clone(), stop).unwrap_or_else(|e| (1, format!("{e:#}")));
            port.send_or_die(&Reply::Done { job, status, text });
        });
    };
    match request {
        Request::Run { job, script } => start(
            job,
            Box::new(move |port, stop| shell::run(job, &script, &port, &stop)),
        ),
        Request::Stop { job } => {
            if let Some(stop) = jobs.remove(&job) {
                stop.ask();
            }
        }
        // In the order they were sent, so here and not in a thread of its own.
        Request::Put {
            job,
            path,
            mode,
            append,
            data,
        } => {
            let (status, text) = match files::put(&path, mode, append, &data) {
                Ok(()) => (0, String::new()),
                Err(e) => (1, format!("{e:#}")),
            };
            port.send_or_die(&Reply::Done { job, status, text });
        }
        Request::Get { job, path } => {
            start(job, Box::new(move |port, _| files::get(job, &path, &port)))
        }
        Request::WriteAttr { job, path, line } => {
            start(job, Box::new(move |_, _| attrs::write(&path, &line)))
        }
        Request::Fuzz { job, spec } => {
            start(job, Box::new(move |_, stop| Ok(fuzz::run(&spec, &stop))))
        }
        Request::Watch { job, path } => start(
            job,
            Box::new(move |port, stop| attrs::watch(job, &path, &port, &stop)),
        ),
        Request::Notified { job, path } => start(
            job,
            Box::new(move |port, stop| attrs::notified(job, &path, &port, &stop)),
        ),
        Request::Uevents { job } => start(
            job,
            Box::new(move |port, stop| uevents::listen(job, &port, &stop)),
        ),
        Request::Write { job, spec } => start(
            job,
            Box::new(move |port, stop| writer::run(job, spec, port, stop)),
        ),
        Request::Verify { job: id, spec } => start(id, Box::new(move |_, _| verify::run(&spec))),
        Request::Digest { job, path, bytes } => {
            start(job, Box::new(move |_, _| digest::run(&path, bytes)))
        }
        Request::CheckTree {
            job,
            root,
            manifest,
        } => {
            start(job, Box::new(move |_, _| tree::check(&root, &manifest)));
        }
        Request::PowerOff => {
            if let Err(e) = setup::power_off() {
                eprintln!("agent: {e:#}");
            }
        }
    }
}
