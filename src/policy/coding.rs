//! Content codings that this proxy applies itself: to which responses, for which clients, and under which entity tags
//! (RFC 9110 sections 7.7, 8.4, 8.8.3 and 12.5.3).

mod accepted;
mod tags;

use http::StatusCode;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, VARY,
};

pub use accepted::Accepted;
pub use tags::{coded_tag, held, restored_tags};

use super::fields::ByName;
use super::vary::Vary;

/// A content coding (RFC 9110 section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// Every coding, in declaration order: `ALL[x as usize] == x`.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Its name in `Content-Encoding` and `Accept-Encoding`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The coding of this name. Section 8.4.1.3: `x-gzip` is an old name of gzip.
    fn named(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Self::Gzip);
        }
        Self::ALL.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.as_str().as_bytes()))
    }
}

/// What a route codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// The codings that clients may get; among those that one likes equally, the first.
    pub order: Vec<Coding>,
    /// Smaller bodies stay as they are, in bytes.
    pub least: u64,
}

impl Compress {
    /// Larger bodies stay as they are as well, in bytes: coding one would hold a thread, and a shutdown, for seconds.
    const MOST: u64 = 32 << 20;

    /// Whether bodies of this length are coded.
    pub fn covers(&self, length: u64) -> bool {
        (self.least..=Self::MOST).contains(&length)
    }
}

/// A response that may be sent in other codings than the origin's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codable {
    /// Whether its `Vary` names `Accept-Encoding` already.
    pub says_so: bool,
}

/// Fields that bind the very bytes which the origin sent: digests (RFC 9530 and its forerunners) and signatures, which
/// may cover them (RFC 9421).
const BINDING: [HeaderName; 7] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("signature"),
    HeaderName::from_static("signature-input"),
    // One transformation is enough (RFC 3229).
    HeaderName::from_static("im"),
];

/// RFC 9213 section 3.1.
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// Whether a stored response may be coded: nobody forbids it, its bytes are not bound or coded already, and its media
/// type promises a gain.
pub fn codable(status: StatusCode, response: &impl ByName) -> Option<Codable> {
    let whole = !matches!(status.as_u16(), 204 | 205 | 206 | 304) && !status.is_informational();
    let bound = || {
        [CONTENT_ENCODING, CONTENT_RANGE].iter().chain(&BINDING).any(|name| response.has(name))
            || forbids_transformation(response)
    };
    if !whole || !response.first(&CONTENT_TYPE).is_some_and(is_compressible) || bound() {
        return None;
    }
    let says_so = Vary::of(response).names().contains(&ACCEPT_ENCODING);
    Some(Codable { says_so })
}

/// RFC 9111 sections 5.2.1.6 and 5.2.2.6. Read generously: what looks like the directive counts as one.
pub fn forbids_transformation(headers: &impl ByName) -> bool {
    [CACHE_CONTROL, CDN_CACHE_CONTROL]
        .iter()
        .flat_map(|name| headers.all(name))
        .flat_map(|field| field.split(|&b| b == b','))
        .any(|member| member.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// The coding of a response, if it is in exactly one that is known here.
pub fn only_coding(response: &impl ByName) -> Option<Coding> {
    let mut fields = response.all(&CONTENT_ENCODING);
    let (first, more) = (fields.next()?, fields.next());
    more.is_none().then(|| Coding::named(first.trim_ascii())).flatten()
}

/// Media types outside `text/` whose bodies shrink. Suffixes (RFC 6839) count as the type they name.
const SHRINKING: [&str; 17] = [
    "application/graphql-response",
    "application/ecmascript",
    "application/javascript",
    "application/json",
    "application/ndjson",
    "application/rtf",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/xml",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/x-icon",
];

/// Whether bodies of a media type are worth coding. Event streams are never whole, so they are never stored.
fn is_compressible(content_type: &[u8]) -> bool {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let kind = content_type[..end].trim_ascii();
    let begins = |start: &[u8]| kind.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start));
    let ends = |end: &[u8]| kind.len().checked_sub(end.len()).is_some_and(|at| kind[at..].eq_ignore_ascii_case(end));
    begins(b"text/")
        || [&b"+json"[..], b"+xml", b"+yaml", b"+text"].into_iter().any(ends)
        || SHRINKING.iter().any(|known| kind.eq_ignore_ascii_case(known.as_bytes()))
}

/// The fields of a stored response in a coding.
pub fn coded_fields(stored: HeaderMap, coding: Coding, codable: Codable) -> HeaderMap {
    let mut fields = stored;
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    // Ranges are cut from the stored bytes alone.
    fields.remove(ACCEPT_RANGES);
    if let Some(tag) = fields.first(&ETAG).map(|tag| coded_tag(tag, coding)) {
        match tag {
            Some(tag) => drop(fields.insert(ETAG, tag)),
            // Not an entity tag, so nobody can say whether it is strong.
            None => drop(fields.remove(ETAG)),
        }
    }
    say_so(&mut fields, codable);
    fields
}

/// Tells caches further on that the coding depends on the request (RFC 9110 section 12.5.5).
pub fn say_so(response: &mut HeaderMap, codable: Codable) {
    if !codable.says_so {
        response.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    const TEXT: (&str, &str) = ("content-type", "text/plain");

    #[test]
    fn responses_are_coded_by_their_media_type() {
        for (kind, expected) in [
            ("text/html; charset=utf-8", true),
            ("TEXT/PLAIN", true),
            ("application/json", true),
            ("Application/JSON ;charset=utf-8", true),
            ("application/problem+json", true),
            ("application/atom+xml", true),
            ("image/svg+xml", true),
            ("application/wasm", true),
            ("image/png", false),
            ("video/mp4", false),
            ("application/octet-stream", false),
            ("application/jsonp", false),
            ("text", false),
            ("", false),
        ] {
            let fields = map(&[("content-type", kind)]);
            assert_eq!(codable(StatusCode::OK, &fields).is_some(), expected, "{kind}");
        }
        assert_eq!(codable(StatusCode::OK, &map(&[])), None, "no type");
    }

    #[test]
    fn what_binds_the_bytes_keeps_a_response_as_it_is() {
        for field in [
            ("content-encoding", "gzip"),
            ("content-range", "bytes 0-1/2"),
            ("content-md5", "x"),
            ("content-digest", "sha-256=:x:"),
            ("repr-digest", "sha-256=:x:"),
            ("digest", "sha-256=x"),
            ("signature-input", "a=()"),
            ("cache-control", "max-age=60, No-Transform"),
            ("cdn-cache-control", "max-age=60,no-transform"),
        ] {
            assert_eq!(codable(StatusCode::OK, &map(&[TEXT, field])), None, "{field:?}");
        }
        let others = map(&[TEXT, ("cache-control", "max-age=60"), ("etag", "\"a\"")]);
        assert!(codable(StatusCode::NOT_FOUND, &others).is_some());
        for status in [204, 205, 206, 304] {
            assert_eq!(codable(StatusCode::from_u16(status).unwrap(), &others), None, "{status}");
        }
    }

    #[test]
    fn the_coded_form_has_fields_of_its_own() {
        let stored = map(&[TEXT, ("etag", "\"a\""), ("accept-ranges", "bytes"), ("vary", "Origin")]);
        let fields = coded_fields(stored.clone(), Coding::Brotli, codable(StatusCode::OK, &stored).unwrap());
        let expected = map(&[
            TEXT,
            ("etag", "\"a-br\""),
            ("vary", "Origin"),
            ("vary", "Accept-Encoding"),
            ("content-encoding", "br"),
        ]);
        assert_eq!(fields, expected);
        let stored = map(&[TEXT, ("etag", "a"), ("vary", "Origin, accept-encoding")]);
        let fields = coded_fields(stored.clone(), Coding::Gzip, codable(StatusCode::OK, &stored).unwrap());
        let expected = map(&[TEXT, ("vary", "Origin, accept-encoding"), ("content-encoding", "gzip")]);
        assert_eq!(fields, expected, "a tag that is none is left out, and Vary is not repeated");
    }
}
