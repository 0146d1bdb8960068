//! What this cache says of itself in each response: `Age`, `Via`, and its member of `Cache-Status`.

use std::time::Duration;

use crate::wire::field::{self, LINE_END};

use super::cache_status::CacheStatus;

/// Who has the response that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Supplier {
    /// This proxy itself.
    Us,
    /// The origin, for one client alone.
    Origin,
    /// The store, or a fetch that is shared.
    Store {
        /// In seconds.
        age: u32,
    },
}

impl Supplier {
    pub(super) fn stored(age: Duration) -> Self {
        Self::Store { age: u32::try_from(age.as_secs()).unwrap_or(u32::MAX) }
    }
}

/// The fields that are written behind those of the response. They are numbers until then: a hit formats them where they
/// are sent from, and nowhere else.
#[derive(Debug)]
pub(super) struct Signature {
    supplier: Supplier,
    status: CacheStatus,
    /// The key, on routes that show it.
    key: Option<Box<str>>,
}

impl Signature {
    pub(super) fn new(supplier: Supplier, status: CacheStatus) -> Self {
        Self { supplier, status, key: None }
    }

    /// Shows the key of the stored response.
    pub(super) fn show_key(&mut self, key: String) {
        self.key = Some(key.into());
    }

    /// `Age`, in seconds.
    pub(super) fn age(&self) -> Option<u64> {
        if let Supplier::Store { age } = self.supplier { Some(age.into()) } else { None }
    }

    /// Writes the fields as lines of a head.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Supplier::Store { age } = self.supplier {
            field::write(out, "age", itoa::Buffer::new().format(age).as_bytes());
        }
        // `Via` (RFC 9110 section 7.6.3) is not stored, for everything that is would have it.
        out.extend_from_slice(match self.supplier {
            Supplier::Us => b"cache-status: ",
            Supplier::Origin | Supplier::Store { .. } => b"via: 1.1 millpond\r\ncache-status: ",
        });
        self.status.write(out);
        if let Some(key) = &self.key {
            out.extend_from_slice(b"; key=");
            out.extend_from_slice(key.as_bytes());
        }
        out.extend_from_slice(LINE_END);
    }
}

#[cfg(test)]
mod tests {
    use super::super::respond::OUR_VIA;
    use super::*;
    use crate::reason::Outcome;

    #[test]
    fn what_is_not_our_own_has_come_through_us() {
        let status = || CacheStatus::new(Outcome::Hit);
        let lines = |supplier| {
            let mut out = Vec::new();
            Signature::new(supplier, status()).write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let via = format!("via: {}\r\n", OUR_VIA.to_str().unwrap());
        let own = lines(Supplier::Us);
        assert!(own.starts_with("cache-status: Millpond"), "{own}");
        assert_eq!(lines(Supplier::Origin), format!("{via}{own}"));
        assert_eq!(lines(Supplier::stored(Duration::from_millis(7_900))), format!("age: 7\r\n{via}{own}"));
    }
}
