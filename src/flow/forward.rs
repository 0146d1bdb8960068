//! The request as the origin gets it.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TRAILER, UPGRADE, VIA,
};
use http::request::Parts;
use http::{Method, Uri};
use smallvec::SmallVec;

use crate::entry::Entry;
use crate::key::Key;
use crate::origin::{Fields, OnInterim, Outgoing, RequestBody};
use crate::policy::{coding, fields, validation};
use crate::telemetry::trace::X_REQUEST_ID;

use super::parts::Asked;
use super::respond::OUR_VIA;
use super::site::Route;
use super::visit::Visit;

/// Fields by which one client would shape the response that others get (RFC 9110 sections 13 and 14).
static CLIENT_CONDITIONS: [HeaderName; 6] =
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

/// The head of a request to the origin, kept for a fetch that outlives its client.
#[derive(Clone, Debug)]
pub(super) struct OriginHead {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) fields: Fields,
    /// The body, where it is part of the key.
    pub(super) content: Bytes,
    /// Who hears of interim responses.
    pub(super) interim: Option<OnInterim>,
}

impl OriginHead {
    /// The client's own request, passed on.
    pub(super) fn pass(visit: &Visit) -> Self {
        let mut fields = end_to_end(visit, |_| true);
        if visit.body.is_some() {
            // RFC 9110 section 7.6.1 does not list it among the fields that an intermediary removes, and no trailer is
            // sent that it does not announce.
            visit.parts.headers.get_all(TRAILER).iter().for_each(|names| fields.add(&TRAILER, names));
        }
        if visit.wants_upgrade()
            && let Some(protocol) = visit.parts.headers.get(UPGRADE)
        {
            fields.add(&CONNECTION, &HeaderValue::from_static("upgrade"));
            fields.add(&UPGRADE, protocol);
        }
        let (method, uri) = (visit.parts.method.clone(), origin_form(&visit.parts));
        Self { method, uri, fields, content: content(visit), interim: None }
    }

    /// A GET whose response may be shared, or another method with its body: only what the key contains shapes it. The target is the
    /// key's own, so that the origin can not reflect a parameter that the key leaves out.
    pub(super) fn fetch(visit: &Visit, key: &Key, keyed: &[HeaderName]) -> Self {
        Self::keyed(visit, key, |name| !is_unkeyed(name, keyed) && !CLIENT_CONDITIONS.contains(name))
    }

    /// The same with the client's conditions and ranges, where the response is not expected to be
    /// storable: what they shape (304, 412, 416) is not stored, and a 206 only as a part.
    pub(super) fn fetch_with_conditions(visit: &Visit, key: &Key, keyed: &[HeaderName]) -> Self {
        Self::keyed(visit, key, |name| !is_unkeyed(name, keyed))
    }

    fn keyed(visit: &Visit, key: &Key, keep: impl Fn(&HeaderName) -> bool) -> Self {
        let fields = end_to_end(visit, keep);
        let uri = key.path_and_query().parse().unwrap_or_else(|_| origin_form(&visit.parts));
        let method = if visit.content.is_some() { visit.parts.method.clone() } else { Method::GET };
        Self { method, uri, fields, content: content(visit), interim: None }
    }

    /// Whether the origin can be asked to confirm what is stored. For POST, If-None-Match means that
    /// nothing is to be done if there is something (RFC 9110 section 13.1.2).
    pub(super) fn can_validate(&self) -> bool {
        self.method != Method::POST
    }

    /// Asks for a range and no more, under the client's condition.
    pub(super) fn asking(mut self, asked: Option<&Asked>) -> Self {
        if let Some(asked) = asked {
            self.fields.set(&RANGE, &asked.spec.to_value());
            if let Some(condition) = &asked.if_range {
                self.fields.set(&IF_RANGE, condition);
            }
        }
        self
    }

    /// The origin gave the stored form its entity tag, and does not know those that a route has made of it.
    pub(super) fn for_route(mut self, route: &Route) -> Self {
        for name in [IF_MATCH, IF_NONE_MATCH].iter().filter(|_| route.compress().is_some()) {
            if let Some(restored) = coding::restored_tags(self.fields.all(name)) {
                self.fields.set(name, &restored);
            }
        }
        self
    }

    /// Asks the origin for a response without coding: one form that all others are made of.
    pub(super) fn uncoded(mut self) -> Self {
        self.fields.set(&ACCEPT_ENCODING, &HeaderValue::from_static("identity"));
        self
    }

    /// Asks the origin to confirm `stored` rather than send it again (RFC 9111 section 4.3.1).
    pub(super) fn validating(mut self, stored: &Entry) -> Self {
        for (name, value) in validation::conditional_fields(stored.fields()).iter().flatten() {
            self.fields.set(name, value);
        }
        self
    }

    /// The request with the body that is part of its key, if any.
    pub(super) fn with_content(mut self) -> Outgoing {
        let content = std::mem::take(&mut self.content);
        self.with_body(if content.is_empty() { RequestBody::Empty } else { RequestBody::Whole(content) })
    }

    /// The request with a body.
    pub(super) fn with_body(self, body: RequestBody) -> Outgoing {
        let Self { method, uri, fields, interim, .. } = self;
        Outgoing { method, uri, fields, body, interim, underway: None }
    }
}

/// The body that is part of the key; it is shared, not copied.
fn content(visit: &Visit) -> Bytes {
    visit.content.as_ref().map(|content| content.bytes().clone()).unwrap_or_default()
}

/// Whether no fetch sends this field on.
fn is_unkeyed(name: &HeaderName, keyed: &[HeaderName]) -> bool {
    UNKEYED.contains(&name.as_str()) && !keyed.contains(name)
}

/// Whether a request has such a field.
pub(super) fn has_unkeyed(headers: &HeaderMap, keyed: &[HeaderName]) -> bool {
    headers.keys().any(|name| is_unkeyed(name, keyed))
}

/// Path and query; an absolute target loses its authority (RFC 9112 section 3.2.1).
fn origin_form(parts: &Parts) -> Uri {
    if parts.uri.authority().is_none() {
        return parts.uri.clone();
    }
    let path_and_query = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    path_and_query.parse().unwrap_or_default()
}

/// The client's fields without those of its connection and those that are not to be kept, with ours about the client.
fn end_to_end(visit: &Visit, keep: impl Fn(&HeaderName) -> bool) -> Fields {
    let client = &visit.parts.headers;
    let hops = fields::HopByHop::of(client);
    let traced = visit.trace().is_some();
    let mut fields = Fields::new();
    for (name, value) in client {
        let passes = match name.as_str() {
            // Written below.
            "x-forwarded-for" | "forwarded" | "x-request-id" => false,
            "x-forwarded-proto" | "x-forwarded-host" => visit.trusted,
            "traceparent" | "tracestate" => traced,
            _ => true,
        };
        if passes && !hops.contains(name) && keep(name) {
            fields.add(name, value);
        }
    }
    if let Some(authority) = visit.parts.uri.authority() {
        // RFC 9112 section 3.2.2: the authority of an absolute target replaces Host.
        if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
            fields.add(&HOST, &host);
        }
    }
    describe_client(&mut fields, visit);
    visit.request_id().with_text(|id| fields.add_text(&X_REQUEST_ID, &[id]));
    fields.add(&VIA, &OUR_VIA);
    fields
}

/// Tells the origin who the client is: appended to what a trusted proxy says, else in place of it.
fn describe_client(fields: &mut Fields, visit: &Visit) {
    let (peer, host, scheme) = (canonical(visit.peer), visit.host(), visit.scheme());
    let (open, close): (&[u8], &[u8]) = if peer.is_ipv6() { (b"\"[", b"]\"") } else { (b"", b"") };
    let (peer, host, scheme) = (text(peer), host.as_bytes(), scheme.as_bytes());
    let peer = &peer[..];
    fields.add_text(&X_FORWARDED_FOR, &[earlier(visit, &X_FORWARDED_FOR).as_bytes(), peer]);
    let earlier = earlier(visit, &FORWARDED);
    let parts: [&[u8]; 9] = [earlier.as_bytes(), b"for=", open, peer, close, b";host=\"", host, b"\";proto=", scheme];
    fields.add_text(&FORWARDED, &parts);
    for (name, value) in [(X_FORWARDED_PROTO, scheme), (X_FORWARDED_HOST, host)] {
        if !visit.trusted || !visit.parts.headers.contains_key(&name) {
            fields.add_text(&name, &[value]);
        }
    }
}

/// An IPv4 client on a dual-stack socket is an IPv4 client.
fn canonical(peer: SocketAddr) -> IpAddr {
    peer.ip().to_canonical()
}

/// An address, without the machinery of formatting for those that are most frequent.
fn text(address: IpAddr) -> SmallVec<[u8; 40]> {
    let IpAddr::V4(address) = address else { return SmallVec::from_slice(address.to_string().as_bytes()) };
    let mut text = SmallVec::new();
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push(b'.');
        }
        text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
    text
}

/// The members of a list that a trusted proxy has begun, as what stands before ours.
fn earlier(visit: &Visit, name: &HeaderName) -> String {
    let mut list = String::new();
    if !visit.trusted {
        return list;
    }
    for value in visit.parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
        list.push_str(value);
        list.push_str(", ");
    }
    list
}
