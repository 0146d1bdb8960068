//! Entity tags of coded forms. A strong tag names bytes, so each form needs its own (RFC 9110 section 8.8.3.3): the
//! stored one with the name of the coding at its end. A weak tag names what the bytes mean, and fits every form.
//!
//! A tag that is weakened instead would spare the translation, but `If-Match` compares strongly: no client that got a
//! coded form could make a conditional write.

use http::header::{HeaderMap, HeaderValue, IF_NONE_MATCH};

use super::{Accepted, Coding};
use crate::policy::validation::{entity_tags, opaque};

/// The tag of a coded form of what `stored` names; `None` if that is no entity tag.
pub fn coded_tag(stored: &[u8], coding: Coding) -> Option<HeaderValue> {
    let tag = stored.trim_ascii();
    if tag.starts_with(b"W/\"") {
        return HeaderValue::from_bytes(stored).ok();
    }
    let inner = tag.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    HeaderValue::from_bytes(&[b"\"", inner, b"-", coding.as_str().as_bytes(), b"\""].concat()).ok()
}

/// The tag by which the client says in `If-None-Match` that it has this response already, in a form that it takes, and
/// the coding of that form.
pub fn held(request: &HeaderMap, stored: &[u8], accepted: &Accepted) -> Option<(HeaderValue, Option<Coding>)> {
    let lists = |tag: &[u8]| {
        let fields = request.get_all(IF_NONE_MATCH).iter();
        fields.flat_map(|field| entity_tags(field.as_bytes())).any(|own| opaque(own) == opaque(tag))
    };
    if accepted.takes_identity() && lists(stored) {
        return Some((HeaderValue::from_bytes(stored).ok()?, None));
    }
    let takes = Coding::ALL.into_iter().filter(|&coding| accepted.takes(coding));
    takes.filter_map(|coding| Some((coded_tag(stored, coding)?, Some(coding)))).find(|(tag, _)| lists(tag.as_bytes()))
}

/// What the fields of a condition in a request become: behind each tag of a coded form stands the tag that the origin
/// knows. The client's own stays: the origin may have given it. `None` if there is no such tag.
pub fn restored_tags<'a>(fields: impl Iterator<Item = &'a [u8]> + Clone) -> Option<HeaderValue> {
    if !fields.clone().flat_map(entity_tags).any(|tag| stem(tag).is_some()) {
        return None;
    }
    let mut list: Vec<u8> = Vec::new();
    for tag in fields.flat_map(entity_tags) {
        for part in [b", ", tag] {
            list.extend_from_slice(part);
        }
        if let Some(stem) = stem(tag) {
            for part in [b", ", stem, b"\""] {
                list.extend_from_slice(part);
            }
        }
    }
    HeaderValue::from_bytes(list.get(2..)?).ok()
}

/// What is in front of the coding's name in the tag of a coded form.
fn stem(tag: &[u8]) -> Option<&[u8]> {
    let inner = tag.strip_suffix(b"\"").filter(|_| opaque(tag).starts_with(b"\""))?;
    let stems = Coding::ALL.into_iter().filter_map(|coding| inner.strip_suffix(coding.as_str().as_bytes()));
    stems.filter_map(|stem| stem.strip_suffix(b"-")).find(|stem| opaque(stem).starts_with(b"\""))
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT_ENCODING, HeaderName};

    use super::*;

    fn map(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_a_strong_tag_differs_by_coding() {
        for (stored, expected) in [
            ("\"a\"", Some("\"a-gzip\"")),
            ("\"\"", Some("\"-gzip\"")),
            ("W/\"a\"", Some("W/\"a\"")),
            ("a", None),
            ("\"", None),
        ] {
            let tag = coded_tag(stored.as_bytes(), Coding::Gzip);
            assert_eq!(tag, expected.map(HeaderValue::from_static), "{stored}");
        }
    }

    #[test]
    fn a_client_holds_what_it_names_and_takes() {
        for (accept, named, stored, expected) in [
            ("gzip", "\"a\"", "\"a\"", Some(("\"a\"", None))),
            ("gzip", "\"a-gzip\"", "\"a\"", Some(("\"a-gzip\"", Some(Coding::Gzip)))),
            ("gzip", "W/\"a-gzip\"", "\"a\"", Some(("\"a-gzip\"", Some(Coding::Gzip)))),
            ("gzip, br", "\"x\", \"a-br\"", "\"a\"", Some(("\"a-br\"", Some(Coding::Brotli)))),
            ("gzip", "\"a-br\"", "\"a\"", None),
            ("gzip", "\"b-gzip\"", "\"a\"", None),
            ("gzip, identity;q=0", "\"a\"", "\"a\"", None),
            ("gzip", "W/\"a\"", "W/\"a\"", Some(("W/\"a\"", None))),
            ("gzip, identity;q=0", "W/\"a\"", "W/\"a\"", Some(("W/\"a\"", Some(Coding::Gzip)))),
        ] {
            let request = map(&[(ACCEPT_ENCODING, accept), (IF_NONE_MATCH, named)]);
            let expected = expected.map(|(tag, coding)| (HeaderValue::from_static(tag), coding));
            assert_eq!(held(&request, stored.as_bytes(), &Accepted::of(&request)), expected, "{accept} {named}");
        }
    }

    fn restored(given: &[&str]) -> Option<HeaderValue> {
        restored_tags(given.iter().map(|field| field.as_bytes()))
    }

    proptest::proptest! {
        #[test]
        fn no_tag_of_the_client_is_lost_and_every_coded_tag_leads_back(list in "[\"a,W/ gzipbr-]{0,40}", stored in "[!#-~]{0,8}") {
            let whole = restored(&[&list]).unwrap_or_else(|| HeaderValue::from_str(&list).unwrap());
            for tag in entity_tags(list.as_bytes()) {
                assert!(entity_tags(whole.as_bytes()).any(|own| own == tag), "{list:?} {whole:?}");
            }
            let own = format!("\"{stored}\"");
            for coding in Coding::ALL {
                let coded = coded_tag(own.as_bytes(), coding).unwrap();
                let restored = restored(&[coded.to_str().unwrap()]).unwrap();
                assert!(entity_tags(restored.as_bytes()).any(|tag| tag == own.as_bytes()), "{own:?}");
            }
        }
    }

    #[test]
    fn the_origin_is_asked_for_the_tag_that_it_gave() {
        for (given, expected) in [
            (&["\"a-gzip\""][..], Some("\"a-gzip\", \"a\"")),
            (&["\"x\" ,W/\"a-br\", \"y,z-zstd\""], Some("\"x\", W/\"a-br\", W/\"a\", \"y,z-zstd\", \"y,z\"")),
            (&["\"a\""], None),
            (&["*"], None),
            (&["\"gzip\""], None),
            (&["\"-gzip\""], Some("\"-gzip\", \"\"")),
            (&["a-gzip"], None),
            (&["a-gzip\""], None),
            (&["\"a-gzip\"", "\"b\""], Some("\"a-gzip\", \"a\", \"b\"")),
            (&[], None),
        ] {
            assert_eq!(restored(given), expected.map(HeaderValue::from_static), "{given:?}");
        }
    }
}
