//! Fields as the lines of a head: what is read from one side and written to the other need be nothing else.

use std::fmt;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::field;

/// The longest name that a map takes, in bytes.
pub(crate) const LONGEST_NAME: usize = 65_535;

/// Fields in their order, each as `name: value` and CRLF, with the name in lower case.
///
/// Names and values were read in the one strict way, or come from a map, so that the only CR and LF are those that end a
/// line.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// None yet, with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The fields of a map.
    pub fn from_map(map: &HeaderMap) -> Self {
        let mut lines = Self::default();
        map.iter().for_each(|(name, value)| lines.push(name.as_str().as_bytes(), value.as_bytes()));
        lines
    }

    /// Adds a field whose name is a token and whose value is clean.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.0.len();
        field::write_bytes(&mut self.0, name, value);
        self.0[start..start + name.len()].make_ascii_lowercase();
    }

    /// Those with a name that `keep` accepts.
    #[must_use]
    pub(crate) fn select(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut kept = Self::with_capacity(self.0.len());
        for (name, value) in field::lines(&self.0).filter(|(name, _)| keep(name)) {
            kept.push(name.as_bytes(), value);
        }
        kept
    }

    /// The values of all fields of this name.
    pub fn all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        field::all(&self.0, name.as_str())
    }

    /// As they are written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The same fields as a map.
    pub fn to_map(&self) -> HeaderMap {
        to_map(&self.0)
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// Lines as a map whose values share one allocation. Not for the path of a hit.
pub(crate) fn to_map(lines: &[u8]) -> HeaderMap {
    let bytes = Bytes::copy_from_slice(lines);
    let mut map = HeaderMap::with_capacity(field::lines(&bytes).count());
    for (name, value) in field::lines(&bytes) {
        // The very bytes that were valid before.
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value));
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
            map.append(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_lines_with_names_in_lower_case_and_a_map_again() {
        let mut lines = Lines::default();
        for (name, value) in [("X-A", "1: a"), ("date", "now"), ("x-a", ""), ("X-b", "\u{fc}")] {
            lines.push(name.as_bytes(), value.as_bytes());
        }
        let x_a = HeaderName::from_static("x-a");
        assert_eq!(lines.all(&x_a).collect::<Vec<_>>(), [&b"1: a"[..], b""]);
        let map = lines.to_map();
        assert_eq!(map.get_all(&x_a).iter().collect::<Vec<_>>(), ["1: a", ""]);
        assert_eq!(Lines::from_map(&map).to_map(), map);
        assert_eq!(lines.select(|name| name != "x-a").into_bytes(), "date: now\r\nx-b: \u{fc}\r\n".as_bytes());
    }
}
