// SPDX-License-Identifier: GPL-2.0

//! Parity and checksums, by the kernel's own best routines.

use crate::sys::pb;

/// Most sources that are handed to the kernel at once.
const SOURCES: usize = 16;

/// `dest ^= srcs[0] ^ srcs[1] ..`. All of one length, a multiple of 512 bytes, and aligned to 64
/// bytes (as parts of buffers at multiples of 64 are). *Task* context.
pub fn xor(dest: &mut [u8], srcs: &[&[u8]]) {
    let len = dest.len();
    if len == 0 {
        return;
    }
    assert!(
        len % 512 == 0 && len <= u32::MAX as usize,
        "xor: odd length"
    );
    assert!(dest.as_ptr().align_offset(64) == 0, "xor: unaligned");
    for some in srcs.chunks(SOURCES) {
        let mut ptrs = [core::ptr::null_mut(); SOURCES];
        for (ptr, src) in ptrs.iter_mut().zip(some) {
            assert!(src.len() == len, "xor: lengths differ");
            assert!(src.as_ptr().align_offset(64) == 0, "xor: unaligned");
            *ptr = src.as_ptr().cast_mut().cast();
        }
        // CAST: At most `SOURCES`, and checked above.
        // SAFETY: All are valid for `len` bytes and aligned; the sources are only read.
        unsafe {
            pb::xor_gen(
                dest.as_mut_ptr().cast(),
                ptrs.as_mut_ptr(),
                some.len() as u32,
                len as u32,
            )
        };
    }
}

/// CRC-32C: that of `123456789` is 0xE3069283. Any context.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !crc32c_update(!0, bytes)
}

/// Goes on with a CRC-32C: begin with `!0`, and invert the end. Any context.
pub fn crc32c_update(state: u32, bytes: &[u8]) -> u32 {
    // SAFETY: The bytes are valid and only read.
    unsafe { pb::crc32c(state, bytes.as_ptr().cast(), bytes.len()) }
}
