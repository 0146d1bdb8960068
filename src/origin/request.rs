//! The head of a request as it is written to the origin.

use bytes::BufMut;
use http::header::{HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Uri};
use http_body::Body;

use super::fields::Fields;
use super::interim::OnInterim;
use super::underway::Underway;
use super::upload::RequestBody;
use crate::config::OriginConfig;
use crate::wire::field;

/// A request to an origin.
#[derive(Debug)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// The target, of which path and query count.
    pub uri: Uri,
    /// The fields.
    pub fields: Fields,
    /// The body.
    pub body: RequestBody,
    /// Who hears of interim responses.
    pub interim: Option<OnInterim>,
    /// Who is told that the request has left.
    pub underway: Option<Underway>,
}

/// The `Host` field for requests to one origin.
pub(super) struct Host {
    /// Replaces the client's.
    fixed: Option<HeaderValue>,
    /// Stands in for a missing one: RFC 9112 section 3.2 wants one in every request.
    default: Option<HeaderValue>,
}

impl Host {
    pub(super) fn new(config: &OriginConfig) -> Self {
        // An authority has no character that a field value may not have.
        let value = |authority: &Authority| HeaderValue::from_str(authority.as_str()).ok();
        Self { fixed: config.host_header.as_ref().and_then(value), default: value(&config.authority) }
    }

    fn of<'a>(&'a self, fields: &'a Fields) -> Option<&'a HeaderValue> {
        self.fixed.as_ref().or(fields.host.as_ref()).or(self.default.as_ref())
    }
}

/// What of a request the fate of its exchange depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The method is HEAD: the response has no body.
    pub(super) head: bool,
    /// Another protocol is offered.
    pub(super) upgrade: bool,
    /// Whether it may be sent a second time (RFC 9110 section 9.2.2).
    pub(super) idempotent: bool,
}

impl Asked {
    pub(super) fn by(request: &Outgoing) -> Self {
        Self {
            head: request.method == Method::HEAD,
            upgrade: request.fields.upgrade,
            idempotent: is_idempotent(&request.method),
        }
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE)
        || method.as_str() == "QUERY"
}

/// How the end of a request's body is told. It follows from the body alone, so that no field of the client's can
/// contradict it.
#[derive(Debug)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// By the last chunk. Trailers with these names may follow.
    Chunked(Vec<HeaderName>),
}

impl Framing {
    pub(super) fn of(request: &Outgoing) -> Self {
        if request.body.is_end_stream() {
            return Self::None;
        }
        let length = request.body.size_hint().exact();
        length.map_or_else(|| Self::Chunked(request.fields.trailers.clone()), Self::Length)
    }
}

/// The head: target in origin form, HTTP/1.1.
pub(super) fn head(request: &Outgoing, host: &Host, framing: &Framing) -> Vec<u8> {
    let (path, query) = (request.uri.path(), request.uri.query());
    let usual = 128 + path.len() + query.map_or(0, str::len);
    let mut out = Vec::with_capacity(usual + request.fields.lines.len());
    out.put_slice(request.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(path.as_bytes());
    if let Some(query) = query {
        out.put_u8(b'?');
        out.put_slice(query.as_bytes());
    }
    out.put_slice(b" HTTP/1.1\r\n");
    if let Some(host) = host.of(&request.fields) {
        field::write(&mut out, "host", host.as_bytes());
    }
    out.put_slice(&request.fields.lines);
    match framing {
        Framing::Length(length) => {
            field::write(&mut out, "content-length", itoa::Buffer::new().format(*length).as_bytes());
        }
        Framing::Chunked(_) => field::write(&mut out, "transfer-encoding", b"chunked"),
        // RFC 9110 section 8.6: where a body is usual, its absence is said.
        Framing::None if matches!(request.method, Method::POST | Method::PUT | Method::PATCH) => {
            field::write(&mut out, "content-length", b"0");
        }
        Framing::None => {}
    }
    out.put_slice(b"\r\n");
    out
}
