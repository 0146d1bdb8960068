//! The body of a request as a part of the key, with the fields that say how to read it.

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use super::json::Json;
use super::{KeyBuffer, MethodClass, push_field};

/// Which methods a route looks up by their body, and how it reads one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyRule {
    /// POST, QUERY, or both.
    pub methods: Vec<Method>,
    /// Bytes of a body; a larger one is not looked up.
    pub max_size: usize,
    /// Whether JSON bodies that say the same share a response.
    pub normalise_json: bool,
    /// Whether only GraphQL queries are looked up.
    pub graphql: bool,
}

/// A body that is part of the key.
///
/// The key holds its length and its SHA-256 rather than the bytes: nobody can make two bodies of one
/// SHA-256, so this keeps two resources apart as the bytes would, and a key that lives in L1, in
/// every fetch and in each envelope stays short however large the body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    class: MethodClass,
    /// As the client sent it: what the origin gets.
    bytes: Bytes,
    form: Form,
    length: u64,
    digest: [u8; 32],
}

/// What was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Raw = b'r' as isize,
    Json = b'j' as isize,
}

/// Fields without which the same bytes may mean another thing.
const DESCRIBING: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE];

impl Content {
    /// The content of a request with this method. `json` is what [`json`] says of the body; it counts
    /// only if the rule normalises.
    pub fn new(method: &Method, bytes: Bytes, json: Option<&Json<'_>>, rule: &BodyRule) -> Self {
        let class = if *method == Method::POST { MethodClass::Post } else { MethodClass::Query };
        let canonical = json.filter(|_| rule.normalise_json).map(Json::canonical);
        let (form, hashed) = match &canonical {
            Some(canonical) => (Form::Json, canonical.as_slice()),
            None => (Form::Raw, &*bytes),
        };
        let (length, digest) = (hashed.len() as u64, Sha256::digest(hashed).into());
        Self { class, bytes, form, length, digest }
    }

    /// The class of the request's method.
    pub fn class(&self) -> MethodClass {
        self.class
    }

    /// The body as the client sent it.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Appends the body and what describes it to a key that has everything else.
    pub fn push(&self, key: &mut KeyBuffer, headers: &HeaderMap) {
        for name in &DESCRIBING {
            push_field(key, headers, name);
        }
        key.push(self.form as u8);
        key.extend_from_slice(&self.length.to_be_bytes());
        key.extend_from_slice(&self.digest);
    }
}

/// The body as JSON, if its fields say that it is JSON and nothing else, and it is without doubt.
pub fn json<'a>(headers: &HeaderMap, body: &'a [u8]) -> Option<Json<'a>> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return None };
    let essence = only.as_bytes().split(|&b| b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let is_json =
        essence == b"application/json" || (essence.starts_with(b"application/") && essence.ends_with(b"+json"));
    // JSON is UTF-8 (RFC 8259 section 8.1); who says otherwise reads other texts than we do.
    // So does who says it in a way that is not quite a parameter, to a reader that is not strict.
    let lower = only.as_bytes().to_ascii_lowercase();
    let mut charsets =
        lower.split(|&b| b == b';').skip(1).filter_map(|part| part.trim_ascii().strip_prefix(b"charset"));
    let is_utf8 = charsets.all(|charset| matches!(charset, b"=utf-8" | b"=\"utf-8\"" | b"=utf8"));
    if !is_json || !is_utf8 || headers.contains_key(CONTENT_ENCODING) {
        return None;
    }
    Json::parse(body)
}
