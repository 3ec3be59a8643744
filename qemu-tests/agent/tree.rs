//! Checks a tree of files against a manifest, on all CPUs.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use qemu_tests::wire::ManifestLine;
use sha2::{Digest, Sha256};

use crate::Outcome;

/// As many faults are told; the rest is counted.
const TELL: usize = 20;

pub fn check(root: &str, manifest: &[ManifestLine]) -> Outcome {
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    thread::scope(|s| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            s.spawn(|| {
                while let Some(line) = manifest.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(fault) = check_file(&Path::new(root).join(&line.path), line) {
                        faults
                            .lock()
                            .expect("no checker panics")
                            .push(format!("{}: {fault}", line.path));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().expect("no checker panics");
    if faults.is_empty() {
        return Ok((0, format!("{} files are right", manifest.len())));
    }
    let told = faults[..faults.len().min(TELL)].join("\n");
    Ok((
        1,
        format!(
            "{} of {} files are wrong:\n{told}",
            faults.len(),
            manifest.len()
        ),
    ))
}

fn check_file(path: &Path, line: &ManifestLine) -> Result<(), String> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).map_err(|e| e.to_string())? {
            0 => break,
            n => {
                hash.update(&buffer[..n]);
                size += n as u64;
            }
        }
    }
    if size != line.size {
        return Err(format!("has {size} bytes, {} are right", line.size));
    }
    if hash.finalize()[..] != line.sha256 {
        return Err("has the wrong sha256".into());
    }
    Ok(())
}
