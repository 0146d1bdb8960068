//! One request on its journey.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::SystemTime;

use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue, UPGRADE};
use http::request::Parts;
use http_body::Body as _;

use crate::clock::{Clock, Moment};
use crate::config::{BypassRule, CachePolicy};
use crate::key::{self, Content, KeyBuffer, MethodClass, Target};
use crate::listener::{Client, Interim, Offer, RequestBody};
use crate::policy::request::is_selective;
use crate::telemetry::trace::{RequestId, TraceContext};

use super::content::Replay;
use super::site::Site;

/// Which fields a request has that most do not have: one pass over the names costs less than to ask for each.
#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    /// The client may want less than the whole of a response.
    selective: bool,
    /// There is a `traceparent`.
    traced: bool,
    /// There is an `X-Request-Id`.
    identified: bool,
}

impl Noted {
    fn of(headers: &HeaderMap) -> Self {
        let mut noted = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "traceparent" => noted.traced = true,
                "x-request-id" => noted.identified = true,
                _ => noted.selective |= is_selective(name),
            }
        }
        noted
    }
}

/// One request, with what the listener knows of it.
pub(super) struct Visit {
    /// Method, target and fields as the client sent them.
    pub(super) parts: Box<Parts>,
    /// The body, unless it is known to be empty.
    pub(super) body: Option<Box<Replay<RequestBody>>>,
    /// The body as a part of the key, where the route has it so; `body` is then empty.
    pub(super) content: Option<Box<Content>>,
    /// The other end of the connection.
    pub(super) peer: SocketAddr,
    /// Whether the peer is a proxy whose word on the client is taken.
    pub(super) trusted: bool,
    /// Tells the client something before its response, if its protocol knows such a thing.
    pub(super) interim: Option<Interim>,
    /// The client offers to speak another protocol.
    pub(super) upgrade: Option<Offer>,
    /// When the head had arrived.
    pub(super) started: Moment,
    /// The same on the wall clock, if the request [is selective](Self::is_selective): it tells the century of a year with
    /// two digits.
    pub(super) arrived: Option<SystemTime>,
    noted: Noted,
    /// The configuration that this request is served by, whatever is reloaded meanwhile.
    pub(super) site: Arc<Site>,
    /// Drawn or read when something first needs it.
    request_id: OnceLock<RequestId>,
}

impl Visit {
    pub(super) fn new(parts: Box<Parts>, body: RequestBody, client: Client, clock: &Clock, site: Arc<Site>) -> Self {
        let Client { address: peer, arrived: at, interim, upgrade } = client;
        let body = (!body.is_end_stream()).then(|| Box::new(Replay::new(body)));
        let trusted = site.trusts(peer.ip());
        let started = clock.at(at);
        let noted = Noted::of(&parts.headers);
        let arrived = noted.selective.then(|| clock.wall());
        let (content, request_id) = (None, OnceLock::new());
        Self { parts, body, content, peer, trusted, interim, upgrade, started, arrived, noted, site, request_id }
    }

    /// Whether the client may want less than the whole of a response: most cannot, and are asked no more.
    pub(super) fn is_selective(&self) -> bool {
        self.noted.selective
    }

    /// The trace that it belongs to.
    pub(super) fn trace(&self) -> Option<TraceContext> {
        if self.noted.traced { TraceContext::of(&self.parts.headers) } else { None }
    }

    /// The `Host` field.
    pub(super) fn host_field(&self) -> Option<&HeaderValue> {
        // Clients send it first (RFC 9110 section 7.2), where it is found sooner than by its hash.
        self.parts.headers.iter().find(|(name, _)| *name == HOST).map(|(_, host)| host)
    }

    /// Host and port: of an absolute target, or of the `Host` field, which the guard has checked to agree.
    pub(super) fn host(&self) -> &str {
        let from_field = || self.host_field()?.to_str().ok();
        self.parts.uri.authority().map(http::uri::Authority::as_str).or_else(from_field).unwrap_or_default()
    }

    /// `https` if a trusted proxy in front says that the client used it.
    pub(super) fn scheme(&self) -> &'static str {
        let secure = || self.parts.headers.get("x-forwarded-proto").is_some_and(|p| p.as_bytes() == b"https");
        if self.trusted && secure() { "https" } else { "http" }
    }

    /// `scheme://host`: the scope of cache groups.
    pub(super) fn site_name(&self) -> String {
        format!("{}://{}", self.scheme(), self.host().to_ascii_lowercase())
    }

    /// The client's address: the peer's, or what a trusted proxy in front says it is.
    pub(super) fn client(&self) -> IpAddr {
        let peer = self.peer.ip().to_canonical();
        let named = || {
            let list = self.parts.headers.get("x-forwarded-for")?.to_str().ok()?;
            list.rsplit(',').next()?.trim().parse().ok()
        };
        if self.trusted { named().unwrap_or(peer) } else { peer }
    }

    /// The id of this request, the client's own if it sent a sane one.
    pub(super) fn request_id(&self) -> &RequestId {
        self.request_id.get_or_init(|| self.new_request_id())
    }

    /// The same for whoever is the last to need it: nothing is kept that nobody will ask for.
    pub(super) fn take_request_id(&mut self) -> RequestId {
        self.request_id.take().unwrap_or_else(|| self.new_request_id())
    }

    fn new_request_id(&self) -> RequestId {
        if self.noted.identified { RequestId::of(&self.parts.headers) } else { RequestId::random() }
    }

    /// What the key is made of.
    pub(super) fn target(&self) -> Target<'_> {
        let uri = &self.parts.uri;
        Target { scheme: self.scheme(), host: self.host(), path: uri.path(), query: uri.query() }
    }

    /// The key by the rules of a route.
    pub(super) fn key(&self, policy: &CachePolicy) -> KeyBuffer {
        let class = self.content.as_ref().map_or(MethodClass::Get, |content| content.class());
        let mut key = key::build(self.target(), class, &policy.key, &self.parts.headers);
        if let Some(content) = &self.content {
            content.push(&mut key, &self.parts.headers);
        }
        key
    }

    /// Whether the client asks to leave HTTP (RFC 9110 section 7.8), and can.
    pub(super) fn wants_upgrade(&self) -> bool {
        let headers = &self.parts.headers;
        self.upgrade.is_some()
            && headers.contains_key(UPGRADE)
            && headers.get_all(CONNECTION).iter().any(|field| {
                field.as_bytes().split(|&b| b == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
            })
    }

    /// Whether a bypass rule of the route matches.
    pub(super) fn bypasses(&self, policy: &CachePolicy) -> bool {
        policy.bypass.iter().any(|rule| match rule {
            BypassRule::Header(name) => self.parts.headers.contains_key(name),
            BypassRule::Cookie(name) => key::has_cookie(&self.parts.headers, name),
            BypassRule::Query(name) => key::has_parameter(self.parts.uri.query().unwrap_or_default(), name),
            BypassRule::Path(pattern) => pattern.matches(self.parts.uri.path()),
        })
    }
}
