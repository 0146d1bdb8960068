//! `Cache-Control` and targeted fields (RFC 9111 section 5.2, RFC 9213), parsed once into a struct.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::fields::members;

/// RFC 9213 section 3.1: addressed to caches like this one.
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The largest delta-seconds that is told apart (RFC 9111 section 1.2.2): 68 years.
const DELTA_MAX: u64 = 1 << 31;

/// The directives of one message. A time is `Some` if the directive is there; one whose argument
/// is missing or no number counts as zero, since RFC 9111 section 4.2.1 encourages caches to take
/// invalid freshness information as stale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// 5.2.1.5 and 5.2.2.5.
    pub no_store: bool,
    /// 5.2.1.4 and 5.2.2.4 without field names.
    pub no_cache: bool,
    /// 5.2.2.4: these fields must not be reused without validation.
    pub no_cache_fields: Vec<HeaderName>,
    /// 5.2.2.7 without field names.
    pub private: bool,
    /// 5.2.2.7: these fields are for one user alone.
    pub private_fields: Vec<HeaderName>,
    /// 5.2.2.9.
    pub public: bool,
    /// 5.2.2.2.
    pub must_revalidate: bool,
    /// 5.2.2.8.
    pub proxy_revalidate: bool,
    /// 5.2.2.3.
    pub must_understand: bool,
    /// 5.2.1.7.
    pub only_if_cached: bool,
    /// 5.2.1.1 and 5.2.2.1.
    pub max_age: Option<Duration>,
    /// 5.2.2.10.
    pub s_maxage: Option<Duration>,
    /// 5.2.1.3.
    pub min_fresh: Option<Duration>,
    /// 5.2.1.2; without an argument any staleness is accepted.
    pub max_stale: Option<Duration>,
    /// RFC 5861 section 3.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 section 4.
    pub stale_if_error: Option<Duration>,
}

impl Directives {
    /// The directives of a request: its `Cache-Control`.
    pub fn of_request(headers: &HeaderMap) -> Self {
        Self::of_cache_control(headers)
    }

    /// The directives of a response that are addressed to this cache, and whether they came from a
    /// targeted field, which then replaces `Cache-Control` and `Expires` (RFC 9213 section 2.2).
    pub fn of_response(headers: &HeaderMap) -> (Self, bool) {
        match Self::targeted(headers) {
            Some(directives) => (directives, true),
            None => (Self::of_cache_control(headers), false),
        }
    }

    fn of_cache_control(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for field in headers.get_all(CACHE_CONTROL) {
            for member in members(field.as_bytes()) {
                let (name, argument) = match member.iter().position(|&b| b == b'=') {
                    Some(at) => (&member[..at], Some(unquoted(&member[at + 1..]))),
                    None => (member, None),
                };
                directives.add(&name.to_ascii_lowercase(), argument.as_deref());
            }
        }
        directives
    }

    /// A targeted field is a structured dictionary; one that is invalid or empty is ignored as a
    /// whole (RFC 9213 section 2.1).
    fn targeted(headers: &HeaderMap) -> Option<Self> {
        let fields: Vec<&[u8]> = headers.get_all(CDN_CACHE_CONTROL).iter().map(http::HeaderValue::as_bytes).collect();
        if fields.is_empty() {
            return None;
        }
        let dictionary: Dictionary = Parser::new(&fields.join(&b", "[..])).parse().ok()?;
        let mut directives = Self::default();
        for (name, entry) in &dictionary {
            let ListEntry::Item(item) = entry else { continue };
            let name = name.as_str().as_bytes();
            match &item.bare_item {
                BareItem::Boolean(true) => directives.add(name, None),
                BareItem::Integer(seconds) => directives.add(name, Some(seconds.to_string().as_bytes())),
                BareItem::String(text) if !takes_seconds(name) => directives.add(name, Some(text.as_str().as_bytes())),
                // RFC 9213 section 2.1: a value of an unexpected type is ignored.
                _ => {}
            }
        }
        (!dictionary.is_empty()).then_some(directives)
    }

    fn add(&mut self, name: &[u8], argument: Option<&[u8]>) {
        match name {
            b"no-store" => self.no_store = true,
            b"no-cache" => note(&mut self.no_cache, &mut self.no_cache_fields, argument),
            b"private" => note(&mut self.private, &mut self.private_fields, argument),
            b"public" => self.public = true,
            b"must-revalidate" => self.must_revalidate = true,
            b"proxy-revalidate" => self.proxy_revalidate = true,
            b"must-understand" => self.must_understand = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => restrict(&mut self.max_age, argument),
            b"s-maxage" => restrict(&mut self.s_maxage, argument),
            b"min-fresh" => {
                let value = argument.map_or(Duration::ZERO, seconds);
                self.min_fresh = Some(self.min_fresh.map_or(value, |earlier| earlier.max(value)));
            }
            b"max-stale" => {
                let value = argument.map_or(Duration::MAX, seconds);
                self.max_stale = Some(self.max_stale.map_or(value, |earlier| earlier.min(value)));
            }
            b"stale-while-revalidate" => restrict(&mut self.stale_while_revalidate, argument),
            b"stale-if-error" => restrict(&mut self.stale_if_error, argument),
            _ => {}
        }
    }
}

/// Whether the value of a response directive is a time, and so an integer in a targeted field.
fn takes_seconds(name: &[u8]) -> bool {
    matches!(name, b"max-age" | b"s-maxage" | b"stale-while-revalidate" | b"stale-if-error")
}

/// A directive that holds for the whole message, or for the fields it names.
fn note(whole: &mut bool, fields: &mut Vec<HeaderName>, argument: Option<&[u8]>) {
    let Some(names) = argument else {
        *whole = true;
        return;
    };
    for name in names.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
        match HeaderName::from_bytes(name) {
            Ok(name) => fields.push(name),
            // An argument that names no field can only have been meant as a restriction.
            Err(_) => *whole = true,
        }
    }
}

/// Of several values the smallest counts: RFC 9111 section 4.2.1 allows to take a response with
/// conflicting lifetimes as stale, and the smallest is the cautious reading.
fn restrict(slot: &mut Option<Duration>, argument: Option<&[u8]>) {
    let value = argument.map_or(Duration::ZERO, seconds);
    *slot = Some(slot.map_or(value, |earlier| earlier.min(value)));
}

/// delta-seconds (RFC 9111 section 1.2.2): digits only; what is too large saturates.
fn seconds(argument: &[u8]) -> Duration {
    delta_seconds(argument).unwrap_or(Duration::ZERO)
}

/// Reads delta-seconds; `None` if it is anything but digits.
pub fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |total: u64, b: &u8| total.saturating_mul(10).saturating_add(u64::from(b - b'0'));
    Some(Duration::from_secs(text.iter().fold(0, digit).min(DELTA_MAX)))
}

/// The text of a token or a quoted string; a cache accepts both forms for every argument (RFC 9111
/// section 5.2).
fn unquoted(argument: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match argument.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        None => argument.into(),
        Some(inner) if !inner.contains(&b'\\') => inner.into(),
        Some(inner) => {
            let mut escaped = false;
            let keep = |b: &&u8| {
                escaped = **b == b'\\' && !escaped;
                !escaped
            };
            inner.iter().filter(keep).copied().collect::<Vec<u8>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn response(fields: &[(&'static str, &str)]) -> (Directives, bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Directives::of_response(&headers)
    }

    fn max_age(value: &str) -> Option<u64> {
        response(&[("cache-control", value)]).0.max_age.map(|age| age.as_secs())
    }

    #[test]
    fn a_lifetime_is_digits_in_either_form_and_anything_else_is_zero() {
        for (value, expected) in [
            ("max-age=60", Some(60)),
            ("MAX-AGE=60", Some(60)),
            ("max-age=\"60\"", Some(60)),
            ("max-age=007", Some(7)),
            ("max-age=99999999999999999999999", Some(DELTA_MAX)),
            ("max-age=-1", Some(0)),
            ("max-age=1.5", Some(0)),
            ("max-age='60'", Some(0)),
            ("max-age", Some(0)),
            ("max-age=", Some(0)),
            ("max-age =60", None),
            ("max-age= 60", Some(0)),
            ("x=\"max-age=5\"", None),
            ("x=\"a\\\",max-age=5\", max-age=9", Some(9)),
            ("max-age=60, max-age=5", Some(5)),
            ("max-age=5, max-age=60", Some(5)),
            (",,max-age=60,", Some(60)),
        ] {
            assert_eq!(max_age(value), expected, "{value}");
        }
    }

    #[test]
    fn qualified_forms_name_fields_and_unqualified_ones_hold_for_all() {
        let (d, _) = response(&[("cache-control", "no-cache=\"set-cookie, x-a\", private=X-B")]);
        assert_eq!(d.no_cache_fields, [HeaderName::from_static("set-cookie"), HeaderName::from_static("x-a")]);
        assert_eq!(d.private_fields, [HeaderName::from_static("x-b")]);
        assert!(!d.no_cache && !d.private);
        let (d, _) = response(&[("cache-control", "no-cache, private=\"\"")]);
        assert!(d.no_cache && d.private);
    }

    #[test]
    fn of_several_values_the_cautious_one_counts() {
        let fields = [("cache-control", "max-stale=5, max-stale, min-fresh=1, min-fresh=9, max-age=7, max-age=3")];
        let (d, _) = response(&fields);
        let seconds = |value: Option<Duration>| value.map(|v| v.as_secs());
        assert_eq!((seconds(d.max_stale), seconds(d.min_fresh), seconds(d.max_age)), (Some(5), Some(9), Some(3)));
    }

    #[test]
    fn a_targeted_field_wins_if_it_is_a_valid_dictionary() {
        let with = |cdn: &str| response(&[("cache-control", "max-age=1"), ("cdn-cache-control", cdn)]);
        let (d, targeted) = with("max-age=60, must-revalidate");
        assert!(targeted && d.must_revalidate);
        assert_eq!(d.max_age, Some(Duration::from_mins(1)));
        for ignored in ["", "max-age=60,,", "Max-Age=60", "max-age=60;;"] {
            let (d, targeted) = with(ignored);
            assert!(!targeted, "{ignored}");
            assert_eq!(d.max_age, Some(Duration::from_secs(1)), "{ignored}");
        }
        let (d, targeted) = with("max-age=1.5, no-store=?0, public");
        assert!(targeted && d.public && !d.no_store);
        assert_eq!(d.max_age, None, "a value of another type is ignored");
        let (d, _) = with("max-age=\"60\", s-maxage=5, private=\"x-a\"");
        assert_eq!((d.max_age, d.s_maxage), (None, Some(Duration::from_secs(5))), "a time is no string");
        assert_eq!(d.private_fields, [HeaderName::from_static("x-a")]);
    }

    #[test]
    fn max_stale_without_an_argument_accepts_any_staleness() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-stale, min-fresh=3, only-if-cached"));
        let d = Directives::of_request(&headers);
        assert_eq!(d.max_stale, Some(Duration::MAX));
        assert_eq!(d.min_fresh, Some(Duration::from_secs(3)));
        assert!(d.only_if_cached);
    }
}
