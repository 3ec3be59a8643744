// SPDX-License-Identifier: GPL-2.0
//! The values of words.

use super::words::{Quoted, Words};
use crate::geometry::{MemberId, MemberMask, Sectors, MAX_MEMBERS, MAX_SLOTS, SECTOR_SIZE};
use crate::layout::{Level, DEFAULT_CHUNK, MAX_CHUNK, MIN_CHUNK};
use crate::list::List;
use crate::ondisk::{Name, Uuid};
use crate::refusal;
use crate::text::Refusal;

/// Paths of devices, in the order written.
pub type Paths<'a> = List<&'a str, MAX_MEMBERS>;

/// Longest name of a disk in Linux, without its final NUL.
const NAME_MAX: usize = 31;

/// A decimal number without sign.
pub(super) fn number(key: &str, value: &str) -> Result<u64, Refusal> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err(refusal!(
            EINVAL,
            "{}={} is not a number; give a decimal one from 0 to {}",
            key,
            Quoted(value),
            u64::MAX
        )),
    }
}

/// `key=1` is yes, `key=0` and no word at all are no.
pub(super) fn flag(words: &Words<'_>, key: &str) -> Result<bool, Refusal> {
    match words.get(key) {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(value) => Err(refusal!(
            EINVAL,
            "{}={} is neither 0 nor 1; say {}=1 or leave it out",
            key,
            Quoted(value),
            key
        )),
    }
}

/// A length in bytes that is whole sectors and more than none.
pub(super) fn bytes(key: &str, value: &str) -> Result<Sectors, Refusal> {
    let bytes = number(key, value)?;
    if bytes == 0 || bytes % SECTOR_SIZE as u64 != 0 || bytes > 1 << 62 {
        return Err(refusal!(
            EINVAL,
            "{}={} can't be; give bytes as a multiple of {}, more than 0",
            key,
            bytes,
            SECTOR_SIZE
        ));
    }
    Ok(Sectors::from_bytes(bytes))
}

/// The chunk, or the default one.
pub(super) fn chunk(words: &Words<'_>) -> Result<Sectors, Refusal> {
    let Some(value) = words.get("chunk") else {
        return Ok(DEFAULT_CHUNK);
    };
    let bytes = number("chunk", value)?;
    let chunk = Sectors::from_bytes(bytes);
    if !bytes.is_power_of_two() || chunk < MIN_CHUNK || chunk > MAX_CHUNK {
        return Err(refusal!(
            EINVAL,
            "chunk={} can't be; give a power of two from {} to {} bytes",
            bytes,
            MIN_CHUNK.bytes(),
            MAX_CHUNK.bytes()
        ));
    }
    Ok(chunk)
}

/// The level, and of raid10 its copies.
pub(super) fn level(words: &Words<'_>) -> Result<Level, Refusal> {
    let name = words.need("level")?;
    let level = Level::from_name(name).ok_or_else(|| {
        refusal!(
            EINVAL,
            "level={} is no level; choose linear, raid0, raid1, raid5, raid6 or raid10",
            Quoted(name)
        )
    })?;
    let Some(value) = words.get("copies") else {
        return Ok(level);
    };
    let copies = number("copies", value)?;
    match level {
        Level::Raid10 { .. } if (2..=MAX_SLOTS as u64).contains(&copies) => Ok(Level::Raid10 {
            copies: copies as u8,
        }),
        Level::Raid10 { .. } => Err(refusal!(
            EINVAL,
            "copies={} can't be; give from 2 to {}, and at least as many members",
            copies,
            MAX_SLOTS
        )),
        _ => Err(refusal!(
            EINVAL,
            "copies= is for raid10 and not for {}; leave it out",
            level.name()
        )),
    }
}

/// The path of a device.
pub(super) fn path<'a>(key: &str, value: &'a str) -> Result<&'a str, Refusal> {
    if !value.starts_with('/') || value.contains(',') {
        return Err(refusal!(
            EINVAL,
            "{}={} is not the path of one device; give it in full, like /dev/vdb",
            key,
            Quoted(value)
        ));
    }
    Ok(value)
}

/// Paths of devices, each there once.
pub(super) fn paths<'a>(key: &str, value: &'a str) -> Result<Paths<'a>, Refusal> {
    let mut paths = Paths::new();
    for one in value.split(',') {
        let one = path(key, one)?;
        if paths.contains(&one) {
            return Err(refusal!(
                EINVAL,
                "{} is in {}= twice; list each device once",
                Quoted(one),
                key
            ));
        }
        if !paths.try_push(one) {
            return Err(refusal!(
                EINVAL,
                "{}= lists more than {} devices, the most a volume can have; leave some out",
                key,
                MAX_MEMBERS
            ));
        }
    }
    Ok(paths)
}

/// The name of a volume, which becomes that of its disk in /dev.
pub(super) fn name(value: &str) -> Result<Name, Refusal> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let starts = value.starts_with(|c: char| c.is_ascii_alphabetic());
    if value.len() > NAME_MAX || !starts || !value.chars().all(good) {
        return Err(refusal!(
            EINVAL,
            "name={} can't be the name of a disk; give up to {} letters, digits, - and _, a letter first",
            Quoted(value),
            NAME_MAX
        ));
    }
    Ok(Name::from(value))
}

/// A uuid.
pub(super) fn uuid(value: &str) -> Result<Uuid, Refusal> {
    Uuid::parse(value).ok_or_else(|| {
        refusal!(
            EINVAL,
            "uuid={} is no uuid; give it as examine shows it",
            Quoted(value)
        )
    })
}

/// The K of `members/K`.
pub(super) fn member(key: &str, value: &str) -> Result<MemberId, Refusal> {
    let number = number(key, value)?;
    if number >= MAX_MEMBERS as u64 {
        return Err(refusal!(
            EINVAL,
            "{}={} is no member; give the number of a folder in members/",
            key,
            number
        ));
    }
    Ok(MemberId(number as u8))
}

/// Members by their numbers, with commas between them; none where there is nothing.
pub(super) fn members(key: &str, value: &str) -> Result<MemberMask, Refusal> {
    let mut members = MemberMask::EMPTY;
    if value.is_empty() {
        return Ok(members);
    }
    for number in value.split(',') {
        members.insert(member(key, number)?);
    }
    Ok(members)
}
