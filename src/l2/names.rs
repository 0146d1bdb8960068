//! What things are called in Redis, and how they are written there.

use http::header::HeaderName;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::entry::Seq;
use crate::key::Key;
use crate::policy::vary::Selecting;

use super::redis::Settings;

/// What the value of a key says whose responses vary: on which fields.
const POINTER: &[u8] = b"MPNV1 ";
/// The variant of a key that varies on nothing, and the place of its pointer if it does.
pub(super) const PLAIN: &str = "-";
/// The names of one key in Redis.
#[derive(Clone)]
pub(super) struct Names {
    base: String,
    pub(super) value: String,
    pub(super) lease: String,
}

impl Names {
    pub(super) fn new(settings: &Settings, key: &Key, variant: &str) -> Self {
        let (prefix, log) = (&settings.prefix, settings.log_id.get());
        let base = format!("{prefix}{log:016x}:{{{:032x}}}", xxh3_128(key.as_bytes()));
        Self { value: format!("{base}:v:{variant}"), lease: format!("{base}:l:{variant}"), base }
    }

    pub(super) fn of(&self, what: &str) -> String {
        format!("{}:{what}", self.base)
    }

    pub(super) fn variant(selecting: &Selecting) -> String {
        let mut hash = Xxh3::new();
        for (name, value) in selecting.fields() {
            hash.update(name.as_str().as_bytes());
            hash.update(&[0, u8::from(value.is_some())]);
            hash.update(value.map_or(&[][..], |value| value));
            hash.update(&[0]);
        }
        format!("{:032x}", hash.digest128())
    }
}

/// A number as a text that compares as numbers do: those of the log are larger than what Redis's own
/// numbers hold exactly.
pub(super) fn fixed(seq: Seq) -> String {
    format!("{seq:020}")
}

/// What the wake channel calls a key.
pub(super) fn said(key: &Key) -> String {
    format!("{:032x}", xxh3_128(key.as_bytes()))
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
    fn a_pointer_is_read_as_it_was_written_and_nothing_else_passes_for_one() {
        let names = [HeaderName::from_static("accept"), HeaderName::from_static("accept-language")];
        assert_eq!(pointer(write_pointer(&names).as_bytes()).unwrap(), names);
        for other in [&b""[..], b"MPND", b"MPNV1 a b", b"MPNV2 accept"] {
            assert_eq!(pointer(other), None);
        }
    }
}
