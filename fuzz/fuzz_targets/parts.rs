//! Parts of a representation: the first line of the input has the room for them in bytes, every other line of the first
//! section is a 206 in the order of arrival, and every line of the second a range that a client asks for, as in `0-9`.
//!
//! A 206 is written as a letter for its entity tag (weak, if it is a capital), its `Content-Length` or `-`, and its
//! `Content-Range`.

#![no_main]

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, ETAG, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use millpond::clock::Moment;
use millpond::entry::{Content, Entry, Fields, Joined, Parts, Provenance};
use millpond::policy::Rules;
use millpond::policy::ranges::{Carried, ContentRange, RangeSpec};
use millpond::policy::storability::{Exchange, ResponseVerdict, judge_response};
use millpond::policy::vary::Selecting;
use millpond_fuzz::{lines, numbers, sections};

/// Longer parts show nothing new.
const MOST: u64 = 4096;
/// Each makes two pieces more at the most, and 64 are kept.
const MOST_PARTS: usize = 32;

fuzz_target!(|input: &[u8]| {
    let mut sections = sections(input);
    let mut next = || sections.next().unwrap_or_default();
    let (arrivals, asked) = (next(), next());
    let mut arrivals = lines(arrivals);
    let [room] = numbers(arrivals.next().unwrap_or_default());
    let asked: Vec<RangeSpec> = lines(asked).take(10).filter_map(range_spec).collect();
    let mut stored: Option<(Parts, Known)> = None;
    for arrival in arrivals.take(MOST_PARTS).filter_map(Arrival::read) {
        let latest = arrival.known();
        let (joined, known) = match stored.take() {
            Some((before, known)) => (arrival.parts().joined(&before, room), known.and(latest, &before)),
            None => (arrival.parts().alone(), latest),
        };
        let parts = match joined {
            Joined::Parts(parts) => parts,
            Joined::Whole(entry) => return known.is_whole(&entry),
        };
        known.agrees(&parts, &arrival, room);
        for &spec in &asked {
            answers(&parts, spec, &arrival);
        }
        stored = Some((parts, known));
    }
});

fn range_spec(line: &[u8]) -> Option<RangeSpec> {
    let value = HeaderValue::from_bytes(&[b"bytes=", line].concat()).ok()?;
    RangeSpec::of(&HeaderMap::from_iter([(RANGE, value)]))
}

/// A 206.
struct Arrival {
    tag: u8,
    headers: HeaderMap,
    carried: Carried,
}

impl Arrival {
    fn read(line: &[u8]) -> Option<Self> {
        let mut words = line.splitn(3, |&b| b == b' ');
        let (&[tag], length, field) = (words.next()?, words.next()?, words.next()?) else { return None };
        let strong = tag.is_ascii_lowercase();
        let name = if strong { "" } else { "W/" }.to_owned() + &format!("\"{}\"", char::from(tag));
        let mut headers = HeaderMap::from_iter([
            (CACHE_CONTROL, HeaderValue::from_static("max-age=60")),
            (ETAG, HeaderValue::from_str(&name).ok().filter(|_| tag.is_ascii_alphabetic())?),
            (CONTENT_RANGE, HeaderValue::from_bytes(field).ok()?),
        ]);
        if length != b"-" {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_bytes(length).ok()?);
        }
        let carried = Carried::of(&headers);
        assert_eq!(carried, exactly(&headers), "{headers:?}");
        assert_eq!(ContentRange::of(&headers).is_some(), carried.as_ref().is_some_and(|carried| !carried.is_short()));
        carried.filter(|carried| carried.part.length() <= MOST).map(|carried| Self { tag, headers, carried })
    }

    /// The byte at a position of the representation with this tag.
    fn byte(&self, at: u64) -> u8 {
        self.tag ^ (at ^ (at >> 8)) as u8
    }

    fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        range.map(|at| self.byte(at)).collect()
    }

    /// What the origin announced the bytes for, if there are fewer.
    fn asked(&self) -> RangeSpec {
        RangeSpec::FromTo(self.carried.announced.range.start, self.carried.announced.range.end - 1)
    }

    fn parts(&self) -> Parts {
        let Carried { announced, part } = self.carried.clone();
        let body = Bytes::from(self.bytes(part.range.clone()));
        let entry = || entry(self.headers.clone(), body.clone());
        let other = ContentRange { range: part.range.start..part.range.end - 1, ..part.clone() };
        assert!(Parts::new(entry(), &other, Vec::new()).is_none(), "there are more bytes than that");
        let parts = Parts::new(entry(), &part, Vec::new()).expect("as many bytes as announced");
        if self.carried.is_short() { parts.contradicting(announced, self.asked()) } else { parts }
    }

    fn known(&self) -> Known {
        let ContentRange { range, complete } = self.carried.part.clone();
        // What contradicts itself or has no strong tag is joined with nothing.
        let alone = self.carried.is_short() || !self.tag.is_ascii_lowercase();
        Known { tag: self.tag, alone, complete, ranges: vec![range] }
    }
}

/// What the fields say by the letter of RFC 9110 section 14.4 and RFC 9111 section 3.3.
fn exactly(headers: &HeaderMap) -> Option<Carried> {
    let field = headers[CONTENT_RANGE].to_str().ok()?.trim_matches([' ', '\t']);
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let (unit, resp) = field.split_once(' ')?;
    let (range, complete) = resp.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, end) = (number(first)?, number(last)?.checked_add(1)?);
    let complete = if complete == "*" { None } else { Some(number(complete)?) };
    if !unit.eq_ignore_ascii_case("bytes") || first >= end || complete.is_some_and(|complete| end > complete) {
        return None;
    }
    let announced = ContentRange { range: first..end, complete };
    let length = match headers.get(CONTENT_LENGTH) {
        Some(length) => number(length.to_str().ok()?)?,
        None => end - first,
    };
    let part = ContentRange { range: first..first.checked_add(length)?, complete };
    (length > 0 && part.range.end <= end).then_some(Carried { announced, part })
}

/// Everything that has come of one representation.
struct Known {
    tag: u8,
    alone: bool,
    complete: Option<u64>,
    ranges: Vec<Range<u64>>,
}

impl Known {
    /// The same with what came last, given what of it had been stored.
    fn and(self, latest: Self, before: &Parts) -> Self {
        // Of what came earlier something may have been dropped for want of room.
        let held = |end: &u64| before.cut(&(*end - 1..*end)).is_some();
        let end = self.ranges.iter().map(|range| range.end).filter(held).max().unwrap_or_default();
        let conflict = match (self.complete, latest.complete) {
            (Some(one), Some(other)) => one != other,
            // A byte beyond the end of the whole would be of another representation.
            (Some(complete), None) => latest.ranges[0].end > complete,
            (None, Some(complete)) => end > complete,
            (None, None) => false,
        };
        if self.tag != latest.tag || self.alone || latest.alone || conflict {
            return latest;
        }
        let ranges = self.ranges.into_iter().chain(latest.ranges).collect();
        Self { complete: self.complete.or(latest.complete), ranges, ..latest }
    }

    fn has(&self, at: u64) -> bool {
        self.ranges.iter().any(|range| range.contains(&at))
    }

    /// Every byte that came is there, as long as there is room for all, and no other is.
    fn agrees(&self, parts: &Parts, latest: &Arrival, room: u64) {
        assert_eq!(parts.complete(), self.complete);
        let all = room >= self.ranges.iter().map(|range| range.end - range.start).sum();
        let edges =
            self.ranges.iter().flat_map(|range| [range.start.saturating_sub(1), range.start, range.end - 1, range.end]);
        for at in edges.filter(|at| *at < u64::MAX) {
            let there = parts.cut(&(at..at + 1));
            assert!(there.is_none() || self.has(at), "byte {at} never came");
            assert!(there.is_some() || !all || !self.has(at), "byte {at} is lost");
        }
        let carried = &latest.carried;
        assert_eq!(
            parts.cut(&carried.part.range).map(whole),
            Some(latest.bytes(carried.part.range.clone())),
            "the latest"
        );
        if carried.is_short() {
            let (announced, bytes) = parts.answer(latest.asked()).expect("the same request has the same answer");
            assert_eq!(
                (announced, whole(bytes)),
                (carried.announced.clone(), latest.bytes(carried.part.range.clone()))
            );
            assert!(!parts.can_be_completed());
        }
        self.misses(parts);
    }

    /// What is missing begins and ends with bytes that are missing, and there is nothing else before or behind.
    fn misses(&self, parts: &Parts) {
        let there = |range: Range<u64>| range.is_empty() || parts.cut(&range).is_some();
        match (parts.missing(), self.complete) {
            (Some(missing), Some(complete)) => {
                assert!(missing.start < missing.end && missing.end <= complete);
                assert!(there(0..missing.start) && there(missing.end..complete));
                assert!(!there(missing.start..missing.start + 1) && !there(missing.end - 1..missing.end));
            }
            (missing, complete) => assert!(missing.is_none() && complete.is_none(), "a whole is no part"),
        }
    }

    fn is_whole(&self, entry: &Entry) {
        let body = entry.body();
        assert_eq!((entry.status(), Some(body.len() as u64)), (StatusCode::OK, self.complete));
        assert!(self.ranges.iter().any(|range| range.start == 0));
        let pattern = Arrival::read(format!("{} - bytes 0-0/*", char::from(self.tag)).as_bytes()).expect("a part");
        assert_eq!(body[..], pattern.bytes(0..body.len() as u64));
    }
}

/// The bytes of a range, or a clear word that one of them is missing.
fn answers(parts: &Parts, spec: RangeSpec, latest: &Arrival) {
    let repeated = latest.carried.is_short() && spec == latest.asked();
    let Some((part, bytes)) = parts.answer(spec).filter(|_| !repeated) else { return };
    let expected = spec.within_known(parts.complete());
    assert_eq!((Some(&part.range), part.complete), (expected.as_ref(), parts.complete()));
    assert_eq!(whole(bytes), latest.bytes(part.range), "{spec:?}");
}

fn whole(pieces: VecDeque<Bytes>) -> Vec<u8> {
    Vec::from(pieces).concat()
}

fn entry(headers: HeaderMap, body: Bytes) -> Entry {
    let exchange = Exchange {
        method: &Method::GET,
        request_headers: &HeaderMap::new(),
        status: StatusCode::OK,
        response_headers: &headers,
        received_at: SystemTime::UNIX_EPOCH,
        response_delay: Duration::ZERO,
    };
    let ResponseVerdict::Storable(storable) = judge_response(&Rules::default(), &exchange) else {
        panic!("it has a lifetime")
    };
    let provenance = Provenance { born: 0, received: Moment::default(), fetch_time: Duration::ZERO, jitter: 0.0 };
    let content = Content { status: StatusCode::PARTIAL_CONTENT, fields: Fields::from_map(&headers), body };
    let selecting = Selecting::new(&[], &HeaderMap::new());
    Entry::new(storable, content, selecting, Vec::new(), "r", provenance)
}
