// SPDX-License-Identifier: GPL-2.0

//! Parity and checksums, by the kernel's own best routines.

use crate::sys::pb;
use kernel::page::PAGE_SIZE;

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

/// Fewest disks that the kernel makes syndromes for, P and Q counted.
const FEWEST: usize = 4;

/// Disks by their addresses: data in order, then P, then Q.
type Disks = [*mut kernel::ffi::c_void; SOURCES];

/// Checks one disk, whose part is `len` bytes long.
fn address(disk: &[u8], len: usize) -> *mut kernel::ffi::c_void {
    assert!(disk.len() == len, "raid6: lengths differ");
    assert!(disk.as_ptr().align_offset(64) == 0, "raid6: unaligned");
    disk.as_ptr().cast_mut().cast()
}

/// Checks all of them: how many there are, and their addresses.
fn disks(data: &[&[u8]], p: &mut [u8], q: &mut [u8]) -> (i32, Disks) {
    let (len, n) = (p.len(), data.len() + 2);
    assert!(len > 0 && len % 512 == 0, "raid6: odd length");
    assert!((FEWEST..=SOURCES).contains(&n), "raid6: so many disks");
    let mut ptrs = [core::ptr::null_mut(); SOURCES];
    for (ptr, disk) in ptrs.iter_mut().zip(data) {
        *ptr = address(disk, len);
    }
    ptrs[n - 2] = address(p, len);
    ptrs[n - 1] = address(q, len);
    // CAST: At most `SOURCES`.
    (n as i32, ptrs)
}

/// P and Q from the data. All of one length, a multiple of 512 bytes, and aligned to 64 bytes;
/// at least two of data. *Task* context.
pub fn gen_syndrome(data: &[&[u8]], p: &mut [u8], q: &mut [u8]) {
    let (n, mut ptrs) = disks(data, p, q);
    // SAFETY: There are `n` addresses, valid for that many bytes and aligned; only the last two
    // are written to, which are borrowed for it.
    unsafe { pb::raid6_gen_syndrome(n, p.len(), ptrs.as_mut_ptr()) };
}

/// Whether [`xor_syndrome`] may be called.
pub fn can_xor_syndrome() -> bool {
    // SAFETY: It only looks.
    unsafe { pb::raid6_can_xor_syndrome() }
}

/// Adds what data `which.0` to `which.1` (itself too) are to P and Q. As [`gen_syndrome`].
pub fn xor_syndrome(data: &[&[u8]], which: (usize, usize), p: &mut [u8], q: &mut [u8]) {
    let (n, mut ptrs) = disks(data, p, q);
    assert!(which.0 <= which.1 && which.1 < data.len() && can_xor_syndrome());
    // CAST: Less than `SOURCES`.
    let (first, last) = (which.0 as i32, which.1 as i32);
    // SAFETY: As in `gen_syndrome`; and the routine is there.
    unsafe { pb::raid6_xor_syndrome(n, first, last, p.len(), ptrs.as_mut_ptr()) };
}

/// Calls `recover` with every page of the disks, as the kernel wants it.
fn by_page(
    disks: &mut [&mut [u8]],
    mut recover: impl FnMut(i32, usize, *mut *mut kernel::ffi::c_void),
) {
    let (len, n) = (disks[0].len(), disks.len());
    assert!(len > 0 && len % 512 == 0, "raid6: odd length");
    assert!((FEWEST..=SOURCES).contains(&n), "raid6: so many disks");
    let mut at = 0;
    while at < len {
        let bytes = (len - at).min(PAGE_SIZE);
        let mut ptrs = [core::ptr::null_mut(); SOURCES];
        for (ptr, disk) in ptrs.iter_mut().zip(disks.iter_mut()) {
            assert!(disk.len() == len, "raid6: lengths differ");
            let part = &mut disk[at..at + bytes];
            assert!(part.as_ptr().align_offset(64) == 0, "raid6: unaligned");
            *ptr = part.as_mut_ptr().cast();
        }
        // CAST: At most `SOURCES`.
        recover(n as i32, bytes, ptrs.as_mut_ptr());
        at += bytes;
    }
}

/// Data `a` and `b`, of which `a` is the smaller number, from all others. `disks` are the data in
/// order, then P, then Q; sizes as for [`gen_syndrome`]. *Task* context.
pub fn recov_2data(disks: &mut [&mut [u8]], a: usize, b: usize) {
    assert!(a < b && b + 2 < disks.len(), "raid6: no such data");
    // CAST: Less than `SOURCES`.
    let (a, b) = (a as i32, b as i32);
    by_page(disks, |n, bytes, ptrs| {
        // SAFETY: There are `n` addresses, valid for at most a page of bytes, aligned, and
        // borrowed to be written to.
        unsafe { pb::raid6_recov_2data(n, bytes, a, b, ptrs) };
    });
}

/// Data `a`, and P, from all others; as [`recov_2data`].
pub fn recov_datap(disks: &mut [&mut [u8]], a: usize) {
    assert!(a + 2 < disks.len(), "raid6: no such data");
    // CAST: Less than `SOURCES`.
    let a = a as i32;
    by_page(disks, |n, bytes, ptrs| {
        // SAFETY: As in `recov_2data`.
        unsafe { pb::raid6_recov_datap(n, bytes, a, ptrs) };
    });
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
