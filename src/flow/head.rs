//! What a HEAD that was passed on tells of a stored GET (RFC 9111 section 4.3.5).

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, HeaderMap};
use http::{Method, StatusCode};

use crate::bus::Seq;
use crate::clock::Moment;
use crate::config::CachePolicy;
use crate::entry::{Content, Entry, Fields, Parts, Provenance};
use crate::key::{self, Key, MethodClass};
use crate::origin::Reply;
use crate::policy::fields::ByName;
use crate::policy::storability::{Exchange, ResponseVerdict, judge_response};
use crate::policy::vary::Vary;
use crate::policy::{fields, tags, validation};
use crate::reason::Reason;

use super::Proxy;
use super::coding;
use super::forward;
use super::site::Route;
use super::visit::Visit;

impl Proxy {
    /// Compares the response to a HEAD with the stored GET that it would have selected: brings the stored
    /// fields up to date, or makes the stored response stale on this instance. Not in the fleet: the log is
    /// not for whoever may send a HEAD.
    ///
    /// `began` is the position of the log and the time at which the origin was asked.
    pub(super) fn learn_from_head(
        &self,
        visit: &Visit,
        route: &Route,
        reason: Reason,
        began: (Seq, Moment),
        reply: &Reply,
    ) {
        // What a bypass rule let through may be this client's own, and says nothing of what others get.
        let about_the_stored = matches!(reason, Reason::RequestNoStore | Reason::HitForMiss | Reason::CoalesceTimeout);
        if visit.parts.method != Method::HEAD || reply.status != StatusCode::OK || !about_the_stored {
            return;
        }
        let Some(policy) = &route.cache else { return };
        let key = Key::new(&key::build(visit.target(), MethodClass::Get, &policy.key, &visit.parts.headers));
        // Nor does the answer to what no fetch of this key would send.
        let own = visit.parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str) == Some(key.path_and_query());
        if !own || visit.bypasses(policy) || forward::has_unkeyed(&visit.parts.headers, &policy.key.headers) {
            return;
        }
        let shown = reply.headers();
        let slot = self.l1.find(key.as_bytes());
        let parts = slot.as_ref().and_then(|slot| slot.select_parts(&visit.parts.headers));
        let varies_anew = |entry: &Entry| varies_anew(policy, entry, &visit.parts.headers, &shown);
        let differs = |parts: &Arc<Parts>| {
            let stored = parts.entry().fields();
            varies_anew(parts.entry())
                || parts.complete().is_some_and(|length| !validation::head_agrees(stored, length, &shown))
        };
        if let Some(parts) = parts.filter(|parts| differs(parts)) {
            parts.entry().go_stale(self.clock.now());
        }
        // Not one that its client would take as well: the HEAD would have brought another.
        let stored = slot.as_ref().and_then(|slot| slot.select_exactly(&visit.parts.headers));
        let Some(stored) = stored.filter(|entry| entry.is_valid(|| key.url(), self.log.table())) else { return };
        // Where we code, the client's own codings are no business of the stored form.
        let coded = (shown.has(&CONTENT_ENCODING), stored.fields().has(&CONTENT_ENCODING));
        let in_another_form = policy.compress.is_some() && coded.0 != coded.1;
        if stored.status() != StatusCode::OK || in_another_form {
            return;
        }
        let agrees = validation::head_agrees(stored.fields(), stored.body().len() as u64, &shown);
        if !agrees || varies_anew(stored) {
            stored.go_stale(self.clock.now());
            return;
        }
        if let Some(entry) = self.freshened(visit, policy, stored, began, &shown) {
            let now = entry.received();
            let _ = self.keep(&key, &Arc::new(entry), now);
        }
    }

    /// The stored response with the fields of a HEAD, if that leaves it storable.
    fn freshened(
        &self,
        visit: &Visit,
        policy: &CachePolicy,
        stored: &Entry,
        (born, asked): (Seq, Moment),
        shown: &HeaderMap,
    ) -> Option<Entry> {
        let now = self.clock.now();
        let mut headers = validation::updates(stored.fields().to_map(), shown);
        let fetch_time = now.since(asked);
        let exchange = Exchange {
            method: &Method::GET,
            request_headers: &visit.parts.headers,
            status: StatusCode::OK,
            response_headers: &headers,
            received_at: self.clock.wall(),
            response_delay: fetch_time,
        };
        let ResponseVerdict::Storable(storable) = judge_response(&policy.rules, &exchange) else { return None };
        let shown = tags::tags(&headers, &policy.tag_headers, &visit.site_name(), tags::MAX_TAGS);
        let tags = tags::with_earlier(shown, stored.tags(), tags::MAX_TAGS);
        fields::prepare_stored(&mut headers, &storable);
        let vary = storable.vary.clone().and(stored.selecting());
        let selecting = coding::selecting(policy, &vary, &headers, &visit.parts.headers);
        let fields = Fields::from_map(&headers);
        let content = Content { status: StatusCode::OK, fields, body: stored.body().share() };
        let provenance = Provenance { born, received: now, fetch_time, jitter: policy.jitter * rand::random::<f64>() };
        let entry = Entry::new(storable, content, selecting, tags, stored.route(), provenance);
        entry.inherit_forms(stored);
        Some(entry)
    }
}

/// Whether a HEAD shows a selecting field that was not known when `stored` was: what its own client had there was not
/// noted, and what the HEAD had there is another matter.
fn varies_anew(policy: &CachePolicy, stored: &Entry, request: &HeaderMap, shown: &HeaderMap) -> bool {
    let headers = validation::updates(stored.fields().to_map(), shown);
    let selecting = coding::selecting(policy, &Vary::of(&headers), &headers, request);
    selecting.names().iter().any(|name| !stored.selecting().names().contains(name))
}
