//! Validation: the conditions of clients, and ours to the origin (RFC 9111 section 4.3, RFC 9110
//! section 13).

use std::time::SystemTime;

use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, DATE, ETAG, EXPIRES, HeaderMap,
    HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, VARY, VIA,
};

use super::dates::{date, timeless_date};
use super::fields::ByName;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Fields about the very bytes of one message's content (RFC 9530 section 2 and its forerunner), which a part of it has
/// not, nor a whole that was made of parts.
const OF_THE_CONTENT: [HeaderName; 2] = [CONTENT_MD5, CONTENT_DIGEST];

/// Whether a field of this name speaks of the content of one message, so that it must not go with another content.
pub fn is_of_the_content(name: &str) -> bool {
    OF_THE_CONTENT.iter().any(|own| own == name)
}

/// What a client's conditions mean for a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Send it.
    Proceed,
    /// The client has it: 304.
    NotModified,
}

/// The conditions under which the origin may confirm a stored response (RFC 9111 section 4.3.1);
/// `None` if it has no validator.
pub fn conditional_fields(stored: &impl ByName) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
        if let Some(Ok(value)) = stored.first(&validator).map(HeaderValue::from_bytes) {
            fields.insert(condition, value);
        }
    }
    (!fields.is_empty()).then_some(fields)
}

/// Whether a 304 speaks of the stored response (RFC 9111 section 4.3.4): its validators, where it
/// has any, are those of the stored one. A strong entity tag names nothing that is stored with a
/// weak one.
pub fn confirms(stored: &impl ByName, not_modified: &HeaderMap) -> bool {
    match (not_modified.first(&ETAG), stored.first(&ETAG)) {
        (Some(theirs), Some(ours)) if is_weak(theirs) => opaque(theirs) == opaque(ours),
        (Some(theirs), Some(ours)) => theirs.trim_ascii() == ours.trim_ascii(),
        (Some(_), None) => false,
        (None, _) => match (not_modified.first(&LAST_MODIFIED), stored.first(&LAST_MODIFIED)) {
            (Some(theirs), Some(ours)) => theirs == ours,
            (Some(_), None) => false,
            (None, _) => true,
        },
    }
}

/// Whether the response to a HEAD describes the stored response (RFC 9111 section 4.3.5): it shows no
/// other validator, and no other length.
pub fn head_agrees(stored: &impl ByName, length: u64, head: &HeaderMap) -> bool {
    let same_length = head.get(CONTENT_LENGTH).is_none_or(|field| {
        // The stored length is that of the stored body.
        field.to_str().ok().and_then(|text| text.parse().ok()) == Some(length)
    });
    same_length
        && [ETAG, LAST_MODIFIED]
            .iter()
            .all(|name| head.first(name).is_none_or(|shown| stored.first(name) == Some(shown)))
}

/// The stored fields after a 304 (RFC 9111 section 3.2): each field of the 304 replaces those of its
/// name, but for fields that describe the body which stays, and `Vary`.
pub fn updates(stored: HeaderMap, not_modified: &HeaderMap) -> HeaderMap {
    const OF_THE_BODY: [HeaderName; 5] = [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_MD5, CONTENT_DIGEST];
    let mut fields = stored;
    for name in not_modified.keys().filter(|name| !OF_THE_BODY.contains(name)) {
        // What the 304 leaves out of Vary still selected the body that stays: a server in between may add it to a 200
        // alone. So the two are one list.
        if *name != VARY {
            fields.remove(name);
        }
        for value in not_modified.get_all(name) {
            if *name != VARY || !fields.get_all(name).iter().any(|known| known == value) {
                fields.append(name, value.clone());
            }
        }
    }
    fields
}

/// Judges `If-None-Match` and `If-Modified-Since` of a request that arrived `now` for a stored response, in the order of
/// RFC 9110 section 13.2.2.
pub fn evaluate_conditional(
    request: &HeaderMap,
    status: StatusCode,
    stored: &impl ByName,
    now: SystemTime,
) -> Precondition {
    // RFC 9110 section 13.2.1: conditions are only for what would be answered with a 2xx.
    if !status.is_success() {
        return Precondition::Proceed;
    }
    let unchanged = if request.contains_key(IF_NONE_MATCH) {
        none_match_fails(request, stored.first(&ETAG))
    } else {
        request.contains_key(IF_MODIFIED_SINCE) && !modified_since(request, stored, now)
    };
    if unchanged { Precondition::NotModified } else { Precondition::Proceed }
}

/// RFC 9110 section 13.1.2: `*`, or one of the tags matches weakly.
fn none_match_fails(request: &HeaderMap, etag: Option<&[u8]>) -> bool {
    let fields: Vec<&[u8]> = request.get_all(IF_NONE_MATCH).iter().map(HeaderValue::as_bytes).collect();
    if let [only] = fields.as_slice()
        && only.trim_ascii() == b"*"
    {
        return true;
    }
    let Some(etag) = etag else { return false };
    fields.iter().any(|field| entity_tags(field).any(|tag| opaque(tag) == opaque(etag)))
}

/// RFC 9110 section 13.1.3 and RFC 9111 section 4.3.2: `Last-Modified`, or else `Date`, is later.
/// A date that can not be read makes the condition void.
fn modified_since(request: &HeaderMap, stored: &impl ByName, now: SystemTime) -> bool {
    let Some(Ok(since)) = date(request, &IF_MODIFIED_SINCE, now) else { return true };
    let changed = date(stored, &LAST_MODIFIED, now).or_else(|| date(stored, &DATE, now));
    changed.and_then(Result::ok).is_none_or(|changed| changed > since)
}

/// The members of a list of entity tags; a comma inside quotes belongs to the tag.
pub(super) fn entity_tags(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let members = field.split(move |&b| {
        quoted ^= b == b'"';
        b == b',' && !quoted
    });
    members.map(<[u8]>::trim_ascii).filter(|tag| !tag.is_empty())
}

/// An entity tag without its weakness mark: what weak comparison compares (RFC 9110 section 8.8.3.2).
pub(super) fn opaque(tag: &[u8]) -> &[u8] {
    tag.trim_ascii().strip_prefix(b"W/").unwrap_or(tag.trim_ascii())
}

fn is_weak(tag: &[u8]) -> bool {
    tag.trim_ascii().starts_with(b"W/")
}

/// Whether a field of this name is part of a 304 that this proxy makes (RFC 9110 section 15.4.5): those that the client
/// needs to update what it has. Without an entity tag the date is the validator.
pub fn is_for_not_modified(name: &str, tagged: bool) -> bool {
    const NEEDED: [HeaderName; 7] = [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY, VIA];
    NEEDED.iter().any(|needed| needed == name)
        || (!tagged && LAST_MODIFIED == name)
        // What the application adds for scripts is part of the metadata that a 304 updates.
        || name.starts_with("access-control-")
}

/// Whether a range request still means the stored representation (RFC 9110 section 13.1.5).
pub fn if_range_holds(request: &HeaderMap, stored: &impl ByName) -> bool {
    let Some(condition) = request.get(IF_RANGE) else { return true };
    let condition = condition.as_bytes().trim_ascii();
    if condition.starts_with(b"\"") || condition.starts_with(b"W/") {
        // Strong comparison (section 8.8.3.2): a weak tag on either side never matches.
        return condition.starts_with(b"\"") && stored.first(&ETAG) == Some(condition);
    }
    stored.first(&LAST_MODIFIED) == Some(condition) && is_strong_date(stored)
}

/// The validator by which parts of one representation know one another (RFC 9111 section 3.4): a strong
/// entity tag, or else a date that is strong. A weak tag says that the bytes may differ all the same.
pub fn strong_validator(headers: &impl ByName) -> Option<&[u8]> {
    let mut tags = headers.all(&ETAG);
    match (tags.next(), tags.next()) {
        (Some(tag), None) => tag.trim_ascii().starts_with(b"\"").then_some(tag),
        (Some(_), Some(_)) => None,
        (None, _) => headers.first(&LAST_MODIFIED).filter(|_| is_strong_date(headers)),
    }
}

/// Whether two responses carry parts of one representation, byte for byte.
pub fn same_representation(a: &impl ByName, b: &impl ByName) -> bool {
    strong_validator(a).zip(strong_validator(b)).is_some_and(|(a, b)| a.trim_ascii() == b.trim_ascii())
}

/// Section 8.8.2.2: a date is a strong validator if it is at least a second before `Date`. It counts as weak unless that is
/// certain, so two digits are not enough for a year.
fn is_strong_date(stored: &impl ByName) -> bool {
    let dates = (timeless_date(stored, &LAST_MODIFIED), timeless_date(stored, &DATE));
    let (Some(modified), Some(made)) = dates else { return false };
    made.duration_since(modified).is_ok_and(|gap| gap.as_secs() >= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATE: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const OLD_FORM: &str = "Sunday, 06-Nov-94 08:49:37 GMT";

    /// Sat, 21 Nov 2026 10:00:01 GMT.
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_795_255_201)
    }

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn unchanged(request: &[(&'static str, &'static str)], stored: &[(&'static str, &'static str)]) -> bool {
        evaluate_conditional(&map(request), StatusCode::OK, &map(stored), now()) == Precondition::NotModified
    }

    #[test]
    fn entity_tags_compare_weakly_and_win_over_dates() {
        for (request, stored, expected) in [
            (&[("if-none-match", "\"a\"")][..], &[("etag", "\"a\"")][..], true),
            (&[("if-none-match", "W/\"a\"")], &[("etag", "\"a\"")], true),
            (&[("if-none-match", "\"a\"")], &[("etag", "W/\"a\"")], true),
            (&[("if-none-match", "\"x\", \"a\"")], &[("etag", "\"a\"")], true),
            (&[("if-none-match", "\"x\""), ("if-none-match", "\"a\"")], &[("etag", "\"a\"")], true),
            (&[("if-none-match", "\"x,y\"")], &[("etag", "\"x,y\"")], true),
            (&[("if-none-match", "\"x,y\"")], &[("etag", "\"x\"")], false),
            (&[("if-none-match", "*")], &[], true),
            (&[("if-none-match", "\"*\"")], &[("etag", "\"a\"")], false),
            (
                &[("if-none-match", "\"b\""), ("if-modified-since", LATE)],
                &[("etag", "\"a\""), ("last-modified", EARLY)],
                false,
            ),
            (&[("if-modified-since", EARLY)], &[("last-modified", EARLY)], true),
            (&[("if-modified-since", LATE)], &[("last-modified", EARLY)], true),
            (&[("if-modified-since", EARLY)], &[("last-modified", LATE)], false),
            (&[("if-modified-since", LATE)], &[("date", EARLY)], true),
            (&[("if-modified-since", "soon")], &[("last-modified", EARLY)], false),
            (&[("if-modified-since", EARLY)], &[], false),
            (&[], &[("etag", "\"a\"")], false),
        ] {
            assert_eq!(unchanged(request, stored), expected, "{request:?} {stored:?}");
        }
        let request = map(&[("if-none-match", "\"a\"")]);
        let with = |status| evaluate_conditional(&request, status, &map(&[("etag", "\"a\"")]), now());
        assert_eq!(with(StatusCode::NON_AUTHORITATIVE_INFORMATION), Precondition::NotModified);
        assert_eq!(with(StatusCode::NOT_FOUND), Precondition::Proceed);
    }

    #[test]
    fn a_304_updates_fields_but_not_those_of_the_body() {
        let stored = map(&[("etag", "\"a\""), ("x-a", "1"), ("x-a", "2"), ("content-encoding", "gzip"), ("x-b", "3")]);
        let answer = map(&[("x-a", "9"), ("content-length", "0"), ("content-encoding", "br"), ("x-c", "4")]);
        let expected =
            map(&[("etag", "\"a\""), ("x-a", "9"), ("content-encoding", "gzip"), ("x-b", "3"), ("x-c", "4")]);
        assert_eq!(updates(stored, &answer), expected);
    }

    #[test]
    fn a_304_confirms_only_what_its_validators_name() {
        for (stored, answer, expected) in [
            (&[("etag", "\"a\"")][..], &[("etag", "\"a\"")][..], true),
            (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], true),
            (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], true),
            (&[("etag", "W/\"a\"")], &[("etag", "\"a\"")], false),
            (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false),
            (&[("last-modified", EARLY)], &[("etag", "\"b\"")], false),
            (&[("last-modified", EARLY)], &[("last-modified", LATE)], false),
            (&[("etag", "\"a\"")], &[], true),
        ] {
            assert_eq!(confirms(&map(stored), &map(answer)), expected, "{stored:?} {answer:?}");
        }
    }

    #[test]
    fn if_range_needs_a_strong_validator() {
        let dated = [("last-modified", EARLY), ("date", LATE), ("etag", "\"a\"")];
        for (condition, stored, expected) in [
            ("\"a\"", &dated[..], true),
            ("\"b\"", &dated, false),
            ("W/\"a\"", &[("etag", "W/\"a\"")], false),
            (EARLY, &dated, true),
            (LATE, &dated, false),
            (EARLY, &[("last-modified", EARLY), ("date", EARLY)], false),
            (EARLY, &[("last-modified", EARLY)], false),
            (OLD_FORM, &[("last-modified", OLD_FORM), ("date", LATE)], false),
        ] {
            assert_eq!(if_range_holds(&map(&[("if-range", condition)]), &map(stored)), expected, "{condition}");
        }
        assert!(if_range_holds(&map(&[]), &map(&dated)));
    }

    #[test]
    fn our_conditions_come_from_the_validators() {
        assert_eq!(conditional_fields(&map(&[("x", "1")])), None);
        let fields = conditional_fields(&map(&[("etag", "\"a\""), ("last-modified", EARLY)])).unwrap();
        assert_eq!(fields, map(&[("if-none-match", "\"a\""), ("if-modified-since", EARLY)]));
    }

    #[test]
    fn a_304_of_ours_has_what_updates_the_copy_and_nothing_else() {
        let stored =
            ["cache-control", "content-type", "access-control-allow-origin", "last-modified", "set-cookie", "etag"];
        let kept = |tagged| stored.into_iter().filter(|name| is_for_not_modified(name, tagged)).collect::<Vec<_>>();
        assert_eq!(kept(true), ["cache-control", "access-control-allow-origin", "etag"]);
        assert_eq!(kept(false), ["cache-control", "access-control-allow-origin", "last-modified", "etag"]);
    }

    #[test]
    fn only_a_strong_validator_tells_that_two_parts_belong_together() {
        for (a, b, expected) in [
            (&[("etag", "\"a\"")][..], &[("etag", "\"a\"")][..], true),
            (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false),
            (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[("etag", "\"a\"")], &[("etag", "W/\"a\"")], false),
            (&[("etag", "a")], &[("etag", "a")], false),
            (&[("etag", "\"a\""), ("etag", "\"a\"")], &[("etag", "\"a\"")], false),
            (&[], &[], false),
            (&[("etag", "\"a\"")], &[], false),
            (&[("last-modified", EARLY), ("date", LATE)], &[("last-modified", EARLY), ("date", LATE)], true),
            (&[("last-modified", EARLY), ("date", EARLY)], &[("last-modified", EARLY), ("date", LATE)], false),
            (&[("last-modified", EARLY)], &[("last-modified", EARLY)], false),
            (
                &[("etag", "W/\"a\""), ("last-modified", EARLY), ("date", LATE)],
                &[("last-modified", EARLY), ("date", LATE)],
                false,
            ),
        ] {
            assert_eq!(same_representation(&map(a), &map(b)), expected, "{a:?} {b:?}");
        }
    }
}
