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

/// Whether any word of a text is suspect; none if it is shorter than one. The last two words may overlap. All are looked
/// at without a branch, so that the compiler can take several at a time.
pub(crate) fn any(text: &[u8], suspect: impl Fn(Word) -> bool) -> Option<bool> {
    let suspect = |word: &[u8; 8]| suspect(Word(u64::from_ne_bytes(*word)));
    let last = text.last_chunk()?;
    let (words, _) = text.as_chunks();
    Some(words.iter().fold(suspect(last), |found, word| found | suspect(word)))
}

/// How many bytes stand before the first word that is suspect, or before those that make no word any more.
pub(crate) fn clear(text: &[u8], suspect: impl Fn(Word) -> bool) -> usize {
    let (words, _) = text.as_chunks::<8>();
    8 * words.iter().take_while(|word| !suspect(Word(u64::from_ne_bytes(**word)))).count()
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
            let clear = clear(&text, |word| word.has(limit));
            prop_assert!(!text[..clear].contains(&limit));
            prop_assert!(text.len() - clear < 8 || text[clear..clear + 8].contains(&limit));
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
