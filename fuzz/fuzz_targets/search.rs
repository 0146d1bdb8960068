//! `No-Vary-Search`: what a response says, and the queries of three requests, one on each line.
//!
//! A response may say it in plain words, one on each line (`key-order`, `params`, `params NAME`, `except NAME`), from
//! which the field is written, or in the field itself.

#![no_main]

use http::header::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use millpond::policy::search::{NO_VARY_SEARCH, Variance};
use millpond_fuzz::{fields, lines, sections};

/// As many names as the product heeds.
const MOST: usize = 64;

fuzz_target!(|input: &[u8]| {
    let mut sections = sections(input);
    let mut next = || sections.next().unwrap_or_default();
    let (said, requests) = (next(), next());
    let queries: Vec<_> = lines(requests).take(3).map(|query| String::from_utf8_lossy(query)).collect();
    if let Some(variance) = Variance::of(&fields(said)) {
        settles(&variance, queries.iter().map(|query| &**query));
        return;
    }
    let plain = Plain::read(said);
    let Some(variance) = plain.variance() else { return };
    settles(&variance, queries.iter().map(|query| &**query));
    for (one, other) in queries.iter().flat_map(|one| queries.iter().map(move |other| (one, other))) {
        let same = variance.normal(one) == variance.normal(other);
        assert_eq!(same, plain.counting(one) == plain.counting(other), "{variance:?}: {one:?} {other:?}");
    }
});

/// The form of a query is one of the queries that have it. So queries of one form are as good as one another, whichever
/// came first.
fn settles<'a>(variance: &Variance, queries: impl Iterator<Item = &'a str>) {
    for query in queries {
        let normal = variance.normal(query);
        assert_eq!(variance.normal(&normal), normal, "{variance:?}: {query:?}");
        assert!(normal.bytes().all(|b| b.is_ascii_graphic() && b != b'#'), "{normal:?} is no query");
    }
}

/// What a response says, in plain words.
#[derive(Debug, Default)]
struct Plain {
    any_order: bool,
    no_params: bool,
    /// Names as they may stand in a query.
    params: Vec<String>,
    except: Vec<String>,
}

impl Plain {
    fn read(section: &[u8]) -> Self {
        let mut plain = Self::default();
        for line in lines(section) {
            let line = String::from_utf8_lossy(line);
            let (word, name) = line.split_once(' ').map_or((&*line, None), |(word, name)| (word, Some(name)));
            // A text of a structured field is visible ASCII (RFC 9651 section 3.3.3).
            let name = name.map(|name| name.replace(|c: char| !(' '..='~').contains(&c), ""));
            match (word, name) {
                ("key-order", _) => plain.any_order = true,
                ("params", None) => plain.no_params = true,
                ("params", Some(name)) if plain.params.len() < MOST => plain.params.push(name),
                ("except", Some(name)) if plain.except.len() < MOST => plain.except.push(name),
                _ => {}
            }
        }
        plain
    }

    /// What the field says that is written from it; `None` if that goes without saying.
    fn variance(&self) -> Option<Variance> {
        let mut members = Vec::new();
        members.extend(self.any_order.then(|| "key-order".to_owned()));
        if self.no_params {
            members.extend(["params".to_owned(), format!("except={}", list(&self.except))]);
        } else {
            members.push(format!("params={}", list(&self.params)));
        }
        let value = HeaderValue::from_str(&members.join(", ")).expect("visible ASCII");
        let variance = Variance::of(&HeaderMap::from_iter([(NO_VARY_SEARCH, value)]));
        let says_something = self.any_order || self.no_params || !self.params.is_empty();
        assert_eq!(variance.is_some(), says_something, "{self:?}");
        variance
    }

    /// The parameters of a query that count, in an order that counts.
    fn counting(&self, query: &str) -> Vec<(String, String)> {
        let listed = |list: &[String], name: &str| list.iter().any(|listed| decoded(listed) == name);
        let counts = |name: &str| match self.no_params {
            true => listed(&self.except, name),
            false => !listed(&self.params, name),
        };
        let mut pairs: Vec<(String, String)> = parameters(query).filter(|(name, _)| counts(name)).collect();
        if self.any_order {
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        pairs
    }
}

fn list(names: &[String]) -> String {
    let quoted = names.iter().map(|name| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("({})", quoted.collect::<Vec<_>>().join(" "))
}

/// As in the URL Standard, section 5.1.
fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let escape = if *first == b'%' { behind.first_chunk().and_then(escape) } else { None };
        bytes.push(escape.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escape.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn escape(digits: &[u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(16 * high? + low?).ok()
}
