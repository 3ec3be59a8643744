// SPDX-License-Identifier: GPL-2.0
//! Files of one value.

use super::value;
use super::words::{line_of, Quoted};
use crate::geometry::{Logical, Sectors};
use crate::ondisk::{BitmapMode, JournalMode};
use crate::refusal;
use crate::text::Refusal;

/// What can be asked of `sync_action`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncRequest {
    Check,
    Repair,
    Idle,
}

/// What can be asked of `migrate_state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MigrateState {
    Pause,
    Resume,
    Abort,
}

/// Reads `size`: bytes.
///
/// # Errors
/// What is wrong with it.
pub fn size(line: &[u8]) -> Result<Sectors, Refusal> {
    value::bytes("size", line_of(line)?)
}

/// Reads `sync_action`.
///
/// # Errors
/// What is wrong with it.
pub fn sync_action(line: &[u8]) -> Result<SyncRequest, Refusal> {
    match line_of(line)? {
        "check" => Ok(SyncRequest::Check),
        "repair" => Ok(SyncRequest::Repair),
        "idle" => Ok(SyncRequest::Idle),
        other => Err(refusal!(
            EINVAL,
            "sync_action can't be set to {}; write check, repair or idle",
            Quoted(other)
        )),
    }
}

/// Reads `journal`.
///
/// # Errors
/// What is wrong with it.
pub fn journal(line: &[u8]) -> Result<JournalMode, Refusal> {
    let word = line_of(line)?;
    JournalMode::from_name(word).ok_or_else(|| {
        refusal!(
            EINVAL,
            "journal can't be set to {}; write auto, always or off",
            Quoted(word)
        )
    })
}

/// Reads `bitmap`.
///
/// # Errors
/// What is wrong with it.
pub fn bitmap(line: &[u8]) -> Result<BitmapMode, Refusal> {
    let word = line_of(line)?;
    BitmapMode::from_name(word).ok_or_else(|| {
        refusal!(
            EINVAL,
            "bitmap can't be set to {}; write internal or none",
            Quoted(word)
        )
    })
}

/// Reads `migrate_state`.
///
/// # Errors
/// What is wrong with it.
pub fn migrate_state(line: &[u8]) -> Result<MigrateState, Refusal> {
    match line_of(line)? {
        "pause" => Ok(MigrateState::Pause),
        "resume" => Ok(MigrateState::Resume),
        "abort" => Ok(MigrateState::Abort),
        other => Err(refusal!(
            EINVAL,
            "migrate_state can't be set to {}; write pause, resume or abort",
            Quoted(other)
        )),
    }
}

/// Reads `sync_speed_max`: KiB/s, 0 for no cap.
///
/// # Errors
/// What is wrong with it.
pub fn sync_speed_max(line: &[u8]) -> Result<u32, Refusal> {
    small("sync_speed_max", line)
}

/// Reads `latency_target_us`: microseconds, 0 for none.
///
/// # Errors
/// What is wrong with it.
pub fn latency_target_us(line: &[u8]) -> Result<u32, Refusal> {
    small("latency_target_us", line)
}

/// Reads `sync_max`: a sector of the volume, or `max`.
///
/// # Errors
/// What is wrong with it.
pub fn sync_max(line: &[u8]) -> Result<Option<Logical>, Refusal> {
    match line_of(line)? {
        "max" => Ok(None),
        at => Ok(Some(Logical(value::number("sync_max", at)?))),
    }
}

fn small(key: &str, line: &[u8]) -> Result<u32, Refusal> {
    let number = value::number(key, line_of(line)?)?;
    u32::try_from(number).map_err(|_| {
        refusal!(
            EINVAL,
            "{}={} is too large; give a number up to {}",
            key,
            number,
            u32::MAX
        )
    })
}
