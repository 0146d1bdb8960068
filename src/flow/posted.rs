//! POSTs whose response answers later GETs (RFC 9110 section 9.3.3), on routes that allow it.

use std::sync::Arc;

use http::header::CONTENT_ENCODING;
use http::{Method, StatusCode};
use http_body::Body as _;

use crate::bus::{Seq, Subject};
use crate::clock::Moment;
use crate::config::CachePolicy;
use crate::entry::{Content, Entry, Fields, Provenance};
use crate::key::{self, Key, MethodClass};
use crate::origin::Reply;
use crate::policy::posted::judge_posted;
use crate::policy::request::{RequestVerdict, judge_request};
use crate::policy::search::NO_VARY_SEARCH;
use crate::policy::storability::{Exchange, ResponseVerdict, Storable};
use crate::policy::tags::{self, Tag};
use crate::policy::vary::Selecting;
use crate::policy::{fields, invalidation};
use crate::reason::Reason;

use super::Proxy;
use super::body::Body;
use super::coding;
use super::forward;
use super::site::Route;
use super::visit::Visit;

/// A POST that is on its way, whose response may be stored.
pub(super) struct Posted {
    policy: Arc<CachePolicy>,
    /// That of a GET of the same target.
    key: Key,
    /// The position of the log, and the time, at which the origin was asked.
    began: Seq,
    asked: Moment,
}

/// A response that may be stored, before its body is there.
pub(super) struct Fill {
    posted: Posted,
    storable: Storable,
    status: StatusCode,
    fields: Fields,
    selecting: Selecting,
    tags: Vec<Tag>,
    received: Moment,
    /// The position of the log up to which nothing had invalidated it.
    valid_at: Seq,
}

impl Posted {
    /// `None` unless the route allows it, and a GET with the same fields would be looked up and reach the
    /// origin in the same form.
    pub(super) fn new(proxy: &Proxy, visit: &Visit, route: &Arc<Route>, reason: Reason) -> Option<Self> {
        let policy = route.cache.as_ref().filter(|policy| policy.post_fills_get)?;
        let headers = &visit.parts.headers;
        if visit.parts.method != Method::POST || reason != Reason::UnsafeMethod || visit.bypasses(policy) {
            return None;
        }
        let target = visit.target();
        let same_route =
            visit.site.route(&Method::GET, target.host, target.path).is_some_and(|get| Arc::ptr_eq(get, route));
        let looked_up =
            matches!(judge_request(&policy.rules, &Method::GET, headers), RequestVerdict::Lookup(_)) && same_route;
        let key = Key::new(&key::build(target, MethodClass::Get, &policy.key, headers));
        // What a fetch for everybody leaves out, and a pass does not, must not shape what is stored.
        let keyed =
            key.path_and_query() == path_and_query(visit) && !forward::has_unkeyed(headers, &policy.key.headers);
        let (began, asked) = (proxy.log.applied(), proxy.clock.now());
        (looked_up && keyed).then(|| Self { policy: Arc::clone(policy), key, began, asked })
    }

    /// Judges the response. To be called before what it invalidates is: after that, nobody could tell what
    /// else was.
    pub(super) fn judge(self, proxy: &Proxy, visit: &Visit, route: &Route, reply: &Reply) -> Option<Fill> {
        // So that a client does not wait for a body of which nobody knows how long it takes.
        let length = reply.body.size_hint().exact()?;
        let (target, mut headers) = (visit.target(), reply.headers());
        let fits = length <= self.policy.max_object_size;
        // Where we code, a GET would be asked for without coding.
        let coded = self.policy.compress.is_some() && headers.contains_key(CONTENT_ENCODING);
        if !fits || coded || !invalidation::names_itself(target.scheme, target.host, path_and_query(visit), &headers) {
            return None;
        }
        let received = proxy.clock.now();
        let exchange = Exchange {
            method: &visit.parts.method,
            request_headers: &visit.parts.headers,
            status: reply.status,
            response_headers: &headers,
            received_at: proxy.clock.wall(),
            response_delay: received.since(self.asked),
        };
        let ResponseVerdict::Storable(storable) = judge_posted(&self.policy.rules, &exchange) else { return None };
        let tags = tags::tags(&headers, &self.policy.tag_headers, &visit.site_name(), tags::MAX_TAGS);
        let any_query = headers.contains_key(NO_VARY_SEARCH);
        let subject = Subject { url: self.key.url(), route: &route.name, tags: &tags, any_query };
        let valid_at = proxy.log.applied();
        if proxy.log.table().matched_between(self.began, valid_at, &subject) {
            return None;
        }
        fields::prepare_stored(&mut headers, &storable);
        let selecting = coding::selecting(&self.policy, &storable.vary, &headers, &visit.parts.headers);
        let status = reply.status;
        Some(Fill {
            posted: self,
            storable,
            status,
            fields: Fields::from_map(&headers),
            selecting,
            tags,
            received,
            valid_at,
        })
    }
}

impl Fill {
    /// The position of the log up to which nothing had invalidated what is to be stored.
    pub(super) fn valid_at(&self) -> Seq {
        self.valid_at
    }

    /// Reads the body and stores it, in this instance alone. `born` is the position of the log after the
    /// records of this very request, and of no other.
    pub(super) async fn store(self, proxy: &Proxy, route: &Route, born: Seq, body: &mut Body) {
        let Posted { policy, key, asked, .. } = self.posted;
        let most = usize::try_from(policy.max_object_size).unwrap_or(usize::MAX);
        let Some(bytes) = body.read_whole(most).await else { return };
        let jitter = policy.jitter * rand::random::<f64>();
        let provenance = Provenance { born, received: self.received, fetch_time: self.received.since(asked), jitter };
        let content = Content { status: self.status, fields: self.fields, body: bytes };
        let entry = Entry::new(self.storable, content, self.selecting, self.tags, &route.name, provenance);
        let _ = proxy.keep(&key, &Arc::new(entry), proxy.clock.now());
    }
}

fn path_and_query(visit: &Visit) -> &str {
    visit.parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
}
