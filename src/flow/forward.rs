//! The request as the origin gets it.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, DATE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TRAILER, UPGRADE, VIA,
};
use http::request::Parts;
use http::{Method, Request, Uri};

use crate::entry::Entry;
use crate::key::Key;
use crate::origin::{OnInterim, RequestBody};
use crate::policy::{coding, fields, validation};
use crate::telemetry::trace::{TraceContext, X_REQUEST_ID};

use super::parts::Asked;
use super::site::Route;
use super::visit::Visit;

/// Fields by which one client would shape the response that others get (RFC 9110 sections 13 and 14).
const CLIENT_CONDITIONS: [HeaderName; 6] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// Fields that frameworks obey and no key contains: a stored response must not depend on them,
/// or one client could choose what others are shown.
const UNKEYED: [&str; 7] = [
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-method-override",
    "x-http-method",
    "x-forwarded-scheme",
    "x-host",
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const OUR_VIA: HeaderValue = HeaderValue::from_static("1.1 millpond");

/// The head of a request to the origin, kept for a fetch that outlives its client.
#[derive(Clone, Debug)]
pub(super) struct OriginHead {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// The body, where it is part of the key.
    pub(super) content: Bytes,
    /// Who hears of interim responses.
    pub(super) interim: Option<OnInterim>,
}

impl OriginHead {
    /// The client's own request, passed on.
    pub(super) fn pass(visit: &Visit) -> Self {
        let upgrade = visit.wants_upgrade().then(|| visit.parts.headers.get(UPGRADE).cloned()).flatten();
        let mut headers = end_to_end(visit);
        if visit.body.is_some() {
            keep_trailer(&mut headers, visit.parts.headers.get_all(TRAILER).iter().cloned().collect());
        }
        if let Some(protocol) = upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, protocol);
        }
        let (method, uri) = (visit.parts.method.clone(), origin_form(&visit.parts));
        Self { method, uri, headers, content: content(visit), interim: None }
    }

    /// A GET whose response may be shared, or another method with its body: only what the key contains shapes it. The target is the
    /// key's own, so that the origin can not reflect a parameter that the key leaves out.
    pub(super) fn fetch(visit: &Visit, key: &Key, keyed: &[HeaderName]) -> Self {
        let mut head = Self::fetch_with_conditions(visit, key, keyed);
        for name in CLIENT_CONDITIONS {
            head.headers.remove(name);
        }
        head
    }

    /// The same with the client's conditions and ranges, where the response is not expected to be
    /// storable: what they shape (304, 412, 416) is not stored, and a 206 only as a part.
    pub(super) fn fetch_with_conditions(visit: &Visit, key: &Key, keyed: &[HeaderName]) -> Self {
        let mut headers = end_to_end(visit);
        for name in unkeyed(keyed) {
            headers.remove(name);
        }
        let uri = key.path_and_query().parse().unwrap_or_else(|_| origin_form(&visit.parts));
        let method = if visit.content.is_some() { visit.parts.method.clone() } else { Method::GET };
        Self { method, uri, headers, content: content(visit), interim: None }
    }

    /// Whether the origin can be asked to confirm what is stored. For POST, If-None-Match means that
    /// nothing is to be done if there is something (RFC 9110 section 13.1.2).
    pub(super) fn can_validate(&self) -> bool {
        self.method != Method::POST
    }

    /// Asks for a range and no more, under the client's condition.
    pub(super) fn asking(mut self, asked: Option<&Asked>) -> Self {
        if let Some(asked) = asked {
            self.headers.insert(RANGE, asked.spec.to_value());
            self.headers.extend(asked.if_range.clone().map(|condition| (IF_RANGE, condition)));
        }
        self
    }

    /// The origin gave the stored form its entity tag, and does not know those that a route has made of it.
    pub(super) fn for_route(mut self, route: &Route) -> Self {
        if route.compress().is_some() {
            coding::restore_tags(&mut self.headers);
        }
        self
    }

    /// Asks the origin for a response without coding: one form that all others are made of.
    pub(super) fn uncoded(mut self) -> Self {
        self.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        self
    }

    /// Asks the origin to confirm `stored` rather than send it again (RFC 9111 section 4.3.1).
    pub(super) fn validating(mut self, stored: &Entry) -> Self {
        if let Some(conditions) = validation::conditional_fields(&stored.content().fields) {
            self.headers.extend(conditions);
        }
        self
    }

    /// The request with the body that is part of its key, if any.
    pub(super) fn with_content(mut self) -> Request<RequestBody> {
        let content = std::mem::take(&mut self.content);
        self.with_body(if content.is_empty() { RequestBody::Empty } else { RequestBody::Whole(content) })
    }

    /// The request with a body.
    pub(super) fn with_body<B>(self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        if let Some(interim) = self.interim {
            request.extensions_mut().insert(interim);
        }
        request
    }
}

/// The body that is part of the key; it is shared, not copied.
fn content(visit: &Visit) -> Bytes {
    visit.content.as_ref().map(|content| content.bytes().clone()).unwrap_or_default()
}

/// The fields that no fetch sends on, unless they are part of the key.
fn unkeyed(keyed: &[HeaderName]) -> impl Iterator<Item = &'static str> {
    UNKEYED.into_iter().filter(move |name| !keyed.iter().any(|k| k == name))
}

/// Whether a request has one of them.
pub(super) fn has_unkeyed(headers: &HeaderMap, keyed: &[HeaderName]) -> bool {
    unkeyed(keyed).any(|name| headers.contains_key(name))
}

/// RFC 9110 section 6.6.1: a recipient that stores a response without `Date` adds one.
pub(super) fn add_date(headers: &mut HeaderMap, now: SystemTime) {
    if headers.contains_key(DATE) {
        return;
    }
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(now)) {
        headers.insert(DATE, date);
    }
}

/// Removes the fields of the origin's connection from a response, but for `Trailer`.
pub(super) fn strip_connection(headers: &mut HeaderMap) {
    let trailer = headers.get_all(TRAILER).iter().cloned().collect();
    fields::strip_hop_by_hop(headers);
    keep_trailer(headers, trailer);
}

/// Puts `Trailer` back. RFC 9110 section 7.6.1 does not list it among the fields that an intermediary
/// removes, and hyper sends no trailer that it does not announce.
fn keep_trailer(headers: &mut HeaderMap, announced: Vec<HeaderValue>) {
    headers.remove(TRAILER);
    for value in announced {
        headers.append(TRAILER, value);
    }
}

/// Path and query; an absolute target loses its authority (RFC 9112 section 3.2.1).
fn origin_form(parts: &Parts) -> Uri {
    if parts.uri.authority().is_none() {
        return parts.uri.clone();
    }
    let path_and_query = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    path_and_query.parse().unwrap_or_default()
}

/// The client's fields without those of its connection, with ours about the client.
fn end_to_end(visit: &Visit) -> HeaderMap {
    let mut headers = visit.parts.headers.clone();
    fields::strip_hop_by_hop(&mut headers);
    // The listener has answered `100 Continue` already.
    headers.remove(EXPECT);
    if let (true, Ok(host)) = (visit.parts.uri.authority().is_some(), HeaderValue::from_str(visit.host())) {
        // RFC 9112 section 3.2.2: the authority of an absolute target replaces Host.
        headers.insert(HOST, host);
    }
    describe_client(&mut headers, visit);
    TraceContext::keep_valid(&mut headers);
    headers.insert(X_REQUEST_ID, visit.request_id().to_header_value());
    headers.append(VIA, OUR_VIA);
    headers
}

/// Tells the origin who the client is: appended to what a trusted proxy says, else in place of it.
fn describe_client(headers: &mut HeaderMap, visit: &Visit) {
    let peer = canonical(visit.peer);
    let host = visit.host();
    if !visit.trusted {
        for name in [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, FORWARDED] {
            headers.remove(name);
        }
    }
    let node = if peer.is_ipv6() { format!("\"[{peer}]\"") } else { peer.to_string() };
    let element = format!("for={node};host=\"{host}\";proto={}", visit.scheme());
    append_to_list(headers, &X_FORWARDED_FOR, &peer.to_string());
    append_to_list(headers, &FORWARDED, &element);
    for (name, value) in [(X_FORWARDED_PROTO, visit.scheme()), (X_FORWARDED_HOST, host)] {
        if let (false, Ok(value)) = (headers.contains_key(&name), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
}

/// An IPv4 client on a dual-stack socket is an IPv4 client.
fn canonical(peer: SocketAddr) -> IpAddr {
    peer.ip().to_canonical()
}

fn append_to_list(headers: &mut HeaderMap, name: &HeaderName, member: &str) {
    let earlier: Vec<&str> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
    let joined = if earlier.is_empty() { member.to_owned() } else { format!("{}, {member}", earlier.join(", ")) };
    if let Ok(value) = HeaderValue::try_from(joined) {
        headers.insert(name.clone(), value);
    }
}
