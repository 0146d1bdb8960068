use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::bus::{Pattern, Record, Seq, Table};
use crate::clock::Moment;
use crate::entry::{Content, Provenance};
use crate::policy::Rules;
use crate::policy::storability::{Exchange, ResponseVerdict, judge_response};
use crate::policy::tags::Tag;
use crate::policy::vary::Selecting;

const ROOM: u64 = 1 << 30;

/// A part of `whole`, with this entity tag.
fn part(whole: &[u8], range: Range<usize>, tag: &'static str, complete: Option<u64>) -> Parts {
    tagged(whole, range, tag, complete, &[])
}

fn tagged(whole: &[u8], range: Range<usize>, tag: &'static str, complete: Option<u64>, tags: &[&str]) -> Parts {
    let mut headers = HeaderMap::new();
    headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
    headers.insert("etag", HeaderValue::from_static(tag));
    let exchange = Exchange {
        method: &Method::GET,
        request_headers: &HeaderMap::new(),
        status: StatusCode::OK,
        response_headers: &headers,
        received_at: SystemTime::UNIX_EPOCH,
        response_delay: std::time::Duration::ZERO,
    };
    let ResponseVerdict::Storable(storable) = judge_response(&Rules::default(), &exchange) else {
        panic!("it has a lifetime")
    };
    let body = Bytes::copy_from_slice(&whole[range.clone()]);
    let content = Content { status: StatusCode::PARTIAL_CONTENT, fields: Fields::from_map(&headers), body };
    let selecting = Selecting::new(&[], &HeaderMap::new());
    let provenance = Provenance {
        born: Seq::default(),
        received: Moment::default(),
        fetch_time: std::time::Duration::ZERO,
        jitter: 0.0,
    };
    let mut surrogate = HeaderMap::new();
    surrogate.insert("surrogate-key", HeaderValue::try_from(tags.join(" ")).unwrap());
    let tags: Vec<Tag> = tags::tags(&surrogate, &["surrogate-key".parse().unwrap()], "http://a.test", MAX_TAGS);
    let entry = Entry::new(storable, content, selecting, tags, "r", provenance);
    let range = range.start as u64..range.end as u64;
    Parts::new(entry, &ContentRange { range, complete }, Vec::new()).expect("as many bytes as announced")
}

/// The bytes of a range of what the parts amount to; `None` if one is missing.
fn cut(joined: &Joined, range: &Range<u64>) -> Option<Vec<u8>> {
    match joined {
        Joined::Parts(parts) => parts.cut(range).map(|pieces| Vec::from(pieces).concat()),
        Joined::Whole(entry) => {
            let at = |position: u64| usize::try_from(position).unwrap();
            entry.body().get(at(range.start)..at(range.end)).map(<[u8]>::to_vec)
        }
    }
}

/// Stores one after the other, as the slot of a URL does.
fn stored(parts: impl IntoIterator<Item = Parts>, limit: u64) -> Option<Joined> {
    parts.into_iter().fold(None, |before, part| match before {
        None => Some(part.alone()),
        Some(Joined::Parts(before)) => Some(part.joined(&before, limit)),
        // A whole is never asked for parts.
        whole @ Some(Joined::Whole(_)) => whole,
    })
}

/// A body, and ranges of it in any order that leave nothing out.
fn cover() -> impl Strategy<Value = (Vec<u8>, Vec<Range<usize>>)> {
    let body = prop::collection::vec(any::<u8>(), 1..200);
    body.prop_flat_map(|body| {
        let length = body.len();
        let cuts = prop::collection::btree_set(1..=length, 0..12);
        let extra = prop::collection::vec((0..length, 0..=length), 0..6);
        (Just(body), cuts, extra).prop_flat_map(move |(body, cuts, extra)| {
            let ends: Vec<usize> = cuts.into_iter().filter(|cut| *cut < length).chain([length]).collect();
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let mut ranges: Vec<Range<usize>> = starts.zip(ends.iter().copied()).map(|(a, b)| a..b).collect();
            ranges.extend(extra.into_iter().filter(|(a, b)| a < b).map(|(a, b)| a..b));
            (Just(body), Just(ranges).prop_shuffle())
        })
    })
}

proptest! {
    #[test]
    fn parts_in_any_order_that_leave_nothing_out_make_the_whole_byte_for_byte((body, ranges) in cover()) {
        let length = body.len() as u64;
        let parts = ranges.iter().map(|range| part(&body, range.clone(), "\"1\"", Some(length)));
        match stored(parts, ROOM) {
            Some(Joined::Whole(entry)) => prop_assert_eq!(&entry.body()[..], &body[..]),
            other => prop_assert!(false, "something is missing in {other:?}"),
        }
    }

    #[test]
    fn whatever_is_stored_a_range_is_answered_with_its_bytes_or_not_at_all(
        (body, ranges) in cover(),
        taken in 0..8_usize,
        known in any::<bool>(),
        limit in 1..300_u64,
        (from, to) in (0..200_u64, 1..=200_u64),
    ) {
        let complete = known.then_some(body.len() as u64);
        let taken: Vec<_> = ranges.into_iter().take(taken).collect();
        // A part that is too large by itself is not stored at all.
        let limit = taken.iter().map(|range| range.len() as u64).fold(limit, u64::max);
        let parts = taken.iter().map(|range| part(&body, range.clone(), "\"1\"", complete));
        let Some(joined) = stored(parts, limit) else { return Ok(()) };
        let range = from..to;
        if let Some(bytes) = (from < to).then(|| cut(&joined, &range)).flatten() {
            let (from, to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
            prop_assert_eq!(Some(&bytes[..]), body.get(from..to));
            prop_assert!((from..to).all(|at| taken.iter().any(|range| range.contains(&at))), "a hole was served");
        }
        let bytes = match &joined {
            Joined::Parts(parts) => parts.bytes(),
            Joined::Whole(entry) => entry.body().len() as u64,
        };
        prop_assert!(bytes <= limit, "{bytes} bytes are kept");
    }

    #[test]
    fn the_last_part_and_what_is_missing_are_never_mistaken(
        (body, ranges) in cover(), taken in 1..6_usize,
    ) {
        let length = body.len() as u64;
        let taken: Vec<_> = ranges.into_iter().take(taken).collect();
        let parts = taken.iter().map(|range| part(&body, range.clone(), "\"1\"", Some(length)));
        if let Some(Joined::Parts(parts)) = stored(parts, ROOM) {
            let missing = parts.missing().expect("it is not whole");
            let is_stored = |at: u64| taken.iter().any(|range| range.contains(&usize::try_from(at).unwrap()));
            prop_assert!(!is_stored(missing.start) && !is_stored(missing.end - 1));
            prop_assert!((0..missing.start).chain(missing.end..length).all(is_stored));
        }
    }

    #[test]
    fn bytes_of_two_representations_are_never_in_one_answer(
        length in 2..100_usize,
        moves in prop::collection::vec((any::<bool>(), 0..100_usize, 1..=100_usize), 1..12),
        wanted in (0..100_u64, 1..=100_u64),
    ) {
        // One consists of ones and the other of twos, of equal length.
        let bodies = [vec![1_u8; length], vec![2_u8; length]];
        let parts = moves.iter().filter_map(|(which, from, to)| {
            let (from, to) = (*from % length, (*to).min(length));
            let which = usize::from(*which);
            (from < to).then(|| part(&bodies[which], from..to, ["\"1\"", "\"2\""][which], Some(length as u64)))
        });
        let Some(joined) = stored(parts, ROOM) else { return Ok(()) };
        let ranges = [wanted.0..wanted.1, 0..length as u64];
        for range in ranges.iter().filter(|range| range.start < range.end) {
            if let Some(bytes) = cut(&joined, range) {
                prop_assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]), "{bytes:?}");
            }
        }
    }
}

const BODY: &[u8] = b"0123456789";

fn text(joined: &Joined, range: Range<u64>) -> Option<String> {
    cut(joined, &range).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn a_weak_tag_or_another_length_starts_anew() {
    for (tag, complete) in [("W/\"1\"", Some(10)), ("\"2\"", Some(10)), ("\"1\"", Some(11))] {
        let joined = part(BODY, 5..9, tag, complete).joined(&part(BODY, 0..5, "\"1\"", Some(10)), ROOM);
        assert_eq!(text(&joined, 0..5), None, "{tag} {complete:?}");
        assert_eq!(text(&joined, 5..9).as_deref(), Some("5678"), "{tag} {complete:?}");
    }
    let weak = |range| part(BODY, range, "W/\"1\"", Some(10));
    assert_eq!(text(&weak(5..9).joined(&weak(0..5), ROOM), 0..5), None, "weak tags say nothing of bytes");
}

#[test]
fn a_length_that_comes_late_counts_for_all_unless_something_lies_beyond_it() {
    let early = || part(BODY, 0..5, "\"1\"", None);
    let joined = part(BODY, 5..10, "\"1\"", Some(10)).joined(&early(), ROOM);
    assert!(matches!(joined, Joined::Whole(_)));
    let joined = part(BODY, 5..9, "\"1\"", None).joined(&part(BODY, 0..5, "\"1\"", Some(10)), ROOM);
    assert!(matches!(&joined, Joined::Parts(parts) if parts.complete() == Some(10)));
    let shorter = part(BODY, 0..2, "\"1\"", Some(4)).joined(&early(), ROOM);
    assert_eq!((text(&shorter, 0..2).as_deref(), text(&shorter, 0..5)), (Some("01"), None));
    let beyond = part(BODY, 5..10, "\"1\"", None).joined(&part(BODY, 0..2, "\"1\"", Some(8)), ROOM);
    assert_eq!((text(&beyond, 0..2), text(&beyond, 5..10).as_deref()), (None, Some("56789")));
}

#[test]
fn bytes_and_pieces_are_bounded_and_the_oldest_go_first() {
    let big = vec![7_u8; 100 * JOINED];
    let length = big.len() as u64;
    // Every other piece, so that none touches another.
    let piece = |at: usize| part(&big, 2 * at..2 * at + 1, "\"1\"", Some(length));
    let Some(Joined::Parts(parts)) = stored((0..100).map(piece), ROOM) else { panic!("there are gaps") };
    assert_eq!(parts.pieces.len(), MAX_PIECES);
    assert!(parts.cut(&(198..199)).is_some() && parts.cut(&(0..1)).is_none());
    let run = |at: usize| part(&big, at * JOINED..(at + 1) * JOINED, "\"1\"", Some(length));
    let limit = 3 * JOINED as u64;
    let Some(Joined::Parts(parts)) = stored((0..5).map(run), limit) else { panic!("there are gaps") };
    assert_eq!(parts.bytes(), limit);
    assert!(parts.cut(&(2 * JOINED as u64..5 * JOINED as u64)).is_some(), "the newest, without a gap");
    assert!(parts.weight() >= 3 * JOINED);
}

#[test]
fn small_neighbours_become_one_piece() {
    let whole = vec![7_u8; 1000];
    let parts = (0..900).map(|at| part(&whole, at..at + 1, "\"1\"", Some(1000)));
    let Some(Joined::Parts(parts)) = stored(parts, ROOM) else { panic!("there is a gap") };
    assert_eq!(parts.pieces.len(), 1);
}

#[test]
fn newer_fields_replace_older_ones_and_withheld_ones_do_not_come_back() {
    let with = |mut parts: Parts, name: &'static str, value: &'static str| {
        let mut headers = parts.entry.fields.to_map();
        headers.insert(name, HeaderValue::from_static(value));
        parts.entry.fields = Fields::from_map(&headers);
        parts
    };
    let old = with(with(part(BODY, 0..5, "\"1\"", Some(10)), "x-a", "old"), "x-b", "old");
    let old = with(old, "x-c", "secret");
    let mut new = with(part(BODY, 6..9, "\"1\"", Some(10)), "x-a", "new");
    new.withheld = vec!["x-c".parse().unwrap()];
    let Joined::Parts(parts) = new.joined(&old, ROOM) else { panic!("there is a gap") };
    let headers = parts.entry().fields().to_map();
    assert_eq!(
        (&headers["x-a"], &headers["x-b"]),
        (&HeaderValue::from_static("new"), &HeaderValue::from_static("old"))
    );
    assert!(!headers.contains_key("x-c"));
}

#[test]
fn what_is_joined_is_purged_by_the_tags_of_each_part() {
    let old = tagged(BODY, 0..5, "\"1\"", Some(10), &["a", "b"]);
    let Joined::Parts(parts) = tagged(BODY, 6..9, "\"1\"", Some(10), &["b", "c"]).joined(&old, ROOM) else {
        panic!("there is a gap")
    };
    let mut names: Vec<_> = parts.entry().tags().iter().map(Tag::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c"]);
    let many: Vec<String> = (0..MAX_TAGS).map(|n| format!("t{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let joined = tagged(BODY, 6..9, "\"1\"", Some(10), &many).joined(&parts, ROOM);
    assert_eq!(text(&joined, 0..5), None, "rather than with a tag lost");
}

#[test]
fn a_part_with_more_or_fewer_bytes_than_announced_is_no_part() {
    let Parts { entry, .. } = part(BODY, 0..0, "\"1\"", Some(10));
    for announced in [0..4, 0..6] {
        let entry = Entry::restored(
            &entry.lifetimes(),
            Content { status: entry.status(), fields: entry.fields().clone(), body: Bytes::from_static(b"01234") },
            entry.selecting().clone(),
            Vec::new(),
            "r",
            Provenance { born: 0, received: Moment::default(), fetch_time: std::time::Duration::ZERO, jitter: 0.0 },
        );
        assert!(Parts::new(entry, &ContentRange { range: announced, complete: Some(10) }, Vec::new()).is_none());
    }
}

#[test]
fn a_part_that_contradicts_itself_repeats_one_answer_and_joins_no_other() {
    let whole = b"0123456789";
    let announced = ContentRange { range: 4..10, complete: Some(10) };
    let short = || part(whole, 4..9, "\"1\"", Some(10)).contradicting(announced.clone(), RangeSpec::Last(5));
    let parts = short();
    let answer = |asked| parts.answer(asked).map(|(part, bytes)| (part, Vec::from(bytes).concat()));
    assert_eq!(answer(RangeSpec::Last(5)), Some((announced.clone(), b"45678".to_vec())));
    let within = ContentRange { range: 6..9, complete: Some(10) };
    assert_eq!(answer(RangeSpec::FromTo(6, 8)), Some((within, b"678".to_vec())));
    for beyond in [RangeSpec::Last(1), RangeSpec::From(6), RangeSpec::FromTo(4, 9)] {
        assert_eq!(answer(beyond), None, "{beyond:?}");
    }
    assert!(part(whole, 4..9, "\"1\"", Some(10)).can_be_completed() && !parts.can_be_completed());
    let joined = [
        short().joined(&part(whole, 0..4, "\"1\"", Some(10)), ROOM),
        part(whole, 0..4, "\"1\"", Some(10)).joined(&parts, ROOM),
    ];
    for joined in joined {
        assert_eq!(cut(&joined, &(3..5)), None);
    }
}

#[test]
fn a_soft_purge_that_a_part_has_met_is_not_forgotten_when_it_is_joined() {
    let before = tagged(BODY, 0..3, "\"1\"", Some(10), &["before"]);
    let new = tagged(BODY, 3..6, "\"1\"", Some(10), &["new"]);
    let table = Table::new(10);
    let purged = Moment::from_micros(5);
    table.apply(1, &Record { pattern: Pattern::Url("http://h/a".into()), soft: true }, purged);
    assert!(new.entry().is_valid(|| "http://h/a", &table) && new.entry().fresh_left(purged).is_zero());
    let Joined::Parts(joined) = new.joined(&before, ROOM) else { panic!("there is a gap") };
    assert!(joined.entry().is_valid(|| "http://h/a", &table));
    assert!(joined.entry().fresh_left(purged).is_zero(), "it is as stale as before");
}
