//! Lines that make no sense, or almost do, written to sysfs attributes. What comes of it is for the scenario to judge.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use qemu_tests::wire::FuzzSpec;
use rustix::io::Errno;

use crate::Stop;

pub fn run(spec: &FuzzSpec, stop: &Stop) -> (i32, String) {
    let mut random = fastrand::Rng::with_seed(spec.seed);
    let (mut taken, mut refused) = (0_u32, 0_u32);
    // Kept open, as opening costs more than what is to be tried.
    let mut files = HashMap::new();
    for _ in 0..spec.writes {
        if stop.asked() {
            break;
        }
        let Some(path) = random.choice(&spec.paths) else {
            break;
        };
        let line = line(&mut random, &spec.words);
        match write(&mut files, path, &line) {
            Ok(_) => taken += 1,
            Err(e) => {
                refused += 1;
                // Files come and go with the volumes that the lines make and stop.
                if e.raw_os_error() == Some(Errno::NODEV.raw_os_error()) {
                    files.remove(path.as_str());
                }
            }
        }
    }
    (0, format!("{taken} taken, {refused} refused"))
}

fn write<'a>(files: &mut HashMap<&'a str, File>, path: &'a str, line: &[u8]) -> io::Result<usize> {
    let file = match files.entry(path) {
        Entry::Occupied(open) => open.into_mut(),
        Entry::Vacant(none) => none.insert(File::options().write(true).open(path)?),
    };
    file.write_at(line, 0)
}

fn line(random: &mut fastrand::Rng, words: &[String]) -> Vec<u8> {
    match random.u8(..10) {
        0 => {
            let length = random.usize(..6000);
            std::iter::repeat_with(|| random.u8(..))
                .take(length)
                .collect()
        }
        1 => vec![random.choice(b" =,\n\0\x7f9").copied().unwrap_or(b' '); random.usize(..6000)],
        _ => {
            let mut line = Vec::new();
            for _ in 0..random.usize(..6) {
                line.extend_from_slice(word(random, words).as_bytes());
                line.push(*random.choice(b"   =,\n").unwrap_or(&b' '));
            }
            if !line.is_empty() && random.u8(..4) == 0 {
                let at = random.usize(..line.len());
                line[at] = random.u8(..);
            }
            line
        }
    }
}

fn word(random: &mut fastrand::Rng, words: &[String]) -> String {
    match random.u8(..4) {
        0 => random.u64(..).to_string(),
        1 => random.i8(..).to_string(),
        _ => random.choice(words).cloned().unwrap_or_default(),
    }
}
