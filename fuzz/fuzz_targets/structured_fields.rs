//! Structured fields of responses (RFC 9651): `CDN-Cache-Control` (RFC 9213), and `Cache-Groups` (RFC 9875) among the
//! other fields that tag a response.

#![no_main]

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use millpond::policy::directives::Directives;
use millpond::policy::tags::{Tag, groups, tags};
use millpond_fuzz::{DELTA_MAX, fields};

const TARGETED: HeaderName = HeaderName::from_static("cdn-cache-control");
const GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const SURROGATE: HeaderName = HeaderName::from_static("surrogate-key");
const SITE: &str = "http://h";

fuzz_target!(|input: &[u8]| {
    let headers = fields(input);
    targeted_replaces_or_is_ignored(&headers);
    groups_are_scoped_and_bounded(&headers);
});

/// RFC 9213 sections 2.1 and 2.2: a targeted field counts alone, and an unusable one not at all.
fn targeted_replaces_or_is_ignored(headers: &HeaderMap) {
    let (directives, targeted) = Directives::of_response(headers);
    let without = |name: &HeaderName| {
        let mut others = headers.clone();
        others.remove(name);
        others
    };
    if targeted {
        assert!(headers.contains_key(TARGETED));
        assert_eq!(Directives::of_response(&without(&CACHE_CONTROL)), (directives.clone(), true));
        let mut strict = headers.clone();
        strict.append(CACHE_CONTROL, HeaderValue::from_static("no-store, private, max-age=0"));
        assert_eq!(Directives::of_response(&strict), (directives.clone(), true));
        // A dictionary may be spread over several fields at its commas and nowhere else.
        let joined = HeaderMap::from_iter([(TARGETED, joined(headers, &TARGETED))]);
        assert_eq!(Directives::of_response(&joined), (directives.clone(), true));
    } else {
        assert_eq!(Directives::of_response(&without(&TARGETED)), (directives.clone(), false));
    }
    for lifetime in [directives.max_age, directives.s_maxage, directives.stale_if_error] {
        assert!(lifetime.is_none_or(|lifetime| lifetime <= DELTA_MAX));
    }
}

fn groups_are_scoped_and_bounded(headers: &HeaderMap) {
    let found = groups(headers, &GROUPS, SITE);
    for group in &found {
        assert!(group.as_str().starts_with("group http://h "), "{group}");
    }
    let elsewhere = groups(headers, &GROUPS, "http://other");
    assert_eq!(elsewhere.len(), found.len());
    assert!(elsewhere.iter().all(|group| !found.contains(group)), "a group belongs to one site");
    for max in [0, 3, 128] {
        let all = tags(headers, &[SURROGATE], SITE, max);
        assert!(all.len() <= max);
        assert!(all.iter().enumerate().all(|(at, tag)| !all[..at].contains(tag)), "each counts once");
        // A group of a site can not be named by a surrogate tag.
        let (of_groups, surrogate): (Vec<&Tag>, Vec<_>) = all.iter().partition(|tag| found.contains(tag));
        assert!(surrogate.iter().all(|tag| !tag.as_str().contains([' ', ','])));
        assert!(of_groups.iter().chain(&surrogate).all(|tag| tag.as_str().len() <= 256 + "group http://h ".len()));
    }
    // Written down plainly, the groups are the same.
    let plain: Vec<String> = found.iter().map(|tag| quoted(&tag.as_str()["group http://h ".len()..])).collect();
    let plain = HeaderMap::from_iter([(GROUPS, HeaderValue::try_from(plain.join(", ")).expect("a value"))]);
    assert_eq!(groups(&plain, &GROUPS, SITE), found);
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> HeaderValue {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&lines.join(&b", "[..])).expect("a value")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
