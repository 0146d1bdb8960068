//! The retained part of a growing body: chunks found by their offset from the body's first byte.

use std::collections::VecDeque;

use bytes::Bytes;

/// Chunks below this size, in bytes, are copied. A chunk may be a slice of a buffer that is much
/// larger; and each takes memory of its own beside its bytes, so that an origin which sends a byte at a
/// time would have many times as much kept as its bytes add up to.
const SMALL: usize = 4096;

/// A contiguous run of bytes that ends where the body ends so far.
#[derive(Default)]
pub(super) struct Chunks {
    /// Offset and content of each piece, neither empty nor overlapping nor with gaps between them.
    pieces: VecDeque<(u64, Bytes)>,
    /// Bytes ever appended.
    end: u64,
}

impl Chunks {
    /// Adds `chunk` at the end.
    pub(super) fn append(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let mut start = self.end;
        self.end += chunk.len() as u64;
        let mut chunk = if chunk.len() < SMALL { Bytes::copy_from_slice(&chunk) } else { chunk };
        // Small pieces merge as a binary counter carries: each byte is copied at most once per
        // doubling, and tiny chunks never pile up as thousands of handles.
        while let Some((at, last)) = self.pieces.back() {
            if last.len() > chunk.len() || last.len() + chunk.len() > SMALL {
                break;
            }
            start = *at;
            chunk = Bytes::from([last.as_ref(), chunk.as_ref()].concat());
            self.pieces.pop_back();
        }
        self.pieces.push_back((start, chunk));
    }

    /// Offset of the first byte still retained; the end if nothing is.
    pub(super) fn start(&self) -> u64 {
        self.pieces.front().map_or(self.end, |(start, _)| *start)
    }

    /// Offset after the last byte.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The bytes from `position` to the end of the piece that holds it; none if not retained.
    pub(super) fn at(&self, position: u64) -> Option<Bytes> {
        let after = self.pieces.partition_point(|(start, _)| *start <= position);
        let (start, piece) = self.pieces.get(after.checked_sub(1)?)?;
        let skip = usize::try_from(position - start).ok()?;
        (skip < piece.len()).then(|| piece.slice(skip..))
    }

    /// Lets go of every piece that ends at or before `position`.
    pub(super) fn trim(&mut self, position: u64) {
        while self.pieces.front().is_some_and(|(start, piece)| start + piece.len() as u64 <= position) {
            self.pieces.pop_front();
        }
    }

    /// Handles to all retained pieces, in order.
    pub(super) fn handles(&self) -> Vec<Bytes> {
        self.pieces.iter().map(|(_, piece)| piece.clone()).collect()
    }

    /// Puts the whole body as one piece in the place of the pieces it was joined from, which may have
    /// lacked its end.
    pub(super) fn replace(&mut self, whole: Bytes) {
        debug_assert!(self.end <= whole.len() as u64, "the joined body must be the body");
        self.end = whole.len() as u64;
        self.pieces.clear();
        if !whole.is_empty() {
            self.pieces.push_back((0, whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_from(chunks: &Chunks, mut position: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(piece) = chunks.at(position) {
            position += piece.len() as u64;
            bytes.extend_from_slice(&piece);
        }
        bytes
    }

    #[test]
    fn every_offset_reads_on_to_the_end_however_the_body_was_cut() {
        let body: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        for sizes in [vec![1], vec![3, 1, 700], vec![5000, 2, 4095, 4096], vec![20_000]] {
            let mut chunks = Chunks::default();
            let (mut left, mut sizes) = (&body[..], sizes.iter().cycle());
            while !left.is_empty() {
                let (chunk, rest) = left.split_at(left.len().min(*sizes.next().unwrap()));
                chunks.append(Bytes::copy_from_slice(chunk));
                left = rest;
            }
            for position in [0_usize, 1, 4095, 4096, 4097, 19_999, 20_000] {
                assert_eq!(read_from(&chunks, position as u64), body[position..]);
            }
        }
    }

    #[test]
    fn a_byte_at_a_time_neither_piles_up_pieces_nor_pins_read_buffers() {
        let read_buffer = Bytes::from(vec![7; 8192]);
        let mut chunks = Chunks::default();
        for at in 0..8192 {
            chunks.append(read_buffer.slice(at..=at));
        }
        assert_eq!(chunks.handles().len(), 2);
        assert!(read_buffer.is_unique());
    }

    #[test]
    fn trimming_keeps_the_piece_that_holds_the_position() {
        let mut chunks = Chunks::default();
        for _ in 0..3 {
            chunks.append(Bytes::from(vec![0; SMALL]));
        }
        chunks.trim(SMALL as u64 + 1);
        assert_eq!((chunks.start(), chunks.end()), (SMALL as u64, 3 * SMALL as u64));
        assert_eq!(chunks.at(0), None);
        chunks.trim(u64::MAX);
        assert_eq!((chunks.start(), chunks.at(3 * SMALL as u64)), (3 * SMALL as u64, None));
    }
}
