//! Requests that go to the origin without a look at the cache, and what they invalidate.

use std::sync::Arc;

use http::Method;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use smallvec::SmallVec;

use crate::bus::{Pattern, Seq};
use crate::key::{self, KeyRules, Target};
use crate::origin::{RequestBody, ResponseBody};
use crate::policy::invalidation;
use crate::reason::{OriginFault, Outcome, Reason};

use super::Proxy;
use super::answer::Answer;
use super::cache_status::{CacheStatus, Forwarded};
use super::coding;
use super::forward::{OriginHead, strip_connection};
use super::interim::Audience;
use super::posted::{Fill, Posted};
use super::purge;
use super::respond;
use super::site::Route;
use super::upload;
use super::visit::Visit;

impl Proxy {
    /// Passes the request on and hands the response to this client alone.
    pub(super) async fn pass(self: &Arc<Self>, visit: &mut Visit, route: Arc<Route>, reason: Reason) -> Answer {
        let began = (self.log.applied(), self.clock.now());
        match ask(visit, &route, reason).await {
            Ok(response) => {
                self.learn_from_head(visit, &route, reason, began, &response);
                hand_over(visit, route, reason, response)
            }
            Err(answer) => answer,
        }
    }

    /// Passes an unsafe request on. If it succeeds, what is stored for its target is invalidated
    /// before the client learns of the success (RFC 9111 section 4.4); what came may then be stored in
    /// its place.
    pub(super) async fn pass_unsafe(self: &Arc<Self>, visit: &mut Visit, route: Arc<Route>, reason: Reason) -> Answer {
        let posted = Posted::new(self, visit, &route, reason);
        let response = match ask(visit, &route, reason).await {
            Ok(response) => response,
            Err(answer) => return answer,
        };
        let fill = posted.and_then(|posted| posted.judge(self, visit, &route, &response));
        let mut born = None;
        if invalidation::invalidates(response.status()) {
            born = self.invalidate_after(visit, response.headers(), fill.as_ref().map(Fill::valid_at)).await;
        }
        let mut answer = hand_over(visit, Arc::clone(&route), reason, response);
        if let (Some(fill), Some(born)) = (fill, born) {
            fill.store(self, &route, born, answer.response.body_mut()).await;
        }
        answer
    }

    /// Returns the position of the log after this if nothing else, here or in the fleet, was invalidated
    /// since `before`.
    async fn invalidate_after(
        self: &Arc<Self>,
        visit: &Visit,
        headers: &HeaderMap,
        before: Option<Seq>,
    ) -> Option<Seq> {
        let target = visit.target();
        let path_and_query = visit.parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let affected = invalidation::invalidated_targets(target.scheme, target.host, path_and_query, headers);
        let urls = affected.iter().flat_map(|affected| {
            let (path, query) = match affected.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (affected.as_str(), None),
            };
            self.key_urls(Target { path, query, ..target }).into_iter().map(Pattern::Url)
        });
        let groups = invalidation::invalidated_groups(headers, &visit.site_name()).into_iter().map(Pattern::Tag);
        let patterns: Vec<Pattern> = urls.chain(groups).collect();
        let records = purge::records(&patterns, false);
        let here = self.log.apply_here(&records, self.clock.now());
        let count = records.len() as u64;
        // The client's write has succeeded. That the others could not be told is the log's to mend,
        // and it goes on trying when the client waits no longer.
        let Ok(Ok(logged)) = tokio::time::timeout(self.invalidation_wait, self.tell(records, here)).await else {
            tracing::warn!("the others will hear later of what a write has invalidated");
            return None;
        };
        before.filter(|before| self.log.is_all_since(*before, count, here, logged.seq)).map(|_| logged.seq)
    }

    /// The URL part of the key that a GET of `target` has, and of those that methods with their body in
    /// the key have, where a route of their own writes it in another way.
    pub(super) fn key_urls(&self, target: Target<'_>) -> SmallVec<[String; 1]> {
        let site = self.site.load();
        let rules = |method: &Method| {
            let route = site.route(method, target.host, target.path)?;
            route.cache.as_deref().map(|policy| &policy.key)
        };
        let get = rules(&Method::GET);
        let mut urls = SmallVec::from_iter([
            get.map_or_else(|| key::url(target, &KeyRules::default()), |rules| key::url(target, rules))
        ]);
        for body in site.policies().filter_map(|policy| policy.key.body.as_ref()) {
            for rules in body.methods.iter().filter_map(rules) {
                let url = key::url(target, rules);
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
        urls
    }
}

/// The origin's response to the client's own request, or the answer for want of one.
async fn ask(visit: &mut Visit, route: &Arc<Route>, reason: Reason) -> Result<Response<ResponseBody>, Answer> {
    let head = OriginHead::pass(visit).for_route(route).telling(visit, Audience::Sole);
    let (body, upload) = upload::watch(visit.body.take());
    let request = if visit.content.is_some() { head.with_content() } else { head.with_body(body) };
    exchange(route, request).await.map_err(|fault| {
        let route = Arc::clone(route);
        let answer = match upload.get() {
            Some(fault) => Answer::refused(fault, route),
            None => {
                let status = CacheStatus::new(Outcome::Failed).forwarded(Forwarded::by_reason(reason), None);
                let response = respond::failed(fault, status.faulted(Some(fault)));
                Answer::new(response, Outcome::Failed, Some(route)).faulted(Some(fault))
            }
        };
        answer.because(reason)
    })
}

/// The origin's response for the client that asked.
fn hand_over(visit: &mut Visit, route: Arc<Route>, reason: Reason, response: Response<ResponseBody>) -> Answer {
    let status = CacheStatus::new(Outcome::Pass).because(reason);
    let status = status.forwarded(Forwarded::by_reason(reason), Some(response.status()));
    let mut response = respond::direct(visit, response, status);
    coding::name_as_held(&visit.parts, &route, &mut response);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        tunnel(visit, &mut response);
    }
    Answer::new(response, Outcome::Pass, Some(route)).because(reason)
}

/// One exchange with the origin, for one client.
async fn exchange(route: &Route, request: Request<RequestBody>) -> Result<Response<ResponseBody>, OriginFault> {
    let mut response = route.origin.send(request).await?;
    let protocol = response.headers().get(UPGRADE).cloned();
    strip_connection(response.headers_mut());
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(protocol)) = (response.status(), protocol) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, protocol);
    }
    Ok(response)
}

/// Joins the two connections once both sides have left HTTP; bytes then pass unseen, both ways,
/// until either side ends.
fn tunnel<B>(visit: &mut Visit, response: &mut Response<B>) {
    let client = visit.parts.extensions.remove::<OnUpgrade>();
    let origin = response.extensions_mut().remove::<OnUpgrade>();
    let (Some(client), Some(origin)) = (client, origin) else { return };
    tokio::spawn(async move {
        let (client, origin) = match tokio::try_join!(client, origin) {
            Ok(both) => both,
            Err(fault) => return tracing::debug!(%fault, "the protocol upgrade failed"),
        };
        let joined = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(origin)).await;
        if let Err(fault) = joined {
            tracing::debug!(%fault, "an upgraded connection broke off");
        }
    });
}
