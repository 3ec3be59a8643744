//! The wire: the part of the NBD protocol that QEMU needs (fixed newstyle handshake, simple replies), as its
//! documentation has it (doc/proto.md of NetworkBlockDevice/nbd). All numbers are big-endian.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail, ensure};

const INIT: &[u8; 8] = b"NBDMAGIC";
const OPTION: &[u8; 8] = b"IHAVEOPT";
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const SIMPLE_REPLY: u32 = 0x6744_6698;

/// No option and no request is longer, so that a stray number can't ask for all memory.
const MAX_OPTION: usize = 4096;
const MAX_REQUEST: u32 = 32 << 20;

mod handshake_flag {
    pub const FIXED_NEWSTYLE: u16 = 1;
    pub const NO_ZEROES: u16 = 2;
}

mod option {
    pub const EXPORT_NAME: u32 = 1;
    pub const ABORT: u32 = 2;
    pub const INFO: u32 = 6;
    pub const GO: u32 = 7;
}

mod option_reply {
    pub const ACK: u32 = 1;
    pub const INFO: u32 = 3;
    pub const ERR_UNSUP: u32 = 0x8000_0001;
    pub const ERR_INVALID: u32 = 0x8000_0003;
    pub const ERR_UNKNOWN: u32 = 0x8000_0006;
}

mod info {
    pub const EXPORT: u16 = 0;
    pub const BLOCK_SIZE: u16 = 3;
}

/// What an export can do: HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES.
const EXPORT_FLAGS: u16 = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6;

const COMMAND_FUA: u16 = 1;

/// The errors of the protocol that are needed here; their numbers are Linux'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    Invalid = 22,
    NoSpace = 28,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Read,
    Write(Vec<u8>),
    Flush,
    Trim,
    WriteZeroes,
    /// One that was never offered.
    Unknown,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub command: Command,
    pub fua: bool,
    /// By which the client knows the answer.
    pub handle: u64,
    /// Byte.
    pub at: u64,
    /// Bytes.
    pub len: u32,
}

fn u16_of(from: &mut impl Read) -> Result<u16> {
    let mut bytes = [0; 2];
    from.read_exact(&mut bytes)?;
    Ok(u16::from_be_bytes(bytes))
}

fn u32_of(from: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn u64_of(from: &mut impl Read) -> Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

fn bytes_of(from: &mut impl Read, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Agrees with a client on an export: `size` gives the bytes of the one of that name, if there is one. Gives its
/// name, or nothing if the client only had a look.
pub fn handshake(
    from: &mut impl Read,
    to: &mut impl Write,
    size: impl Fn(&str) -> Option<u64>,
) -> Result<Option<String>> {
    to.write_all(INIT)?;
    to.write_all(OPTION)?;
    let offered = handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES;
    to.write_all(&offered.to_be_bytes())?;
    to.flush()?;
    let taken = u32_of(from).context("the client's flags")?;
    ensure!(
        taken & !u32::from(offered) == 0,
        "the client wants flags {taken:#x} that were not offered"
    );
    loop {
        let magic = bytes_of(from, OPTION.len())?;
        ensure!(magic == OPTION, "an option begins with {magic:x?}");
        let (kind, len) = (u32_of(from)?, u32_of(from)? as usize);
        ensure!(len <= MAX_OPTION, "an option of {len} bytes");
        let data = bytes_of(from, len)?;
        match kind {
            option::EXPORT_NAME => {
                let name = String::from_utf8(data)?;
                let Some(size) = size(&name) else {
                    bail!("there is no export {name:?}");
                };
                to.write_all(&size.to_be_bytes())?;
                to.write_all(&EXPORT_FLAGS.to_be_bytes())?;
                if taken & u32::from(handshake_flag::NO_ZEROES) == 0 {
                    to.write_all(&[0; 124])?;
                }
                to.flush()?;
                return Ok(Some(name));
            }
            option::ABORT => {
                reply(to, kind, option_reply::ACK, &[])?;
                return Ok(None);
            }
            option::INFO | option::GO => {
                let Some(name) = export_name(&data) else {
                    reply(to, kind, option_reply::ERR_INVALID, b"no name in it")?;
                    continue;
                };
                let Some(size) = size(&name) else {
                    reply(to, kind, option_reply::ERR_UNKNOWN, b"no such export")?;
                    continue;
                };
                let mut export = info::EXPORT.to_be_bytes().to_vec();
                export.extend(size.to_be_bytes());
                export.extend(EXPORT_FLAGS.to_be_bytes());
                reply(to, kind, option_reply::INFO, &export)?;
                let mut blocks = info::BLOCK_SIZE.to_be_bytes().to_vec();
                for bytes in [512, 4096, MAX_REQUEST] {
                    blocks.extend(bytes.to_be_bytes());
                }
                reply(to, kind, option_reply::INFO, &blocks)?;
                reply(to, kind, option_reply::ACK, &[])?;
                if kind == option::GO {
                    return Ok(Some(name));
                }
            }
            _ => reply(to, kind, option_reply::ERR_UNSUP, &[])?,
        }
    }
}

/// The name in the data of INFO and GO, behind which lie requests for information that may be passed over.
fn export_name(mut data: &[u8]) -> Option<String> {
    let len = u32_of(&mut data).ok()? as usize;
    String::from_utf8(data.get(..len)?.to_vec()).ok()
}

fn reply(to: &mut impl Write, option: u32, kind: u32, data: &[u8]) -> Result<()> {
    to.write_all(&OPTION_REPLY.to_be_bytes())?;
    to.write_all(&option.to_be_bytes())?;
    to.write_all(&kind.to_be_bytes())?;
    to.write_all(&(data.len() as u32).to_be_bytes())?;
    to.write_all(data)?;
    Ok(to.flush()?)
}

impl Request {
    /// The next request; `None` when the client has said goodbye or is gone, in the middle of a request too.
    pub fn receive(from: &mut impl Read) -> Result<Option<Self>> {
        match Self::receive_whole(from) {
            Ok(request) => Ok(request),
            Err(e) => match e.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
                Some(std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset) => {
                    Ok(None)
                }
                _ => Err(e),
            },
        }
    }

    fn receive_whole(from: &mut impl Read) -> Result<Option<Self>> {
        let magic = u32_of(from)?;
        ensure!(magic == REQUEST, "a request begins with {magic:#x}");
        let (flags, kind, handle) = (u16_of(from)?, u16_of(from)?, u64_of(from)?);
        let (at, len) = (u64_of(from)?, u32_of(from)?);
        let command = match kind {
            0 => Command::Read,
            1 => {
                ensure!(len <= MAX_REQUEST, "a write of {len} bytes");
                Command::Write(bytes_of(from, len as usize)?)
            }
            2 => return Ok(None),
            3 => Command::Flush,
            4 => Command::Trim,
            6 => Command::WriteZeroes,
            _ => Command::Unknown,
        };
        Ok(Some(Self {
            command,
            fua: flags & COMMAND_FUA != 0,
            handle,
            at,
            len,
        }))
    }

    pub fn answer(&self, to: &mut impl Write, result: Result<&[u8], Error>) -> Result<()> {
        let (error, data) = match result {
            Ok(data) => (0, data),
            Err(error) => (error as u32, [].as_slice()),
        };
        to.write_all(&SIMPLE_REPLY.to_be_bytes())?;
        to.write_all(&error.to_be_bytes())?;
        to.write_all(&self.handle.to_be_bytes())?;
        to.write_all(data)?;
        Ok(to.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = OPTION.to_vec();
        bytes.extend(kind.to_be_bytes());
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(data);
        bytes
    }

    fn shake(client: &[u8]) -> (Result<Option<String>>, Vec<u8>) {
        let mut said = Vec::new();
        let result = handshake(&mut &*client, &mut said, |name| {
            (name == "disk").then_some(1 << 20)
        });
        (result, said)
    }

    #[test]
    fn an_unknown_option_is_refused_and_the_next_one_taken() {
        let mut client = 3_u32.to_be_bytes().to_vec();
        client.extend(option(8, &[]));
        let mut go = 4_u32.to_be_bytes().to_vec();
        go.extend(b"disk\0\0");
        client.extend(option(option::GO, &go));
        let (name, said) = shake(&client);
        assert_eq!(name.unwrap().as_deref(), Some("disk"));
        let replies = &said[18..];
        assert_eq!(&replies[8..16], [0, 0, 0, 8, 0x80, 0, 0, 1]);
        // The size follows the first reply's header of 20 bytes, the second's, and two bytes that say what it is.
        assert_eq!(&replies[42..50], (1_u64 << 20).to_be_bytes());
    }

    #[test]
    fn an_export_that_is_not_there_is_said_to_be_so() {
        let mut client = 3_u32.to_be_bytes().to_vec();
        client.extend(option(option::INFO, b"\0\0\0\x04none\0\0"));
        client.extend(option(option::ABORT, &[]));
        let (name, said) = shake(&client);
        assert_eq!(name.unwrap(), None);
        assert_eq!(&said[18 + 12..18 + 16], option_reply::ERR_UNKNOWN.to_be_bytes());
    }

    #[test]
    fn the_old_way_in_gives_size_and_padding() {
        let mut client = 1_u32.to_be_bytes().to_vec();
        client.extend(option(option::EXPORT_NAME, b"disk"));
        let (name, said) = shake(&client);
        assert_eq!(name.unwrap().as_deref(), Some("disk"));
        assert_eq!(said.len(), 18 + 8 + 2 + 124);
    }

    #[test]
    fn a_request_is_read_and_a_cut_one_is_the_end() {
        let mut bytes = REQUEST.to_be_bytes().to_vec();
        bytes.extend([0, 1, 0, 1]);
        bytes.extend(77_u64.to_be_bytes());
        bytes.extend(4096_u64.to_be_bytes());
        bytes.extend(3_u32.to_be_bytes());
        bytes.extend(b"abc");
        let request = Request::receive(&mut bytes.as_slice()).unwrap().unwrap();
        assert_eq!(
            request,
            Request {
                command: Command::Write(b"abc".to_vec()),
                fua: true,
                handle: 77,
                at: 4096,
                len: 3
            }
        );
        for cut in 0..bytes.len() {
            assert_eq!(Request::receive(&mut &bytes[..cut]).unwrap(), None, "cut at {cut}");
        }
        assert!(Request::receive(&mut [0xff; 40].as_slice()).is_err());
        let mut answer = Vec::new();
        request.answer(&mut answer, Err(Error::NoSpace)).unwrap();
        assert_eq!(answer, [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 77]);
    }
}
