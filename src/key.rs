//! The cache key: which requests share stored responses. Pure.
//!
//! A key is one byte string: the length of the URL, the URL (scheme, host, path, query after the
//! route's query rules), the method class, the length-prefixed names and values of the header fields
//! and cookies that the route puts into the key, and for a method that is looked up by its body, that
//! [`Content`]. It is compared byte by byte on every hit, so a hash collision can never mix up two
//! resources.

mod buffer;
mod content;
pub mod json;

use std::borrow::Borrow;
use std::sync::Arc;

use http::header::{COOKIE, HeaderMap, HeaderName};
use smallvec::SmallVec;

pub use buffer::KeyBuffer;
pub use content::{BodyRule, Content, json as json_of};

/// Which parts of a request beyond scheme, host and path a route puts into the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// Which query parameters count.
    pub query: QueryRule,
    /// Whether parameters are sorted by name (stable, so repeated names keep their order).
    pub sort_query: bool,
    /// Header fields whose values are part of the key.
    pub headers: Vec<HeaderName>,
    /// Cookies whose values are part of the key.
    pub cookies: Vec<String>,
    /// Whether `Cache-Status` names the key (RFC 9211 section 2.7).
    pub show: bool,
    /// Whether `No-Vary-Search` of responses counts: a look-up that finds nothing tries other queries.
    pub no_vary_search: bool,
    /// Methods that are looked up with their body in the key; `None` for GET and HEAD alone.
    pub body: Option<BodyRule>,
}

/// Which query parameters are part of the key. Names may end in `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum QueryRule {
    /// The whole query.
    #[default]
    All,
    /// No query at all.
    Ignore,
    /// Only these parameters.
    Allow(Vec<String>),
    /// All but these parameters.
    Deny(Vec<String>),
}

/// Whether `name` is `pattern`, or begins with it where the pattern ends in `*`.
fn named(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

impl QueryRule {
    fn keeps(&self, name: &str) -> bool {
        let listed = |list: &[String]| list.iter().any(|pattern| named(pattern, name));
        match self {
            Self::All => true,
            Self::Ignore => false,
            Self::Allow(list) => listed(list),
            Self::Deny(list) => !listed(list),
        }
    }
}

/// Requests that may share a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodClass {
    /// GET, and HEAD answered from a stored GET.
    Get = b'G' as isize,
    /// POST on a route that keys it by its body. Never shared with GET: the same URL means another thing.
    Post = b'P' as isize,
    /// QUERY on such a route.
    Query = b'Q' as isize,
}

/// What a key is made of.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host with port, as the client sent it.
    pub host: &'a str,
    /// Path as the client sent it.
    pub path: &'a str,
    /// Query without `?`, if there is one.
    pub query: Option<&'a str>,
}

const LENGTH_BYTES: usize = 4;

/// Builds the key of a request.
pub fn build(target: Target<'_>, class: MethodClass, rules: &KeyRules, headers: &HeaderMap) -> KeyBuffer {
    let mut key = KeyBuffer::new();
    key.extend_from_slice(&[0; LENGTH_BYTES]);
    push_url(&mut key, target, rules);
    let url_length = u32::try_from(key.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
    key[..LENGTH_BYTES].copy_from_slice(&url_length.to_be_bytes());
    key.push(class as u8);
    for name in &rules.headers {
        push_name(&mut key, b'h', name.as_str());
        push_field(&mut key, headers, name);
    }
    for name in &rules.cookies {
        push_name(&mut key, b'c', name);
        push_list(&mut key, cookies(headers, name));
    }
    key
}

/// What a value is the value of: a reload, or an instance that has another configuration, may put other fields or
/// another order into the key, and what is stored stays.
fn push_name(key: &mut KeyBuffer, kind: u8, name: &str) {
    key.push(kind);
    push_part(key, Some(name.as_bytes()));
}

fn push_field(key: &mut KeyBuffer, headers: &HeaderMap, name: &HeaderName) {
    push_list(key, headers.get_all(name).iter().map(http::HeaderValue::as_bytes));
}

fn push_list<'a>(key: &mut KeyBuffer, mut values: impl Iterator<Item = &'a [u8]>) {
    push_part(key, values.next());
    for value in values {
        push_part(key, Some(value));
    }
    key.push(b';');
}

/// The URL part of the key that a request for `target` would have: what a purge by URL names.
pub fn url(target: Target<'_>, rules: &KeyRules) -> String {
    let mut text = KeyBuffer::new();
    push_url(&mut text, target, rules);
    String::from_utf8_lossy(&text).into_owned()
}

fn push_url(key: &mut KeyBuffer, target: Target<'_>, rules: &KeyRules) {
    // Once for all of it, and for the method class.
    let query = target.query.map_or(0, |query| 1 + query.len());
    key.reserve(target.scheme.len() + 3 + target.host.len() + target.path.len() + query + 1);
    key.extend_from_slice(target.scheme.as_bytes());
    key.extend_from_slice(b"://");
    let default_port = if target.scheme == "https" { ":443" } else { ":80" };
    let host = target.host.strip_suffix(default_port).unwrap_or(target.host);
    let start = key.len();
    key.extend_from_slice(host.as_bytes());
    key[start..].make_ascii_lowercase();
    key.extend_from_slice(target.path.as_bytes());
    if let Some(query) = target.query {
        push_query(key, query, rules);
    }
}

fn push_query(key: &mut KeyBuffer, query: &str, rules: &KeyRules) {
    if rules.query == QueryRule::All && !rules.sort_query {
        key.push(b'?');
        key.extend_from_slice(query.as_bytes());
        return;
    }
    let mut pairs: SmallVec<[&str; 16]> =
        query.split('&').filter(|pair| !pair.is_empty() && rules.query.keeps(parameter_name(pair))).collect();
    if rules.sort_query {
        pairs.sort_by(|a, b| parameter_name(a).cmp(parameter_name(b)));
    }
    for (index, pair) in pairs.iter().enumerate() {
        key.push(if index == 0 { b'?' } else { b'&' });
        key.extend_from_slice(pair.as_bytes());
    }
}

/// Appends an optional value so that no two different lists of values give the same bytes.
fn push_part(key: &mut KeyBuffer, value: Option<&[u8]>) {
    let Some(value) = value else {
        key.push(0);
        return;
    };
    key.push(1);
    let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(value);
}

fn parameter_name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

/// Whether the query has a parameter of this name, which may end in `*`.
pub fn has_parameter(query: &str, pattern: &str) -> bool {
    query.split('&').any(|pair| !pair.is_empty() && named(pattern, parameter_name(pair)))
}

fn cookie_pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(COOKIE).iter();
    fields.flat_map(|field| field.as_bytes().split(|&b| b == b';').map(<[u8]>::trim_ascii))
}

/// What stands behind the name of each cookie called `name`. All of them count: some servers take the first, some the
/// last, and whoever sends two must not fill the place of those who send one.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    cookie_pairs(headers).filter(move |pair| cookie_name(pair) == name.as_bytes()).map(move |pair| &pair[name.len()..])
}

/// Servers ignore white space in front of the equals sign, though no browser sends any.
fn cookie_name(pair: &[u8]) -> &[u8] {
    pair.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii_end()
}

/// Whether there is a cookie of this name, which may end in `*`.
pub fn has_cookie(headers: &HeaderMap, pattern: &str) -> bool {
    cookie_pairs(headers).any(|pair| std::str::from_utf8(cookie_name(pair)).is_ok_and(|name| named(pattern, name)))
}

/// The URL part of a key's bytes.
pub fn url_of(key: &[u8]) -> &str {
    let url = key.split_first_chunk::<LENGTH_BYTES>().and_then(|(length, rest)| {
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        std::str::from_utf8(rest.get(..length)?).ok()
    });
    url.unwrap_or_default()
}

/// The query in the URL part of a key's bytes.
pub fn query_of(key: &[u8]) -> Option<&str> {
    Some(url_of(key).split_once('?')?.1)
}

/// The same key with another query in its URL part; `None` if it is no key.
pub fn with_query(key: &[u8], query: Option<&str>) -> Option<KeyBuffer> {
    let url = url_of(key);
    let rest = key.get(LENGTH_BYTES + url.len()..)?;
    let path = url.split('?').next().unwrap_or_default();
    let length = path.len() + query.map_or(0, |query| 1 + query.len());
    let mut other = KeyBuffer::from(&u32::try_from(length).ok()?.to_be_bytes()[..]);
    other.extend_from_slice(path.as_bytes());
    if let Some(query) = query {
        other.push(b'?');
        other.extend_from_slice(query.as_bytes());
    }
    other.extend_from_slice(rest);
    Some(other)
}

/// A key as a string of RFC 8941: its URL, and the names of the fields and cookies that are part of
/// it. Not their values, which may be secrets. `None` for a URL that no such string can hold.
pub fn shown(url: &str, rules: &KeyRules) -> Option<String> {
    let fields = rules.headers.iter().map(|name| format!(" field:{name}"));
    let parts: String = fields.chain(rules.cookies.iter().map(|name| format!(" cookie:{name}"))).collect();
    let text = format!("{url}{parts}");
    let fits = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    fits.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// A finished key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key(Arc<[u8]>);

impl Key {
    /// Takes over a key that [`build`] made.
    pub fn new(buffer: &KeyBuffer) -> Self {
        Self(Arc::from(buffer.as_slice()))
    }

    /// The key of a URL, as [`url`] gives it, without header and cookie parts.
    pub fn of_url(url: &str, class: MethodClass) -> Self {
        let length = u32::try_from(url.len()).unwrap_or(u32::MAX);
        Self([&length.to_be_bytes()[..], url.as_bytes(), &[class as u8]].concat().into())
    }

    /// The URL part.
    pub fn url(&self) -> &str {
        url_of(&self.0)
    }

    /// The path and query of the URL part: what the origin is asked for.
    pub fn path_and_query(&self) -> &str {
        let url = self.url();
        let after_scheme = url.find("://").map_or(0, |at| at + 3);
        let path = url[after_scheme..].find('/').map_or(url.len(), |at| after_scheme + at);
        &url[path..]
    }

    /// All bytes of the key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn key(host: &str, path: &str, query: Option<&str>, rules: &KeyRules, headers: &HeaderMap) -> Key {
        let target = Target { scheme: "http", host, path, query };
        Key::new(&build(target, MethodClass::Get, rules, headers))
    }

    #[test]
    fn hosts_share_a_key_across_case_and_default_port_only() {
        let plain = |host| key(host, "/a", None, &KeyRules::default(), &HeaderMap::new());
        assert_eq!(plain("API.test"), plain("api.test:80"));
        assert_ne!(plain("api.test"), plain("api.test:8080"));
        assert_eq!(plain("api.test").url(), "http://api.test/a");
        assert_eq!(plain("api.test").path_and_query(), "/a");
    }

    #[test]
    fn query_rules_filter_and_sort() {
        let with = |query, sort_query| KeyRules { query, sort_query, ..KeyRules::default() };
        let url =
            |rules: &KeyRules, query| key("h", "/", Some(query), rules, &HeaderMap::new()).path_and_query().to_owned();
        assert_eq!(url(&with(QueryRule::All, true), "b=1&a=2&b=0"), "/?a=2&b=1&b=0");
        assert_eq!(url(&with(QueryRule::Deny(vec!["utm_*".into()]), false), "utm_x=1&q=2"), "/?q=2");
        assert_eq!(url(&with(QueryRule::Allow(vec!["q".into()]), false), "utm_x=1&q=2"), "/?q=2");
        assert_eq!(url(&with(QueryRule::Ignore, false), "q=2"), "/");
        assert_eq!(url(&with(QueryRule::All, false), ""), "/?");
    }

    #[test]
    fn the_query_of_a_key_can_be_replaced_and_nothing_else_changes() {
        let rules = KeyRules { headers: vec![HeaderName::from_static("x-a")], ..KeyRules::default() };
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-a"), HeaderValue::from_static("?1"))]);
        let with = |query| key("h", "/a", query, &rules, &headers);
        for (from, to) in [(None, Some("b=1")), (Some("b=1"), None), (Some("b=1?"), Some("")), (Some(""), Some("c"))] {
            assert_eq!(query_of(with(from).as_bytes()), from);
            assert_eq!(with_query(with(from).as_bytes(), to).unwrap().as_slice(), with(to).as_bytes());
        }
    }

    #[test]
    fn header_and_cookie_values_never_run_into_each_other() {
        let rules = KeyRules {
            headers: vec![HeaderName::from_static("x-a"), HeaderName::from_static("x-b")],
            cookies: vec!["tenant".into()],
            ..KeyRules::default()
        };
        let make = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            key("h", "/", None, &rules, &headers)
        };
        let all = [
            make(&[]),
            make(&[("x-a", "")]),
            make(&[("x-b", "")]),
            make(&[("x-a", "12")]),
            make(&[("x-a", "1"), ("x-a", "2")]),
            make(&[("x-a", "1"), ("x-b", "2")]),
            make(&[("cookie", "tenant=12")]),
            make(&[("cookie", "tenant=1; tenant=2")]),
            make(&[("cookie", "tenant=2; tenant=1")]),
            make(&[("cookie", "tenant=1; tenant")]),
            make(&[("cookie", "other=1; tenant=2")]),
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }
}
