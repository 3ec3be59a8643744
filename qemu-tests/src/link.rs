//! The host's end of the line: sends requests, hands each reply to the job it belongs to.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wire::{self, JobId, Reply, Request};

/// The number under which `Ready` is handed out; jobs count from 1.
const READY: JobId = 0;

/// So long may a job say nothing before it is taken to hang. Only there to end a hang: no test waits this long.
/// `HANG=` seconds for who is after one.
fn hang() -> Duration {
    let seconds = std::env::var("HANG").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(900))
}

/// Makes the guest's kernel print where its blocked tasks wait.
const BLOCKED_TASKS: &str = "echo 9 > /proc/sysrq-trigger; echo w > /proc/sysrq-trigger";

/// Time for the kernel to print.
const GRACE: Duration = Duration::from_secs(10);

type Speaker = Arc<Mutex<Option<Box<dyn Write + Send>>>>;
type Jobs = Arc<Mutex<HashMap<JobId, Sender<Reply>>>>;

pub struct Link {
    to: Speaker,
    jobs: Jobs,
    next: AtomicU32,
    ready: Mutex<Receiver<Reply>>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

/// What a job still has to say.
pub struct Job {
    pub id: JobId,
    replies: Receiver<Reply>,
    to: Speaker,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub fn new(from: impl Read + Send + 'static, to: impl Write + Send + 'static) -> Self {
        let (sender, ready) = channel();
        let jobs: Jobs = Arc::new(Mutex::new(HashMap::from([(READY, sender)])));
        let reader = thread::spawn({
            let jobs = jobs.clone();
            move || read_all(from, &jobs)
        });
        Self {
            to: Arc::new(Mutex::new(Some(Box::new(to)))),
            jobs,
            next: AtomicU32::new(READY + 1),
            ready: Mutex::new(ready),
            reader: Mutex::new(Some(reader)),
        }
    }

    /// Waits for the agent to say that it is up; gives the kernel's release, or nothing if the time is over.
    pub fn wait_ready(&self, within: Duration) -> Result<Option<String>> {
        match lock(&self.ready).recv_timeout(within) {
            Ok(Reply::Ready { release }) => Ok(Some(release)),
            Ok(other) => bail!("the agent began with {other:?}"),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the VM ended before its agent was up"),
        }
    }

    /// Sends a request and gives the job that answers it.
    pub fn start(&self, request: impl FnOnce(JobId) -> Request) -> Result<Job> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, replies) = channel();
        lock(&self.jobs).insert(id, sender);
        self.send(&request(id))?;
        Ok(Job { id, replies, to: self.to.clone() })
    }

    pub fn send(&self, request: &Request) -> Result<()> {
        say(&self.to, request)
    }

    /// After the VM has ended: all that it said has been handed out when this returns.
    pub fn close(&self) {
        drop(lock(&self.to).take());
        let reader = lock(&self.reader).take();
        if let Some(reader) = reader {
            // A reader that failed has said so on stderr.
            let _: thread::Result<()> = reader.join();
        }
        lock(&self.jobs).clear();
    }
}

fn say(to: &Speaker, request: &Request) -> Result<()> {
    let mut to = lock(to);
    let to = to.as_mut().context("the VM is off")?;
    wire::send(to, request).context("the VM does not listen any more")
}

fn read_all(from: impl Read, jobs: &Jobs) {
    let mut from = BufReader::with_capacity(64 << 10, from);
    loop {
        let reply = match wire::receive::<Reply>(&mut from) {
            Ok(Some(reply)) => reply,
            Ok(None) => break,
            Err(e) => {
                eprintln!("qemu-tests: {e:#}");
                break;
            }
        };
        let (job, last) = match reply {
            Reply::Ready { .. } => (READY, true),
            Reply::Done { job, .. } => (job, true),
            Reply::Stdout { job, .. }
            | Reply::Stderr { job, .. }
            | Reply::Value { job, .. }
            | Reply::Acks { job, .. }
            | Reply::Seen { job, .. }
            | Reply::Flushed { job, .. } => (job, false),
        };
        let mut jobs = lock(jobs);
        if let Some(sender) = jobs.get(&job) {
            // Nobody may want to hear it any more.
            let _: Result<_, _> = sender.send(reply);
        }
        if last {
            jobs.remove(&job);
        }
    }
    // Those who wait learn that nothing more will come.
    lock(jobs).clear();
}

impl Job {
    /// The next thing the job says; `None` when the VM has ended.
    pub fn next(&self) -> Result<Option<Reply>> {
        let limit = hang();
        match self.replies.recv_timeout(limit) {
            Ok(reply) => Ok(Some(reply)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                say(&self.to, &Request::Run { job: READY, script: BLOCKED_TASKS.into() })?;
                // The job itself may come to life meanwhile; what counts is that the kernel gets to print.
                let _: Result<_, _> = self.replies.recv_timeout(GRACE);
                bail!("hangs: the job said nothing for {} s; the console tells who is blocked", limit.as_secs())
            }
        }
    }

    /// What the job has said by now, without waiting.
    pub fn try_next(&self) -> Option<Reply> {
        self.replies.try_recv().ok()
    }
}
