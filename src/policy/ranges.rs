//! Byte ranges (RFC 9110 section 14).

use std::ops::Range;

use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, RANGE};

/// What a `Range` field asks for, given the length of the representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeRequest {
    /// Nothing that this proxy understands: the whole is served (section 14.2).
    None,
    /// Only ranges outside the representation: 416.
    Unsatisfiable,
    /// One range; end exclusive.
    One(Range<u64>),
    /// Several ranges in the order asked for, none overlapping another.
    Many(Vec<Range<u64>>),
}

/// A request for more ranges than this is answered with the whole (section 14.2 allows it), so that
/// a small request can not cause large work.
const MAX_RANGES: usize = 16;

/// Reads the `Range` field. Several fields, other units and malformed sets are ignored.
pub fn ranges(request: &HeaderMap, length: u64) -> RangeRequest {
    let mut fields = request.get_all(RANGE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return RangeRequest::None };
    let Some((unit, set)) = field.to_str().ok().and_then(|text| text.split_once('=')) else {
        return RangeRequest::None;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.split(',').count() > MAX_RANGES {
        return RangeRequest::None;
    }
    let mut found: Vec<Range<u64>> = Vec::new();
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        match RangeSpec::parse(spec) {
            // The end of an empty body is satisfiable, and no `Content-Range` can show an empty range.
            Some(RangeSpec::Last(1..)) if length == 0 => return RangeRequest::None,
            None => return RangeRequest::None,
            Some(spec) => found.extend(spec.within(length)),
        }
    }
    let asked = set.split(',').any(|spec| !spec.trim().is_empty());
    let mut found = joined(found);
    match found.len() {
        0 if asked => RangeRequest::Unsatisfiable,
        0 => RangeRequest::None,
        1 => RangeRequest::One(found.remove(0)),
        _ => RangeRequest::Many(found),
    }
}

/// One range-spec (section 14.1.2), which needs no length to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RangeSpec {
    /// From the first position to the second, both included.
    FromTo(u64, u64),
    /// From this position to the end.
    From(u64),
    /// So many bytes at the end.
    Last(u64),
}

impl RangeSpec {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let (first, last) = (first.trim(), last.trim());
        match (number(first), number(last)) {
            (None, Some(suffix)) if first.is_empty() => Some(Self::Last(suffix)),
            (Some(first), None) if last.is_empty() => Some(Self::From(first)),
            (Some(first), Some(last)) if first <= last => Some(Self::FromTo(first, last)),
            _ => None,
        }
    }

    /// What a request asks for that asks for one range and nothing else.
    pub fn of(request: &HeaderMap) -> Option<Self> {
        let mut fields = request.get_all(RANGE).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return None };
        let (unit, spec) = field.to_str().ok()?.split_once('=')?;
        if unit.trim().eq_ignore_ascii_case("bytes") { Self::parse(spec.trim()) } else { None }
    }

    /// The bytes that it means of a representation of this length; `None` if it lies outside.
    pub fn within(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::FromTo(first, last) => first..last.saturating_add(1).min(length),
            Self::From(first) => first..length,
            Self::Last(suffix) => length.saturating_sub(suffix)..length,
        };
        (!range.is_empty()).then_some(range)
    }

    /// The same where the length may be unknown: only a range with both ends can be told then.
    pub fn within_known(self, length: Option<u64>) -> Option<Range<u64>> {
        match (length, self) {
            (Some(length), spec) => spec.within(length),
            (None, Self::FromTo(first, last)) => Some(first..last.checked_add(1)?),
            (None, Self::From(_) | Self::Last(_)) => None,
        }
    }

    /// The `Range` field that asks for it.
    pub fn to_value(self) -> HeaderValue {
        let text = match self {
            Self::FromTo(first, last) => format!("bytes={first}-{last}"),
            Self::From(first) => format!("bytes={first}-"),
            Self::Last(suffix) => format!("bytes=-{suffix}"),
        };
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("bytes=0-"))
    }
}

/// Which part of a representation a response carries (section 14.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes; end exclusive, never empty.
    pub range: Range<u64>,
    /// The length of the whole, where it is known.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// Reads the field. `None` if it is missing, there several times, in another unit, invalid, or for
    /// another number of bytes than `Content-Length` says: the part is not the one that was announced.
    pub fn of(response: &HeaderMap) -> Option<Self> {
        Carried::of(response).filter(|carried| !carried.is_short()).map(|carried| carried.announced)
    }

    /// What the field says, whatever the body is.
    fn announced(response: &HeaderMap) -> Option<Self> {
        let mut fields = response.get_all(CONTENT_RANGE).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return None };
        let (unit, rest) = field.to_str().ok()?.trim().split_once(' ')?;
        let (range, complete) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (exact(first)?, exact(last)?);
        let complete = if complete == "*" { None } else { Some(exact(complete)?) };
        let valid = unit.eq_ignore_ascii_case("bytes")
            && first <= last
            && last < u64::MAX
            && complete.is_none_or(|complete| last < complete);
        valid.then(|| Self { range: first..last + 1, complete })
    }

    /// Bytes in the part.
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The field for a part.
    pub fn to_value(&self) -> HeaderValue {
        let (first, last) = (self.range.start, self.range.end.saturating_sub(1));
        let text = match self.complete {
            Some(complete) => format!("bytes {first}-{last}/{complete}"),
            None => format!("bytes {first}-{last}/*"),
        };
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("bytes */*"))
    }
}

/// What a 206 carries of the part that it announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// What `Content-Range` says.
    pub announced: ContentRange,
    /// The bytes that are there: from the first position on, and fewer than announced if `Content-Length`
    /// says so. They are an incomplete part (RFC 9111 section 3.3).
    pub part: ContentRange,
}

impl Carried {
    /// `None` if `Content-Range` says nothing, or the body is empty or longer than that: nobody could say
    /// then where the bytes belong.
    pub fn of(response: &HeaderMap) -> Option<Self> {
        let announced = ContentRange::announced(response)?;
        let length = match response.get(CONTENT_LENGTH) {
            Some(length) => length.to_str().ok().and_then(exact)?,
            None => announced.length(),
        };
        let start = announced.range.start;
        let part = ContentRange { range: start..start.checked_add(length)?, complete: announced.complete };
        (1..=announced.length()).contains(&length).then_some(Self { announced, part })
    }

    /// Whether there are fewer bytes than announced.
    pub fn is_short(&self) -> bool {
        self.part.length() < self.announced.length()
    }
}

/// Digits that a position can be; unlike in a request, what is too large is no position at all.
fn exact(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Digits; what is too large for a `u64` lies outside of any body all the same.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Joins ranges that overlap or touch (section 14.2 allows it), each at the place of the first.
fn joined(found: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(found.len());
    for mut range in found {
        let mut place = joined.len();
        while let Some(at) = joined.iter().position(|other| other.start <= range.end && range.start <= other.end) {
            let other = joined.remove(at);
            range = range.start.min(other.start)..range.end.max(other.end);
            place = place.min(at);
        }
        joined.insert(place.min(joined.len()), range);
    }
    joined
}

/// What stands before each part of a `multipart/byteranges` body (section 14.6).
pub fn multipart_part_head(boundary: &str, content_type: Option<&[u8]>, range: &Range<u64>, length: u64) -> String {
    let content_type = content_type.and_then(|value| std::str::from_utf8(value).ok());
    let content_type = content_type.map_or(String::new(), |value| format!("Content-Type: {value}\r\n"));
    let last = range.end.saturating_sub(1);
    format!("\r\n--{boundary}\r\n{content_type}Content-Range: bytes {}-{last}/{length}\r\n\r\n", range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(field: &str, length: u64) -> RangeRequest {
        let mut request = HeaderMap::new();
        request.insert(RANGE, HeaderValue::from_str(field).unwrap());
        ranges(&request, length)
    }

    #[test]
    fn ranges_are_clamped_joined_and_malformed_ones_ignored() {
        use RangeRequest::{Many, None, One, Unsatisfiable};
        for (field, length, expected) in [
            ("bytes=0-4", 10, One(0..5)),
            ("BYTES=0-4", 10, One(0..5)),
            ("bytes=5-", 10, One(5..10)),
            ("bytes=-3", 10, One(7..10)),
            ("bytes=-30", 10, One(0..10)),
            ("bytes=0-99", 10, One(0..10)),
            ("bytes=0-18446744073709551616", 10, One(0..10)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-0", 0, Unsatisfiable),
            ("bytes=-5", 0, None),
            ("bytes=0-0,-5", 0, None),
            ("bytes=-0", 0, Unsatisfiable),
            ("bytes=20-30,0-1", 10, One(0..2)),
            ("bytes=0-1,4-5", 10, Many(vec![0..2, 4..6])),
            ("bytes=4-5, 0-1", 10, Many(vec![4..6, 0..2])),
            ("bytes=0-1,2-3", 10, One(0..4)),
            ("bytes=0-1,8-9,1-8", 10, One(0..10)),
            ("bytes=5-4", 10, None),
            ("bytes=a-b", 10, None),
            ("bytes=", 10, None),
            ("bytes=-", 10, None),
            ("bytes=1", 10, None),
            ("items=0-1", 10, None),
            ("bytes=+1-2", 10, None),
        ] {
            assert_eq!(of(field, length), expected, "{field} of {length}");
        }
    }

    #[test]
    fn f21_a_thousand_ranges_are_answered_with_the_whole() {
        let set: Vec<String> = (0..1000).map(|i| format!("{i}-{}", i + 500)).collect();
        assert_eq!(of(&format!("bytes={}", set.join(",")), 10_000), RangeRequest::None);
        let mut twice = HeaderMap::new();
        twice.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        twice.append(RANGE, HeaderValue::from_static("bytes=2-3"));
        assert_eq!(ranges(&twice, 10), RangeRequest::None);
    }

    #[test]
    fn each_part_of_several_says_what_it_is() {
        let head = multipart_part_head("b", Some(b"text/html"), &(2..5), 10);
        assert_eq!(head, "\r\n--b\r\nContent-Type: text/html\r\nContent-Range: bytes 2-4/10\r\n\r\n");
        assert_eq!(multipart_part_head("b", None, &(0..1), 10), "\r\n--b\r\nContent-Range: bytes 0-0/10\r\n\r\n");
        assert_eq!(ContentRange { range: 2..5, complete: Some(10) }.to_value(), "bytes 2-4/10");
    }

    #[test]
    fn a_field_without_a_unit_is_ignored() {
        assert_eq!(of("0-4", 10), RangeRequest::None);
    }

    #[test]
    fn a_request_for_one_range_is_understood_without_a_length() {
        let spec = |field: &str| {
            let mut request = HeaderMap::new();
            request.insert(RANGE, HeaderValue::from_str(field).unwrap());
            RangeSpec::of(&request)
        };
        for (field, expected, again) in [
            ("bytes=0-4", RangeSpec::FromTo(0, 4), "bytes=0-4"),
            ("Bytes = 3- ", RangeSpec::From(3), "bytes=3-"),
            ("bytes=-5", RangeSpec::Last(5), "bytes=-5"),
        ] {
            assert_eq!(spec(field), Some(expected), "{field}");
            assert_eq!(expected.to_value(), again);
        }
        for other in ["bytes=0-1,3-4", "bytes=4-3", "lines=0-1", "bytes=", "bytes=-", "bytes=a-b", "bytes"] {
            assert_eq!(spec(other), None, "{other}");
        }
    }

    #[test]
    fn without_a_length_only_a_range_with_both_ends_can_be_told() {
        assert_eq!(RangeSpec::FromTo(2, 4).within_known(None), Some(2..5));
        assert_eq!(RangeSpec::FromTo(2, u64::MAX).within_known(None), None);
        assert_eq!(RangeSpec::From(2).within_known(None), None);
        assert_eq!(RangeSpec::Last(2).within_known(None), None);
        assert_eq!(RangeSpec::Last(2).within_known(Some(10)), Some(8..10));
    }

    #[test]
    fn a_content_range_that_is_not_valid_says_nothing() {
        let read = |values: &[&str]| {
            let mut response = HeaderMap::new();
            for value in values {
                response.append(CONTENT_RANGE, HeaderValue::from_str(value).unwrap());
            }
            ContentRange::of(&response)
        };
        for (value, range, complete) in
            [("bytes 0-4/10", 0..5, Some(10)), ("Bytes 4-9/10", 4..10, Some(10)), ("bytes 4-9/*", 4..10, None)]
        {
            let read = read(&[value]).expect(value);
            assert_eq!((&read.range, read.complete), (&range, complete), "{value}");
            assert_eq!(read.to_value(), value.to_ascii_lowercase());
        }
        for invalid in [
            "bytes 4-3/10",
            "bytes 4-10/10",
            "bytes */10",
            "bytes 0-4",
            "bytes 0-/10",
            "bytes -4/10",
            "bytes=0-4/10",
            "lines 0-4/10",
            "bytes +0-4/10",
            "bytes 0-18446744073709551615/*",
            "bytes 0-18446744073709551616/*",
            "bytes 0-4/10, bytes 5-9/10",
            "",
        ] {
            assert_eq!(read(&[invalid]), None, "{invalid}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["bytes 0-4/10", "bytes 0-4/10"]), None, "twice");
    }

    #[test]
    fn a_content_range_that_contradicts_content_length_says_nothing() {
        for (length, expected) in [("6", true), ("5", false), ("7", false), ("x", false), ("", false)] {
            let mut response = HeaderMap::new();
            response.insert(CONTENT_RANGE, HeaderValue::from_static("bytes 4-9/10"));
            response.insert(CONTENT_LENGTH, HeaderValue::from_str(length).unwrap());
            assert_eq!(ContentRange::of(&response).is_some(), expected, "{length:?}");
        }
    }

    #[test]
    fn a_part_that_is_shorter_than_announced_begins_where_it_says_and_a_longer_one_nowhere() {
        for (length, expected) in
            [("6", Some((4..10, false))), ("5", Some((4..9, true))), ("1", Some((4..5, true))), ("0", None)]
                .into_iter()
                .chain(["7", "18446744073709551615", "x", ""].map(|length| (length, None)))
        {
            let mut response = HeaderMap::new();
            response.insert(CONTENT_RANGE, HeaderValue::from_static("bytes 4-9/10"));
            response.insert(CONTENT_LENGTH, HeaderValue::from_str(length).unwrap());
            let carried = Carried::of(&response).map(|carried| (carried.part.range.clone(), carried.is_short()));
            assert_eq!(carried, expected, "{length:?}");
        }
    }
}
