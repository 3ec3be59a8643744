//! The run that is cut later: a VM on logged disks, and a writer whose acknowledgements go into the same log.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use super::case::{self, Case, Until};
use crate::ctx::Ctx;
use crate::link::Job;
use crate::nbd::image::Image;
use crate::nbd::log::{Event, Log};
use crate::nbd::server::{Marker, Server};
use crate::wire::{Region, Reply, Request, WriterSpec};

/// Bytes in a block.
const BLOCK: u32 = 4096;
/// Writes between two flushes of the volume, and each writer's pause: so that much is open at a cut, and what goes on beside
/// the writes has its share of the log.
const FLUSH_EVERY: u64 = 12;
const THINK_US: u64 = 10_000;
/// Writes after a migration is over.
const AFTER: u64 = 100;

/// All that cuts are made of; it can be kept in a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Recording {
    /// The case's name.
    pub case: String,
    /// Decides the cuts.
    pub seed: u64,
    pub region: Region,
    /// Cuts lie behind so many events: all blocks have been written and flushed then.
    pub first: usize,
    pub log: Log,
}

impl Recording {
    pub fn make(ctx: &mut Ctx, case: &'static Case) -> Result<Self> {
        let blank = vec![Image::blank(case.disk_size); case.disks];
        let server = Server::start(&ctx.socket(), blank)?;
        let vm = ctx.boot(&server.disks())?;
        vm.carry_out(case.make).context("make the volume")?;
        let bytes: u64 = vm
            .ok(&format!("blockdev --getsize64 {}", case.device))?
            .trim()
            .parse()
            .context("the size of the volume")?;
        let region = Region {
            path: case.device.into(),
            start: 0,
            block_size: BLOCK,
            blocks: bytes / u64::from(BLOCK),
            run: ctx.seed,
        };
        let writes = match case.until {
            Until::Begun { writes } => writes,
            Until::Migrated | Until::Acks(_) => 0,
        };
        let spec = WriterSpec {
            writes,
            flush_every: FLUSH_EVERY,
            think_us: THINK_US,
            ..WriterSpec::over(region.clone(), ctx.random.u64(..))
        };
        let job = vm.start(|job| Request::Write { job, spec })?;
        let witness = Witness::of(job, server.marker());
        witness.wait(|heard| match writes {
            0 => heard.flushes > 0,
            _ => heard.ended.is_some(),
        })?;
        let first = server.len();
        vm.carry_out(case.begin).context("begin")?;
        match case.until {
            Until::Migrated => {
                vm.carry_out(&[case::Step::Rest])?;
                witness.wait_acks(AFTER)?;
            }
            Until::Acks(n) => witness.wait_acks(n)?,
            Until::Begun { .. } => {}
        }
        vm.power_cut()?;
        let wrote_all = witness.end()?;
        ensure!(
            wrote_all == (writes > 0),
            "the writer ended at the wrong time"
        );
        Ok(Self {
            case: case.name.into(),
            seed: ctx.seed,
            region,
            first,
            log: server.finish(),
        })
    }

    /// What is in it.
    pub fn words(&self) -> String {
        let (mut writes, mut flushes, mut flushed) = (0, 0, 0);
        for event in &self.log.events[self.first..] {
            match event {
                Event::Write(_) => writes += 1,
                Event::Flush { .. } => flushes += 1,
                Event::Flushed { .. } => flushed += 1,
                Event::Acks(_) | Event::Seen(_) => {}
            }
        }
        format!("{writes} writes and {flushes} flushes of disks, {flushed} flushes of the volume")
    }

    /// Whether there is anything to cut.
    pub fn has_written(&self) -> bool {
        let events = &self.log.events[self.first..];
        events.iter().any(|event| matches!(event, Event::Write(_)))
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = postcard::to_stdvec(self).context("encode the log")?;
        fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
    }

    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        postcard::from_bytes(&bytes)
            .with_context(|| format!("{} holds no log of this version", path.display()))
    }

    /// Bytes of the disks that are there after a cut.
    pub fn present(&self) -> Result<&[u64]> {
        let disks = self.case()?.present();
        self.log.sizes.get(..disks).with_context(|| format!("the log is not one of {disks} disks"))
    }

    pub fn case(&self) -> Result<&'static Case> {
        case::named(&self.case).with_context(|| format!("there is no case {:?}", self.case))
    }
}

#[derive(Debug, Default)]
struct Heard {
    acks: u64,
    flushes: u64,
    /// How the writer ended, if it has.
    ended: Option<String>,
}

/// Hears the writer and puts what it says into the log at once.
struct Witness {
    heard: Arc<(Mutex<Heard>, Condvar)>,
    thread: JoinHandle<Result<bool>>,
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Witness {
    fn of(job: Job, marker: Marker) -> Self {
        let heard = Arc::<(Mutex<Heard>, Condvar)>::default();
        let thread = thread::spawn({
            let heard = heard.clone();
            move || {
                let listened = listen(&job, &marker, &heard);
                let mut state = lock(&heard.0);
                if let Err(e) = &listened {
                    state.ended = Some(format!("{e:#}"));
                }
                state.ended.get_or_insert_with(|| "it wrote all it was to, or the VM ended".into());
                heard.1.notify_all();
                listened
            }
        });
        Self { heard, thread }
    }

    fn wait_acks(&self, n: u64) -> Result<()> {
        let until = lock(&self.heard.0).acks + n;
        self.wait(|heard| heard.acks >= until)
    }

    fn wait(&self, mut wanted: impl FnMut(&Heard) -> bool) -> Result<()> {
        let heard = lock(&self.heard.0);
        let heard = self
            .heard
            .1
            .wait_while(heard, |heard| !wanted(heard) && heard.ended.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        match &heard.ended {
            Some(end) if !wanted(&heard) => bail!("the writer ended early: {end}"),
            _ => Ok(()),
        }
    }

    /// After the VM was cut: whether the writer had written all by then.
    fn end(self) -> Result<bool> {
        self.thread
            .join()
            .map_err(|_| anyhow!("the writer's witness panicked"))?
    }
}

/// Whether it wrote all it was to.
fn listen(job: &Job, marker: &Marker, heard: &(Mutex<Heard>, Condvar)) -> Result<bool> {
    while let Some(reply) = job.next()? {
        match reply {
            Reply::Acks { acks, .. } => {
                let blocks = acks.len() as u64;
                marker.put(Event::Acks(acks));
                lock(&heard.0).acks += blocks;
            }
            Reply::Seen { seen, .. } => marker.put(Event::Seen(seen)),
            Reply::Flushed { before, .. } => {
                marker.put(Event::Flushed { before });
                lock(&heard.0).flushes += 1;
            }
            Reply::Done { status, text, .. } => {
                ensure!(status == 0, "status {status}: {text}");
                return Ok(true);
            }
            other => bail!("a writer does not say {other:?}"),
        }
        heard.1.notify_all();
    }
    Ok(false)
}
