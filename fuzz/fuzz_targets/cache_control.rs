//! `Cache-Control`, of requests and of responses: each line of the input is one field.

#![no_main]

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use millpond::policy::directives::Directives;
use millpond_fuzz::{DELTA_MAX, repeated};

const NAME: &str = "cache-control";

fuzz_target!(|input: &[u8]| {
    let headers = repeated(NAME, input);
    let all = Directives::of_request(&headers);
    assert_eq!((all.clone(), false), Directives::of_response(&headers), "one grammar for both");
    is_bounded(&all);
    // A field can only add to what the others say.
    let mut sum = Directives::default();
    for value in headers.get_all(NAME) {
        sum = merged(sum, alone(value));
    }
    assert_eq!(sum, all, "fields count one by one");
    // RFC 9111 section 5.2: names are compared without case, and no argument that is understood has one.
    let shouted = headers.iter().map(|(name, value)| {
        (name.clone(), HeaderValue::from_bytes(&value.as_bytes().to_ascii_uppercase()).expect("still a value"))
    });
    let mut upper = HeaderMap::new();
    shouted.for_each(|(name, value)| {
        upper.append(name, value);
    });
    assert_eq!(all, Directives::of_request(&upper), "case means nothing");
    // What was understood, written down plainly, says the same.
    assert_eq!(all, alone(&written(&all)), "{:?}", written(&all));
});

fn alone(value: &HeaderValue) -> Directives {
    Directives::of_request(&HeaderMap::from_iter([(http::header::CACHE_CONTROL, value.clone())]))
}

fn is_bounded(d: &Directives) {
    for lifetime in [d.max_age, d.s_maxage, d.min_fresh, d.stale_while_revalidate, d.stale_if_error] {
        assert!(lifetime.is_none_or(|lifetime| lifetime <= DELTA_MAX));
    }
    assert!(d.max_stale.is_none_or(|limit| limit <= DELTA_MAX || limit == Duration::MAX));
}

/// Both together: whatever restricts more counts.
fn merged(a: Directives, b: Directives) -> Directives {
    let either = |pick: fn(&Directives) -> bool| pick(&a) || pick(&b);
    let least = |pick: fn(&Directives) -> Option<Duration>| match (pick(&a), pick(&b)) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Directives {
        no_store: either(|d| d.no_store),
        no_cache: either(|d| d.no_cache),
        no_cache_fields: [a.no_cache_fields.clone(), b.no_cache_fields.clone()].concat(),
        private: either(|d| d.private),
        private_fields: [a.private_fields.clone(), b.private_fields.clone()].concat(),
        public: either(|d| d.public),
        must_revalidate: either(|d| d.must_revalidate),
        proxy_revalidate: either(|d| d.proxy_revalidate),
        must_understand: either(|d| d.must_understand),
        only_if_cached: either(|d| d.only_if_cached),
        max_age: least(|d| d.max_age),
        s_maxage: least(|d| d.s_maxage),
        // Of this one alone, more is stricter.
        min_fresh: a.min_fresh.max(b.min_fresh),
        max_stale: least(|d| d.max_stale),
        stale_while_revalidate: least(|d| d.stale_while_revalidate),
        stale_if_error: least(|d| d.stale_if_error),
    }
}

/// The shortest field that says this.
fn written(d: &Directives) -> HeaderValue {
    let flags = [
        ("no-store", d.no_store),
        ("no-cache", d.no_cache),
        ("private", d.private),
        ("public", d.public),
        ("must-revalidate", d.must_revalidate),
        ("proxy-revalidate", d.proxy_revalidate),
        ("must-understand", d.must_understand),
        ("only-if-cached", d.only_if_cached),
    ];
    let times = [
        ("max-age", d.max_age),
        ("s-maxage", d.s_maxage),
        ("min-fresh", d.min_fresh),
        ("max-stale", d.max_stale),
        ("stale-while-revalidate", d.stale_while_revalidate),
        ("stale-if-error", d.stale_if_error),
    ];
    let mut members: Vec<String> = flags.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned()).collect();
    for (name, time) in times {
        match time {
            Some(Duration::MAX) => members.push(name.to_owned()),
            Some(time) => members.push(format!("{name}={}", time.as_secs())),
            None => {}
        }
    }
    for (name, fields) in [("no-cache", &d.no_cache_fields), ("private", &d.private_fields)] {
        if !fields.is_empty() {
            let fields: Vec<&str> = fields.iter().map(http::HeaderName::as_str).collect();
            members.push(format!("{name}=\"{}\"", fields.join(", ")));
        }
    }
    HeaderValue::try_from(members.join(", ")).expect("a value")
}
