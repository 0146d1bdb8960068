//! Responses to the client: from the store, from a shared fetch, from the origin, or our own.
//! The only place that turns an error into a status.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, RETRY_AFTER, SET_COOKIE,
};
use http::{Method, Response, StatusCode};

use crate::coalesce::Reader;
use crate::entry::{Entry, Fields};
use crate::listener::Fault;
use crate::origin::Reply;
use crate::policy::fields::ByName;
use crate::policy::ranges::ContentRange;
use crate::policy::validation::{self, Precondition};
use crate::policy::{coding, storability};
use crate::reason::OriginFault;

use super::body::Body;
use super::cache_status::CacheStatus;
use super::coding::{Form, named_as_held};
use super::flight::Head;
use super::partial;
use super::signature::{Signature, Supplier};
use super::site::Route;
use super::visit::Visit;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// What this proxy is called in `Via`, on both sides (RFC 9110 section 7.6.3).
pub(super) const OUR_VIA: HeaderValue = HeaderValue::from_static("1.1 millpond");
/// What a client may do when we are the ones who refuse: come back soon.
const RETRY_SOON: HeaderValue = HeaderValue::from_static("1");

// RFC 9209 section 2.3: why it is we who answer.
const DESTINATION_NOT_FOUND: HeaderValue = HeaderValue::from_static("Millpond; error=destination_not_found");
const REQUEST_DENIED: HeaderValue = HeaderValue::from_static("Millpond; error=http_request_denied");
const INTERNAL_RESPONSE: HeaderValue = HeaderValue::from_static("Millpond; error=proxy_internal_response");

/// A representation as the client's conditions and ranges see it.
pub(super) struct Representation<'a> {
    pub(super) status: StatusCode,
    pub(super) fields: &'a Fields,
    pub(super) age: Duration,
    pub(super) body: Bulk,
}

/// The body of a representation.
pub(super) enum Bulk {
    /// Stored.
    Stored(Arc<Entry>),
    /// In memory.
    Whole(Bytes),
    /// Still arriving; the length is that of the origin's `Content-Length`.
    Arriving(Reader, Option<u64>),
}

impl Bulk {
    /// The length, where it is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Stored(entry) => Some(entry.body().len() as u64),
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Arriving(_, length) => *length,
        }
    }

    /// All of it, if it is in memory.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Stored(entry) => Some(entry.body().share()),
            Self::Whole(bytes) => Some(bytes.clone()),
            Self::Arriving(..) => None,
        }
    }
}

/// Answers from a stored entry.
pub(super) fn stored(
    visit: &Visit,
    entry: &Arc<Entry>,
    form: &Form<'_>,
    age: Duration,
    status: CacheStatus,
) -> Response<Body> {
    let (fields, body) = match form {
        Form::Coded(_, coded) => (&coded.fields, Bulk::Whole(coded.body.clone())),
        Form::Sole | Form::Plain(..) | Form::Held(_) => (entry.fields(), Bulk::Stored(Arc::clone(entry))),
    };
    represent(visit, form, Representation { status: entry.status(), fields, age, body }, status)
}

/// Answers from a fetch that is under way.
pub(super) fn arriving(
    visit: &Visit,
    head: &Head,
    form: &Form<'_>,
    reader: Reader,
    age: Duration,
    status: CacheStatus,
) -> Response<Body> {
    if let Some(part) = &head.part {
        let body = Body::shared(reader, 0, head.length);
        return slice(visit, form, Slice { fields: &head.fields, age, part, body }, status);
    }
    let body = Bulk::Arriving(reader, head.length);
    represent(visit, form, Representation { status: head.status, fields: &head.fields, age, body }, status)
}

/// Applies method, conditions and ranges in the order of RFC 9110 section 13.2.2.
fn represent(visit: &Visit, form: &Form<'_>, shown: Representation<'_>, cache_status: CacheStatus) -> Response<Body> {
    let age = shown.age;
    let fields = if let Form::Held(fields) = form { fields } else { shown.fields };
    let mut response = match precondition(visit, shown.status, fields) {
        Precondition::NotModified => not_modified(fields),
        Precondition::Proceed if visit.parts.method == Method::HEAD => head_only(&shown),
        Precondition::Proceed if !visit.is_selective() || matches!(form, Form::Coded(..)) => whole(shown),
        Precondition::Proceed => match partial::requested(&visit.parts, &shown) {
            Some(part) => partial::answer(part, shown),
            None => whole(shown),
        },
    };
    say_so(form, &mut response);
    signed(response, Supplier::stored(age), cache_status)
}

/// Says that there may be other forms than the one that is sent.
fn say_so(form: &Form<'_>, response: &mut Response<Body>) {
    if let Form::Plain(codable, _) = form {
        coding::say_so(response.headers_mut(), *codable);
    }
}

/// What the client's conditions mean for these fields.
fn precondition(visit: &Visit, status: StatusCode, shown: &impl ByName) -> Precondition {
    let Some(now) = visit.arrived else { return Precondition::Proceed };
    validation::evaluate_conditional(&visit.parts.headers, status, shown, now)
}

fn signed(mut response: Response<Body>, supplier: Supplier, status: CacheStatus) -> Response<Body> {
    response.body_mut().sign(Signature::new(supplier, status));
    response
}

/// A part of a representation that is not there as a whole.
pub(super) struct Slice<'a> {
    /// Fields of the whole.
    pub(super) fields: &'a Fields,
    pub(super) age: Duration,
    pub(super) part: &'a ContentRange,
    pub(super) body: Body,
}

/// Answers with a part, which is what the request asks for, unless the client has the whole.
pub(super) fn slice(visit: &Visit, form: &Form<'_>, shown: Slice<'_>, cache_status: CacheStatus) -> Response<Body> {
    let Slice { fields, age, part, body } = shown;
    let mut response = match precondition(visit, StatusCode::OK, fields) {
        Precondition::NotModified => not_modified(fields),
        Precondition::Proceed => partial::given(fields, part, body),
    };
    say_so(form, &mut response);
    signed(response, Supplier::stored(age), cache_status)
}

fn whole(shown: Representation<'_>) -> Response<Body> {
    let body = match shown.body {
        Bulk::Stored(entry) => Body::stored(entry),
        Bulk::Whole(bytes) => Body::full(bytes).behind(shown.fields),
        Bulk::Arriving(reader, length) => Body::shared(reader, 0, length).behind(shown.fields),
    };
    with(shown.status, body)
}

fn head_only(shown: &Representation<'_>) -> Response<Body> {
    let mut response = of(shown.status, shown.fields, Body::empty());
    if let Some(length) = shown.body.length() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

fn not_modified(stored: &Fields) -> Response<Body> {
    of(StatusCode::NOT_MODIFIED, &of_not_modified(stored), Body::empty())
}

/// The fields of a response that its 304 has as well.
fn of_not_modified(whole: &Fields) -> Fields {
    let tagged = whole.has(&ETAG);
    whole.select(|name| validation::is_for_not_modified(name, tagged))
}

/// A response with these fields. They are written as they are stored; what is added to the response
/// itself stands behind them, and does not replace them.
pub(super) fn of(status: StatusCode, fields: &Fields, body: Body) -> Response<Body> {
    with(status, body.behind(fields))
}

fn with(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

/// Adds what is for the client whose request was sent.
pub(super) fn add_cookies(response: &mut Response<Body>, cookies: &[HeaderValue]) {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
}

/// Whether the origin was shown the conditions of the client that its response is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conditions {
    /// It was, and has answered with them in mind.
    Shown,
    /// They were left out of a fetch that was meant for everybody.
    LeftOut,
}

/// Hands the origin's response to one client alone.
pub(super) fn direct(
    visit: &Visit,
    route: &Route,
    reply: Reply,
    conditions: Conditions,
    status: CacheStatus,
) -> Response<Body> {
    let Reply { status: code, fields, apart, length, mut body } = reply;
    if storability::is_event_stream(&fields) {
        body.exempt_from_total();
    }
    let unchanged = conditions == Conditions::LeftOut
        && code == StatusCode::OK
        && visit.parts.method.is_safe()
        && precondition(visit, code, &fields) == Precondition::NotModified;
    let response = if unchanged {
        not_modified(&Fields::from(fields))
    } else {
        let mut response = with(code, Body::origin(body, named_as_held(&visit.parts, route, code, fields)));
        if let Some(apart) = apart {
            *response.headers_mut() = *apart;
        }
        // Of what has no body its length cannot tell.
        if let Some(length) = length.filter(|_| visit.parts.method == Method::HEAD || code == StatusCode::NOT_MODIFIED)
        {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        response
    };
    signed(response, Supplier::Origin, status)
}

/// The origin failed and nothing can stand in for it.
pub(super) fn failed(fault: OriginFault, status: CacheStatus) -> Response<Body> {
    let (code, proxy_error) = gateway_error(fault);
    let mut response = plain(code, &format!("The origin did not answer: {fault}.\n"));
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(format!("Millpond; error={proxy_error}; details=\"{fault}\"")) {
        headers.append(PROXY_STATUS, value);
    }
    if code == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_SOON);
    }
    signed(response, Supplier::Us, status)
}

/// Status and RFC 9209 error type of an origin fault.
const fn gateway_error(fault: OriginFault) -> (StatusCode, &'static str) {
    match fault {
        OriginFault::Connect => (StatusCode::BAD_GATEWAY, "connection_refused"),
        OriginFault::Resolve => (StatusCode::BAD_GATEWAY, "dns_error"),
        OriginFault::Unreachable => (StatusCode::BAD_GATEWAY, "destination_ip_unroutable"),
        OriginFault::Reset => (StatusCode::BAD_GATEWAY, "connection_terminated"),
        OriginFault::Protocol => (StatusCode::BAD_GATEWAY, "http_protocol_error"),
        OriginFault::Abandoned => (StatusCode::BAD_GATEWAY, "proxy_internal_error"),
        // The client's connection is silent or gone: what it did wrong has its own answer.
        OriginFault::RequestBody => (StatusCode::REQUEST_TIMEOUT, "http_request_error"),
        OriginFault::ConnectTimeout => (StatusCode::GATEWAY_TIMEOUT, "connection_timeout"),
        OriginFault::FirstByteTimeout | OriginFault::BetweenBytesTimeout | OriginFault::TotalTimeout => {
            (StatusCode::GATEWAY_TIMEOUT, "http_response_timeout")
        }
        OriginFault::QueueFull | OriginFault::QueueTimeout => {
            (StatusCode::SERVICE_UNAVAILABLE, "connection_limit_reached")
        }
    }
}

/// The listener refused the request before it had a meaning.
pub(super) fn rejected(fault: Fault, status: CacheStatus) -> Response<Body> {
    let mut response = plain(fault.status(), &format!("The request was refused: {}.\n", fault.as_str()));
    let error = if fault == Fault::Connect { "http_request_denied" } else { "http_request_error" };
    if let Ok(value) = HeaderValue::try_from(format!("Millpond; error={error}; details=\"{}\"", fault.as_str())) {
        response.headers_mut().append(PROXY_STATUS, value);
    }
    signed(response, Supplier::Us, status)
}

/// No route takes the request.
pub(super) fn no_route(status: CacheStatus) -> Response<Body> {
    let mut response = plain(StatusCode::NOT_FOUND, "No route of this proxy takes this host, path and method.\n");
    response.headers_mut().append(PROXY_STATUS, DESTINATION_NOT_FOUND);
    signed(response, Supplier::Us, status)
}

/// A method this proxy never forwards: it would open a tunnel to anywhere.
pub(super) fn connect_refused(status: CacheStatus) -> Response<Body> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "This proxy opens no tunnels.\n");
    response.headers_mut().append(PROXY_STATUS, REQUEST_DENIED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    signed(response, Supplier::Us, status)
}

/// The client wants a stored response or none (RFC 9111 section 5.2.1.7).
pub(super) fn only_if_cached(status: CacheStatus) -> Response<Body> {
    let mut response = plain(StatusCode::GATEWAY_TIMEOUT, "Nothing stored satisfies only-if-cached.\n");
    response.headers_mut().append(PROXY_STATUS, INTERNAL_RESPONSE);
    signed(response, Supplier::Us, status)
}

/// 416 for a range outside the representation.
pub(super) fn range_not_satisfiable(length: u64) -> Response<Body> {
    let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "The range lies outside the representation.\n");
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{length}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
