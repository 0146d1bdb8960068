//! Which request fields select a stored response (RFC 9111 section 4.1).

use std::borrow::Cow;
use std::cmp::Ordering;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, HeaderMap, HeaderName, VARY};
use smallvec::SmallVec;

use super::coding::{self, Accepted};
use super::fields::{ByName, members, weight};

/// What a response varies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// On more than request fields can tell: it never matches another request.
    Star,
    /// On these fields, sorted, each once.
    Names(SmallVec<[HeaderName; 4]>),
}

impl Vary {
    /// All `Vary` fields of a response. A member that is no field name can not be compared, so it
    /// counts as `*`.
    pub fn of(response: &impl ByName) -> Self {
        let mut names = SmallVec::new();
        for member in response.all(&VARY).flat_map(|field| field.split(|&b| b == b',')) {
            match member.trim_ascii() {
                b"" => {}
                b"*" => return Self::Star,
                name => match HeaderName::from_bytes(name) {
                    Ok(name) => names.push(name),
                    Err(_) => return Self::Star,
                },
            }
        }
        Self::on(names)
    }

    fn on(mut names: SmallVec<[HeaderName; 4]>) -> Self {
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self::Names(names)
    }

    /// On these fields as well: what a stored response was found to vary on, it goes on varying on, whether or not its
    /// stored fields and later ones say so.
    pub fn and(self, selecting: &Selecting) -> Self {
        match self {
            Self::Star => Self::Star,
            Self::Names(mut names) => {
                names.extend(selecting.names().iter().cloned());
                Self::on(names)
            }
        }
    }

    /// The fields; none for `*`.
    pub fn names(&self) -> &[HeaderName] {
        match self {
            Self::Star => &[],
            Self::Names(names) => names,
        }
    }
}

/// The selecting fields of one request, normalised. Most responses have none, so that is one word.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selecting(Option<Box<Columns>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Columns {
    names: Box<[HeaderName]>,
    values: Box<[Option<Bytes>]>,
}

impl Selecting {
    /// No fields.
    pub const NONE: Self = Self(None);

    /// What `request` has in these fields.
    pub fn new(names: &[HeaderName], request: &HeaderMap) -> Self {
        let values = names.iter().map(|name| normalised(name, request).map(|v| Bytes::copy_from_slice(&v))).collect();
        Self::of(names.into(), values)
    }

    fn of(names: Box<[HeaderName]>, values: Box<[Option<Bytes>]>) -> Self {
        Self((!names.is_empty()).then(|| Box::new(Columns { names, values })))
    }

    /// Whether another request would have selected the same. Allocates nothing if no field needs
    /// normalising.
    pub fn matches(&self, request: &HeaderMap) -> bool {
        self.fields().all(|(name, stored)| same(name, stored, request))
    }

    /// Whether the stored response is in the language that another request likes best, and matches in
    /// every other selecting field. RFC 9110 section 12.5.4 leaves the choice to the server; the one
    /// language that is liked best, and that the origin has sent before, is what it would send again.
    pub fn speaks(&self, response: &impl ByName, request: &HeaderMap) -> bool {
        let Some(language) = only_language(response) else { return false };
        // Who asked named languages, this among them, and nothing else that might show in the response.
        let asked = self.fields().find(|(name, _)| **name == ACCEPT_LANGUAGE).and_then(|(_, asked)| asked);
        asked.is_some_and(|asked| names(asked, language))
            && favourite(request)
                .is_some_and(|range| covers(&range, language) && !is_excepted(&range, language, request))
            && self.fields().all(|(name, stored)| *name == ACCEPT_LANGUAGE || same(name, stored, request))
    }

    /// Whether the stored response is in a coding that another request likes no less than any other, and matches in
    /// every other selecting field. RFC 9110 section 12.5.3 leaves the choice among those to the server.
    pub fn unpacks(&self, response: &impl ByName, request: &HeaderMap) -> bool {
        self.names().contains(&ACCEPT_ENCODING)
            && coding::only_coding(response).is_some_and(|coding| Accepted::of(request).favours(coding))
            && self.fields().all(|(name, stored)| *name == ACCEPT_ENCODING || same(name, stored, request))
    }

    /// The fields.
    pub fn names(&self) -> &[HeaderName] {
        self.0.as_ref().map_or(&[], |columns| &columns.names)
    }

    /// The fields with their normalised values.
    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, Option<&Bytes>)> {
        let values = self.0.as_ref().map_or(&[][..], |columns| &columns.values);
        self.names().iter().zip(values.iter().map(Option::as_ref))
    }

    /// What [`fields`](Self::fields) gave elsewhere.
    pub fn restored(fields: Vec<(HeaderName, Option<Bytes>)>) -> Self {
        let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
        Self::of(names.into(), values.into())
    }
}

/// Whether a request has in this field what was stored.
fn same(name: &HeaderName, stored: Option<&Bytes>, request: &HeaderMap) -> bool {
    match (stored, request.get(name)) {
        (None, None) => true,
        (Some(stored), Some(_)) => normalised(name, request).is_some_and(|value| *stored == *value),
        _ => false,
    }
}

/// The language of a response, if it is in exactly one.
fn only_language(response: &impl ByName) -> Option<&[u8]> {
    let mut fields = response.all(&CONTENT_LANGUAGE);
    let (first, more) = (fields.next()?.trim_ascii(), fields.next());
    (more.is_none() && !first.is_empty() && memchr::memchr(b',', first).is_none()).then_some(first)
}

/// The language range that a request likes better than every other, in lower case.
fn favourite(request: &HeaderMap) -> Option<Vec<u8>> {
    let members = request.get_all(ACCEPT_LANGUAGE).iter().flat_map(|field| field.as_bytes().split(|&b| b == b','));
    let mut best: Option<(Vec<u8>, u16)> = None;
    let mut tied = false;
    for member in members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
        let mut parts = member.splitn(2, |&b| b == b';').map(<[u8]>::trim_ascii);
        let range = parts.next()?.to_ascii_lowercase();
        // What is no weight makes the whole field one that nobody can read.
        let weight = parts.next().map_or(Some(1000), weight)?;
        match best.as_ref().map_or(Ordering::Greater, |(_, most)| weight.cmp(most)) {
            Ordering::Less => {}
            // No order is given among equals.
            Ordering::Equal => tied = true,
            Ordering::Greater => (best, tied) = (Some((range, weight)), false),
        }
    }
    best.filter(|(range, weight)| !tied && *weight > 0 && range != b"*").map(|(range, _)| range)
}

/// Whether a request names this tag by a longer range as well, which it does not like as much: RFC 2616 section
/// 14.4 had the longest one count, and its successors leave it to the server.
fn is_excepted(favourite: &[u8], tag: &[u8], request: &HeaderMap) -> bool {
    let members = request.get_all(ACCEPT_LANGUAGE).iter().flat_map(|field| field.as_bytes().split(|&b| b == b','));
    let ranges = members.map(|member| member.split(|&b| b == b';').next().unwrap_or_default().trim_ascii());
    ranges.into_iter().any(|range| range.len() > favourite.len() && covers(range, tag))
}

/// Whether a normalised list has nothing but language ranges with their weights, one of them for this tag.
fn names(list: &[u8], tag: &[u8]) -> bool {
    let mut ranges = list.split(|&b| b == b',').map(|member| {
        let mut parts = member.trim_ascii().splitn(2, |&b| b == b';');
        let (range, weighed) =
            (parts.next().unwrap_or_default(), parts.next().is_none_or(|part| weight(part).is_some()));
        (range, weighed && range.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-' || b == b'*'))
    });
    let mut named = false;
    ranges.all(|(range, plain)| {
        named |= covers(range, tag);
        plain
    }) && named
}

/// RFC 4647 section 3.3.1: a range covers a tag that it equals or that continues it after a hyphen.
fn covers(range: &[u8], tag: &[u8]) -> bool {
    let Some((start, rest)) = tag.split_at_checked(range.len()) else { return false };
    start.eq_ignore_ascii_case(range) && matches!(rest.first(), None | Some(b'-'))
}

/// The value of a field in the form that is compared: several fields joined, white space around
/// list members removed, and where order and case mean nothing, neither counts.
fn normalised<'a>(name: &HeaderName, request: &'a HeaderMap) -> Option<Cow<'a, [u8]>> {
    let mut fields = request.get_all(name).iter();
    let first = fields.next()?.as_bytes();
    let unordered = *name == ACCEPT_ENCODING || *name == ACCEPT_LANGUAGE;
    let rest: SmallVec<[&[u8]; 2]> = fields.map(http::HeaderValue::as_bytes).collect();
    if rest.is_empty() && !unordered && is_plain(first) {
        return Some(first.into());
    }
    let all: SmallVec<[&[u8]; 4]> = std::iter::once(first).chain(rest).collect();
    let all = all.join(&b", "[..]);
    let normalised = if unordered {
        let members = all.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
        let mut preferences: Vec<Cow<'_, [u8]>> = members.map(preference).collect();
        preferences.sort_unstable();
        preferences.join(&b", "[..])
    } else {
        members(&all).collect::<Vec<_>>().join(&b", "[..])
    };
    Some(normalised.into())
}

/// Whether a single field needs no normalising: no list, no outer white space.
fn is_plain(value: &[u8]) -> bool {
    memchr::memchr(b',', value).is_none() && value.trim_ascii().len() == value.len()
}

/// A member of `Accept-Encoding` or `Accept-Language` (RFC 9110 section 12.4.2): the name in lower
/// case and the weight in thousandths, so that equal preferences read the same however written. What
/// is no such member is kept as it is, since nobody knows what the origin makes of it.
fn preference(member: &[u8]) -> Cow<'_, [u8]> {
    let mut parts = member.splitn(2, |&b| b == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().unwrap_or_default();
    let weight = parts.next().map_or(Some(1000), weight);
    // The characters of a token are those of a field name.
    match (HeaderName::from_bytes(name), weight) {
        (Ok(name), Some(1000)) => name.as_str().as_bytes().to_vec().into(),
        (Ok(name), Some(weight)) => format!("{};q=0.{weight:03}", name.as_str()).into_bytes().into(),
        _ => member.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn names_are_sorted_and_unique_and_anything_odd_is_a_star() {
        let names = |fields: &[(&'static str, &'static str)]| match Vary::of(&map(fields)) {
            Vary::Star => vec!["*".to_owned()],
            Vary::Names(names) => names.iter().map(|n| n.as_str().to_owned()).collect(),
        };
        assert_eq!(names(&[("vary", "B, a"), ("vary", "A,")]), ["a", "b"]);
        assert_eq!(names(&[("vary", "a, *")]), ["*"]);
        assert_eq!(names(&[("vary", "a b")]), ["*"]);
        assert!(names(&[]).is_empty());
    }

    #[test]
    fn requests_match_when_their_selecting_fields_mean_the_same() {
        let matches = |name: &'static str, a: &[&'static str], b: &[&'static str]| {
            let fields = |values: &[&'static str]| values.iter().map(|v| (name, *v)).collect::<Vec<_>>();
            Selecting::new(&[HeaderName::from_static(name)], &map(&fields(a))).matches(&map(&fields(b)))
        };
        for (name, a, b, expected) in [
            ("x-a", &["1"][..], &["1"][..], true),
            ("x-a", &["1"], &["2"], false),
            ("x-a", &[], &[], true),
            ("x-a", &[], &["1"], false),
            ("x-a", &["1"], &[], false),
            ("x-a", &[""], &[], false),
            ("x-a", &["1,2"], &["1 ,  2"], true),
            ("x-a", &["1", "2"], &["1, 2"], true),
            ("x-a", &["1, 2"], &["2, 1"], false),
            ("x-a", &["a"], &["A"], false),
            ("accept-encoding", &["gzip, br"], &["BR", "gzip"], true),
            ("accept-encoding", &["gzip;q=1.0, br"], &["br, gzip"], true),
            ("accept-encoding", &["gzip;q=0.5, br"], &["br, gzip"], false),
            ("accept-encoding", &["gzip; q=0.50"], &["gzip;q=0.5"], true),
            ("accept-language", &["de, en;q=0.8"], &["en; q=0.8, DE"], true),
            ("accept-language", &["de"], &["en"], false),
            ("accept-language", &["de;q=x"], &["de"], false),
        ] {
            assert_eq!(matches(name, a, b), expected, "{name}: {a:?} {b:?}");
        }
    }

    #[test]
    fn what_is_restored_elsewhere_matches_the_same_requests() {
        let names = ["x-a", "x-b"].map(HeaderName::from_static);
        let request = map(&[("x-a", "1,  2")]);
        let here = Selecting::new(&names, &request);
        let there = Selecting::restored(here.fields().map(|(name, value)| (name.clone(), value.cloned())).collect());
        assert_eq!(there, here);
        assert_eq!(there.names(), names);
        assert!(there.matches(&request) && !there.matches(&map(&[("x-b", "1")])));
    }

    #[test]
    fn a_response_in_a_coding_that_is_liked_as_well_as_any_is_selected_and_no_other() {
        let names = [ACCEPT_ENCODING, HeaderName::from_static("foo")];
        let stored = Selecting::new(&names, &map(&[("accept-encoding", "gzip, br"), ("foo", "1")]));
        let gzipped = map(&[("content-encoding", "gzip")]);
        let ask = |value| map(&[("accept-encoding", value), ("foo", "1")]);
        for accepting in ["gzip", "x-gzip", "br, gzip, zstd", "gzip;q=0.5, br;q=0.4", "identity;q=0.1, gzip;q=0.1", "*"]
        {
            assert!(stored.unpacks(&gzipped, &ask(accepting)), "{accepting}");
        }
        for other in ["", "br", "gzip;q=0", "gzip;q=0.5, br", "identity, gzip;q=0.9", "*;q=0", "gzip;q=nan"] {
            assert!(!stored.unpacks(&gzipped, &ask(other)), "{other}");
        }
        assert!(!stored.unpacks(&gzipped, &map(&[("foo", "1")])), "a request that does not say");
        for response in [&[][..], &[("content-encoding", "gzip, br")], &[("content-encoding", "deflate")]] {
            assert!(!stored.unpacks(&map(response), &ask("gzip, br, deflate")), "{response:?}");
        }
        assert!(!stored.unpacks(&gzipped, &map(&[("accept-encoding", "gzip"), ("foo", "2")])), "another field differs");
        let plain = Selecting::new(&names[1..], &map(&[("foo", "1")]));
        assert!(!plain.unpacks(&gzipped, &ask("gzip")), "it does not vary on codings");
    }

    #[test]
    fn a_star_names_nothing() {
        assert!(Vary::of(&map(&[("vary", "*")])).names().is_empty());
    }

    #[test]
    fn a_response_in_the_language_liked_best_is_selected_and_no_other() {
        let names = [ACCEPT_LANGUAGE, HeaderName::from_static("foo")];
        let stored = Selecting::new(&names, &map(&[("accept-language", "en, de;q=0.5"), ("foo", "1")]));
        let german = map(&[("content-language", "de")]);
        let ask = |value| map(&[("accept-language", value), ("foo", "1")]);
        for asked in ["en", "de <script>", "de, <script>", "de;q=x"] {
            let other = Selecting::new(&names, &map(&[("accept-language", asked), ("foo", "1")]));
            assert!(!other.speaks(&german, &ask("de, fr;q=0.1")), "{asked} may show in the response");
        }
        for liked in ["fr;q=0.5, de;q=1.0", "de", "DE, en;q=0.9", "*;q=0.1,de"] {
            assert!(stored.speaks(&german, &ask(liked)), "{liked}");
        }
        for other in ["fr, de;q=0.9", "de, en", "*", "de;q=0", "d", "de-CH", "de;level=1", "de;q=nan", "de;q=2", ""] {
            assert!(!stored.speaks(&german, &ask(other)), "{other}");
        }
        let swiss = map(&[("content-language", "de-CH")]);
        assert!(
            stored.speaks(&swiss, &ask("de")) && stored.speaks(&swiss, &ask("de, de-AT;q=0")),
            "a range covers its kind"
        );
        for asked in ["de, de-CH;q=0", "de-ch;q=0.5, de"] {
            assert!(!stored.speaks(&swiss, &ask(asked)), "{asked}: but not where it says otherwise");
        }
        assert!(!stored.speaks(&map(&[("content-language", "de, en")]), &ask("de")), "a mixed response");
        assert!(!stored.speaks(&map(&[]), &ask("de")), "one that does not say");
        assert!(!stored.speaks(&german, &map(&[("accept-language", "de"), ("foo", "2")])), "another field differs");
        let plain = Selecting::new(&names[1..], &map(&[("foo", "1")]));
        assert!(!plain.speaks(&german, &ask("de")), "it does not vary on languages");
    }

    #[test]
    fn a_malformed_preference_matches_nothing_but_itself() {
        let selecting = |value| map(&[("accept-language", value)]);
        let matches = |a, b| Selecting::new(&[ACCEPT_LANGUAGE], &selecting(a)).matches(&selecting(b));
        for (malformed, like) in [
            ("de;x=1", "de"),
            ("de;q=0.5;x", "de;q=0.5"),
            ("de;q=0.0004", "de;q=0"),
            ("de;q=0.99999999", "de"),
            ("de;q=1e0", "de"),
            ("de;q=1.001", "de"),
            ("de;q=+1", "de"),
            ("de;q=-1", "de;q=0"),
            ("de;q=nan", "de;q=-nan"),
            ("de; q = 1", "de"),
            (";q=1", ""),
        ] {
            assert!(!matches(malformed, like) && !matches(like, malformed), "{malformed}");
            assert!(matches(malformed, malformed), "{malformed}");
        }
        assert!(matches("de;q=0., fr;q=1.", "de;q=0.000, fr"));
    }

    #[test]
    fn white_space_inside_a_quoted_string_counts() {
        let selecting = |value| map(&[("x-a", value)]);
        let matches = |a, b| Selecting::new(&[HeaderName::from_static("x-a")], &selecting(a)).matches(&selecting(b));
        assert!(!matches("\"a,b\"", "\"a, b\""));
        assert!(!matches(r#""a\", b", c"#, r#""a\",b", c"#));
        assert!(matches("\"a,b\" , c", "\"a,b\",c"));
    }
}
