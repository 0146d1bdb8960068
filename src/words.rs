//! Bytes looked at eight at a time: what hardly any text has is found missing sooner.
//!
//! The tests never miss a byte, but may see one where there is none, behind one that they have found: whoever hears that
//! there is one looks at each byte, or at the first.

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

/// Whether any word of a text is suspect; none if it is shorter than one. The last two words may overlap. All are looked
/// at without a branch, so that the compiler can take several at a time.
pub(crate) fn any(text: &[u8], suspect: impl Fn(Word) -> bool) -> Option<bool> {
    let last = *text.last_chunk()?;
    let (words, _) = text.as_chunks();
    Some(words.iter().fold(suspect(Word::of(last)), |found, word| found | suspect(Word::of(*word))))
}

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

    /// Whether all are ASCII. Exact.
    pub(crate) const fn is_ascii(self) -> bool {
        self.0 & HIGH == 0
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

    /// Whether one may be below `limit`, which is ASCII.
    pub(crate) const fn has_below(self, limit: u8) -> bool {
        self.below(limit).0 != 0
    }

    /// Whether one may be this.
    pub(crate) const fn has(self, byte: u8) -> bool {
        self.equal(byte).0 != 0
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
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        #[test]
        fn no_byte_is_missed_and_none_is_seen_in_what_has_nothing_near_it(text in vec(proptest::num::u8::ANY, 8..40), limit in 1_u8..0x80) {
            let seen = |test: fn(Word, u8) -> bool| any(&text, |word| test(word, limit)).unwrap();
            let (below, is) = (text.iter().any(|&b| b < limit), text.contains(&limit));
            prop_assert!(seen(Word::has_below) || !below);
            prop_assert!(seen(Word::has) || !is);
            prop_assert_eq!(any(&text, |word| !word.is_ascii()), Some(!text.is_ascii()));
            let meant = |b: u8| b < limit || b == 0x7f;
            let found = find(&text, |word| word.below(limit).or(word.equal(0x7f)));
            let tail = text.len() / 8 * 8;
            prop_assert_eq!(found, text[..tail].iter().position(|&b| meant(b)).unwrap_or(tail));
            if text.iter().all(|&b| b >= limit) {
                prop_assert!(!seen(Word::has_below));
            }
        }
    }

    #[test]
    fn short_text_has_no_words_and_the_last_may_overlap() {
        assert_eq!(any(b"1234567", |_| true), None);
        let has_9 = |text| any(text, |word| word.has(b'9'));
        assert_eq!((has_9(b"12345678"), has_9(b"123456789")), (Some(false), Some(true)));
    }
}
