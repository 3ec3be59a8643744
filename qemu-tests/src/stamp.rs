//! Blocks that say what they are: each 512-byte sector carries the run, its place, the sequence number of
//! the write that put it there and a seal over all of it, so that an older, a misplaced, a torn and a foreign sector each show,
//! and what stale parity makes of three sound ones too.

use serde::{Deserialize, Serialize};

/// Bytes in a sector, the unit that a disk never tears.
pub const SECTOR: usize = 512;

const MAGIC: u64 = u64::from_le_bytes(*b"rstamp01");
const HEADER: usize = 32;
const SEAL: usize = SECTOR - 4;

/// Makes two sequence numbers that follow each other differ in all bytes of a word. Odd, so that it can be undone.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const GATHER: u64 = inverse(SPREAD);

/// What undoes a multiplication by `odd`, modulo 2^64: each of Newton's steps doubles the bits that are right, of which
/// an odd number has three to begin with.
const fn inverse(odd: u64) -> u64 {
    let mut guess = odd;
    let mut right = 3;
    while right < 64 {
        guess = guess.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(guess)));
        right *= 2;
    }
    guess
}

/// What a sector turned out to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sector {
    /// A sound stamp of this run, for this place.
    Sequence(u64),
    /// A sound stamp of this run that belongs elsewhere: (block, sector in the block, sequence).
    Misplaced(u64, u32, u64),
    /// Not a stamp of this run.
    Foreign,
    /// A stamp whose crc is wrong.
    Damaged,
}

/// Fills `buffer` (whole sectors) with the stamps of one block.
pub fn fill(buffer: &mut [u8], run: u64, block: u64, sequence: u64) {
    for (index, sector) in buffer.chunks_exact_mut(SECTOR).enumerate() {
        let index = index as u32;
        sector[0..8].copy_from_slice(&(MAGIC ^ run).to_le_bytes());
        sector[8..16].copy_from_slice(&block.to_le_bytes());
        sector[16..24].copy_from_slice(&sequence.to_le_bytes());
        sector[24..28].copy_from_slice(&index.to_le_bytes());
        sector[28..32].fill(0);
        for (bytes, pad) in sector[HEADER..SEAL]
            .chunks_mut(8)
            .zip(pads(run, block, index))
        {
            let word = pad.wrapping_add(sequence.wrapping_mul(SPREAD));
            bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
        }
        let seal = seal(&sector[..SEAL]);
        sector[SEAL..].copy_from_slice(&seal.to_le_bytes());
    }
}

/// A cheap pattern that differs in every word, so that parity over it is never trivially right.
fn pads(run: u64, block: u64, index: u32) -> impl Iterator<Item = u64> {
    let first = (run ^ block.rotate_left(32)).wrapping_mul(SPREAD) | 1;
    std::iter::successors(Some(first), move |pad| {
        let next = pad.wrapping_mul(0xd134_2543_de82_ef95);
        Some(next.wrapping_add(u64::from(index) | 1))
    })
}

/// A crc alone would not do: that of the XOR of three sectors is the XOR of their three, so that what is
/// computed from stale parity would pass for sound. A product is not as obliging.
fn seal(bytes: &[u8]) -> u32 {
    let crc = u64::from(crc32c::crc32c(bytes)) | 1 << 32;
    (crc.wrapping_mul(crc).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// Reads the stamp of sector `index` of `block`.
pub fn read(sector: &[u8], run: u64, block: u64, index: u32) -> Sector {
    let word = |at: usize| u64::from_le_bytes(sector[at..at + 8].try_into().expect("eight bytes"));
    if word(0) != MAGIC ^ run {
        return Sector::Foreign;
    }
    let found = u32::from_le_bytes(sector[SEAL..SECTOR].try_into().expect("four bytes"));
    if seal(&sector[..SEAL]) != found {
        return Sector::Damaged;
    }
    let (holds, sequence, place) = (word(8), word(16), word(24) as u32);
    if (holds, place) == (block, index) {
        Sector::Sequence(sequence)
    } else {
        Sector::Misplaced(holds, place, sequence)
    }
}

/// The sequence numbers that the words of a sector come from, where it belongs to this place and nothing but its
/// words can be mixed. Its last word is half a seal and tells none.
fn words(sector: &[u8], run: u64, block: u64, index: u32) -> Option<Vec<u64>> {
    let word = |at: usize| u64::from_le_bytes(sector[at..at + 8].try_into().expect("eight bytes"));
    let own = word(0) == MAGIC ^ run && word(8) == block && word(24) == u64::from(index);
    let whole = (HEADER..SEAL - 4).step_by(8).zip(pads(run, block, index));
    let sequences = whole.map(|(at, pad)| word(at).wrapping_sub(pad).wrapping_mul(GATHER));
    own.then(|| sequences.chain([word(16)]).collect())
}

/// The oldest sequence number in a block, if all of it is stamps of this run for this block.
pub fn oldest(bytes: &[u8], run: u64, block: u64) -> Option<u64> {
    let sequences = bytes.chunks_exact(SECTOR).enumerate();
    let sequences = sequences.map(
        |(index, sector)| match read(sector, run, block, index as u32) {
            Sector::Sequence(sequence) => Some(sequence),
            _ => None,
        },
    );
    sequences.collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// How far a block may be the work of several writes, each of which is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mix {
    /// Not at all.
    Never,
    /// Its sectors may be: what was not acknowledged when power failed tears there.
    Sectors,
    /// The words of its sectors may be: it was read beside a write, and the machine that plays the disk copies both
    /// from and to its page cache, where nothing but a word is whole.
    Words,
}

/// What must hold for a block's content.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    pub run: u64,
    pub block: u64,
    /// Oldest sequence number allowed; `None` where nothing was acknowledged, so that what was there before is fine as well.
    pub floor: Option<u64>,
    /// Newest sequence number that was ever issued, where that is known.
    pub ceiling: Option<u64>,
    pub mix: Mix,
}

impl Demand {
    /// Says in one sentence what is wrong with the block's bytes, if anything.
    pub fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let mut first = None;
        for (index, sector) in bytes.chunks_exact(SECTOR).enumerate() {
            let found = read(sector, self.run, self.block, index as u32);
            if found == Sector::Damaged && self.mix == Mix::Words && self.is_mixed(index, sector) {
                continue;
            }
            self.check_sector(index, found)?;
            let sequence = match found {
                Sector::Sequence(sequence) => Some(sequence),
                _ => None,
            };
            let first = *first.get_or_insert(sequence);
            if first != sequence && self.mix == Mix::Never {
                return Err(format!(
                    "block {} is torn: sector 0 holds {}, sector {index} holds {}",
                    self.block,
                    name(first),
                    name(sequence)
                ));
            }
        }
        Ok(())
    }

    /// Each word of a sector whose seal is wrong comes from a write that the sector may hold.
    fn is_mixed(&self, index: usize, sector: &[u8]) -> bool {
        words(sector, self.run, self.block, index as u32).is_some_and(|sequences| {
            let allowed = |got| self.check_sector(index, Sector::Sequence(got)).is_ok();
            sequences.into_iter().all(allowed)
        })
    }

    fn check_sector(&self, index: usize, found: Sector) -> Result<(), String> {
        let block = self.block;
        match (found, self.floor) {
            (Sector::Sequence(got), Some(floor)) if got < floor => Err(format!(
                "block {block} sector {index} went back: holds sequence {got}, acknowledged was {floor}"
            )),
            (Sector::Sequence(got), _) if self.ceiling.is_some_and(|ceiling| got > ceiling) => {
                Err(format!(
                    "block {block} sector {index} holds sequence {got}, which was never issued"
                ))
            }
            (Sector::Foreign, Some(floor)) => Err(format!(
                "block {block} sector {index} is lost: holds none of our data, acknowledged was sequence {floor}"
            )),
            (Sector::Misplaced(at, place, got), _) => Err(format!(
                "block {block} sector {index} holds block {at} sector {place} (sequence {got})"
            )),
            (Sector::Damaged, _) => Err(format!(
                "block {block} sector {index} is damaged: its seal is wrong"
            )),
            (Sector::Sequence(_) | Sector::Foreign, _) => Ok(()),
        }
    }
}

fn name(sequence: Option<u64>) -> String {
    sequence.map_or_else(|| "older data".into(), |s| format!("sequence {s}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(sequence: u64) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        fill(&mut bytes, 7, 11, sequence);
        bytes
    }

    fn demand(floor: Option<u64>) -> Demand {
        Demand {
            run: 7,
            block: 11,
            floor,
            ceiling: Some(100),
            mix: Mix::Never,
        }
    }

    #[test]
    fn sound_blocks_pass() {
        assert_eq!(demand(Some(5)).check(&block(5)), Ok(()));
        assert_eq!(demand(Some(5)).check(&block(6)), Ok(()));
        assert_eq!(demand(None).check(&block(1)), Ok(()));
        assert_eq!(demand(None).check(&[0; 4096]), Ok(()));
    }

    #[test]
    fn each_kind_of_wrong_is_named() {
        let wrong = |floor, bytes: &[u8], word: &str| {
            let said = demand(floor).check(bytes).unwrap_err();
            assert!(said.contains(word), "{said:?} does not say {word:?}");
        };
        wrong(Some(6), &block(5), "went back");
        wrong(Some(6), &[0; 4096], "lost");
        wrong(None, &block(101), "never issued");

        let mut torn = block(5);
        torn[1024..].copy_from_slice(&block(6)[1024..]);
        wrong(Some(5), &torn, "torn");
        torn[1024..].fill(0);
        wrong(None, &torn, "torn");

        let mut other_run = block(5);
        fill(&mut other_run, 8, 11, 9);
        wrong(Some(5), &other_run, "lost");

        let mut elsewhere = block(5);
        fill(&mut elsewhere, 7, 12, 9);
        wrong(Some(5), &elsewhere, "holds block 12");

        for bit in [28 * 8, 100 * 8 + 3, 4095 * 8] {
            let mut flipped = block(5);
            flipped[bit / 8] ^= 1 << (bit % 8);
            wrong(Some(5), &flipped, "damaged");
        }
    }

    #[test]
    fn what_stale_parity_makes_is_seen() {
        // Two blocks of a stripe, parity over them, and then the first one's new content without its parity.
        let (mut first, mut second) = (vec![0; 4096], vec![0; 4096]);
        fill(&mut first, 7, 3, 8);
        fill(&mut second, 7, 11, 9);
        let parity: Vec<_> = first.iter().zip(&second).map(|(a, b)| a ^ b).collect();
        fill(&mut first, 7, 3, 10);
        let rebuilt: Vec<_> = first.iter().zip(&parity).map(|(a, b)| a ^ b).collect();
        assert_ne!(rebuilt, second);
        for (index, sector) in (0..).zip(rebuilt.chunks_exact(SECTOR)) {
            assert_eq!(read(sector, 7, 11, index), Sector::Damaged);
        }
    }

    #[test]
    fn words_of_writes_that_ran_beside_a_read_pass_only_where_they_may() {
        let check = |bytes: &[u8], mix, floor, ceiling| {
            let ceiling = Some(ceiling);
            Demand {
                mix,
                ceiling,
                ..demand(Some(floor))
            }
            .check(bytes)
        };
        // Torn in the pattern, and in the head.
        for cut in [512 + 200, 512 + 24] {
            let mut torn = block(5);
            torn[cut..].copy_from_slice(&block(6)[cut..]);
            assert_eq!(check(&torn, Mix::Words, 5, 6), Ok(()));
            for (mix, floor, ceiling) in
                [(Mix::Sectors, 5, 6), (Mix::Words, 6, 6), (Mix::Words, 5, 5)]
            {
                assert!(check(&torn, mix, floor, ceiling).is_err());
            }
        }
        let mut flipped = block(5);
        flipped[700] ^= 4;
        assert!(check(&flipped, Mix::Words, 5, 100).is_err());
        let mut elsewhere = block(5);
        fill(&mut elsewhere[512..1024], 7, 12, 5);
        elsewhere[1000] ^= 1;
        assert!(check(&elsewhere, Mix::Words, 5, 5).is_err());
    }

    #[test]
    fn a_mix_of_allowed_writes_passes_only_where_it_may() {
        let mut mixed = block(5);
        mixed[512..1024].copy_from_slice(&block(6)[512..1024]);
        assert!(demand(Some(5)).check(&mixed).is_err());
        assert_eq!(
            Demand {
                mix: Mix::Sectors,
                ..demand(Some(5))
            }
            .check(&mixed),
            Ok(())
        );
        assert!(
            Demand {
                mix: Mix::Sectors,
                ..demand(Some(6))
            }
            .check(&mixed)
            .is_err()
        );
    }
}
