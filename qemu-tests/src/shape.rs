//! Volumes made of blank disks, and loads for them, as scenarios share them.

use anyhow::{Context, Result, ensure};

use crate::vm::Vm;
use crate::wire::Request;

/// What a volume is to be.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub level: &'static str,
    pub members: usize,
    /// Bytes.
    pub chunk: u64,
}

impl Shape {
    pub fn of(level: &'static str, members: usize) -> Self {
        Self {
            level,
            members,
            chunk: 65536,
        }
    }

    /// Members' worth of data in a stripe.
    pub fn data_slots(&self) -> usize {
        match self.level {
            "raid1" | "linear" => 1,
            "raid5" => self.members - 1,
            "raid6" => self.members - 2,
            // Two copies, and an even number of members.
            "raid10" => self.members / 2,
            _ => self.members,
        }
    }

    /// Whether it has copies or parity.
    pub fn is_redundant(&self) -> bool {
        matches!(self.level, "raid1" | "raid5" | "raid6" | "raid10")
    }

    pub fn is_striped(&self) -> bool {
        matches!(self.level, "raid0" | "raid5" | "raid6" | "raid10")
    }

    /// The first so many of the guest's disks.
    pub fn devices(&self) -> Vec<String> {
        devices(0..self.members)
    }
}

/// Names that the guest's disks of these numbers have.
pub fn devices(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    let letters: Vec<_> = ('a'..='z').collect();
    numbers
        .into_iter()
        .map(|n| format!("/dev/vd{}", letters[n]))
        .collect()
}

impl Vm {
    /// Makes a volume of disks whatever they hold, and waits until it has synced what it wants to.
    pub fn create(&self, name: &str, shape: &Shape, devices: &[String]) -> Result<()> {
        let chunk = if shape.is_striped() {
            format!(" chunk={}", shape.chunk)
        } else {
            String::new()
        };
        let members = devices.join(",");
        self.must(
            "create",
            &format!(
                "level={} members={members}{chunk} name={name} force=1",
                shape.level
            ),
        )?;
        self.settle(name)
    }

    /// Waits until a volume does nothing by itself.
    pub fn settle(&self, name: &str) -> Result<()> {
        self.wait_volume(name, "sync_action", |action| action == "idle")?;
        Ok(())
    }

    pub fn stop_volume(&self, name: &str) -> Result<()> {
        self.must("stop", &format!("name={name}"))
    }

    /// Puts a volume that was stopped together again.
    pub fn assemble(&self, name: &str, devices: &[String], words: &str) -> Result<()> {
        self.must(
            "assemble",
            &format!("members={} name={name} {words}", devices.join(",")),
        )
    }

    /// fio writes with jobs of several kinds side by side, each in its own part, and verifies all of it.
    /// `size` is the bytes of each part; there are three.
    pub fn fio_verify(&self, device: &str, size: u64) -> Result<()> {
        self.ok(&fio_verify(device, size))?;
        Ok(())
    }

    /// Several writers over the same few blocks, so that writes overlap while they are under way.
    pub fn fio_overlap(&self, device: &str, size: u64, writes: u32) -> Result<()> {
        self.ok(&format!(
            "fio --name=overlap --filename={device} --size={size} --rw=randwrite --bsrange=4k-96k --blockalign=4k --ioengine=libaio \
                 --iodepth=8 --direct=1 --numjobs=4 --group_reporting --norandommap --randrepeat=0 --number_ios={writes} --output-format=terse"
        ))?;
        Ok(())
    }

    /// Copies and parity agree.
    pub fn ensure_in_sync(&self, name: &str) -> Result<()> {
        let found = self.check_parity(name)?;
        ensure!(
            found == 0,
            "{found} sectors of {name} differ: {}",
            self.attr(name, "mismatches")?
        );
        Ok(())
    }

    /// One field of the superblock of a device.
    pub fn field(&self, device: &str, key: &str) -> Result<String> {
        self.must("examine", &format!("dev={device}"))?;
        let text = self.class("examine")?;
        let found = text
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| *name == key);
        let (_, value) =
            found.with_context(|| format!("examine of {device} does not say {key}:\n{text}"))?;
        Ok(value.to_owned())
    }

    /// Tells the content of the first `bytes` of a device, read past the page cache. A checksum that resists forgery would, too,
    /// but it takes an emulated CPU seconds.
    pub fn checksum(&self, device: &str, bytes: u64) -> Result<String> {
        let path = device.to_owned();
        let done = self.finish(|job| Request::Digest { job, path, bytes })?;
        ensure!(done.status == 0, "{device}: {}", done.note);
        Ok(done.note)
    }
}

/// The script of `fio_verify`.
pub fn fio_verify(device: &str, size: u64) -> String {
    let job = |name: &str, part: u64, words: &str| {
        format!(
            "--name={name} --offset={} --size={size} {words} ",
            part * size
        )
    };
    format!(
        "fio --filename={device} --rw=randwrite --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 --randseed=$RANDOM \
             --output-format=terse {}{}{}",
        job(
            "mixed",
            0,
            "--bsrange=4k-256k --blockalign=4k --iodepth=16 --fsync=16"
        ),
        job(
            "small",
            1,
            // Most of all, as these are the smallest.
            &format!("--bsrange=512-8k --blockalign=512 --iodepth=8 --io_size={}", size / 2)
        ),
        job("durable", 2, "--bs=64k --iodepth=4 --sync=dsync")
    )
}
