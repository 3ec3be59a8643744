// SPDX-License-Identifier: GPL-2.0
//! XOR and the syndromes of raid6 as a trait, so that the kernel brings its own, and a
//! slow, plain reference of it.
//!
//! P is the XOR of a row's data; Q is the sum of g^i times data i in the field of 256
//! elements with the polynomial 0x11d and g = 2 (H. Peter Anvin, "The mathematics of
//! RAID-6"; lib/raid/raid6 of Linux).

use core::ops::Deref;

/// Arithmetic over buffers of one length, a multiple of 512 bytes: the kernel's, or the
/// reference below. `data` are those of a row in order, at least two; `disks` are the
/// data, then P, then Q.
pub trait Parity {
    /// `dst ^= srcs[0] ^ srcs[1] ^ ..`
    fn xor(&self, dst: &mut [u8], srcs: &[&[u8]]);

    /// P and Q from the data.
    fn gen_syndrome(&self, data: &[&[u8]], p: &mut [u8], q: &mut [u8]);

    /// Adds what data `which.0` to `which.1` (itself too) are to P and Q; or takes it
    /// out, which is the same.
    fn xor_syndrome(&self, data: &[&[u8]], which: (usize, usize), p: &mut [u8], q: &mut [u8]);

    /// Data `a` and `b`, of which `a` is the smaller number, from all others.
    fn recov_2data(&self, disks: &mut [&mut [u8]], a: usize, b: usize);

    /// Data `a` and P from all others.
    fn recov_datap(&self, disks: &mut [&mut [u8]], a: usize);
}

/// Byte by byte; what every other one is tested against.
pub struct Reference;

impl Parity for Reference {
    fn xor(&self, dst: &mut [u8], srcs: &[&[u8]]) {
        for src in srcs {
            assert_eq!(dst.len(), src.len());
            for (d, s) in dst.iter_mut().zip(*src) {
                *d ^= s;
            }
        }
    }

    fn gen_syndrome(&self, data: &[&[u8]], p: &mut [u8], q: &mut [u8]) {
        for (byte, (p, q)) in p.iter_mut().zip(q).enumerate() {
            (*p, *q) = sums(data, byte);
        }
    }

    fn xor_syndrome(&self, data: &[&[u8]], which: (usize, usize), p: &mut [u8], q: &mut [u8]) {
        let (first, last) = which;
        for (byte, (p, q)) in p.iter_mut().zip(q).enumerate() {
            let (of_p, of_q) = sums(&data[first..=last], byte);
            *p ^= of_p;
            *q ^= mul(of_q, power(first));
        }
    }

    fn recov_2data(&self, disks: &mut [&mut [u8]], a: usize, b: usize) {
        assert!(a < b, "the smaller number first");
        let data = disks.len() - 2;
        for byte in 0..disks[0].len() {
            (disks[a][byte], disks[b][byte]) = (0, 0);
            let (p, q) = sums(&disks[..data], byte);
            // What the two are together, and weighed: two equations.
            let (p, q) = (disks[data][byte] ^ p, disks[data + 1][byte] ^ q);
            let of_b = div(mul(power(a), p) ^ q, power(a) ^ power(b));
            (disks[a][byte], disks[b][byte]) = (p ^ of_b, of_b);
        }
    }

    fn recov_datap(&self, disks: &mut [&mut [u8]], a: usize) {
        let data = disks.len() - 2;
        for byte in 0..disks[0].len() {
            disks[a][byte] = 0;
            let (p, q) = sums(&disks[..data], byte);
            let of_a = div(disks[data + 1][byte] ^ q, power(a));
            (disks[a][byte], disks[data][byte]) = (of_a, p ^ of_a);
        }
    }
}

/// One byte of the P and Q of these data.
fn sums(data: &[impl Deref<Target = [u8]>], byte: usize) -> (u8, u8) {
    data.iter().rev().fold((0, 0), |(p, q), data| {
        (p ^ data[byte], double(q) ^ data[byte])
    })
}

const fn double(a: u8) -> u8 {
    (a << 1) ^ (if a & 0x80 != 0 { 0x1d } else { 0 })
}

/// Powers of g; twice over, so that a sum of two logarithms is an index.
const POWERS: [u8; 512] = {
    let mut powers = [1; 512];
    let mut n = 1;
    while n < 512 {
        powers[n] = double(powers[n - 1]);
        n += 1;
    }
    powers
};

/// Which power of g a number is; 0 is none.
const LOGARITHMS: [u8; 256] = {
    let mut logarithms = [0; 256];
    let mut n = 0;
    while n < 255 {
        logarithms[POWERS[n] as usize] = n as u8;
        n += 1;
    }
    logarithms
};

const fn power(n: usize) -> u8 {
    POWERS[n]
}

const fn logarithm(a: u8) -> usize {
    LOGARITHMS[a as usize] as usize
}

fn mul(a: u8, b: u8) -> u8 {
    match (a, b) {
        (0, _) | (_, 0) => 0,
        _ => POWERS[logarithm(a) + logarithm(b)],
    }
}

/// `a / b`, for a `b` that is not 0.
fn div(a: u8, b: u8) -> u8 {
    assert!(b != 0, "a division by zero");
    match a {
        0 => 0,
        _ => POWERS[logarithm(a) + 255 - logarithm(b)],
    }
}
