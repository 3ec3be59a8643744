//! The host's view of a writer in the guest: what was acknowledged is kept here, where a power cut can't reach it.

use anyhow::{Result, bail, ensure};

use crate::ledger::Ledger;
use crate::link::Job;
use crate::stamp::Mix;
use crate::vm::Vm;
use crate::wire::{Ack, Region, Reply, Request, VerifySpec, WriterSpec};

/// A session's sequence numbers start so far above what the last one was known to reach, that nothing the last
/// one issued unseen can be as high.
const SESSION: u64 = 1 << 32;

impl WriterSpec {
    /// A load of two writers and a reader, with now and then a flush, until it is stopped.
    pub fn over(region: Region, seed: u64) -> Self {
        Self {
            region,
            seed,
            first_sequence: 0,
            prefill: true,
            writes: 0,
            writers: 2,
            readers: 1,
            span: 4,
            flush_every: 64,
            think_us: 0,
        }
    }
}

/// A writer under way.
pub struct AckWriter {
    job: Job,
    ledger: Ledger,
    acks: u64,
    /// Status and words, once it has ended.
    ended: Option<(i32, String)>,
}

impl Vm {
    /// Starts a writer; `ledger` is what earlier sessions on the same blocks left.
    pub fn writer(&self, mut spec: WriterSpec, mut ledger: Ledger) -> Result<AckWriter> {
        ledger.new_session();
        spec.first_sequence = (ledger.newest() / SESSION + 1) * SESSION;
        let job = self.start(|job| Request::Write { job, spec })?;
        Ok(AckWriter {
            job,
            ledger,
            acks: 0,
            ended: None,
        })
    }

    /// Checks that every block holds what was acknowledged or something newer, and nothing torn. Gives what was found.
    pub fn verify(&self, region: &Region, floors: Vec<Ack>) -> Result<String> {
        self.verify_with(VerifySpec {
            region: region.clone(),
            floors,
            mix: Mix::Never,
        })
    }

    /// The same, with a say in what may be torn.
    pub fn verify_with(&self, spec: VerifySpec) -> Result<String> {
        let path = spec.region.path.clone();
        let done = self.finish(|job| Request::Verify { job, spec })?;
        ensure!(done.status == 0, "{path}: {}", done.note);
        Ok(done.note)
    }
}

impl AckWriter {
    /// Waits until `n` more acknowledgements have come.
    pub fn wait_acks(&mut self, n: u64) -> Result<()> {
        let until = self.acks + n;
        while self.acks < until {
            match self.job.next()? {
                Some(reply) => self.take(reply),
                None => bail!("the VM ended under a writer"),
            }
            if let Some((status, text)) = &self.ended {
                bail!("the writer ended early, with status {status}: {text}");
            }
        }
        Ok(())
    }

    /// Acknowledgements of this session so far.
    pub fn acks(&mut self) -> u64 {
        while let Some(reply) = self.job.try_next() {
            self.take(reply);
        }
        self.acks
    }

    /// Stops it, waits for its end and gives what was acknowledged. That it saw no error is checked.
    pub fn stop(mut self, vm: &Vm) -> Result<Ledger> {
        vm.stop_job(self.job.id)?;
        self.drain()?;
        match self.ended {
            Some((0, _)) => Ok(self.ledger),
            Some((status, text)) => bail!("the writer failed with status {status}: {text}"),
            None => bail!("the VM ended under a writer"),
        }
    }

    /// After a power cut: what had been acknowledged until then.
    pub fn after_cut(mut self) -> Result<Ledger> {
        self.drain()?;
        match self.ended {
            None => Ok(self.ledger),
            Some((status, text)) => {
                bail!("the writer had ended before the cut, with status {status}: {text}")
            }
        }
    }

    fn drain(&mut self) -> Result<()> {
        while self.ended.is_none() {
            match self.job.next()? {
                Some(reply) => self.take(reply),
                None => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, reply: Reply) {
        match reply {
            Reply::Acks { acks, .. } => {
                self.acks += acks.len() as u64;
                self.ledger.acknowledge(&acks);
            }
            Reply::Seen { seen, .. } => self.ledger.see(&seen),
            Reply::Flushed { before, .. } => self.ledger.flush(before),
            Reply::Done { status, text, .. } => self.ended = Some((status, text)),
            Reply::Ready { .. }
            | Reply::Stdout { .. }
            | Reply::Stderr { .. }
            | Reply::Value { .. } => {}
        }
    }
}

/// Has all these written to at once, so much each that the cut lands among writes, and cuts the power. The
/// ledgers know then what was acknowledged.
pub fn cut_under_writes<'a>(
    vm: Vm,
    volumes: impl Iterator<Item = (&'a Region, &'a mut Ledger)>,
) -> Result<()> {
    let mut written = Vec::new();
    for (region, ledger) in volumes {
        let prefill = ledger.acknowledged().is_empty();
        let spec = WriterSpec {
            prefill,
            ..WriterSpec::over(region.clone(), 1)
        };
        let writer = vm.writer(spec, std::mem::take(ledger))?;
        written.push((ledger, writer));
    }
    for (_, writer) in &mut written {
        writer.wait_acks(700)?;
    }
    vm.power_cut()?;
    for (ledger, writer) in written {
        *ledger = writer.after_cut()?;
    }
    Ok(())
}
