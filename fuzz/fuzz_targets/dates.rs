//! Dates and what is computed from them: one line of numbers (when the response arrived in seconds of Unix time, what it
//! took in milliseconds, two later moments in milliseconds, the route's lifetime and its stale window in seconds, jitter
//! and heuristics in percent), the fields of the response, and those of a later request.

#![no_main]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{DATE, EXPIRES, IF_MODIFIED_SINCE, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use libfuzzer_sys::fuzz_target;
use millpond::clock::Moment;
use millpond::entry::{Content, Entry, Fields, Provenance};
use millpond::policy::Rules;
use millpond::policy::age;
use millpond::policy::dates::{date, timeless_date};
use millpond::policy::request::{Demand, RequestVerdict, judge_request};
use millpond::policy::reuse::Reuse;
use millpond::policy::storability::{Exchange, ResponseVerdict, judge_response};
use millpond::policy::validation::{Precondition, evaluate_conditional};
use millpond::policy::vary::Selecting;
use millpond_fuzz::{DELTA_MAX, fields, numbers, sections, wall};

/// Up to the first a stored span is exact to a millisecond, up to the second to a second.
const DAYS_24: Duration = Duration::from_millis((1 << 31) - 1);
const YEARS_68: Duration = Duration::from_secs((1 << 31) - 2);
/// From 1970 to the end of the year 9999, the last of an HTTP date.
const ALL_DATES: Duration = Duration::from_secs(253_402_300_800);

fuzz_target!(|input: &[u8]| {
    let mut sections = sections(input);
    let mut next = || sections.next().unwrap_or_default();
    let numbers: [u64; 8] = numbers(next());
    let (response, request) = (fields(next()), fields(next()));
    let now = wall(numbers[0]);
    every_date_reads_as_it_is_written(&response, now);
    conditions_go_by_dates(&request, &response, now);
    lifetimes_are_bounded(numbers, &response, &request);
});

fn every_date_reads_as_it_is_written(response: &HeaderMap, now: SystemTime) {
    for name in [DATE, EXPIRES, LAST_MODIFIED] {
        let Some(Ok(found)) = date(response, &name, now) else { continue };
        assert!(found.duration_since(SystemTime::UNIX_EPOCH).expect("not before 1970") < ALL_DATES);
        let plain = HeaderValue::try_from(httpdate::fmt_http_date(found)).expect("a value");
        let plain = HeaderMap::from_iter([(name.clone(), plain)]);
        assert_eq!((date(&plain, &name, now), timeless_date(&plain, &name)), (Some(Ok(found)), Some(found)));
        match timeless_date(response, &name) {
            Some(timeless) => assert_eq!(timeless, found),
            None => is_near(found, now),
        }
    }
}

/// RFC 9110 section 5.6.7: a year of two digits is at most 50 years ahead. Then it is less than 50 years back, too. The
/// calendar makes 50 years a day longer or shorter.
fn is_near(found: SystemTime, now: SystemTime) {
    let (half_a_century, day) = (Duration::from_secs(18_263 * 86_400), Duration::from_secs(86_400));
    let limit = half_a_century + day;
    assert!(found.duration_since(now).unwrap_or_default() <= limit, "{found:?} lies far ahead of {now:?}");
    // No date is later than the year 9999, whatever the clock shows.
    let now = now.min(SystemTime::UNIX_EPOCH + ALL_DATES);
    assert!(now.duration_since(found).unwrap_or_default() <= limit, "{found:?} is long before {now:?}");
}

/// RFC 9110 section 13.1.3, for a response that has no entity tag.
fn conditions_go_by_dates(request: &HeaderMap, response: &HeaderMap, now: SystemTime) {
    let Some(Ok(modified)) = date(response, &LAST_MODIFIED, now) else { return };
    if request.contains_key("if-none-match") || !request.contains_key(IF_MODIFIED_SINCE) {
        return;
    }
    let since = date(request, &IF_MODIFIED_SINCE, now).and_then(Result::ok);
    let unchanged = since.is_some_and(|since| modified <= since);
    let expected = if unchanged { Precondition::NotModified } else { Precondition::Proceed };
    assert_eq!(evaluate_conditional(request, StatusCode::OK, response, now), expected);
}

fn lifetimes_are_bounded(numbers: [u64; 8], response: &HeaderMap, request: &HeaderMap) {
    let [arrival, took, first, second, ttl, window, jitter, heuristic] = numbers;
    let (ttl, window) = (Duration::from_secs(ttl), Duration::from_secs(window));
    let rules = Rules {
        ttl: (!ttl.is_zero()).then_some(ttl),
        stale_while_revalidate: (!window.is_zero()).then_some(window),
        stale_if_error: (!window.is_zero()).then_some(window),
        heuristic_fraction: (heuristic > 0).then_some(heuristic as f64 / 100.0),
        heuristic_max: window,
        respect_client_cache_control: true,
        ..Rules::default()
    };
    let exchange = Exchange {
        method: &Method::GET,
        request_headers: &HeaderMap::new(),
        status: StatusCode::OK,
        response_headers: response,
        received_at: wall(arrival),
        response_delay: Duration::from_millis(took),
    };
    let ResponseVerdict::Storable(storable) = judge_response(&rules, &exchange) else { return };
    let granted = storable.lifetimes.clone();
    assert!(granted.initial_age >= age::age_value(response).saturating_add(exchange.response_delay));
    let explicit = granted.fresh_for <= DELTA_MAX.max(ALL_DATES);
    assert!(explicit || granted.fresh_for <= granted.initial_age.saturating_add(ttl).max(window));
    assert!(granted.stale_while_revalidate <= DELTA_MAX.max(window));
    assert!(granted.stale_if_error <= DELTA_MAX.max(window));

    let received = Moment::from_micros(1_000_000);
    let provenance =
        Provenance { born: 0, received, fetch_time: exchange.response_delay, jitter: jitter as f64 / 100.0 };
    let content = Content { status: StatusCode::OK, fields: Fields::from_map(response), body: Bytes::new() };
    let selecting = Selecting::new(storable.vary.names(), request);
    let entry = Entry::new(storable, content, selecting, Vec::new(), "r", provenance);
    assert!(entry.lifetimes().fresh_for <= granted.fresh_for, "jitter only shortens");

    let at = |millis: u64| received.plus(Duration::from_millis(millis));
    let (early, late) = (at(first.min(second)), at(first.max(second)));
    // A stored age is rounded up: to milliseconds, from 24 days on to seconds; from 68 years on it has no end.
    let age = entry.age(received);
    let rounding = Duration::from_millis(if granted.initial_age <= DAYS_24 { 1 } else { 1000 });
    assert!(age >= granted.initial_age && (age - granted.initial_age < rounding || granted.initial_age > YEARS_68));
    assert!(entry.age(early) <= entry.age(late));
    assert!(entry.fresh_left(early) >= entry.fresh_left(late) && entry.useful_for(early) >= entry.useful_for(late));
    // A response passes through its stages in order and never back.
    let neutral = Demand::default();
    assert!(stage(entry.reuse(early, &neutral)) <= stage(entry.reuse(late, &neutral)));
    if let RequestVerdict::Lookup(demand) = judge_request(&rules, &Method::GET, request) {
        let fresh = entry.reuse(late, &demand) == Reuse::Fresh;
        assert!(!fresh || entry.age(late) < entry.lifetimes().fresh_for, "fresh is younger than its lifetime");
        let accepted = entry.reuse(late, &demand) == Reuse::StaleAccepted;
        assert!(!accepted || demand.max_stale.is_some_and(|limit| entry.standing(late).stale_for <= limit));
    }
}

fn stage(reuse: Reuse) -> u8 {
    match reuse {
        Reuse::Fresh => 0,
        Reuse::StaleWhileRevalidate | Reuse::StaleAccepted => 1,
        Reuse::StaleIfError => 2,
        Reuse::Expired => 3,
    }
}
