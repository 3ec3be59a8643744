// SPDX-License-Identifier: GPL-2.0
//! A line as `key=value` words.

use core::fmt::{self, Write};

use crate::list::List;
use crate::refusal;
use crate::text::{Refusal, Text};

/// A line has to be shorter than this (bytes).
pub const LINE_MAX: usize = 4096;

/// Keys that one command may know.
const MAX_KEYS: usize = 12;

/// A user's own text within a sentence: short and printable, so that the
/// sentence stays one.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for (at, c) in self.0.chars().enumerate() {
            if at == 40 {
                f.write_str("...")?;
                break;
            }
            f.write_char(if c.is_control() { '?' } else { c })?;
        }
        f.write_char('"')
    }
}

/// The line that was written, without its newline.
///
/// # Errors
/// `E2BIG` for one as long as a page, `EINVAL` for what is not one line of text.
pub fn line_of(bytes: &[u8]) -> Result<&str, Refusal> {
    if bytes.len() >= LINE_MAX {
        return Err(refusal!(
            E2BIG,
            "the line has {} bytes and must have fewer than {}; write a shorter one",
            bytes.len(),
            LINE_MAX
        ));
    }
    let Ok(text) = core::str::from_utf8(bytes) else {
        return Err(refusal!(
            EINVAL,
            "the line is not text (UTF-8); write key=value words"
        ));
    };
    let line = text.strip_suffix('\n').unwrap_or(text);
    if line.contains(['\n', '\0']) {
        return Err(refusal!(
            EINVAL,
            "there is more than one line; write one at a time"
        ));
    }
    let line = line.trim_matches([' ', '\t']);
    if line.is_empty() {
        return Err(refusal!(
            EINVAL,
            "the line is empty; write a value, or key=value words"
        ));
    }
    Ok(line)
}

/// The words of a line whose keys are known and there once.
pub(super) struct Words<'a> {
    command: &'static str,
    words: List<(&'a str, &'a str), MAX_KEYS>,
}

impl<'a> Words<'a> {
    /// Reads a line of `command`, which knows `keys`.
    pub(super) fn parse(
        command: &'static str,
        keys: &[&'static str],
        bytes: &'a [u8],
    ) -> Result<Self, Refusal> {
        assert!(keys.len() <= MAX_KEYS, "each key is there once at most");
        let mut words = Words {
            command,
            words: List::new(),
        };
        let line = line_of(bytes)?;
        for word in line.split([' ', '\t']).filter(|word| !word.is_empty()) {
            let Some((key, value)) = word.split_once('=') else {
                return Err(refusal!(
                    EINVAL,
                    "{} is not of the form key=value; {} takes {}",
                    Quoted(word),
                    command,
                    known(keys)
                ));
            };
            if !keys.contains(&key) {
                return Err(refusal!(
                    EINVAL,
                    "{} has no key {}; it takes {}",
                    command,
                    Quoted(key),
                    known(keys)
                ));
            }
            if words.get(key).is_some() {
                return Err(refusal!(EINVAL, "{}= is there twice; say it once", key));
            }
            if value.is_empty() {
                return Err(refusal!(
                    EINVAL,
                    "{}= has no value; give one or leave the key out",
                    key
                ));
            }
            words.words.push((key, value));
        }
        Ok(words)
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.words
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, value)| *value)
    }

    /// The value of `key`, which must be there.
    pub(super) fn need(&self, key: &str) -> Result<&'a str, Refusal> {
        let command = self.command;
        self.get(key)
            .ok_or_else(|| refusal!(EINVAL, "{command} needs {key}= and it is not there; add it"))
    }
}

fn known(keys: &[&str]) -> Text<160> {
    let mut out = Text::new();
    for (at, key) in keys.iter().enumerate() {
        // Writing to a Text never fails: it cuts.
        let _ = write!(out, "{}{}=", if at == 0 { "" } else { ", " }, key);
    }
    out
}
