//! What Redis holds for one stored response: a versioned, checksummed envelope that carries the
//! full key, so that no value is ever taken for another.
//!
//! ```text
//! magic 4 | version 1 | checksum 8 | flags 1 | metadata length 4 | body length 8 | metadata | body
//! ```
//!
//! Integers are little-endian. The checksum (XXH3, 64 bits) covers everything behind itself. It finds
//! damage, not malice: whoever may write to Redis may write any response, but only under its own
//! key and with a `born` that is judged like every other.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, HeaderName};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::clock::Moment;
use crate::entry::Seq;
use crate::entry::{Content, Entry, Fields, Provenance};
use crate::key::Key;
use crate::policy::fields::ByName;
use crate::policy::storability::Lifetimes;
use crate::policy::tags::Tag;
use crate::policy::vary::Selecting;

const MAGIC: [u8; 4] = *b"MPND";
/// The version that this build writes, and the only one that it reads.
const VERSION: u8 = 2;
/// The body is compressed with Zstandard.
const COMPRESSED: u8 = 1;
const HEAD_BYTES: usize = 26;
const CHECKSUM_AT: usize = 5;
/// Where that begins which the checksum covers.
const COVERED_AT: usize = 13;
const LENGTHS_AT: usize = 14;
/// Zstandard's fastest ordinary level: a fill must not cost more than the round trip it follows.
const LEVEL: i32 = 1;

/// Why a value is not what it should be. Every one of these is a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It was not written by Millpond.
    #[error("it is no envelope")]
    Foreign,
    /// Another version of Millpond wrote it.
    #[error("another version of Millpond wrote it")]
    Version,
    /// Its lengths do not add up.
    #[error("it is truncated or too long")]
    Length,
    /// A bit flipped.
    #[error("its checksum is wrong")]
    Checksum,
    /// Its metadata cannot be read.
    #[error("its metadata cannot be read")]
    Metadata,
    /// It is the value of another key.
    #[error("it belongs to another key")]
    WrongKey,
    /// Its body is larger than this instance stores, or than it says.
    #[error("its body is too large")]
    TooLarge,
    /// Redis would keep it for ever, which no fill asks for.
    #[error("it has no expiry")]
    Immortal,
}

/// How entries are written.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    /// Bodies of at least this many bytes are compressed; `None` compresses nothing.
    pub compress_from: Option<usize>,
    /// The largest body that is read, in bytes.
    pub max_body: usize,
}

/// The metadata of version 2. Its fields and their order are the format.
#[derive(Serialize, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    key: &'a [u8],
    born: u64,
    status: u16,
    /// [`Fields::lines`].
    #[serde(borrow)]
    fields: &'a [u8],
    #[serde(borrow)]
    selecting: Vec<(&'a str, Option<&'a [u8]>)>,
    #[serde(borrow)]
    tags: Vec<&'a str>,
    route: &'a str,
    fresh_for_ms: u64,
    stale_while_revalidate_ms: u64,
    stale_if_error_ms: u64,
    must_revalidate: bool,
    always_revalidate: bool,
    fetch_time_ms: u64,
    /// The age of the response when it was written.
    age_ms: u64,
    /// The expiry that Redis was given then.
    life_ms: u64,
    /// The length of the body before compression.
    body_bytes: u64,
}

/// The beginning of a value, its checksum included, by which it is told from every other.
pub fn head(value: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&value[..value.len().min(HEAD_BYTES)])
}

/// Packs an entry, for which the fleet's log had come to `born`. The second value is the expiry to
/// give to Redis; none if it is of no use any more.
pub fn pack(key: &Key, entry: &Entry, born: Seq, packing: Packing, now: Moment) -> Option<(Bytes, Duration)> {
    let life = entry.useful_for(now);
    if life.as_millis() == 0 {
        return None;
    }
    let lifetimes = entry.lifetimes();
    let compressed = packing
        .compress_from
        // What the origin has coded already gains nothing.
        .filter(|from| entry.body().len() >= *from && !entry.fields().has(&CONTENT_ENCODING))
        .and_then(|_| zstd::bulk::compress(entry.body(), LEVEL).ok())
        .filter(|compressed| compressed.len() < entry.body().len());
    let body = compressed.as_deref().unwrap_or(entry.body());
    let metadata = Metadata {
        key: key.as_bytes(),
        born,
        status: entry.status().as_u16(),
        fields: entry.fields().lines(),
        selecting: entry.selecting().fields().map(|(name, value)| (name.as_str(), value.map(|v| &**v))).collect(),
        tags: entry.tags().iter().map(Tag::as_str).collect(),
        route: entry.route(),
        fresh_for_ms: millis(lifetimes.fresh_for),
        stale_while_revalidate_ms: millis(lifetimes.stale_while_revalidate),
        stale_if_error_ms: millis(lifetimes.stale_if_error),
        must_revalidate: lifetimes.must_revalidate,
        always_revalidate: lifetimes.always_revalidate,
        fetch_time_ms: millis(entry.fetch_time()),
        age_ms: millis(entry.age(now)),
        life_ms: millis(life),
        body_bytes: entry.body().len() as u64,
    };
    let metadata = postcard::to_stdvec(&metadata).ok()?;
    let mut value = BytesMut::with_capacity(HEAD_BYTES + metadata.len() + body.len());
    value.put_slice(&MAGIC);
    value.put_u8(VERSION);
    value.put_u64_le(0);
    value.put_u8(if compressed.is_some() { COMPRESSED } else { 0 });
    value.put_u32_le(u32::try_from(metadata.len()).ok()?);
    value.put_u64_le(body.len() as u64);
    value.put_slice(&metadata);
    value.put_slice(body);
    let checksum = xxh3_64(&value[COVERED_AT..]);
    value[CHECKSUM_AT..COVERED_AT].copy_from_slice(&checksum.to_le_bytes());
    Some((value.freeze(), life))
}

/// Unpacks the value of `key`, of which Redis says that it expires in `left`. Its age and what is
/// left of its life follow from that alone, so that no other instance's clock matters.
pub fn unpack(key: &Key, value: &Bytes, left: Duration, packing: Packing, now: Moment) -> Result<Entry, Damage> {
    let head: &[u8; HEAD_BYTES] = value.first_chunk().ok_or(Damage::Foreign)?;
    if head[..4] != MAGIC {
        return Err(Damage::Foreign);
    }
    if head[4] != VERSION {
        return Err(Damage::Version);
    }
    let (flags, metadata_bytes) = (head[COVERED_AT], number::<4>(head, LENGTHS_AT));
    let body_bytes = number::<8>(head, LENGTHS_AT + 4);
    let rest = (value.len() - HEAD_BYTES) as u64;
    if metadata_bytes.checked_add(body_bytes) != Some(rest) {
        return Err(Damage::Length);
    }
    if xxh3_64(&value[COVERED_AT..]) != number::<8>(head, CHECKSUM_AT) {
        return Err(Damage::Checksum);
    }
    let body_at = HEAD_BYTES + usize::try_from(metadata_bytes).map_err(|_| Damage::Length)?;
    let metadata: Metadata<'_> = postcard::from_bytes(&value[HEAD_BYTES..body_at]).map_err(|_| Damage::Metadata)?;
    if metadata.key != key.as_bytes() {
        return Err(Damage::WrongKey);
    }
    let length = usize::try_from(metadata.body_bytes).ok().filter(|length| *length <= packing.max_body);
    let body = body(&value[body_at..], flags, length.ok_or(Damage::TooLarge)?)?;
    let content = Content {
        status: StatusCode::from_u16(metadata.status).map_err(|_| Damage::Metadata)?,
        fields: Fields::checked(metadata.fields).ok_or(Damage::Metadata)?,
        body,
    };
    let elapsed = metadata.life_ms.saturating_sub(millis(left));
    let lifetimes = Lifetimes {
        fresh_for: Duration::from_millis(metadata.fresh_for_ms),
        initial_age: Duration::from_millis(metadata.age_ms.saturating_add(elapsed)),
        stale_while_revalidate: Duration::from_millis(metadata.stale_while_revalidate_ms),
        stale_if_error: Duration::from_millis(metadata.stale_if_error_ms),
        must_revalidate: metadata.must_revalidate,
        always_revalidate: metadata.always_revalidate,
    };
    let born: Seq = metadata.born;
    let fetch_time = Duration::from_millis(metadata.fetch_time_ms);
    // Its jitter was drawn when it was stored.
    let provenance = Provenance { born, received: now, fetch_time, jitter: 0.0 };
    let selecting = selecting(&metadata.selecting).ok_or(Damage::Metadata)?;
    let tags = metadata.tags.iter().map(|tag| Tag::from(*tag)).collect();
    Ok(Entry::restored(&lifetimes, content, selecting, tags, metadata.route, provenance))
}

/// A copy of exactly the body's size: a reply is a slice of a read buffer, which it would pin.
fn body(stored: &[u8], flags: u8, length: usize) -> Result<Bytes, Damage> {
    let body = match flags {
        0 => stored.to_vec(),
        COMPRESSED => zstd::bulk::decompress(stored, length).map_err(|_| Damage::TooLarge)?,
        _ => return Err(Damage::Version),
    };
    if body.len() == length { Ok(body.into()) } else { Err(Damage::Length) }
}

fn selecting(fields: &[(&str, Option<&[u8]>)]) -> Option<Selecting> {
    let fields = fields.iter().map(|(name, value)| {
        let value = value.map(Bytes::copy_from_slice);
        HeaderName::try_from(*name).ok().map(|name| (name, value))
    });
    fields.collect::<Option<Vec<_>>>().map(Selecting::restored)
}

/// The little-endian number of `N` bytes at `at`.
fn number<const N: usize>(head: &[u8; HEAD_BYTES], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes[..N].copy_from_slice(&head[at..at + N]);
    u64::from_le_bytes(bytes)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderValue};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::key::{self, KeyRules, MethodClass, Target};

    const PACKING: Packing = Packing { compress_from: Some(1024), max_body: 1 << 20 };
    const BORN: Seq = 7;
    const MINUTE: Duration = Duration::from_mins(1);

    fn key(path: &str) -> Key {
        let target = Target { scheme: "http", host: "h", path, query: None };
        Key::new(&key::build(target, MethodClass::Get, &KeyRules::default(), &HeaderMap::new()))
    }

    fn entry(body: impl Into<Bytes>) -> Entry {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_bytes(b"\xff2").unwrap());
        let content = Content { status: StatusCode::NOT_FOUND, fields: Fields::from_map(&headers), body: body.into() };
        let lifetimes = Lifetimes {
            fresh_for: MINUTE,
            initial_age: Duration::from_secs(5),
            stale_while_revalidate: 2 * MINUTE,
            stale_if_error: 3 * MINUTE,
            must_revalidate: false,
            always_revalidate: false,
        };
        let selecting = Selecting::restored(vec![
            (HeaderName::from_static("accept"), Some(Bytes::from_static(b"json"))),
            (HeaderName::from_static("x-b"), None),
        ]);
        let provenance = Provenance {
            born: BORN + 3,
            received: Moment::default(),
            fetch_time: Duration::from_millis(250),
            jitter: 0.0,
        };
        Entry::restored(&lifetimes, content, selecting, vec!["t".into()], "route", provenance)
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn an_entry_comes_back_as_it_was_and_older_by_what_redis_says_has_passed() {
        for body in [Bytes::new(), Bytes::from_static(b"short"), Bytes::from(vec![b'x'; 100_000])] {
            let packed = entry(body.clone());
            let (value, life) = pack(&key("/a"), &packed, BORN, PACKING, at(10)).unwrap();
            assert!(value.len() < 1500, "compressed");
            // Read on an instance whose clock shows something else, 20 seconds later.
            let left = life.checked_sub(Duration::from_secs(20)).unwrap();
            let entry = unpack(&key("/a"), &value, left, PACKING, at(5000)).unwrap();
            assert_eq!(&**entry.body(), &*body);
            assert_eq!(entry.fields(), packed.fields());
            assert_eq!(entry.status(), 404);
            assert_eq!((entry.selecting(), entry.tags(), entry.route()), (packed.selecting(), packed.tags(), "route"));
            assert_eq!((entry.born(), entry.fetch_time()), (7, Duration::from_millis(250)));
            assert_eq!(entry.age(at(5000)), Duration::from_secs(5 + 10 + 20));
            assert_eq!(entry.fresh_left(at(5000)), Duration::from_secs(25));
            assert_eq!(entry.useful_for(at(5000)), left);
        }
    }

    /// What this version writes for [`entry`] with the body "body", ten seconds after its arrival. A rolling upgrade has
    /// two versions in one Redis: this file never changes, and stays readable or is told apart, like that of version 1.
    const VERSION_2: &[u8] = include_bytes!("../../tests/fixtures/envelope-2.bin");
    const VERSION_1: &[u8] = include_bytes!("../../tests/fixtures/envelope-1.bin");

    #[test]
    fn a16_a_value_of_each_version_is_read_or_told_apart() {
        let plain = Packing { compress_from: None, ..PACKING };
        let (value, left) = pack(&key("/a"), &entry("body"), BORN, plain, at(10)).unwrap();
        assert_eq!(value, VERSION_2);
        let entry = unpack(&key("/a"), &value, left, plain, at(0)).unwrap();
        assert_eq!((&**entry.body(), entry.born(), entry.route()), (&b"body"[..], 7, "route"));
        assert_eq!(entry.selecting().fields().count(), 2);
        let mut next = VERSION_2.to_vec();
        next[4] += 1;
        for other in [VERSION_1, &next] {
            let told = unpack(&key("/a"), &Bytes::copy_from_slice(other), left, plain, at(0));
            assert_eq!(told.unwrap_err(), Damage::Version);
        }
    }

    #[test]
    fn what_is_of_no_more_use_is_not_packed() {
        assert!(pack(&key("/a"), &entry("x"), BORN, PACKING, at(1_000_000)).is_none());
    }

    #[test]
    fn each_kind_of_damage_is_told() {
        let (value, life) = pack(&key("/a"), &entry("body"), BORN, PACKING, at(0)).unwrap();
        let read = |value: &[u8]| unpack(&key("/a"), &Bytes::copy_from_slice(value), life, PACKING, at(0)).unwrap_err();
        let with = |at: usize, byte: u8| {
            let mut value = value.to_vec();
            value[at] = byte;
            value
        };
        assert_eq!(read(b""), Damage::Foreign);
        assert_eq!(read(b"a string that somebody else has put here"), Damage::Foreign);
        assert_eq!(read(&with(4, VERSION + 1)), Damage::Version);
        assert_eq!(read(&value[..value.len() - 1]), Damage::Length);
        assert_eq!(read(&[&value[..], b"x"].concat()), Damage::Length);
        assert_eq!(read(&with(value.len() - 1, 0)), Damage::Checksum);
        assert_eq!(unpack(&key("/b"), &value, life, PACKING, at(0)).unwrap_err(), Damage::WrongKey);
        let small = Packing { max_body: 3, ..PACKING };
        assert_eq!(unpack(&key("/a"), &value, life, small, at(0)).unwrap_err(), Damage::TooLarge);
    }

    #[test]
    fn f13_a_body_that_decompresses_to_more_than_it_says_is_refused() {
        let (value, life) = pack(&key("/a"), &entry(vec![0; 1 << 20]), BORN, PACKING, at(0)).unwrap();
        let small = Packing { max_body: (1 << 20) - 1, ..PACKING };
        assert_eq!(unpack(&key("/a"), &value, life, small, at(0)).unwrap_err(), Damage::TooLarge);
        assert_eq!(
            body(&zstd::bulk::compress(&vec![0; 1 << 20], LEVEL).unwrap(), COMPRESSED, 100),
            Err(Damage::TooLarge)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_no_flipped_bit_goes_unnoticed(
            noise in vec(any::<u8>(), 0..200), place in any::<prop::sample::Index>(), bit in 0..8u8,
        ) {
            let (value, life) = pack(&key("/a"), &entry("some body"), BORN, PACKING, at(0)).unwrap();
            let mut flipped = value.to_vec();
            let at_byte = place.index(flipped.len());
            flipped[at_byte] ^= 1 << bit;
            prop_assert!(unpack(&key("/a"), &flipped.into(), life, PACKING, at(0)).is_err());
            let mut noisy = value[..HEAD_BYTES.min(noise.len())].to_vec();
            noisy.extend_from_slice(&noise);
            let _ = unpack(&key("/a"), &noisy.into(), life, PACKING, at(0));
            // Metadata that passes the checksum may still be anything.
            let _ = postcard::from_bytes::<Metadata<'_>>(&noise);
        }
    }
}
