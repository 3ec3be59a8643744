// SPDX-License-Identifier: GPL-2.0
//! Golden files: a line with the size in bytes, then a line for every 16 bytes that are not all zero, their offset and
//! they themselves in hexadecimal. Lines that begin with # are for people.

pub fn read(text: &str) -> Vec<u8> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let size = lines.next().and_then(|line| line.strip_prefix("size "));
    let size = size.expect("the size comes first").parse().expect("a size");
    let mut bytes = vec![0; size];
    for line in lines {
        let (offset, row) = line.split_once(':').expect("an offset");
        let offset = usize::from_str_radix(offset, 16).expect("an offset");
        for (at, byte) in row.split_whitespace().enumerate() {
            bytes[offset + at] = u8::from_str_radix(byte, 16).expect("a byte");
        }
    }
    bytes
}
