// SPDX-License-Identifier: GPL-2.0
//! XOR as a trait, so that the kernel brings its own, and a slow, plain reference of it.

/// XOR over buffers. The kernel's `xor_gen` or the reference below.
pub trait Xor {
    /// `dst ^= srcs[0] ^ srcs[1] ^ ..`; all of one length, a multiple of 512 bytes.
    fn xor(&self, dst: &mut [u8], srcs: &[&[u8]]);
}

/// Byte by byte; what every other one is tested against.
pub struct Reference;

impl Xor for Reference {
    fn xor(&self, dst: &mut [u8], srcs: &[&[u8]]) {
        for src in srcs {
            assert_eq!(dst.len(), src.len());
            for (d, s) in dst.iter_mut().zip(*src) {
                *d ^= s;
            }
        }
    }
}
