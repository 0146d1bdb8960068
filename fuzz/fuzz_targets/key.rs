//! The cache key: the rules of a route, and two requests, each with its URL in the first line and its fields in the
//! others.

#![no_main]

use http::{HeaderMap, HeaderName, Uri};
use libfuzzer_sys::fuzz_target;
use millpond::key::{self, Key, KeyRules, MethodClass, QueryRule, Target};
use millpond_fuzz::{fields, lines, sections, values};

fuzz_target!(|input: &[u8]| {
    let mut sections = sections(input);
    let mut next = || sections.next().unwrap_or_default();
    let rules = rules(next());
    let (Some(a), Some(b)) = (Request::read(next()), Request::read(next())) else { return };
    let (one, other) = (a.key(&rules), b.key(&rules));
    assert_eq!(one == other, a.identity(&rules) == b.identity(&rules), "{one:?} {other:?}");
    for (request, key) in [(&a, &one), (&b, &other)] {
        reads_as_it_was_made(request, key, &rules);
    }
});

struct Request {
    uri: Uri,
    headers: HeaderMap,
}

/// All that a key should tell apart.
#[derive(PartialEq)]
struct Identity {
    scheme: String,
    host: String,
    path: String,
    query: Query,
    headers: Vec<Vec<Vec<u8>>>,
    cookies: Vec<Vec<Vec<u8>>>,
}

#[derive(PartialEq)]
enum Query {
    AsItIs(Option<String>),
    Pairs(Vec<String>),
}

impl Request {
    fn read(section: &[u8]) -> Option<Self> {
        let end = section.iter().position(|&b| b == b'\n').unwrap_or(section.len());
        let uri: Uri = std::str::from_utf8(&section[..end]).ok()?.parse().ok()?;
        (uri.scheme().is_some() && uri.path().starts_with('/')).then(|| Self { uri, headers: fields(&section[end..]) })
    }

    fn target(&self) -> Target<'_> {
        Target {
            scheme: self.uri.scheme_str().unwrap_or_default(),
            host: self.uri.authority().map_or("", |authority| authority.as_str()),
            path: self.uri.path(),
            query: self.uri.query(),
        }
    }

    fn key(&self, rules: &KeyRules) -> Key {
        Key::new(&key::build(self.target(), MethodClass::Get, rules, &self.headers))
    }

    fn identity(&self, rules: &KeyRules) -> Identity {
        let Target { scheme, host, path, query } = self.target();
        let port = if scheme == "https" { ":443" } else { ":80" };
        Identity {
            scheme: scheme.into(),
            host: host.strip_suffix(port).unwrap_or(host).to_lowercase(),
            path: path.into(),
            query: match rules {
                KeyRules { query: QueryRule::All, sort_query: false, .. } => Query::AsItIs(query.map(str::to_owned)),
                _ => Query::Pairs(kept(query.unwrap_or_default(), rules)),
            },
            headers: rules.headers.iter().map(|name| values(&self.headers, name.as_str())).collect(),
            cookies: rules.cookies.iter().map(|name| cookies(&self.headers, name)).collect(),
        }
    }
}

/// The parameters that count, in the order in which they count.
fn kept(query: &str, rules: &KeyRules) -> Vec<String> {
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let mut pairs: Vec<String> = query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    pairs.retain(|pair| match &rules.query {
        QueryRule::All => true,
        QueryRule::Ignore => false,
        QueryRule::Allow(list) => list.iter().any(|pattern| fits(pattern, &name(pair))),
        QueryRule::Deny(list) => !list.iter().any(|pattern| fits(pattern, &name(pair))),
    });
    if rules.sort_query {
        pairs.sort_by_key(|pair| name(pair));
    }
    pairs
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |beginning| name.starts_with(beginning))
}

/// What stands behind the name of each cookie that is called so, the equals sign included.
fn cookies(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    let fields = values(headers, "cookie");
    let pairs = fields.iter().flat_map(|field| field.split(|&b| b == b';')).map(<[u8]>::trim_ascii);
    let rests = pairs.filter_map(|pair| {
        let at = pair.iter().position(|&b| b == b'=').unwrap_or(pair.len());
        (pair[..at].trim_ascii_end() == name.as_bytes()).then(|| pair[name.len()..].to_vec())
    });
    rests.collect()
}

fn reads_as_it_was_made(request: &Request, key: &Key, rules: &KeyRules) {
    let url = key::url(request.target(), rules);
    assert_eq!((key.url(), key::url_of(key.as_bytes())), (&*url, &*url), "a purge by URL names what is stored");
    let after_path = key.path_and_query().strip_prefix(request.uri.path()).expect("the path as it was sent");
    assert!(after_path.is_empty() || after_path.starts_with('?'));
    let query = after_path.strip_prefix('?');
    match &rules.query {
        QueryRule::All => {}
        QueryRule::Ignore => assert_eq!(query, None),
        QueryRule::Allow(list) => {
            for pair in query.into_iter().flat_map(|query| query.split('&')) {
                assert!(list.iter().any(|pattern| key::has_parameter(pair, pattern)), "{pair}");
            }
        }
        QueryRule::Deny(list) => {
            assert!(!list.iter().any(|pattern| query.is_some_and(|query| key::has_parameter(query, pattern))));
        }
    }
    // The origin is asked for the URL of the key; that request has the same key again.
    let again = key::url(Target { query, ..request.target() }, rules);
    assert_eq!(again, url);
}

/// The rules of a route, one on each line.
fn rules(section: &[u8]) -> KeyRules {
    let mut rules = KeyRules::default();
    for line in lines(section).take(20) {
        let line = String::from_utf8_lossy(line);
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let list = || rest.split(',').map(str::to_owned).collect();
        match word {
            "ignore" => rules.query = QueryRule::Ignore,
            "allow" => rules.query = QueryRule::Allow(list()),
            "deny" => rules.query = QueryRule::Deny(list()),
            "sort" => rules.sort_query = true,
            "header" => rules.headers.extend(rest.parse::<HeaderName>()),
            // The configuration takes tokens alone.
            "cookie" if !rest.contains(['=', ';', ' ']) => rules.cookies.push(rest.to_owned()),
            _ => {}
        }
    }
    rules
}
