// SPDX-License-Identifier: GPL-2.0
//! The block at sector 0 of a member whose data begin elsewhere: it tells users
//! and tools what the disk is. Nothing relies on it; the superblock is the truth.
//!
//! 4096 bytes: magic `restripe member\n` (16), CRC-32C of the rest from byte 20
//! on (4), volume uuid (16), member uuid (16), zeroes.

use super::Uuid;

/// Bytes of the signature.
pub const SIGNATURE_SIZE: usize = 4096;

const MAGIC: &[u8; 16] = b"restripe member\n";
const CRC_FROM: usize = 20;

/// Whose disk it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature {
    pub volume: Uuid,
    pub member: Uuid,
}

/// Writes the signature into the first 4096 bytes of `out`. `crc` is CRC-32C.
///
/// # Panics
/// When `out` is shorter than [`SIGNATURE_SIZE`].
pub fn encode_signature(signature: &Signature, out: &mut [u8], crc: impl Fn(&[u8]) -> u32) {
    let out = &mut out[..SIGNATURE_SIZE];
    out.fill(0);
    out[..16].copy_from_slice(MAGIC);
    out[20..36].copy_from_slice(&signature.volume.0);
    out[36..52].copy_from_slice(&signature.member.0);
    let sum = crc(&out[CRC_FROM..]);
    out[16..CRC_FROM].copy_from_slice(&sum.to_le_bytes());
}

/// Whether a disk that begins with `bytes` carries the signature, whole or not.
pub fn is_signature(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}
