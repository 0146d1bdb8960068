//! `No-Vary-Search` (draft-ietf-httpbis-no-vary-search): which queries a response is good for besides
//! the one it was fetched with.

use std::borrow::Cow;

use form_urlencoded::{Serializer, parse};
use http::header::HeaderName;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::fields::ByName;

/// The field.
pub const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// Names in a list at the most. A field with more is ignored, as it costs each look-up a comparison
/// per name.
const MAX_NAMES: usize = 64;

/// How the responses of a path depend on the query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variance {
    any_order: bool,
    params: Params,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Params {
    /// All parameters but these count.
    AllBut(Vec<String>),
    /// Only these count.
    Only(Vec<String>),
}

impl Variance {
    /// Bytes that its names occupy.
    pub fn weight(&self) -> usize {
        let (Params::AllBut(names) | Params::Only(names)) = &self.params;
        names.iter().map(|name| size_of::<String>() + name.capacity()).sum()
    }

    /// What a response says. `None` if it is good for its own query only: nothing is said, or something
    /// invalid, or what goes without saying.
    pub fn of(response: &impl ByName) -> Option<Self> {
        let fields: Vec<&[u8]> = response.all(&NO_VARY_SEARCH).collect();
        if fields.is_empty() {
            return None;
        }
        let dictionary: Dictionary = Parser::new(&fields.join(&b", "[..])).parse().ok()?;
        let any_order = dictionary.get("key-order").is_some_and(|entry| truth(entry) == Some(true));
        if dictionary.get("key-order").is_some_and(|entry| truth(entry).is_none()) {
            return None;
        }
        let except = dictionary.get("except").map(names);
        let params = match (dictionary.get("params"), except) {
            (None, None) => Params::AllBut(Vec::new()),
            (Some(params), None) => match truth(params) {
                Some(true) => Params::Only(Vec::new()),
                Some(false) => Params::AllBut(Vec::new()),
                None => Params::AllBut(names(params)?),
            },
            // Exceptions are to a rule that no parameter counts.
            (Some(params), Some(except)) if truth(params) == Some(true) => Params::Only(except?),
            (_, Some(_)) => return None,
        };
        let variance = Self { any_order, params };
        (variance != Self { any_order: false, params: Params::AllBut(Vec::new()) }).then_some(variance)
    }

    /// The form that all equivalent queries have: what counts of it, written anew. Queries are read as
    /// the URL Standard reads forms, so `a=%62` and `a=b` are the same.
    pub fn normal(&self, query: &str) -> String {
        let mut pairs: Vec<_> = parse(query.as_bytes()).filter(|(name, _)| self.counts(name)).collect();
        if self.any_order {
            // Stable: values of one name keep their order.
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        }
        Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    fn counts(&self, name: &str) -> bool {
        match &self.params {
            Params::AllBut(list) => !list.iter().any(|listed| listed == name),
            Params::Only(list) => list.iter().any(|listed| listed == name),
        }
    }
}

fn truth(entry: &ListEntry) -> Option<bool> {
    match entry {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::Boolean(truth) => Some(*truth),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

/// A list of names, each written as it may stand in a query.
fn names(entry: &ListEntry) -> Option<Vec<String>> {
    let ListEntry::InnerList(list) = entry else { return None };
    let mut names = Vec::with_capacity(list.items.len().min(MAX_NAMES));
    for item in &list.items {
        let BareItem::String(text) = &item.bare_item else { return None };
        if names.len() == MAX_NAMES {
            return None;
        }
        names.push(decoded(text.as_str()));
    }
    names.sort_unstable();
    names.dedup();
    Some(names)
}

/// A name without its escapes. What separates parameters in a query means nothing here, so it is
/// escaped before the name is read as one.
fn decoded(name: &str) -> String {
    let escaped = name.replace('&', "%26").replace('=', "%3D");
    parse(escaped.as_bytes()).next().map_or_else(String::new, |(name, _): (Cow<'_, str>, _)| name.into_owned())
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderValue};

    use super::*;

    fn variance(field: &str) -> Option<Variance> {
        let value = HeaderValue::from_str(field).unwrap();
        Variance::of(&HeaderMap::from_iter([(NO_VARY_SEARCH, value)]))
    }

    #[test]
    fn what_a_field_says_decides_which_queries_are_the_same() {
        for (field, one, other, same) in [
            ("key-order", "a=1&b=2", "b=2&a=1", true),
            ("key-order", "a=1&a=2", "a=2&a=1", false),
            ("key-order=?1", "a=1&b=2&a=3", "b=2&a=1&a=3", true),
            ("key-order", "a=1", "a=1&b=2", false),
            ("params", "a=1", "b=2", true),
            ("params", "a=1", "", true),
            ("params=(\"a\")", "a=1&b=2", "b=2&a=3", true),
            ("params=(\"a\")", "b=2&c=3", "c=3&b=2", false),
            ("params=(\"a\"), key-order", "b=2&c=3", "c=3&a=1&b=2", true),
            ("params=(\"a\" \"b\")", "a=1&b=2&c=3", "c=3", true),
            ("params, except=(\"q\")", "q=1&a=2", "q=1", true),
            ("params, except=(\"q\")", "q=1", "q=2", false),
            ("params, except=(\"q\")", "Q=1", "Q=2", true),
            ("params, except=()", "q=1", "q=2", true),
            ("key-order, params=?0", "a=1&b=2", "b=2&a=1", true),
            // As the URL Standard reads them.
            ("key-order", "a=%62+c&&", "%61=b%20c", true),
            ("key-order", "a", "a=", true),
            ("key-order", "a=%ff", "a=%EF%BF%BD", true),
            ("key-order", "a=1%26b=2", "a=1&b=2", false),
            ("key-order", "a%3D=1", "a=%3D1", false),
            ("params=(\"%61+b\")", "a%20b=1&c=2", "c=2", true),
            ("params=(\"a&b\")", "a%26b=1", "", true),
            ("params=(\"a&b\")", "a=1", "", false),
            ("params=(\"a=b\")", "a%3Db=1", "", true),
            ("params=(\"\")", "=1&a=2", "a=2", true),
            ("params=(\"%C3%A9\")", "%c3%a9=1", "", true),
            ("params=(\"a\"), x=\"y\"", "a=1", "", true),
            ("params=(\"a\";x);y", "a=1", "", true),
        ] {
            let variance = variance(field).unwrap_or_else(|| panic!("{field}"));
            assert_eq!(variance.normal(one) == variance.normal(other), same, "{field}: {one} {other}");
        }
    }

    #[test]
    fn what_is_invalid_or_says_nothing_is_ignored() {
        let many = format!("params=({})", (0..=MAX_NAMES).map(|n| format!("\"p{n}\" ")).collect::<Vec<_>>().concat());
        for field in [
            "",
            "key-order=?0",
            "params=?0",
            "params=()",
            "except=(\"a\")",
            "params=(\"a\"), except=(\"b\")",
            "params=?0, except=(\"b\")",
            "params=a",
            "params=\"a\"",
            "params=(a)",
            "params=(\"a\" 1)",
            "params, except=\"a\"",
            "params, except",
            "params, except=(a)",
            "key-order=1, params=(\"a\")",
            "key-order=(\"a\")",
            "params=(\"a\"",
            "\"a\"",
            "unknown",
            &many,
        ] {
            assert_eq!(variance(field), None, "{field}");
        }
        assert_eq!(Variance::of(&HeaderMap::new()), None);
    }

    #[test]
    fn several_fields_are_one_and_the_order_of_names_means_nothing() {
        let mut headers = HeaderMap::new();
        headers.append(NO_VARY_SEARCH, HeaderValue::from_static("key-order"));
        headers.append(NO_VARY_SEARCH, HeaderValue::from_static("params=(\"b\" \"a\" \"b\")"));
        assert_eq!(Variance::of(&headers), variance("params=(\"a\" \"b\"), key-order"));
    }
}
