//! What this cache says of itself in each response: `Age`, and its member of `Cache-Status`.

use std::time::Duration;

use crate::wire::field::{self, LINE_END, SEPARATOR};

use super::cache_status::CacheStatus;

/// The fields that are written behind those of the response. They are numbers until then: a hit formats them where they
/// are sent from, and nowhere else.
#[derive(Debug)]
pub(super) struct Signature {
    /// In seconds; none for what is not from the store.
    age: Option<u64>,
    status: CacheStatus,
    /// The key, on routes that show it.
    key: Option<Box<str>>,
}

impl Signature {
    pub(super) fn new(status: CacheStatus, age: Option<Duration>) -> Self {
        Self { age: age.map(|age| age.as_secs()), status, key: None }
    }

    /// Shows the key of the stored response.
    pub(super) fn show_key(&mut self, key: String) {
        self.key = Some(key.into());
    }

    /// `Age`, in seconds.
    pub(super) const fn age(&self) -> Option<u64> {
        self.age
    }

    /// Writes the fields as lines of a head.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some(age) = self.age {
            field::write(out, "age", itoa::Buffer::new().format(age).as_bytes());
        }
        out.extend_from_slice(b"cache-status");
        out.extend_from_slice(SEPARATOR);
        self.status.write(out);
        if let Some(key) = &self.key {
            out.extend_from_slice(b"; key=");
            out.extend_from_slice(key.as_bytes());
        }
        out.extend_from_slice(LINE_END);
    }
}
