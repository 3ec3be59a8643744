// SPDX-License-Identifier: GPL-2.0
//! Lines of `key=value` words.

use super::value::{self, Paths};
use super::words::Words;
use crate::geometry::{MemberId, MemberMask, Sectors};
use crate::layout::{Layout, Level};
use crate::ondisk::Name;
use crate::recover::AssembleOptions;
use crate::refusal;
use crate::text::Refusal;

/// `adopt`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adopt<'a> {
    pub dev: &'a str,
    /// Of the data on it, where the probe is not to find out.
    pub size: Option<Sectors>,
    /// A blank disk that takes the end of the data, where there is no room behind it.
    pub witness: Option<&'a str>,
    /// A superblock of a former life, or what the witness holds, is not needed.
    pub force: bool,
    pub name: Option<Name>,
}

/// Reads a line of `adopt`.
///
/// # Errors
/// What is wrong with it.
pub fn adopt(line: &[u8]) -> Result<Adopt<'_>, Refusal> {
    let words = Words::parse("adopt", &["dev", "size", "witness", "force", "name"], line)?;
    Ok(Adopt {
        dev: value::path("dev", words.need("dev")?)?,
        size: size(&words)?,
        witness: words
            .get("witness")
            .map(|text| value::path("witness", text))
            .transpose()?,
        force: value::flag(&words, "force")?,
        name: name(&words)?,
    })
}

/// `create`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Create<'a> {
    pub level: Level,
    pub chunk: Sectors,
    pub members: Paths<'a>,
    pub size: Option<Sectors>,
    pub assume_clean: bool,
    pub force: bool,
    pub name: Option<Name>,
}

/// Reads a line of `create`.
///
/// # Errors
/// What is wrong with it.
pub fn create(line: &[u8]) -> Result<Create<'_>, Refusal> {
    let keys = [
        "level",
        "chunk",
        "members",
        "copies",
        "spares",
        "size",
        "assume_clean",
        "name",
        "force",
    ];
    let words = Words::parse("create", &keys, line)?;
    let level = value::level(&words)?;
    let chunk = value::chunk(&words)?;
    let members = value::paths("members", words.need("members")?)?;
    not_yet(&words, "spares", "is not in this version")?;
    // Refuses a number of members that the level can't have.
    Layout::new(level, chunk, level.slots_of(members.len()), chunk)?;
    Ok(Create {
        level,
        chunk,
        members,
        size: size(&words)?,
        assume_clean: value::flag(&words, "assume_clean")?,
        force: value::flag(&words, "force")?,
        name: name(&words)?,
    })
}

/// `assemble`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assemble<'a> {
    pub members: Paths<'a>,
    pub options: AssembleOptions,
}

/// Reads a line of `assemble`.
///
/// # Errors
/// What is wrong with it.
pub fn assemble(line: &[u8]) -> Result<Assemble<'_>, Refusal> {
    let keys = [
        "members",
        "uuid",
        "degraded",
        "force",
        "read_only",
        "paused",
        "name",
    ];
    let words = Words::parse("assemble", &keys, line)?;
    Ok(Assemble {
        members: value::paths("members", words.need("members")?)?,
        options: AssembleOptions {
            uuid: words.get("uuid").map(value::uuid).transpose()?,
            degraded: value::flag(&words, "degraded")?,
            force: value::flag(&words, "force")?,
            read_only: value::flag(&words, "read_only")?,
            paused: value::flag(&words, "paused")?,
            name: name(&words)?,
        },
    })
}

/// Reads a line of `stop`: the volume's name.
///
/// # Errors
/// What is wrong with it.
pub fn stop(line: &[u8]) -> Result<Name, Refusal> {
    let words = Words::parse("stop", &["name"], line)?;
    value::name(words.need("name")?)
}

/// Reads a line of `examine`: the device's path.
///
/// # Errors
/// What is wrong with it.
pub fn examine(line: &[u8]) -> Result<&str, Refusal> {
    let words = Words::parse("examine", &["dev"], line)?;
    value::path("dev", words.need("dev")?)
}

/// `migrate`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Migrate<'a> {
    pub level: Level,
    /// As it is, or the default, where none is said.
    pub chunk: Option<Sectors>,
    pub add: Paths<'a>,
    pub remove: MemberMask,
    /// Only say what it would do.
    pub dry_run: bool,
    /// Read all members first.
    pub scan: bool,
    pub force: bool,
}

/// Reads a line of `migrate`.
///
/// # Errors
/// What is wrong with it.
pub fn migrate(line: &[u8]) -> Result<Migrate<'_>, Refusal> {
    let keys = [
        "level", "chunk", "copies", "add", "remove", "dry_run", "scan", "force",
    ];
    let words = Words::parse("migrate", &keys, line)?;
    let chunk = words.get("chunk").map(|_| value::chunk(&words));
    Ok(Migrate {
        level: value::level(&words)?,
        chunk: chunk.transpose()?,
        remove: value::members("remove", words.get("remove").unwrap_or_default())?,
        add: match words.get("add") {
            Some(add) => value::paths("add", add)?,
            None => Paths::new(),
        },
        dry_run: value::flag(&words, "dry_run")?,
        scan: value::flag(&words, "scan")?,
        force: value::flag(&words, "force")?,
    })
}

/// `member_action`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberAction<'a> {
    /// A spare comes in.
    Add {
        dev: &'a str,
        force: bool,
    },
    Fail(MemberId),
    Remove(MemberId),
    Replace {
        member: MemberId,
        with: &'a str,
        force: bool,
    },
}

/// Reads a line of `member_action`.
///
/// # Errors
/// What is wrong with it.
pub fn member_action(line: &[u8]) -> Result<MemberAction<'_>, Refusal> {
    let keys = ["add", "fail", "remove", "replace", "with", "force"];
    let words = Words::parse("member_action", &keys, line)?;
    let force = value::flag(&words, "force")?;
    let actions = ["add", "fail", "remove", "replace"];
    let mut said = actions
        .iter()
        .filter_map(|action| Some((*action, words.get(action)?)));
    let (Some((action, what)), None) = (said.next(), said.next()) else {
        return Err(refusal!(
            EINVAL,
            "member_action takes one of add=, fail=, remove= and replace=; say exactly one"
        ));
    };
    if action != "replace" && words.get("with").is_some() {
        return Err(refusal!(
            EINVAL,
            "with= goes with replace= and not with {}=; leave it out",
            action
        ));
    }
    Ok(match action {
        "add" => MemberAction::Add {
            dev: value::path("add", what)?,
            force,
        },
        "fail" => MemberAction::Fail(value::member("fail", what)?),
        "remove" => MemberAction::Remove(value::member("remove", what)?),
        _ => MemberAction::Replace {
            member: value::member("replace", what)?,
            with: value::path("with", words.need("with")?)?,
            force,
        },
    })
}

fn size(words: &Words<'_>) -> Result<Option<Sectors>, Refusal> {
    words
        .get("size")
        .map(|size| value::bytes("size", size))
        .transpose()
}

fn name(words: &Words<'_>) -> Result<Option<Name>, Refusal> {
    words.get("name").map(value::name).transpose()
}

fn not_yet(words: &Words<'_>, key: &str, why: &str) -> Result<(), Refusal> {
    match words.get(key) {
        Some(_) => Err(refusal!(EOPNOTSUPP, "{}= {}; leave it out", key, why)),
        None => Ok(()),
    }
}
