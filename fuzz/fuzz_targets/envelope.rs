//! What Redis holds. The first byte of an input says what is done with the rest, the next four in what time Redis says
//! that the value expires.
//!
//! - `raw`: the rest is the value.
//! - `mended`: the rest is a value whose lengths and checksum are put right first, so that its metadata is read.
//! - anything else: the rest is a response, which is packed, read back, and damaged.

#![no_main]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use libfuzzer_sys::fuzz_target;
use millpond::clock::Moment;
use millpond::entry::{Content, Entry, Fields, Provenance};
use millpond::key::{self, Key, KeyRules, MethodClass, Target};
use millpond::l2::envelope::{Damage, Packing, pack, unpack};
use millpond::policy::storability::Lifetimes;
use millpond::policy::tags::Tag;
use millpond::policy::vary::{Selecting, Vary};
use millpond_fuzz::{fields, numbers, sections};
use xxhash_rust::xxh3::xxh3_64;

const PACKING: Packing = Packing { compress_from: Some(64), max_body: 1 << 16 };
const NOW: Moment = Moment::from_micros(1_000_000);
/// As in the description of the format: where the checksum is, what it covers, the two lengths, and the metadata.
const CHECKSUM_AT: usize = 5;
const COVERED_AT: usize = 13;
const LENGTHS_AT: usize = 14;
const HEAD_BYTES: usize = 26;

fuzz_target!(|input: &[u8]| {
    let Some((&[mode, a, b, c, d], rest)) = input.split_first_chunk() else { return };
    let left = Duration::from_millis(u32::from_le_bytes([a, b, c, d]).into());
    match mode {
        b'r' => reads(&Bytes::copy_from_slice(rest), left),
        b'm' => reads(&mended(rest), left),
        _ => packs(rest, usize::from_le_bytes([a, b, c, d, 0, 0, 0, 0])),
    }
});

fn key(path: &str) -> Key {
    let target = Target { scheme: "http", host: "h", path, query: None };
    Key::new(&key::build(target, MethodClass::Get, &KeyRules::default(), &HeaderMap::new()))
}

/// What can be read can be written, and is then read as the same.
fn reads(value: &Bytes, left: Duration) {
    let Ok(entry) = unpack(&key("/a"), value, left, PACKING, NOW) else { return };
    assert!(entry.body().len() <= PACKING.max_body);
    assert_eq!(unpack(&key("/b"), value, left, PACKING, NOW).expect_err("of another key"), Damage::WrongKey);
    comes_back(&entry);
}

fn packs(input: &[u8], place: usize) {
    let Some(value) = comes_back(&response(input)) else { return };
    let (left, place) = (Duration::from_secs(1), place % (8 * value.len()));
    let mut flipped = value.to_vec();
    flipped[place / 8] ^= 1 << (place % 8);
    assert!(unpack(&key("/a"), &flipped.into(), left, PACKING, NOW).is_err(), "a flipped bit");
    assert!(unpack(&key("/a"), &value.slice(..place / 8), left, PACKING, NOW).is_err(), "its beginning");
    let longer = Bytes::from([&value[..], &value[place / 8..]].concat());
    assert!(unpack(&key("/a"), &longer, left, PACKING, NOW).is_err(), "more than it");
}

/// Packs and unpacks; `None` if the entry is of no more use.
fn comes_back(entry: &Entry) -> Option<Bytes> {
    let (value, life) = pack(&key("/a"), entry, entry.born(), PACKING, NOW)?;
    let back = unpack(&key("/a"), &value, life, PACKING, NOW).expect("what was packed");
    assert_eq!((back.status(), back.fields(), &back.body()[..]), (entry.status(), entry.fields(), &entry.body()[..]));
    assert_eq!((back.selecting(), back.tags(), back.route()), (entry.selecting(), entry.tags(), entry.route()));
    assert_eq!((back.born(), back.fetch_time()), (entry.born(), entry.fetch_time()));
    assert_eq!(back.lifetimes(), Lifetimes { initial_age: entry.age(NOW), ..entry.lifetimes() });
    // Redis counts what has passed since, whatever the clocks of the instances show.
    let passed = life / 3;
    let later = unpack(&key("/a"), &value, life - passed, PACKING, NOW).expect("what was packed");
    assert!(later.age(NOW) + Duration::from_millis(1) >= entry.age(NOW).saturating_add(passed).min(SATURATED));
    assert!(later.useful_for(NOW) <= life);
    Some(value)
}

/// The longest span that the metadata can hold.
const SATURATED: Duration = Duration::from_millis(u64::MAX);

/// A response from text: numbers (status, `born`, and in milliseconds the lifetime, the age, both stale windows and what
/// the fetch took), the fields of the response, those of the request, and the body.
fn response(input: &[u8]) -> Entry {
    let mut sections = sections(input);
    let mut next = || sections.next().unwrap_or_default();
    let [status, born, fresh_for, age, swr, sie, took] = numbers(next()).map(|number| number % (1 << 48));
    let (headers, request, body) = (fields(next()), fields(next()), next());
    let span = Duration::from_millis;
    let lifetimes = Lifetimes {
        fresh_for: span(fresh_for),
        initial_age: span(age),
        stale_while_revalidate: span(swr),
        stale_if_error: span(sie),
        must_revalidate: born % 2 == 1,
        always_revalidate: born % 3 == 1,
    };
    let selecting = Selecting::new(Vary::of(&headers).names(), &request);
    let tags = headers.get_all("surrogate-key").iter().filter_map(|tag| tag.to_str().ok()).map(Tag::from).collect();
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_default();
    // A body that repeats itself, so that it is worth compressing.
    let body = Bytes::from(body.repeat(1 + body.len() % 8));
    let provenance = Provenance { born, received: NOW, fetch_time: span(took), jitter: 0.0 };
    Entry::restored(
        &lifetimes,
        Content { status, fields: Fields::from_map(&headers), body },
        selecting,
        tags,
        "route",
        provenance,
    )
}

/// A value with the right beginning, lengths that add up, and the checksum that belongs to it.
fn mended(value: &[u8]) -> Bytes {
    let mut value = value.to_vec();
    value.resize(value.len().max(HEAD_BYTES), 0);
    value[..CHECKSUM_AT].copy_from_slice(b"MPND\x02");
    let rest = value.len() - HEAD_BYTES;
    let length = [0, 1, 2, 3].map(|at| value[LENGTHS_AT + at]);
    let metadata = rest.min(u32::from_le_bytes(length) as usize);
    value[LENGTHS_AT..][..4].copy_from_slice(&(metadata as u32).to_le_bytes());
    value[LENGTHS_AT + 4..HEAD_BYTES].copy_from_slice(&((rest - metadata) as u64).to_le_bytes());
    let checksum = xxh3_64(&value[COVERED_AT..]);
    value[CHECKSUM_AT..COVERED_AT].copy_from_slice(&checksum.to_le_bytes());
    value.into()
}
