// SPDX-License-Identifier: GPL-2.0

//! `last_error`: how many lines were refused, the last of them, and one sentence that says why.

use core::fmt::Write;

use kernel::{new_mutex, prelude::*, sync::Mutex};
use restripe_core::{
    command::line_of,
    refusal,
    text::{Errno, Refusal, Text},
};

use crate::sys::sysfs::Page;

/// Most bytes of a refused line that are kept.
const MOST: usize = 1024;

struct Last {
    count: u64,
    /// Printable characters only.
    line: KVec<u8>,
    sentence: Text<320>,
}

/// The lines that were refused since the module was loaded.
#[pin_data]
pub(super) struct LastError {
    #[pin]
    last: Mutex<Last>,
}

impl LastError {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            last <- new_mutex!(Last {
                count: 0,
                line: KVec::new(),
                sentence: Text::new(),
            }),
        })
    }

    /// Acts on a line that was written to a control file, and answers the writer.
    pub(super) fn answer(&self, line: &[u8], act: impl FnOnce() -> Result<(), Refusal>) -> Result {
        match act() {
            Ok(()) => Ok(()),
            Err(refusal) => {
                self.note(line, &refusal);
                Err(errno(refusal.errno))
            }
        }
    }

    /// Takes note of a line that was refused for its length, before any of it was looked at.
    pub(super) fn too_long(&self, line: &[u8]) {
        if let Err(refusal) = line_of(line) {
            self.note(line, &refusal);
        }
    }

    fn note(&self, line: &[u8], refusal: &Refusal) {
        let shown = line.trim_ascii_end();
        let shown = shown.get(..MOST).unwrap_or(shown);
        // Without memory for it the line stays empty: the sentence is what counts.
        let mut copy = KVec::with_capacity(shown.len(), GFP_KERNEL).unwrap_or(KVec::new());
        for byte in shown {
            let printable = byte.is_ascii_graphic() || *byte == b' ';
            let _ = copy.push_within_capacity(if printable { *byte } else { b'?' });
        }
        let mut last = self.last.lock();
        last.count += 1;
        last.line = copy;
        last.sentence = refusal.sentence;
    }

    /// Three lines: the count, the line, the sentence. Before the first refusal: `0`.
    pub(super) fn show(&self, page: &mut Page<'_>) -> Result {
        let last = self.last.lock();
        writeln!(page, "{}", last.count)?;
        if last.count > 0 {
            page.push(&last.line);
            writeln!(page, "\n{}", last.sentence)?;
        }
        Ok(())
    }
}

/// What write(2) returns for it.
fn errno(errno: Errno) -> Error {
    // CAST: Error numbers are small.
    Error::from_errno(-(errno as i32))
}

/// What to say where the kernel has no memory.
pub(super) fn no_memory<E>(_: E) -> Refusal {
    refusal!(ENOMEM, "there is no memory for it now; try again")
}
