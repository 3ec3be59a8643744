//! fio's words and what it says.

use anyhow::{Context, Result, ensure};
use qemu_tests::vm::Vm;
use serde_json::Value;

/// A load that is counted in I/Os: direct, by libaio, over a whole device.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// `raid5/` and this are a figure's name.
    pub name: &'static str,
    /// fio's word.
    pub rw: &'static str,
    /// Bytes.
    pub block: u64,
    pub depth: u32,
    pub ios: u64,
}

/// The loads whose cost is counted. So many I/Os that the millisecond to which fio rounds is a small part of a percent.
pub const WORKS: [Work; 5] = [
    Work {
        name: "4k-random-read",
        rw: "randread",
        block: 4 << 10,
        depth: 16,
        ios: 60_000,
    },
    Work {
        name: "4k-random-write",
        rw: "randwrite",
        block: 4 << 10,
        depth: 16,
        ios: 40_000,
    },
    Work {
        name: "64k-random-write",
        rw: "randwrite",
        block: 64 << 10,
        depth: 16,
        ios: 6_000,
    },
    Work {
        name: "1m-read",
        rw: "read",
        block: 1 << 20,
        depth: 4,
        ios: 800,
    },
    Work {
        name: "1m-write",
        rw: "write",
        block: 1 << 20,
        depth: 4,
        ios: 600,
    },
];

impl Work {
    pub fn reads(&self) -> bool {
        self.rw.ends_with("read")
    }

    /// Runs it in a guest whose nanosecond is an instruction; gives the instructions for one I/O.
    pub fn instructions(&self, vm: &Vm, device: &str) -> Result<u64> {
        let Self {
            name,
            rw,
            block,
            depth,
            ios,
        } = self;
        let script = format!(
            "fio --name={name} --filename={device} --rw={rw} --bs={block} --iodepth={depth} --io_size={} --ioengine=libaio \
             --direct=1 --norandommap --randrepeat=1 --output-format=json",
            block * ios
        );
        let said = vm.ok(&script)?;
        let (done, milliseconds) = self
            .parse(&said)
            .with_context(|| format!("read what fio says:\n{said}"))?;
        ensure!(done >= *ios, "fio did {done} of {ios} I/Os on {device}");
        Ok(milliseconds * 1_000_000 / done)
    }

    /// I/Os and milliseconds.
    fn parse(&self, said: &str) -> Result<(u64, u64)> {
        let json: Value = serde_json::from_str(said)?;
        let job = &json["jobs"][0];
        ensure!(job["error"] == 0, "fio failed with error {}", job["error"]);
        let direction = &job[if self.reads() { "read" } else { "write" }];
        let number = |key: &str| {
            direction[key]
                .as_u64()
                .with_context(|| format!("there is no {key}"))
        };
        Ok((number("total_ios")?, number("runtime")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fio_is_understood() {
        let said = r#"{"jobs":[{"error":0,"read":{"total_ios":0,"runtime":0},"write":{"total_ios":8000,"runtime":60}}]}"#;
        let [read, write, ..] = WORKS;
        assert_eq!(write.parse(said).unwrap(), (8000, 60));
        assert_eq!(read.parse(said).unwrap(), (0, 0));
        assert!(
            write
                .parse(&said.replace("\"error\":0", "\"error\":5"))
                .is_err()
        );
    }
}
