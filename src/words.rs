//! Bytes looked at eight at a time: what hardly any text has is found missing sooner.
//!
//! No byte is missed, but one may be seen where there is none, behind one that is: so only the first of a word counts.

/// A number with a one in each byte.
const EACH: u64 = u64::MAX / 255;
/// The highest bit of each byte.
const HIGH: u64 = 0x80 * EACH;

/// Eight bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word(u64);

/// A mark at each byte of a word that is meant. The first is right, those behind it may be wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks(u64);

/// Where the first byte is that is meant, or where those begin that make no word any more.
pub(crate) fn find(text: &[u8], meant: impl Fn(Word) -> Marks) -> usize {
    let (words, _) = text.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let Marks(marks) = meant(Word::of(*word));
        if marks != 0 {
            return 8 * index + marks.trailing_zeros() as usize / 8;
        }
    }
    8 * words.len()
}

impl Word {
    /// The first byte is the lowest: what it does to a sum shows in those behind it alone.
    const fn of(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    /// Those that are not ASCII.
    pub(crate) const fn beyond_ascii(self) -> Marks {
        Marks(self.0 & HIGH)
    }

    /// Those below `limit`, which is ASCII.
    pub(crate) const fn below(self, limit: u8) -> Marks {
        // The highest bit of a byte that had none is set by this if the byte is too small, or behind one that is.
        Marks(self.0.wrapping_sub(limit as u64 * EACH) & !self.0 & HIGH)
    }

    /// Those that are equal to `byte`.
    pub(crate) const fn equal(self, byte: u8) -> Marks {
        Self(self.0 ^ (byte as u64 * EACH)).below(1)
    }
}

impl Marks {
    /// Those of either.
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    type Mark = fn(Word, u8) -> Marks;
    type IsMeant = fn(u8, u8) -> bool;

    proptest! {
        #[test]
        fn the_first_byte_that_is_meant_is_found_and_no_other(text in vec(proptest::num::u8::ANY, 0..40), limit in 1_u8..0x80) {
            let tests: [(Mark, IsMeant); 4] = [
                (Word::below, |b, limit| b < limit),
                (Word::equal, |b, byte| b == byte),
                (|word, _| word.beyond_ascii(), |b, _| !b.is_ascii()),
                (|word, limit| word.below(limit).or(word.equal(0x7f)), |b, limit| b < limit || b == 0x7f),
            ];
            let tail = text.len() / 8 * 8;
            for (mark, is_meant) in tests {
                let first = text[..tail].iter().position(|&b| is_meant(b, limit)).unwrap_or(tail);
                prop_assert_eq!(find(&text, |word| mark(word, limit)), first);
            }
        }
    }
}
