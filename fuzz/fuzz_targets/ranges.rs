//! `Range`: the first line of the input is the length of the body, every other one a field. The sets that are understood
//! are served from a body as the parts of an answer.

#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use millpond::policy::ranges::{ContentRange, RangeRequest, multipart_part_head, ranges};
use millpond_fuzz::{lines, numbers, repeated};

/// Bodies up to this length are cut; longer ones exist only as a number.
const MOST: u64 = 4096;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|&b| b == b'\n').unwrap_or(input.len());
    let [length] = numbers(&input[..end]);
    let asked = exactly(&input[end..], length);
    let found = ranges(&repeated("range", &input[end..]), length);
    let parts = parts(&found);
    assert!(parts.iter().all(|range| range.start < range.end && range.end <= length), "{parts:?} of {length}");
    // Parts that could be one are one, so that no byte is ever sent twice.
    for (at, range) in parts.iter().enumerate() {
        assert!(parts[..at].iter().all(|other| other.end < range.start || range.end < other.start), "{parts:?}");
    }
    let Some(asked) = asked else { return };
    assert_eq!(found == RangeRequest::Unsatisfiable, !asked.satisfiable, "{asked:?} of {length}");
    assert_eq!(parts.is_empty(), asked.ranges.is_empty(), "{found:?} instead of {asked:?} of {length}");
    if length <= MOST {
        serves(&asked.ranges, parts, length);
    }
});

/// What is answered with 206.
fn parts(found: &RangeRequest) -> &[Range<u64>] {
    match found {
        RangeRequest::None | RangeRequest::Unsatisfiable => &[],
        RangeRequest::One(range) => std::slice::from_ref(range),
        RangeRequest::Many(list) => list,
    }
}

/// What the letter of RFC 9110 section 14.1.2 asks for.
#[derive(Debug)]
struct Asked {
    ranges: Vec<Range<u64>>,
    /// An empty body satisfies a suffix, and has no range to show for it.
    satisfiable: bool,
}

/// `None` if it is no valid set, one of too many ranges or one of too large numbers.
fn exactly(fields: &[u8], length: u64) -> Option<Asked> {
    let mut fields = lines(fields);
    let (field, None) = (fields.next()?, fields.next()) else { return None };
    let (unit, set) = std::str::from_utf8(field).ok()?.trim_ascii().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") || set.split(',').count() > 16 {
        return None;
    }
    let mut asked = Asked { ranges: Vec::new(), satisfiable: false };
    let mut some = false;
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
        let (first, last) = spec.split_once('-')?;
        let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
        let range = match (first, last) {
            ("", suffix) => {
                let suffix = number(suffix)?;
                asked.satisfiable |= suffix > 0;
                length.saturating_sub(suffix)..length
            }
            (first, "") => number(first)?..length,
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                first..last.saturating_add(1).min(length)
            }
        };
        asked.satisfiable |= range.start < length;
        asked.ranges.extend(Some(range).filter(|range| range.start < range.end));
        some = true;
    }
    some.then_some(asked)
}

/// The parts, put where their `Content-Range` says, give the bytes that were asked for and no others.
fn serves(asked: &[Range<u64>], parts: &[Range<u64>], length: u64) {
    let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8 + 1).collect();
    let cut = |range: &Range<u64>| &body[range.start as usize..range.end as usize];
    let mut expected = vec![0; body.len()];
    for range in asked {
        expected[range.start as usize..range.end as usize].copy_from_slice(cut(range));
    }
    let mut put_together = vec![0; body.len()];
    for range in parts {
        let field = ContentRange { range: range.clone(), complete: Some(length) }.to_value();
        let at = position(field.to_str().expect("text"), length);
        assert_eq!(at.len() as u64, range.end - range.start);
        put_together[at].copy_from_slice(cut(range));
        let head = multipart_part_head("b", Some(b"text/plain"), range, length);
        let field = format!("\r\nContent-Range: {}\r\n\r\n", field.to_str().expect("text"));
        assert!(head.starts_with("\r\n--b\r\nContent-Type: text/plain\r\n") && head.ends_with(&field), "{head:?}");
    }
    assert_eq!(put_together, expected);
}

/// Where a `Content-Range` puts its part.
fn position(field: &str, length: u64) -> Range<usize> {
    let (range, of) = field.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).expect("a content range");
    assert_eq!(of, length.to_string());
    let (first, last) = range.split_once('-').expect("first and last");
    first.parse().expect("a number")..last.parse::<usize>().expect("a number") + 1
}
