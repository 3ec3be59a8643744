//! A disk's content in memory: sparse, and cheap to copy, since copies share what neither has written.

use std::sync::Arc;

/// Bytes that are shared or not as one.
const PIECE: usize = 64 << 10;

#[derive(Debug, Clone)]
pub struct Image {
    size: u64,
    /// Only zeroes where there is none.
    pieces: Vec<Option<Arc<Vec<u8>>>>,
}

/// The part of a range that lies in one piece.
struct Part {
    piece: usize,
    /// Where in the piece.
    at: usize,
    /// Where in the range.
    from: usize,
    len: usize,
}

impl Image {
    /// `size` bytes of zeroes.
    pub fn blank(size: u64) -> Self {
        let pieces = size.div_ceil(PIECE as u64) as usize;
        Self {
            size,
            pieces: vec![None; pieces],
        }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether `len` bytes at byte `at` lie on the disk.
    pub fn holds(&self, at: u64, len: u64) -> bool {
        at.checked_add(len).is_some_and(|end| end <= self.size)
    }

    /// All that may be other than zero, as (byte, data).
    pub fn data(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let pieces = self.pieces.iter().enumerate();
        pieces.filter_map(|(index, piece)| {
            let at = index as u64 * PIECE as u64;
            let len = (self.size - at).min(PIECE as u64) as usize;
            Some((at, &piece.as_ref()?[..len]))
        })
    }

    pub fn read(&self, at: u64, to: &mut [u8]) {
        for part in parts(at, to.len()) {
            let to = &mut to[part.from..][..part.len];
            match &self.pieces[part.piece] {
                Some(piece) => to.copy_from_slice(&piece[part.at..][..part.len]),
                None => to.fill(0),
            }
        }
    }

    pub fn write(&mut self, at: u64, data: &[u8]) {
        for part in parts(at, data.len()) {
            let piece =
                self.pieces[part.piece].get_or_insert_with(|| Arc::new(vec![0; PIECE]));
            Arc::make_mut(piece)[part.at..][..part.len]
                .copy_from_slice(&data[part.from..][..part.len]);
        }
    }

    pub fn zero(&mut self, at: u64, len: u64) {
        for part in parts(at, len as usize) {
            let slot = &mut self.pieces[part.piece];
            if part.len == PIECE {
                *slot = None;
            } else if let Some(piece) = slot {
                Arc::make_mut(piece)[part.at..][..part.len].fill(0);
            }
        }
    }
}

fn parts(at: u64, len: usize) -> impl Iterator<Item = Part> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let place = at + from as u64;
        let inside = (place % PIECE as u64) as usize;
        let part = Part {
            piece: (place / PIECE as u64) as usize,
            at: inside,
            from,
            len: (PIECE - inside).min(len - from),
        };
        from += part.len;
        (part.len > 0).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(image: &Image, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xee; len];
        image.read(at, &mut bytes);
        bytes
    }

    #[test]
    fn what_is_written_across_pieces_is_read() {
        let mut image = Image::blank(4 * PIECE as u64 + 512);
        let data: Vec<u8> = (0..2 * PIECE + 700).map(|n| (n % 251) as u8).collect();
        let at = PIECE as u64 - 300;
        image.write(at, &data);
        assert_eq!(read(&image, at, data.len()), data);
        assert_eq!(read(&image, at - 4, 4), [0; 4]);
        assert_eq!(read(&image, at + data.len() as u64, 4), [0; 4]);

        image.zero(at + 100, data.len() as u64 - 200);
        let mut want = data;
        let end = want.len() - 100;
        want[100..end].fill(0);
        assert_eq!(read(&image, at, want.len()), want);
    }

    #[test]
    fn a_copy_is_not_written_through() {
        let mut first = Image::blank(1 << 20);
        first.write(5, b"before");
        let mut second = first.clone();
        second.write(5, b"after!");
        assert_eq!(read(&first, 5, 6), b"before");
        assert_eq!(read(&second, 5, 6), b"after!");
    }

    #[test]
    fn its_data_are_all_there_is() {
        let mut image = Image::blank(3 * PIECE as u64 + 512);
        image.write(PIECE as u64 * 3 + 500, b"the last few");
        image.write(17, b"first");
        let mut copy = Image::blank(image.size());
        for (at, data) in image.data() {
            copy.write(at, data);
        }
        let all = image.size() as usize;
        assert_eq!(read(&copy, 0, all), read(&image, 0, all));
        assert_eq!(image.data().count(), 2);
    }

    #[test]
    fn the_end_is_where_it_is() {
        let image = Image::blank(1000);
        assert!(image.holds(0, 1000) && image.holds(1000, 0));
        assert!(!image.holds(0, 1001) && !image.holds(u64::MAX, 2));
    }
}
