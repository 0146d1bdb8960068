//! What things are called in Redis, and how they are written there.

use http::header::HeaderName;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::entry::Seq;
use crate::hex;
use crate::key::Key;
use crate::policy::vary::Selecting;

/// What the value of a key says whose responses vary: on which fields.
const POINTER: &[u8] = b"MPNV1 ";

/// Where one variant of one key is in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The log that it is filed under.
    pub(super) log: u64,
    /// The hash of the key.
    pub(super) key: u128,
    /// The hash of the selecting fields; none for what varies on nothing, and for the pointer of what does.
    pub(super) variant: Option<u128>,
}

impl Place {
    /// The place of what varies on nothing.
    pub(super) fn plain(log: u64, key: &Key) -> Self {
        Self { log, key: xxh3_128(key.as_bytes()), variant: None }
    }

    /// The same key's place for a variant.
    pub(super) fn of(self, selecting: &Selecting) -> Self {
        let mut hash = Xxh3::new();
        for (name, value) in selecting.fields() {
            hash.update(name.as_str().as_bytes());
            hash.update(&[0, u8::from(value.is_some())]);
            hash.update(value.map_or(&[][..], |value| value));
            hash.update(&[0]);
        }
        Self { variant: Some(hash.digest128()), ..self }
    }

    /// What the value is called, at the end of `name`. The other names follow from it; see `scripts`.
    pub(super) fn push_value(self, name: &mut String, prefix: &str) {
        self.push(name, prefix, ":v:");
        self.push_variant(name);
    }

    pub(super) fn value(self, prefix: &str) -> String {
        let mut name = String::new();
        self.push_value(&mut name, prefix);
        name
    }

    pub(super) fn lease(self, prefix: &str) -> String {
        let mut name = String::new();
        self.push(&mut name, prefix, ":l:");
        self.push_variant(&mut name);
        name
    }

    /// What belongs to all variants of the key.
    pub(super) fn shared(self, prefix: &str, what: &str) -> String {
        let mut name = String::new();
        self.push(&mut name, prefix, what);
        name
    }

    /// What the wake channel calls the key.
    pub(super) fn said(self) -> String {
        let mut text = String::new();
        push_hex(&mut text, self.key.to_be_bytes());
        text
    }

    fn push(self, name: &mut String, prefix: &str, what: &str) {
        // One allocation for any name, unless it has one already.
        name.reserve(prefix.len() + 88);
        name.push_str(prefix);
        push_hex(name, self.log.to_be_bytes());
        name.push_str(":{");
        push_hex(name, self.key.to_be_bytes());
        name.push('}');
        name.push_str(what);
    }

    fn push_variant(self, name: &mut String) {
        match self.variant {
            Some(hash) => push_hex(name, hash.to_be_bytes()),
            None => name.push('-'),
        }
    }
}

/// A number in hexadecimal, by its bytes.
pub(super) fn push_hex<const N: usize>(text: &mut String, number: [u8; N]) {
    text.push_str(std::str::from_utf8(hex::digits(number).as_flattened()).unwrap_or_default());
}

/// A number as a text that compares as numbers do: those of the log are larger than what Redis's own
/// numbers hold exactly.
pub(super) fn fixed(seq: Seq) -> String {
    format!("{seq:020}")
}

pub(super) fn write_pointer(names: &[HeaderName]) -> String {
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    format!("MPNV1 {}", names.join(","))
}

pub(super) fn pointer(value: &[u8]) -> Option<Vec<HeaderName>> {
    let names = value.strip_prefix(POINTER)?;
    names.split(|&b| b == b',').map(|name| HeaderName::from_bytes(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_as_texts_as_they_do_as_numbers() {
        let ordered = [0, 9, 10, u64::from(u32::MAX), u64::MAX - 1, u64::MAX].map(fixed);
        assert!(ordered.is_sorted());
    }

    #[test]
    fn names_are_those_that_earlier_versions_gave() {
        let plain = Place { log: 0xab, key: 0x01, variant: None };
        let base = format!("p:{:016x}:{{{:032x}}}", 0xab, 0x01);
        assert_eq!(plain.value("p:"), format!("{base}:v:-"));
        assert_eq!(plain.lease("p:"), format!("{base}:l:-"));
        assert_eq!(plain.shared("p:", ":m"), format!("{base}:m"));
        let variant = Place { variant: Some(u128::MAX - 1), ..plain };
        assert_eq!(variant.value("p:"), format!("{base}:v:{:032x}", u128::MAX - 1));
        assert_eq!(variant.said(), format!("{:032x}", 0x01));
    }

    #[test]
    fn a_pointer_is_read_as_it_was_written_and_nothing_else_passes_for_one() {
        let names = [HeaderName::from_static("accept"), HeaderName::from_static("accept-language")];
        assert_eq!(pointer(write_pointer(&names).as_bytes()).unwrap(), names);
        for other in [&b""[..], b"MPND", b"MPNV1 a b", b"MPNV2 accept"] {
            assert_eq!(pointer(other), None);
        }
    }
}
