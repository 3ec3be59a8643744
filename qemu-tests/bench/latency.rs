//! A light load on a device, and how long each of its I/Os took: while nothing else went on, and while something did.
//!
//! One task reads and one writes, each with one I/O at a time. A device that stands still for seconds keeps each of them waiting
//! once, which 99 % may well be spared: so the longest is told too.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use qemu_tests::vm::{Command, Vm};
use serde::Serialize;

/// I/Os a second, of 4 KiB each.
const READS: u32 = 70;
const WRITES: u32 = 30;
/// Seconds for which it is watched before anything else goes on.
const BEFORE: u32 = 10;

/// fio under way.
pub struct Load {
    fio: Command,
}

/// Milliseconds of the guest's clock.
pub type Moment = u64;

/// What the load felt in a time.
#[derive(Debug, Serialize)]
pub struct Feel {
    pub reads: usize,
    pub writes: usize,
    /// Microseconds.
    pub read_p99_us: u64,
    pub write_p99_us: u64,
    pub read_longest_us: u64,
    pub write_longest_us: u64,
}

pub fn now(vm: &Vm) -> Result<Moment> {
    let said = vm.ok("echo ${EPOCHREALTIME/[.,]/}")?;
    let microseconds: u64 = said
        .trim()
        .parse()
        .with_context(|| format!("the guest's clock says {said:?}"))?;
    Ok(microseconds / 1000)
}

impl Load {
    /// Starts it on the first `size` bytes of a device, and lets it run for a while.
    pub fn start(vm: &Vm, device: &str, size: u64) -> Result<(Self, Range<Moment>)> {
        let fio = vm.spawn(&format!(
            "cd /run; rm -f load_*.log
             fio --ioengine=psync --direct=1 --bs=4k --filename={device} --size={size} --norandommap --thread \
             --time_based --runtime=3600 --write_lat_log=load --log_unix_epoch=1 \
             --name=reads --rw=randread --rate_iops={READS} --name=writes --rw=randwrite --rate_iops={WRITES} >load.out & \
             echo $! >load.pid
             wait $! || true"
        ))?;
        let stat = format!("/sys/block/{}/stat", device.trim_start_matches("/dev/"));
        // Its fields 1 and 5: reads and writes that have ended. Some for fio to have begun, and for the device's making.
        vm.wait_attr(&stat, |text| {
            let field = |n| {
                text.split_whitespace()
                    .nth(n)
                    .and_then(|word| word.parse::<u32>().ok())
            };
            field(4) > Some(WRITES)
        })?;
        let begin = now(vm)?;
        vm.ok(&format!("sleep {BEFORE}"))?;
        Ok((Self { fio }, begin..now(vm)?))
    }

    /// Ends it; gives what it felt in each of some times.
    pub fn end<const N: usize>(self, vm: &Vm, times: [Range<Moment>; N]) -> Result<[Feel; N]> {
        vm.ok("kill -INT $(cat /run/load.pid)")?;
        self.fio.ok()?;
        let mut logs = [Vec::new(), Vec::new()];
        for (number, log) in (1..).zip(&mut logs) {
            let text = vm.get(&format!("/run/load_lat.{number}.log"))?;
            *log = parse(&String::from_utf8_lossy(&text))?;
        }
        let mut feels = Vec::new();
        for time in times {
            feels.push(Feel::in_time(&logs, &time)?);
        }
        Ok(feels.try_into().expect("one for each time"))
    }
}

/// When an I/O ended, and how many nanoseconds it took.
type Sample = (Moment, u64);

/// fio's lines are `milliseconds, nanoseconds, direction, ..`.
fn parse(log: &str) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for line in log.lines() {
        let mut words = line.split(',').map(|word| word.trim().parse::<u64>());
        match (words.next(), words.next()) {
            (Some(Ok(at)), Some(Ok(took))) => samples.push((at, took)),
            _ => anyhow::bail!("fio's log has the line {line:?}"),
        }
    }
    Ok(samples)
}

impl Feel {
    fn in_time([reads, writes]: &[Vec<Sample>; 2], time: &Range<Moment>) -> Result<Self> {
        let within = |samples: &[Sample]| -> Vec<u64> {
            samples
                .iter()
                .filter(|(at, _)| time.contains(at))
                .map(|&(_, took)| took)
                .collect()
        };
        let (mut reads, mut writes) = (within(reads), within(writes));
        ensure!(
            !reads.is_empty() && !writes.is_empty(),
            "the load did nothing in {} ms",
            time.end - time.start
        );
        reads.sort_unstable();
        writes.sort_unstable();
        Ok(Self {
            reads: reads.len(),
            writes: writes.len(),
            read_p99_us: p99(&reads) / 1000,
            write_p99_us: p99(&writes) / 1000,
            read_longest_us: reads[reads.len() - 1] / 1000,
            write_longest_us: writes[writes.len() - 1] / 1000,
        })
    }
}

/// The smallest that 99 % do not exceed, of at least one in order.
fn p99(values: &[u64]) -> u64 {
    values[(values.len() * 99).div_ceil(100) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let values: Vec<_> = (1..=101).collect();
        assert_eq!(p99(&values[..100]), 99);
        assert_eq!(p99(&values), 100);
        assert_eq!(p99(&[7]), 7);
    }

    #[test]
    fn only_what_ended_in_the_time_counts() {
        let log =
            parse("1000, 5000, 0, 4096, 0\n2000, 9000, 0, 4096, 0\n3000, 700000, 0, 4096, 0\n")
                .unwrap();
        let feel = Feel::in_time(&[log.clone(), log[1..].to_vec()], &(1000..3000)).unwrap();
        assert_eq!(
            (feel.reads, feel.read_p99_us, feel.read_longest_us),
            (2, 9, 9)
        );
        assert_eq!(
            (feel.writes, feel.write_p99_us, feel.write_longest_us),
            (1, 9, 9)
        );
        assert!(Feel::in_time(&[log.clone(), log], &(5000..6000)).is_err());
        assert!(parse("1000; 5000").is_err());
    }
}
