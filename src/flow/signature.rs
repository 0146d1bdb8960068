//! What this cache says of itself in each response: `Age`, `Via`, and its member of `Cache-Status`.

use std::time::Duration;

use http::header::VIA;

use crate::wire::field::{self, LINE_END, SEPARATOR};

use super::cache_status::CacheStatus;
use super::respond::OUR_VIA;

/// The fields that are written behind those of the response. They are numbers until then: a hit formats them where they
/// are sent from, and nowhere else.
#[derive(Debug)]
pub(super) struct Signature {
    /// In seconds; none for what is not from the store.
    age: Option<u32>,
    /// Whether it says by whom the response came: what is stored has that among its fields.
    via: bool,
    status: CacheStatus,
    /// The key, on routes that show it.
    key: Option<Box<str>>,
}

impl Signature {
    pub(super) fn new(status: CacheStatus, age: Option<Duration>) -> Self {
        let seconds = |age: Duration| u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        Self { age: age.map(seconds), via: false, status, key: None }
    }

    /// The same for a response that has come through this proxy just now (RFC 9110 section 7.6.3).
    pub(super) fn with_via(self) -> Self {
        Self { via: true, ..self }
    }

    /// Shows the key of the stored response.
    pub(super) fn show_key(&mut self, key: String) {
        self.key = Some(key.into());
    }

    /// `Age`, in seconds.
    pub(super) fn age(&self) -> Option<u64> {
        self.age.map(u64::from)
    }

    /// Writes the fields as lines of a head.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some(age) = self.age {
            field::write(out, "age", itoa::Buffer::new().format(age).as_bytes());
        }
        if self.via {
            field::write(out, VIA.as_str(), OUR_VIA.as_bytes());
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
