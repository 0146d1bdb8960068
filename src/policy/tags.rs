//! Surrogate tags and cache groups (RFC 9875): names under which responses are purged together.

use std::fmt;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};
use sfv::{BareItem, List, ListEntry, Parser};

/// Tags of one response at the most; more are left out.
pub const MAX_TAGS: usize = 128;
/// Bytes of one tag at the most; a longer one is left out.
const MAX_TAG_BYTES: usize = 256;

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// A name under which responses are purged together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Tag(Arc<str>);

impl Tag {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Tag {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tags of a response: those in the fields `names`, and its cache groups, which belong to
/// `site` (`scheme://host`).
pub fn tags(response: &HeaderMap, names: &[HeaderName], site: &str, max: usize) -> Vec<Tag> {
    let mut tags: Vec<Tag> = Vec::new();
    let surrogate = names.iter().flat_map(|name| {
        let fields = response.get_all(name).iter().filter_map(|field| field.to_str().ok());
        fields.flat_map(|field| field.split(is_separator))
    });
    let usable = surrogate.filter(|tag| (1..=MAX_TAG_BYTES).contains(&tag.len())).map(Tag::from);
    for tag in usable.chain(groups(response, &CACHE_GROUPS, site)) {
        if tags.len() == max {
            break;
        }
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

/// These tags, and after them those of what they are an update of: `max` at the most.
pub fn with_earlier(mut tags: Vec<Tag>, earlier: &[Tag], max: usize) -> Vec<Tag> {
    for tag in earlier {
        if tags.len() >= max {
            break;
        }
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    tags
}

/// White space separates the tags of `Surrogate-Key` and commas those of `Cache-Tag`; no tag has
/// either inside, so both separate everywhere.
fn is_separator(c: char) -> bool {
    c == ',' || c.is_ascii_whitespace()
}

/// The groups in a field that is a list of strings (RFC 9875 section 2). An invalid field is ignored,
/// and so is a name that is too long, where responses are stored and where groups are invalidated.
pub fn groups(response: &HeaderMap, name: &HeaderName, site: &str) -> Vec<Tag> {
    let fields: Vec<&[u8]> = response.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
    let list: List = Parser::new(&fields.join(&b", "[..])).parse().unwrap_or_default();
    let string = |entry: &ListEntry| match entry {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::String(text) if text.as_str().len() <= MAX_TAG_BYTES => Some(group(site, text.as_str())),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    };
    list.iter().filter_map(string).collect()
}

/// A cache group as a tag. Groups are scoped to an origin (section 2.1); the space keeps them apart
/// from surrogate tags, which contain none.
fn group(site: &str, name: &str) -> Tag {
    Tag(format!("group {site} {name}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn of(fields: &[(&'static str, &str)], max: usize) -> Vec<String> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let names = ["surrogate-key", "cache-tag", "xkey"].map(HeaderName::from_static);
        tags(&map, &names, "http://h", max).iter().map(Tag::to_string).collect()
    }

    #[test]
    fn white_space_and_commas_separate_tags_and_each_counts_once() {
        assert_eq!(of(&[("surrogate-key", "a b  a")], 9), ["a", "b"]);
        assert_eq!(of(&[("cache-tag", "a, b,,")], 9), ["a", "b"]);
        assert_eq!(of(&[("xkey", "a b,c"), ("xkey", "d")], 9), ["a", "b", "c", "d"]);
        assert_eq!(of(&[("other", "a")], 9), Vec::<String>::new());
    }

    #[test]
    fn their_number_and_length_are_bounded() {
        let long = "x".repeat(257);
        assert_eq!(of(&[("xkey", &format!("{long} a b c"))], 2), ["a", "b"]);
        assert_eq!(of(&[("cache-groups", &format!("\"{long}\", \"a\""))], 2), ["group http://h a"]);
    }

    #[test]
    fn those_of_an_update_come_before_earlier_ones_and_each_counts_once() {
        let tags = |names: &[&str]| names.iter().map(|name| Tag::from(*name)).collect::<Vec<_>>();
        assert_eq!(with_earlier(tags(&["a", "b"]), &tags(&["b", "c", "d"]), 3), tags(&["a", "b", "c"]));
        assert_eq!(with_earlier(tags(&["a"]), &[], 0), tags(&["a"]));
    }

    #[test]
    fn groups_belong_to_their_site_and_collide_with_no_tag() {
        assert_eq!(of(&[("cache-groups", "\"a\", \"b c\";x, tok")], 9), ["group http://h a", "group http://h b c"]);
        assert_eq!(of(&[("cache-groups", "\"a\", (")], 9), Vec::<String>::new());
        assert_eq!(of(&[("cache-groups", "(\"a\" \"b\"), \"c\"")], 9), ["group http://h c"], "a list is no group");
    }
}
