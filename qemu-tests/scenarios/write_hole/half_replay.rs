//! Disks as a power cut in the middle of a journal's replay may leave them: the places that records tell of hold
//! anything but what was written last. Made by the format's own description (`src/core/ondisk`), not by the module.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use qemu_tests::ctx::MIB;
use qemu_tests::disk::Disk;

const KIB: usize = 1024;
const BLOCK: usize = 4 * KIB;
const SECTOR: u64 = 512;
const SUPERBLOCK: usize = 16 * KIB;
/// Of a disk of at most 64 MiB, before its superblocks: all of the least reserve that is neither stash nor bitmap.
const JOURNAL: usize = 576 * KIB;

/// What of a superblock says which records count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Truth {
    epoch: u64,
    generation: u64,
    retired: u64,
    volume: [u8; 16],
    member: u8,
}

/// Spoils every place that a record which counts tells of, on all of these disks; how many. The VM is off. Only of records that
/// are on two of the disks: one whose other copy the cut came before is put there by a replay before it writes to any place.
pub fn make(disks: &[Disk]) -> Result<usize> {
    let images = disks.iter().map(Disk::bytes).collect::<Result<Vec<_>>>()?;
    let mut truths = Vec::new();
    for image in &images {
        ensure!(image.len() as u64 <= 64 * MIB, "the reserve has another shape");
        truths.push(newest(image).context("a disk has no superblock")?);
    }
    let truth = *truths.iter().max().context("there are no disks")?;
    let mut records: BTreeMap<u64, (usize, Vec<Place>)> = BTreeMap::new();
    for image in &images {
        let start = image.len() - 256 * KIB - JOURNAL;
        let journal = &image[start..start + JOURNAL];
        for at in (0..JOURNAL).step_by(BLOCK) {
            if let Some((sequence, places)) = record(&journal[at..], at, &truth) {
                records.entry(sequence).or_insert((0, places)).0 += 1;
            }
        }
    }
    let mut spoilt = 0;
    let whole = records.into_values().filter(|(copies, _)| *copies > 1);
    for (member, sector, sectors) in whole.flat_map(|(_, places)| places) {
        let disk = truths.iter().position(|truth| truth.member == member);
        let disk = &disks[disk.context("a record tells of a disk that is not there")?];
        let rubbish = vec![0x5a; (sectors * SECTOR) as usize];
        disk.corrupt(sector * SECTOR, &rubbish)?;
        spoilt += 1;
    }
    Ok(spoilt)
}

fn newest(image: &[u8]) -> Option<Truth> {
    let slots = [256, 128].map(|from_end| image.len() - from_end * KIB);
    let whole = slots.iter().filter_map(|at| {
        let block = &image[*at..at + SUPERBLOCK];
        let is_whole = &block[..8] == b"restrpSB" && u32_at(block, 8) == crc32c::crc32c(&block[12..]);
        is_whole.then(|| Truth {
            epoch: u64_at(block, 136),
            generation: u64_at(block, 144),
            retired: u64_at(block, 4064),
            volume: block[40..56].try_into().expect("16 bytes"),
            member: block[14],
        })
    });
    whole.max()
}

/// Member, first sector and sectors.
type Place = (u8, u64, u64);

/// Number and places of the record that begins here, `at` bytes into the journal, if it counts.
fn record(bytes: &[u8], at: usize, truth: &Truth) -> Option<(u64, Vec<Place>)> {
    let header = &bytes[..BLOCK];
    let counts = &header[..8] == b"restrpJR"
        && u32_at(header, 8) == crc32c::crc32c(&header[12..])
        && header[16..32] == truth.volume
        && u64_at(header, 32) == truth.epoch
        && u64_at(header, 40) > truth.retired
        && u64_at(header, 56) * SECTOR == at as u64;
    if !counts {
        return None;
    }
    let payload = u64::from(u32_at(header, 64)) * SECTOR;
    let payload = bytes.get(BLOCK..BLOCK + payload as usize)?;
    if u32_at(header, 12) != crc32c::crc32c(payload) {
        return None;
    }
    let entries = u16::from_le_bytes([header[68], header[69]]);
    let entry = |index| {
        let entry = &header[96 + 16 * index..];
        (entry[0], u64_at(entry, 8), u64::from(u32_at(entry, 4)))
    };
    Some((u64_at(header, 48), (0..usize::from(entries)).map(entry).collect()))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}
