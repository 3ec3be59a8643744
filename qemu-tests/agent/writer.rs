//! Writes stamped blocks at random places and tells the host what was acknowledged, so that it is known after a power cut.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use qemu_tests::ledger::{InFlight, Issue};
use qemu_tests::stamp::{self, Demand, Mix};
use qemu_tests::wire::{Ack, JobId, Region, Reply, WriterSpec};

use crate::direct::{self, Pages};
use crate::{Outcome, Stop, port::Port};

struct Writer {
    job: JobId,
    spec: WriterSpec,
    file: File,
    port: Port,
    stop: Stop,
    state: Mutex<State>,
    /// Wakes the flusher.
    acked: Condvar,
    /// A thread failed; the others need not go on.
    failed: AtomicBool,
    reads: AtomicU64,
}

struct State {
    in_flight: InFlight,
    /// Acknowledged, not yet reported.
    unreported: Vec<Ack>,
    /// Acknowledgements and sights in all, reported or not.
    told: u64,
    /// Random writes begun.
    writes: u64,
    /// The writers have ended.
    over: bool,
}

pub fn run(job: JobId, spec: WriterSpec, port: Port, stop: Stop) -> Outcome {
    let Region {
        block_size,
        blocks,
        ref path,
        ..
    } = spec.region;
    ensure!(
        block_size > 0 && block_size % 4096 == 0,
        "a block of {block_size} bytes is no multiple of 4096"
    );
    ensure!(
        spec.span >= 1 && u64::from(spec.span) <= blocks,
        "writes of {} blocks do not fit {blocks}",
        spec.span
    );
    let writer = Writer {
        job,
        file: direct::open(path)?,
        port,
        stop,
        state: Mutex::new(State {
            in_flight: InFlight::new(spec.first_sequence),
            unreported: Vec::new(),
            told: 0,
            writes: 0,
            over: false,
        }),
        acked: Condvar::new(),
        failed: AtomicBool::new(false),
        reads: AtomicU64::new(0),
        spec,
    };
    if writer.spec.prefill {
        writer.prefill()?;
    }
    writer.all()?;
    let state = writer.lock();
    Ok((
        0,
        format!(
            "{} writes, {} reads",
            state.writes,
            writer.reads.load(Ordering::Relaxed)
        ),
    ))
}

impl Writer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no writer panics with the state locked")
    }

    fn over(&self) -> bool {
        self.stop.asked() || self.failed.load(Ordering::SeqCst)
    }

    fn prefill(&self) -> Result<()> {
        let span = (1 << 20) / u64::from(self.spec.region.block_size);
        let span = span.clamp(1, self.spec.region.blocks);
        let mut buffer = Pages::new((span * u64::from(self.spec.region.block_size)) as usize);
        for first in (0..self.spec.region.blocks).step_by(span as usize) {
            if self.stop.asked() {
                return Ok(());
            }
            self.write(
                &mut buffer,
                first,
                span.min(self.spec.region.blocks - first),
            )?;
        }
        self.flush()
    }

    fn all(&self) -> Result<()> {
        let guarded = |work: &dyn Fn() -> Result<()>| {
            let result = work();
            if result.is_err() {
                self.failed.store(true, Ordering::SeqCst);
            }
            result
        };
        thread::scope(|s| {
            let writers: Vec<_> = (0..self.spec.writers)
                .map(|n| s.spawn(move || guarded(&|| self.write_randomly(n))))
                .collect();
            let readers: Vec<_> = (0..self.spec.readers)
                .map(|n| s.spawn(move || guarded(&|| self.read_randomly(n))))
                .collect();
            let flusher = s.spawn(|| guarded(&|| self.flush_now_and_then()));
            let mut results: Vec<_> = writers
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect();
            self.lock().over = true;
            self.acked.notify_all();
            results.extend(readers.into_iter().map(thread::ScopedJoinHandle::join));
            results.push(flusher.join());
            results
                .into_iter()
                .try_for_each(|joined| joined.map_err(|_| anyhow!("a writer thread panicked"))?)
        })
    }

    fn random(&self, thread: u32) -> fastrand::Rng {
        fastrand::Rng::with_seed(
            self.spec.seed ^ (u64::from(thread) << 48) ^ self.spec.first_sequence,
        )
    }

    fn write_randomly(&self, thread: u32) -> Result<()> {
        let mut random = self.random(thread);
        let mut buffer = Pages::new((self.spec.span * self.spec.region.block_size) as usize);
        while !self.over() {
            {
                let mut state = self.lock();
                if self.spec.writes > 0 && state.writes >= self.spec.writes {
                    break;
                }
                state.writes += 1;
            }
            let count = random.u64(1..=u64::from(self.spec.span));
            let first = random.u64(0..=self.spec.region.blocks - count);
            self.write(&mut buffer, first, count)?;
            if self.spec.think_us > 0 {
                // A load of a given weight, not a wait for something.
                thread::sleep(Duration::from_micros(self.spec.think_us));
            }
        }
        Ok(())
    }

    fn write(&self, buffer: &mut Pages, first: u64, count: u64) -> Result<()> {
        let block_size = u64::from(self.spec.region.block_size);
        let issue: Issue = self.lock().in_flight.issue(first..first + count);
        let bytes = &mut buffer[..(count * block_size) as usize];
        for (block, bytes) in (first..).zip(bytes.chunks_exact_mut(block_size as usize)) {
            stamp::fill(bytes, self.spec.region.run, block, issue.sequence);
        }
        let at = self.spec.region.start + first * block_size;
        self.file.write_all_at(bytes, at).with_context(|| {
            format!(
                "write {count} blocks of {} at byte {at}",
                self.spec.region.path
            )
        })?;
        {
            let mut state = self.lock();
            let acks = state.in_flight.acknowledge(issue);
            state.told += acks.len() as u64;
            state.unreported.extend(acks);
            self.report(&mut state)?;
        }
        self.acked.notify_all();
        Ok(())
    }

    /// Sends under the lock, so that the order of reports is the order of acknowledgements.
    fn report(&self, state: &mut State) -> Result<()> {
        let acks = std::mem::take(&mut state.unreported);
        self.port.send(&Reply::Acks {
            job: self.job,
            acks,
        })
    }

    fn flush(&self) -> Result<()> {
        let before = self.lock().told;
        self.file
            .sync_data()
            .with_context(|| format!("flush {}", self.spec.region.path))?;
        self.port.send(&Reply::Flushed {
            job: self.job,
            before,
        })
    }

    fn flush_now_and_then(&self) -> Result<()> {
        if self.spec.flush_every == 0 {
            return Ok(());
        }
        let mut next = self.spec.flush_every;
        loop {
            {
                let state = self.lock();
                let state = self
                    .acked
                    .wait_while(state, |s| s.writes < next && !s.over)
                    .expect("no writer panics while locked");
                if state.over {
                    return Ok(());
                }
                next = state.writes + self.spec.flush_every;
            }
            self.flush()?;
        }
    }

    /// Tells what a read has shown to be newer than what was acknowledged.
    fn see(&self, block: u64, bytes: &[u8], oldest: Option<u64>) -> Result<()> {
        let Some(found) = stamp::oldest(bytes, self.spec.region.run, block) else {
            return Ok(());
        };
        let floor = oldest.map_or(found, |oldest| found.min(oldest));
        let mut state = self.lock();
        if state
            .in_flight
            .floor(block)
            .is_some_and(|known| known >= floor)
        {
            return Ok(());
        }
        state.told += 1;
        // Under the lock, as with acknowledgements.
        self.port.send(&Reply::Seen {
            job: self.job,
            seen: vec![Ack { block, floor }],
        })
    }

    fn read_randomly(&self, thread: u32) -> Result<()> {
        let mut random = self.random(u32::from(u16::MAX) - thread);
        let block_size = self.spec.region.block_size as usize;
        let mut buffer = Pages::new(block_size);
        while !self.over() && !self.lock().over {
            let (block, floor, oldest) = {
                let writes = &self.lock().in_flight;
                // As often as not one that is being written: what is seen of it must not be taken back.
                let busy = random
                    .bool()
                    .then(|| writes.busy(|blocks| random.usize(..blocks)))
                    .flatten();
                let block = busy.unwrap_or_else(|| random.u64(0..self.spec.region.blocks));
                (block, writes.floor(block), writes.oldest_under_way(block))
            };
            let at = self.spec.region.start + block * block_size as u64;
            self.file.read_exact_at(&mut buffer, at).with_context(|| {
                format!("read a block of {} at byte {at}", self.spec.region.path)
            })?;
            let ceiling = Some(self.lock().in_flight.newest());
            let demand = Demand {
                run: self.spec.region.run,
                block,
                floor,
                ceiling,
                mix: Mix::Words,
            };
            demand
                .check(&buffer)
                .map_err(|fault| anyhow!("a live read was wrong: {fault}"))?;
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.see(block, &buffer, oldest)?;
        }
        Ok(())
    }
}
