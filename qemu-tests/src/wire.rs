//! What host and guest say to each other: length-prefixed frames over one byte stream.
//!
//! The host asks, the guest obeys. Every request that takes time carries a job number of the host's
//! choosing; all that the guest has to say about that job carries the same number, and `Done` ends it.

use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::stamp::Mix;

/// Name of the virtio-serial port, by which the guest finds it.
pub const PORT: &str = "restripe.agent";

/// No frame is larger than this, so that a stray byte can't ask for all memory.
const MAX_FRAME: usize = 64 << 20;

/// Bulk data is cut into pieces of this many bytes, so that other jobs get their turn.
pub const PIECE: usize = 256 << 10;

/// Said when nothing that happens from then on is missed.
pub const LISTENING: &str = "listening";

/// Number by which host and guest mean the same job.
pub type JobId = u32;

/// From the host.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Run a shell script; output is streamed.
    Run { job: JobId, script: String },
    /// End a job early: kills a script's whole process group, stops a writer or a watch.
    Stop { job: JobId },
    /// Write or append to a file.
    Put {
        job: JobId,
        path: String,
        mode: u32,
        append: bool,
        data: Vec<u8>,
    },
    /// Read a whole file, sent as output.
    Get { job: JobId, path: String },
    /// Write a line to a sysfs attribute with one system call; the status of `Done` is the errno.
    WriteAttr {
        job: JobId,
        path: String,
        line: Vec<u8>,
    },
    /// Write many lines that make no sense, or almost do, to sysfs attributes.
    Fuzz { job: JobId, spec: FuzzSpec },
    /// Report a sysfs attribute now and at every change.
    Watch { job: JobId, path: String },
    /// Report a sysfs attribute now, and from then on only when the kernel wakes who polls it.
    Notified { job: JobId, path: String },
    /// Report the kernel's uevents; the first value is [`LISTENING`].
    Uevents { job: JobId },
    /// Write stamped blocks and report what was acknowledged.
    Write { job: JobId, spec: WriterSpec },
    /// Check stamped blocks against what was acknowledged.
    Verify { job: JobId, spec: VerifySpec },
    /// Read a device or file past the page cache, from its start, as far as so many bytes; the words of `Done` tell its content.
    Digest {
        job: JobId,
        path: String,
        bytes: u64,
    },
    /// Check a tree of files against a manifest.
    CheckTree {
        job: JobId,
        root: String,
        manifest: Vec<ManifestLine>,
    },
    /// Sync and power off.
    PowerOff,
}

/// From the guest.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// The agent is up.
    Ready {
        release: String,
    },
    Stdout {
        job: JobId,
        data: Vec<u8>,
    },
    Stderr {
        job: JobId,
        data: Vec<u8>,
    },
    /// A watched attribute's text, trimmed.
    Value {
        job: JobId,
        text: String,
    },
    /// Blocks whose writes were acknowledged, in order.
    Acks {
        job: JobId,
        acks: Vec<Ack>,
    },
    /// Blocks that were read and held this or something newer, where that says more than `Acks` did.
    Seen {
        job: JobId,
        seen: Vec<Ack>,
    },
    /// A flush was acknowledged that was issued after `before` of all `Acks` and `Seen`.
    Flushed {
        job: JobId,
        before: u64,
    },
    /// The job is over. `status` is an exit status, 128 + n for signal n; `text` says what went wrong or was found.
    Done {
        job: JobId,
        status: i32,
        text: String,
    },
}

/// Where stamped blocks lie.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Region {
    /// A block device, or a file that exists and is as long as needed.
    pub path: String,
    /// Byte at which block 0 lies; a multiple of the block size.
    pub start: u64,
    /// Bytes in a block: a multiple of 4096.
    pub block_size: u32,
    /// Number of blocks.
    pub blocks: u64,
    /// Number that sets this run's blocks apart from what lay there before.
    pub run: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WriterSpec {
    pub region: Region,
    pub seed: u64,
    /// Sequence numbers begin after this one.
    pub first_sequence: u64,
    /// Write every block once, in order, and flush, before the random writes begin.
    pub prefill: bool,
    /// Stop by itself after this many random writes; 0 means go on until stopped.
    pub writes: u64,
    pub writers: u32,
    /// Threads that read random blocks and check them against what was acknowledged before they began.
    pub readers: u32,
    /// Most blocks covered by one write.
    pub span: u32,
    /// A flush after about this many writes; 0 means none.
    pub flush_every: u64,
    /// Pause of each writer between writes, in microseconds: for a light load.
    pub think_us: u64,
}

/// A write of a block was acknowledged: from now on the block holds `floor` or a newer sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    pub block: u64,
    pub floor: u64,
}

/// Status of a check that could be made and found blocks wrong; the words say which. Where none is, they hold a digest
/// of all that was read, so that two checks without writes between them must say the same.
pub const FAULTS: i32 = 2;

#[derive(Debug, Serialize, Deserialize)]
pub struct VerifySpec {
    pub region: Region,
    /// What each block must hold at least. Blocks that are not listed may hold anything valid, or what was there before the run.
    pub floors: Vec<Ack>,
    pub mix: Mix,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestLine {
    /// Path below the root.
    pub path: String,
    pub size: u64,
    pub sha256: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
pub struct FuzzSpec {
    /// Files to write to.
    pub paths: Vec<String>,
    /// Words that mean something there, to be strung together.
    pub words: Vec<String>,
    pub seed: u64,
    pub writes: u32,
}

/// Sends one frame.
pub fn send<T: Serialize>(to: &mut impl Write, message: &T) -> Result<()> {
    let body = postcard::to_stdvec(message).context("encode a frame")?;
    ensure!(
        body.len() <= MAX_FRAME,
        "a frame of {} bytes is larger than {MAX_FRAME}",
        body.len()
    );
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
    frame.extend_from_slice(&body);
    to.write_all(&frame).context("send a frame")?;
    to.flush().context("send a frame")
}

/// Receives one frame; `None` at the end of the stream, also where it ends inside a frame, as it does when power fails.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read) -> Result<Option<T>> {
    let mut length = [0; 4];
    if !fill(from, &mut length)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length) as usize;
    ensure!(
        length <= MAX_FRAME,
        "a frame claims {length} bytes: the stream is out of step"
    );
    let mut body = vec![0; length];
    if !fill(from, &mut body)? {
        return Ok(None);
    }
    Ok(Some(postcard::from_bytes(&body).context("decode a frame")?))
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e).context("receive a frame"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_trip() {
        let mut bytes = Vec::new();
        for job in 0..3 {
            send(
                &mut bytes,
                &Reply::Flushed {
                    job,
                    before: u64::MAX - u64::from(job),
                },
            )
            .unwrap();
        }
        let mut from = bytes.as_slice();
        for want in 0..3 {
            match receive(&mut from).unwrap() {
                Some(Reply::Flushed { job, before }) => {
                    assert_eq!((job, before), (want, u64::MAX - u64::from(want)));
                }
                other => panic!("got {other:?}"),
            }
        }
        assert!(receive::<Reply>(&mut from).unwrap().is_none());
    }

    #[test]
    fn a_cut_inside_a_frame_is_an_end() {
        let mut bytes = Vec::new();
        send(
            &mut bytes,
            &Reply::Value {
                job: 1,
                text: "running".into(),
            },
        )
        .unwrap();
        for cut in 0..bytes.len() {
            assert!(
                receive::<Reply>(&mut &bytes[..cut]).unwrap().is_none(),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(receive::<Reply>(&mut [0xff; 16].as_slice()).is_err());
    }
}
