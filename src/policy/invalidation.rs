//! What a successful unsafe request invalidates (RFC 9111 section 4.4, RFC 9875 section 3).

use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, LOCATION};
use http::{StatusCode, Uri};
use smallvec::SmallVec;

use super::tags::{self, Tag};

const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// Whether a response says that the request had an effect: any 2xx or 3xx.
pub fn invalidates(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Path and query of each URL that is invalidated: the target, and what `Location` and
/// `Content-Location` name on the same origin. Other origins are none of this one's business.
pub fn invalidated_targets(scheme: &str, host: &str, target: &str, response: &HeaderMap) -> SmallVec<[String; 3]> {
    let mut targets: SmallVec<[String; 3]> = SmallVec::new();
    targets.push(target.to_owned());
    for name in [LOCATION, CONTENT_LOCATION] {
        let reference = response.get(name).and_then(|value| value.to_str().ok());
        if let Some(named) = reference.and_then(|reference| resolve(scheme, host, target, reference))
            && !targets.contains(&named)
        {
            targets.push(named);
        }
    }
    targets
}

/// Whether the response says that it is a representation of the target itself (RFC 9110 section 8.7).
pub fn names_itself(scheme: &str, host: &str, target: &str, response: &HeaderMap) -> bool {
    let mut fields = response.get_all(CONTENT_LOCATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    field.to_str().is_ok_and(|reference| resolve(scheme, host, target, reference).as_deref() == Some(target))
}

/// The cache groups that the response invalidates.
pub fn invalidated_groups(response: &HeaderMap, site: &str) -> Vec<Tag> {
    tags::groups(response, &CACHE_GROUP_INVALIDATION, site)
}

/// Resolves a reference (RFC 3986 section 5.2) to path and query on the same origin.
fn resolve(scheme: &str, host: &str, base: &str, reference: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    let base_path = base.split('?').next().unwrap_or_default();
    if let Some(rest) = reference.strip_prefix("//") {
        return resolve(scheme, host, base, &format!("{scheme}://{rest}"));
    }
    if reference.starts_with('/') {
        return Some(without_dots(reference));
    }
    if has_scheme(reference) {
        let uri: Uri = reference.parse().ok()?;
        let authority = uri.authority()?.as_str();
        let same = uri.scheme_str()?.eq_ignore_ascii_case(scheme) && same_host(scheme, authority, host);
        return same.then(|| without_dots(uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)));
    }
    match reference.chars().next() {
        None => Some(base.to_owned()),
        Some('?') => Some(format!("{base_path}{reference}")),
        Some(_) => {
            let folder = base_path.rfind('/').map_or("/", |at| &base_path[..=at]);
            Some(without_dots(&format!("{folder}{reference}")))
        }
    }
}

/// Whether a reference begins with a scheme (RFC 3986 section 3.1).
fn has_scheme(reference: &str) -> bool {
    let before = reference.split(['/', '?']).next().unwrap_or_default();
    before.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

fn same_host(scheme: &str, one: &str, other: &str) -> bool {
    let port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let plain = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    plain(one) == plain(other)
}

/// Removes dot segments from the path (RFC 3986 section 5.2.4).
fn without_dots(path_and_query: &str) -> String {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let last = rest.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if last {
                    segments.push("");
                }
            }
            _ => segments.push(segment),
        }
    }
    let path = format!("/{}", segments.join("/"));
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn references_resolve_against_the_target_and_other_origins_are_ignored() {
        for (reference, expected) in [
            ("/b", Some("/b")),
            ("/b?x=1#f", Some("/b?x=1")),
            ("c", Some("/a/c")),
            ("../c", Some("/c")),
            ("./", Some("/a/")),
            ("..", Some("/")),
            ("../../../c", Some("/c")),
            ("?y=2", Some("/a/b?y=2")),
            ("http://H/c", Some("/c")),
            ("http://h:80/c", Some("/c")),
            ("//h/c/./d", Some("/c/d")),
            ("http://h", Some("/")),
            ("", Some("/a/b?q=1")),
            ("#f", Some("/a/b?q=1")),
            ("http://other/c", None),
            ("https://h/c", None),
            ("//other/c", None),
            ("mailto:x@h", None),
            ("c:d", None),
            ("./c:d", Some("/a/c:d")),
        ] {
            assert_eq!(resolve("http", "h", "/a/b?q=1", reference).as_deref(), expected, "{reference}");
        }
    }

    #[test]
    fn a_response_names_itself_by_one_reference_to_exactly_its_target() {
        let named = |references: &[&'static str]| {
            let mut response = HeaderMap::new();
            for reference in references {
                response.append(CONTENT_LOCATION, HeaderValue::from_static(reference));
            }
            names_itself("http", "h", "/a/b?q=1", &response)
        };
        for reference in ["/a/b?q=1", "http://h/a/b?q=1", "http://H:80/a/b?q=1", "//h/a/b?q=1", "b?q=1", "?q=1", ""] {
            assert!(named(&[reference]), "{reference:?}");
        }
        for reference in ["/a/b", "/a/b?q=2", "/a/B?q=1", "/a/%62?q=1", "http://other/a/b?q=1", "https://h/a/b?q=1"] {
            assert!(!named(&[reference]), "{reference:?}");
        }
        assert!(!named(&[]) && !named(&["/a/b?q=1", "/a/b?q=1"]));
    }

    #[test]
    fn the_target_comes_first_and_nothing_twice() {
        let mut response = HeaderMap::new();
        response.insert(LOCATION, HeaderValue::from_static("/new"));
        response.insert(CONTENT_LOCATION, HeaderValue::from_static("/a"));
        assert_eq!(invalidated_targets("http", "h", "/a", &response).as_slice(), ["/a", "/new"]);
        for (status, expected) in [(200, true), (201, true), (303, true), (404, false), (500, false)] {
            assert_eq!(invalidates(StatusCode::from_u16(status).unwrap()), expected);
        }
    }
}
