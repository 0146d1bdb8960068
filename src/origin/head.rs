//! What is changed in a request head, and what is refused in a response head.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Uri};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;

use super::interim::OnInterim;
use super::upload::{Outgoing, RequestBody};
use crate::config::OriginConfig;
use crate::reason::OriginFault;

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

    fn set(&self, headers: &mut HeaderMap) {
        match (&self.fixed, &self.default) {
            (Some(host), _) => drop(headers.insert(HOST, host.clone())),
            (None, Some(host)) if !headers.contains_key(HOST) => drop(headers.insert(HOST, host.clone())),
            _ => {}
        }
    }
}

/// The request as it is written to the origin: target in origin form, HTTP/1.1, and framing
/// that follows from the body alone, so that no field of the client's can contradict it.
/// Extensions but [`OnInterim`] stay behind; most belong to the client's connection.
pub(super) fn prepare(request: Request<RequestBody>, host: &Host) -> Request<Outgoing> {
    let (mut parts, body) = request.into_parts();
    let mut headers = parts.headers;
    host.set(&mut headers);
    // The listener answers the expectation when the body is first read (RFC 9110 section 10.1.1),
    // so the origin need not.
    headers.remove(EXPECT);
    frame(&parts.method, &mut headers, &body);
    let target = parts.uri.into_parts().path_and_query;
    let mut prepared = Request::new(Outgoing::new(body));
    *prepared.method_mut() = parts.method;
    *prepared.uri_mut() = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *prepared.version_mut() = Version::HTTP_11;
    *prepared.headers_mut() = headers;
    if let Some(interim) = parts.extensions.remove::<OnInterim>() {
        interim.listen(&mut prepared);
    }
    prepared
}

fn frame(method: &Method, headers: &mut HeaderMap, body: &RequestBody) {
    headers.remove(CONTENT_LENGTH);
    headers.remove(TRANSFER_ENCODING);
    if body.is_end_stream() {
        // RFC 9110 section 8.6: where a body is usual, its absence is said.
        if matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
    } else if let Some(length) = body.size_hint().exact() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    } else {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// Refuses a head whose framing two parsers could read differently (RFC 9112 section 6.3), and a
/// change of protocol that nobody asked for. hyper has refused what is not HTTP at all.
pub(super) fn judge<B>(response: &Response<B>, upgrade: bool) -> Result<(), OriginFault> {
    let headers = response.headers();
    let sound = match (headers.get(TRANSFER_ENCODING), headers.get(CONTENT_LENGTH)) {
        (Some(_), Some(_)) => false,
        (Some(coding), None) => {
            single(headers, &TRANSFER_ENCODING) && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
        (None, Some(length)) => single(headers, &CONTENT_LENGTH) && length.as_bytes().iter().all(u8::is_ascii_digit),
        (None, None) => true,
    };
    let unasked = response.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrade;
    if sound && !unasked { Ok(()) } else { Err(OriginFault::Protocol) }
}

/// Whether `request` asks for another protocol.
pub(super) fn asks_upgrade<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(UPGRADE)
}

fn single(headers: &HeaderMap, name: &http::HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(fields: &[(&'static str, &'static str)]) -> Result<(), OriginFault> {
        let mut response = Response::new(());
        for (name, value) in fields {
            response.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        judge(&response, false)
    }

    #[test]
    fn f2_a_response_with_ambiguous_framing_is_refused() {
        for sound in [&[][..], &[("content-length", "5")], &[("transfer-encoding", "Chunked")]] {
            assert_eq!(verdict(sound), Ok(()), "{sound:?}");
        }
        for ambiguous in [
            &[("content-length", "5"), ("transfer-encoding", "chunked")][..],
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "xchunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ] {
            assert_eq!(verdict(ambiguous), Err(OriginFault::Protocol), "{ambiguous:?}");
        }
    }

    #[test]
    fn a_change_of_protocol_nobody_asked_for_is_refused() {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        assert_eq!(judge(&response, true), Ok(()));
        assert_eq!(judge(&response, false), Err(OriginFault::Protocol));
    }
}
