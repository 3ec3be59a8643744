//! Files sent to and fetched from the guest.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use qemu_tests::wire::{JobId, PIECE, Reply};

use crate::{Outcome, port::Port};

pub fn put(path: &str, mode: u32, append: bool, data: &[u8]) -> Result<()> {
    if let Some(parent) = Path::new(path).parent() {
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    let mut file = File::options()
        .write(true)
        .create(true)
        .append(append)
        .truncate(!append)
        .open(path)
        .with_context(|| format!("open {path}"))?;
    file.write_all(data)
        .with_context(|| format!("write {path}"))?;
    file.set_permissions(Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {path}"))
}

pub fn get(job: JobId, path: &str, port: &Port) -> Outcome {
    let mut file = File::open(path).with_context(|| format!("open {path}"))?;
    let mut buffer = vec![0; PIECE];
    loop {
        match file
            .read(&mut buffer)
            .with_context(|| format!("read {path}"))?
        {
            0 => return Ok((0, String::new())),
            n => port.send(&Reply::Stdout {
                job,
                data: buffer[..n].to_vec(),
            })?,
        }
    }
}
