//! Bytes looked at eight at a time: what hardly any text has is found missing sooner.
//!
//! The tests never miss a byte, but may see one where there is none, beside one that they have found: whoever hears that
//! there is one looks at each byte.

/// A number with a one in each byte.
const EACH: u64 = u64::MAX / 255;
/// The highest bit of each byte.
const HIGH: u64 = 0x80 * EACH;

/// Eight bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word(u64);

/// Text as words, the last two of which may overlap; none if it is shorter than one.
pub(crate) fn words(text: &[u8]) -> Option<impl Iterator<Item = Word>> {
    let last = text.last_chunk()?;
    let (words, _) = text.as_chunks();
    Some(words.iter().chain([last]).map(|word| Word(u64::from_ne_bytes(*word))))
}

impl Word {
    /// Whether all are ASCII. Exact.
    pub(crate) const fn is_ascii(self) -> bool {
        self.0 & HIGH == 0
    }

    /// Whether one may be below `limit`, which is ASCII.
    pub(crate) const fn has_below(self, limit: u8) -> bool {
        // The highest bit of a byte that had none is set by this if the byte is too small, or beside one that is.
        self.0.wrapping_sub(limit as u64 * EACH) & !self.0 & HIGH != 0
    }

    /// Whether one may be this.
    pub(crate) const fn has(self, byte: u8) -> bool {
        Self(self.0 ^ (byte as u64 * EACH)).has_below(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_byte_is_missed_and_none_is_seen_in_what_has_nothing_near_it(text in vec(any::<u8>(), 8..40), limit in 1_u8..0x80) {
            let any = |test: fn(Word, u8) -> bool| words(&text).is_some_and(|mut words| words.any(|word| test(word, limit)));
            let (below, is) = (text.iter().any(|&b| b < limit), text.contains(&limit));
            prop_assert!(any(Word::has_below) || !below);
            prop_assert!(any(Word::has) || !is);
            prop_assert_eq!(words(&text).is_some_and(|mut words| words.all(Word::is_ascii)), text.is_ascii());
            if text.iter().all(|&b| b >= limit) {
                prop_assert!(!any(Word::has_below));
            }
        }
    }

    #[test]
    fn short_text_has_no_words_and_the_last_may_overlap() {
        assert!(words(b"1234567").is_none());
        let texts = |text| words(text).map(|words| words.map(|word| word.0.to_ne_bytes()).collect::<Vec<_>>());
        assert_eq!(texts(b"123456789"), Some(vec![*b"12345678", *b"23456789"]));
    }
}
