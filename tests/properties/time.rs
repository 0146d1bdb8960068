//! Ages, lifetimes and the clocks they are computed from.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use millpond::bus::{Pattern, Record, Table};
use millpond::clock::Moment;
use millpond::entry::{Content, Entry, Fields, Provenance};
use millpond::key::{Key, MethodClass};
use millpond::l2::envelope::{Packing, pack, unpack};
use millpond::policy::Rules;
use millpond::policy::directives::Directives;
use millpond::policy::request::Demand;
use millpond::policy::reuse::Reuse;
use millpond::policy::vary::Selecting;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::stored;

/// RFC 9111 section 1.2.2: the most that a number of seconds in a field counts for.
const DELTA_MAX: Duration = Duration::from_secs(1 << 31);
/// The end of the year 9999: no HTTP date is later.
const LAST_DATE: u64 = 253_402_300_799;
const URL: &str = "http://h/a";

/// Numbers of every size, and around every bound that matters.
fn numbers() -> impl Strategy<Value = u64> {
    let bounds = [0, 1, 60, 1 << 31, (1 << 31) + 1, LAST_DATE, 1 << 53, i64::MAX.unsigned_abs(), u64::MAX];
    prop_oneof![2 => select(bounds.to_vec()), 1 => any::<u64>(), 2 => 0..1000_u64]
}

fn spans() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => numbers().prop_map(Duration::from_secs),
        2 => numbers().prop_map(Duration::from_millis),
        1 => Just(Duration::MAX),
    ]
}

fn walls() -> impl Strategy<Value = SystemTime> {
    (any::<bool>(), numbers()).prop_map(|(before, seconds)| {
        let span = Duration::from_secs(seconds.min(i64::MAX.unsigned_abs()));
        let epoch = SystemTime::UNIX_EPOCH;
        let moved = if before { epoch.checked_sub(span) } else { epoch.checked_add(span) };
        moved.unwrap_or(epoch)
    })
}

fn dates() -> impl Strategy<Value = String> {
    let seconds = prop_oneof![0..=LAST_DATE, 784_111_000..784_112_000_u64, Just(LAST_DATE)];
    let date = seconds.prop_map(|s| httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(s)));
    prop_oneof![6 => date, 1 => select(vec!["0".to_owned(), "tomorrow".to_owned()])]
}

/// Fields that say something about time, and often something odd.
fn responses() -> impl Strategy<Value = HeaderMap> {
    let number = || prop_oneof![4 => numbers().prop_map(|n| n.to_string()), 1 => "[0-9]{1,40}|-1|x"];
    let names = ["max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"];
    let directive = (select(names.to_vec()), number()).prop_map(|(name, value)| format!("{name}={value}"));
    let directives = vec(directive, 0..4).prop_map(|directives| directives.join(", "));
    let field = prop_oneof![
        directives.prop_map(|value| ("cache-control", value)),
        number().prop_map(|value| ("age", value)),
        dates().prop_map(|value| ("date", value)),
        dates().prop_map(|value| ("expires", value)),
        dates().prop_map(|value| ("last-modified", value)),
    ];
    vec(field, 0..6).prop_map(|fields| {
        let field = |(name, value): (&'static str, String)| {
            (HeaderName::from_static(name), HeaderValue::try_from(value).unwrap())
        };
        // Kept even if it is never fresh.
        let mut map = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"a\""))]);
        map.extend(fields.into_iter().map(field).map(|(name, value)| (Some(name), value)));
        map
    })
}

/// Rules of a route, bolder than the configuration allows.
fn rules() -> impl Strategy<Value = Rules> {
    let maybe = || option::weighted(0.3, spans());
    (maybe(), maybe(), maybe(), maybe(), option::of(0.0..=1.0_f64), spans()).prop_map(
        |(ttl, force_ttl, stale_while_revalidate, stale_if_error, heuristic_fraction, heuristic_max)| Rules {
            ttl,
            force_ttl,
            stale_while_revalidate,
            stale_if_error,
            heuristic_fraction,
            heuristic_max,
            ..Rules::default()
        },
    )
}

/// An entry that came at `received`; `None` if the response may not be stored.
fn entry(
    rules: &Rules,
    response: &HeaderMap,
    at: SystemTime,
    took: Duration,
    received: Moment,
    jitter: f64,
) -> Option<Entry> {
    let storable = stored(rules, &HeaderMap::new(), response, at, took)?;
    let selecting = Selecting::new(storable.vary.names(), &HeaderMap::new());
    let content = Content { status: StatusCode::OK, fields: Fields::from_map(response), body: Bytes::new() };
    let provenance = Provenance { born: 0, received, fetch_time: took, jitter };
    Some(Entry::new(storable, content, selecting, Vec::new(), "r", provenance))
}

/// What an answer shows in `Age`.
fn shown(entry: &Entry, now: Moment) -> u64 {
    entry.age(now).as_secs()
}

fn stage(reuse: Reuse) -> u8 {
    match reuse {
        Reuse::Fresh => 0,
        Reuse::StaleWhileRevalidate | Reuse::StaleAccepted => 1,
        Reuse::StaleIfError => 2,
        Reuse::Expired => 3,
    }
}

proptest! {
    #![proptest_config(super::config())]

    #[test]
    fn no_field_and_no_clock_makes_a_lifetime_overflow_or_longer_than_it_may_be(
        rules in rules(), response in responses(), at in walls(), took in spans(), jitter in 0.0..=1.0_f64,
        received in numbers(), later in numbers(),
    ) {
        let Some(storable) = stored(&rules, &HeaderMap::new(), &response, at, took) else { return Ok(()) };
        let granted = &storable.lifetimes;
        let (directives, _) = Directives::of_response(&response);
        for stated in [directives.max_age, directives.s_maxage, directives.stale_while_revalidate] {
            prop_assert!(stated.is_none_or(|stated| stated <= DELTA_MAX));
        }
        let explicit = directives.s_maxage.or(directives.max_age);
        let route = rules.force_ttl.or(rules.ttl).map(|ttl| granted.initial_age.saturating_add(ttl));
        // Expires counts from Date or, without one, from a clock that may show a time before 1970.
        let before = SystemTime::UNIX_EPOCH.duration_since(at).unwrap_or_default();
        let dated = before.saturating_add(Duration::from_secs(LAST_DATE));
        let most = match (rules.force_ttl, explicit) {
            (Some(_), _) => route.unwrap(),
            (None, Some(_)) => DELTA_MAX,
            (None, None) => dated.max(route.unwrap_or_default()).max(rules.heuristic_max),
        };
        prop_assert!(granted.fresh_for <= most, "{:?} of {most:?}", granted.fresh_for);
        let received = Moment::from_micros(received);
        let entry = entry(&rules, &response, at, took, received, jitter).unwrap();
        prop_assert!(entry.lifetimes().fresh_for <= granted.fresh_for, "jitter only shortens");
        // Each of these adds and subtracts; with overflow checks none may panic.
        let now = Moment::from_micros(later);
        prop_assert!(entry.fresh_left(now) <= entry.lifetimes().fresh_for);
        prop_assert!(entry.fresh_left(now).is_zero() || entry.standing(now).stale_for.is_zero());
        prop_assert!(entry.useful_for(now) >= entry.fresh_left(now));
        prop_assert!(entry.unasked(now) >= took);
        let any = Demand { max_stale: Some(Duration::MAX), ..Demand::default() };
        prop_assert!(!entry.usable_on_error(now, &any) || entry.reuse(now, &any) != Reuse::Expired);
    }

    #[test]
    fn age_never_decreases_from_hit_to_hit(
        response in responses(), at in walls(), took in spans(), received in 0..1_000_000_000_u64,
        mut hits in vec(0..10_000_000_000_u64, 2..8), purge in 0..8_usize,
    ) {
        hits.sort_unstable();
        let rules = Rules { ttl: Some(Duration::from_mins(1)), ..Rules::default() };
        let Some(entry) = entry(&rules, &response, at, took, Moment::from_micros(received), 0.1) else { return Ok(()) };
        let (mut last, mut last_stage, table) = (entry.age(Moment::default()).as_secs(), 0, Table::new(10));
        for (number, after) in hits.into_iter().enumerate() {
            // On a clock that was read on another core the hit may even come before the response.
            let now = Moment::from_micros(after);
            if number == purge {
                table.apply(1, &Record { pattern: Pattern::All, soft: true }, now);
            }
            prop_assert!(entry.is_valid(|| URL, &table), "a soft purge leaves it");
            prop_assert!(shown(&entry, now) >= last);
            last = shown(&entry, now);
            let stage = stage(entry.reuse(now, &Demand::default()));
            prop_assert!(stage >= last_stage, "no later hit is fresher");
            last_stage = stage;
        }
    }

    #[test]
    fn an_instance_that_reads_it_from_redis_shows_the_same_age(
        age in 0..1_000_000_u64, fresh_for in 1..1_000_000_u64, before in 0..1_000_000_u64, between in 0..3_600_000_u64,
        after in 0..1_000_000_u64, clock in any::<u32>(),
    ) {
        let response = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"a\""))]);
        let rules = Rules { force_ttl: Some(Duration::from_millis(fresh_for)), ..Rules::default() };
        let (here, took) = (Moment::default(), Duration::from_millis(age));
        let entry = entry(&rules, &response, SystemTime::UNIX_EPOCH, took, here, 0.0).unwrap();
        let packing = Packing { compress_from: None, max_body: 1 };
        let key = Key::of_url(URL, MethodClass::Get);
        let packed = here.plus(Duration::from_millis(before));
        let Some((value, life)) = pack(&key, &entry, entry.born(), packing, packed) else { return Ok(()) };
        // All that both instances share is what Redis counts.
        let left = life.saturating_sub(Duration::from_millis(between));
        let there = Moment::from_micros(clock.into());
        let read = unpack(&key, &value, left, packing, there).unwrap();
        let after = Duration::from_millis(after);
        let elapsed = life.saturating_sub(left);
        prop_assert_eq!(read.age(there.plus(after)), entry.age(packed.plus(elapsed).plus(after)));
        prop_assert_eq!(read.fresh_left(there.plus(after)), entry.fresh_left(packed.plus(elapsed).plus(after)));
    }
}
