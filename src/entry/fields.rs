//! The fields of a stored response, as they are written to a client.

use std::fmt;

use http::header::{HeaderMap, HeaderName};

use crate::policy::fields::ByName;
use crate::wire::Lines;
use crate::wire::field::{self, LINE_END, SEPARATOR};
use crate::wire::lines::{self, LONGEST_NAME};

/// The most fields that a map takes; it panics on more.
const MOST: usize = 24_576;

/// Fields of a response in one allocation of exactly their size: the lines of an HTTP/1.1 head, `name: value` and CRLF,
/// with names in lower case. A map would take several times the memory, and each hit would write the same lines anew.
///
/// Only [`from_map`](Self::from_map), [`checked`](Self::checked), [`Lines`] and selections of what they made give lines
/// their form, so names and values are valid, and the only CR and LF are those that end a line.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    lines: Box<[u8]>,
}

impl Fields {
    /// The fields of a map in its order: those of one name stand together.
    pub fn from_map(map: &HeaderMap) -> Self {
        let fields = || map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        Self::of(fields)
    }

    /// Lines that somebody else has written, who may have written anything; none if they are not those of a head, or if a
    /// map would not take them.
    pub fn checked(lines: &[u8]) -> Option<Self> {
        let (mut rest, mut count) = (lines, 0);
        while !rest.is_empty() {
            let (name, value) = rest.split_at(field::lower_token_end(rest));
            let value = value.strip_prefix(SEPARATOR)?;
            rest = value[field::value_end(value)..].strip_prefix(LINE_END)?;
            count += 1;
            if name.is_empty() || name.len() > LONGEST_NAME || count > MOST {
                return None;
            }
        }
        Some(Self { lines: lines.into() })
    }

    /// The same fields as a map whose values share one allocation. Not for the path of a hit.
    pub fn to_map(&self) -> HeaderMap {
        lines::to_map(&self.lines)
    }

    /// All lines, each with its end, without the empty one that ends a head. They have neither `Content-Length` nor fields
    /// of the connection, nor what is computed for each answer (`Age`, `Cache-Status`), but they do have `Date`.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Names, in lower case, and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> + Clone {
        field::lines(&self.lines)
    }

    /// Those with a name that `keep` accepts.
    #[must_use]
    pub fn select(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self::of(|| self.iter().filter(|(name, _)| keep(name)).map(|(name, value)| (name.as_bytes(), value)))
    }

    fn of<'a, I: Iterator<Item = (&'a [u8], &'a [u8])>>(fields: impl Fn() -> I) -> Self {
        let length = |(name, value): (&[u8], &[u8])| name.len() + SEPARATOR.len() + value.len() + LINE_END.len();
        let mut lines = Vec::with_capacity(fields().map(length).sum());
        for (name, value) in fields() {
            field::write_bytes(&mut lines, name, value);
        }
        Self { lines: lines.into() }
    }
}

impl From<Lines> for Fields {
    fn from(lines: Lines) -> Self {
        Self { lines: lines.into_bytes().into() }
    }
}

impl ByName for Fields {
    fn all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        field::all(&self.lines, name.as_str())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.lines))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn map(fields: &[(&str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    const X_A: HeaderName = HeaderName::from_static("x-a");

    #[test]
    fn they_are_the_lines_of_a_head() {
        let fields = Fields::from_map(&map(&[("X-A", b"1: a"), ("date", b"now"), ("x-a", b""), ("x-b", b" \xfc\t ")]));
        assert_eq!(fields.lines(), b"x-a: 1: a\r\nx-a: \r\ndate: now\r\nx-b:  \xfc\t \r\n");
        assert_eq!(fields.all(&X_A).collect::<Vec<_>>(), [&b"1: a"[..], b""]);
        assert_eq!(fields.first(&http::header::DATE), Some(&b"now"[..]));
        assert!(fields.has(&X_A) && !fields.has(&http::header::ETAG));
        assert_eq!(fields.select(|name| name == "date").lines(), b"date: now\r\n");
        assert_eq!((Fields::default().iter().count(), Fields::default().to_map()), (0, HeaderMap::new()));
    }

    #[test]
    fn what_a_map_would_not_take_is_not_taken() {
        let taken = |fields: &[(&str, &[u8])]| {
            let lines = fields.iter().flat_map(|(name, value)| [name.as_bytes(), b": ", value, b"\r\n"].concat());
            Fields::checked(&lines.collect::<Vec<_>>()).map(|fields| fields.to_map())
        };
        let most = vec![("x-a", &b"1"[..]); MOST + 1];
        assert_eq!(taken(&most[1..]).unwrap().len(), MOST);
        assert_eq!(taken(&most), None);
        let long = "a".repeat(LONGEST_NAME + 1);
        assert!(taken(&[(&long[1..], b"")]).is_some() && taken(&[(&long, b"")]).is_none());
        for name in ["", "X-A", "x a", "x:", "\u{fc}", "x\r"] {
            assert_eq!(taken(&[("x-a", b"1"), (name, b"1")]), None, "{name:?}");
        }
        for value in [&b"\r"[..], b"a\nx-b: 2", b"a\rx-b: 2", b"a\n\r", b"\0", b"\x7f"] {
            assert_eq!(taken(&[("x-a", value)]), None, "{value:?}");
        }
        assert_eq!(Fields::checked(b"").unwrap().lines(), b"");
        for lines in
            [&b"x-a"[..], b"x-a:", b"x-a:1\r\n", b"x-a: 1", b"x-a: 1\r", b"x-a: 1\n", b"x-a: 1\r\n\r\n", b"\r\n"]
        {
            assert_eq!(Fields::checked(lines), None, "{lines:?}");
        }
    }

    #[test]
    fn a_map_of_them_needs_no_read_buffer() {
        let buffer = Bytes::from([&b"first,second"[..], &[b'x'; 8192]].concat());
        let mut headers = HeaderMap::new();
        for (name, place) in [("a", 0..5), ("b", 6..12)] {
            headers.append(name, HeaderValue::from_maybe_shared(buffer.slice(place)).unwrap());
        }
        let fields = Fields::from_map(&headers);
        assert_eq!(fields.to_map(), headers);
        drop(headers);
        assert!(buffer.is_unique());
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_a_map_takes(name in "[ -~]{1,3}", value in vec(any::<u8>(), 0..4)) {
            let lower = name.to_ascii_lowercase() == name;
            let valid = lower && HeaderName::try_from(&name).is_ok() && HeaderValue::from_bytes(&value).is_ok();
            let line = [name.as_bytes(), b": ", &value, b"\r\n"].concat();
            let own = Fields::checked(&line);
            let taken = own.is_some_and(|own| own.iter().eq([(name.as_str(), value.as_slice())]));
            prop_assert_eq!(taken, valid);
        }

        #[test]
        fn every_map_comes_back_as_it_was(
            fields in vec(("[a-z][a-z0-9!#$%&'*+.^_`|~-]{0,12}", vec(prop_oneof![Just(b'\t'), 32_u8..127, 128_u8..=255], 0..20)), 0..20),
        ) {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            let map = map(&fields);
            let own = Fields::from_map(&map);
            prop_assert_eq!(Fields::checked(own.lines()), Some(own.clone()));
            prop_assert_eq!(&own.to_map(), &map);
            for name in map.keys() {
                let values: Vec<_> = map.get_all(name).iter().map(HeaderValue::as_bytes).collect();
                prop_assert_eq!(own.all(name).collect::<Vec<_>>(), values);
            }
        }
    }
}
