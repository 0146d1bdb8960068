//! Byte ranges (RFC 9110 section 14).

use std::ops::Range;

use http::HeaderValue;
use http::header::{HeaderMap, RANGE};

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
        match parse(spec, length) {
            Spec::Ignored => return RangeRequest::None,
            Spec::Outside => {}
            Spec::Inside(range) => found.push(range),
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

enum Spec {
    /// Malformed, or one that only the whole can satisfy.
    Ignored,
    Outside,
    Inside(Range<u64>),
}

/// One range-spec (section 14.1.2).
fn parse(spec: &str, length: u64) -> Spec {
    let Some((first, last)) = spec.split_once('-') else { return Spec::Ignored };
    match (number(first.trim()), number(last.trim()), first.trim().is_empty(), last.trim().is_empty()) {
        // The end of an empty body is satisfiable, and no `Content-Range` can show an empty range.
        (None, Some(1..), true, _) if length == 0 => Spec::Ignored,
        (None, Some(suffix), true, _) => {
            let start = length.saturating_sub(suffix);
            if start < length { Spec::Inside(start..length) } else { Spec::Outside }
        }
        (Some(first), None, _, true) if first < length => Spec::Inside(first..length),
        (Some(first), Some(last), ..) if first > last => Spec::Ignored,
        (Some(first), Some(last), ..) if first < length => Spec::Inside(first..last.saturating_add(1).min(length)),
        (Some(_), None, _, true) | (Some(_), Some(_), ..) => Spec::Outside,
        _ => Spec::Ignored,
    }
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

/// `Content-Range` of a part (section 14.4).
pub fn content_range(range: &Range<u64>, length: u64) -> HeaderValue {
    let text = format!("bytes {}-{}/{length}", range.start, range.end.saturating_sub(1));
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("bytes */*"))
}

/// What stands before each part of a `multipart/byteranges` body (section 14.6).
pub fn multipart_part_head(
    boundary: &str,
    content_type: Option<&HeaderValue>,
    range: &Range<u64>,
    length: u64,
) -> String {
    let content_type = content_type.and_then(|value| value.to_str().ok());
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
        let html = HeaderValue::from_static("text/html");
        let head = multipart_part_head("b", Some(&html), &(2..5), 10);
        assert_eq!(head, "\r\n--b\r\nContent-Type: text/html\r\nContent-Range: bytes 2-4/10\r\n\r\n");
        assert_eq!(multipart_part_head("b", None, &(0..1), 10), "\r\n--b\r\nContent-Range: bytes 0-0/10\r\n\r\n");
        assert_eq!(content_range(&(2..5), 10), "bytes 2-4/10");
    }

    #[test]
    fn a_field_without_a_unit_is_ignored() {
        assert_eq!(of("0-4", 10), RangeRequest::None);
    }
}
