//! What the targets share: inputs are text wherever possible, so that a seed can be read and written by hand.
//!
//! An input has sections, separated by an empty line. A section of fields has one on each line, `name: value`, and
//! whatever is none is left out. A section of numbers has them on one line; one that is missing counts as zero.

pub mod graphql;
pub mod json;
pub mod meaning;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The sections of an input. There is always one more: an empty one.
pub fn sections(mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = input.windows(2).position(|pair| pair == b"\n\n");
        let (section, rest) = match end {
            Some(at) => (&input[..at], &input[at + 2..]),
            None => (input, &b""[..]),
        };
        input = rest;
        Some(section)
    })
}

/// The lines of a section.
pub fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    section.split(|&b| b == b'\n').filter(|line| !line.is_empty())
}

/// The fields of a section. Like the library that reads them from a connection, this leaves no white space around a
/// value.
pub fn fields(section: &[u8]) -> HeaderMap {
    let mut map = HeaderMap::new();
    // A connection brings a hundred at the most.
    for line in lines(section).take(100) {
        let Some(at) = line.iter().position(|&b| b == b':') else { continue };
        let name = HeaderName::from_bytes(line[..at].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[at + 1..].trim_ascii())) {
            map.append(name, value);
        }
    }
    map
}

/// Field lines of one name, in order.
pub fn values(map: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    map.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}

/// Every line of a section as a value of one field.
pub fn repeated(name: &'static str, section: &[u8]) -> HeaderMap {
    let usable = lines(section).take(100).filter_map(|line| HeaderValue::from_bytes(line.trim_ascii()).ok());
    let mut map = HeaderMap::new();
    for value in usable {
        map.append(name, value);
    }
    map
}

/// The `N` numbers of a section.
pub fn numbers<const N: usize>(section: &[u8]) -> [u64; N] {
    let text = String::from_utf8_lossy(section);
    let mut found = text.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0));
    std::array::from_fn(|_| found.next().unwrap_or(0))
}

/// A point on the wall clock, as far from 1970 as a clock can show.
pub fn wall(seconds: u64) -> SystemTime {
    let span = Duration::from_secs(seconds.min(i64::MAX.unsigned_abs()));
    SystemTime::UNIX_EPOCH.checked_add(span).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The bound of RFC 9111 section 1.2.2 for every number of seconds in a field.
pub const DELTA_MAX: Duration = Duration::from_secs(1 << 31);
