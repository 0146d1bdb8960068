//! Requests that go to the origin without a look at the cache.

use std::sync::Arc;

use http::Method;
use http::header::{CONNECTION, HeaderValue, UPGRADE};

use crate::listener::Offer;
use crate::origin::{Outgoing, Reply, Tunnel};
use crate::policy::invalidation;
use crate::reason::{OriginFault, Outcome, Reason};

use super::Proxy;
use super::answer::Answer;
use super::cache_status::{CacheStatus, Forwarded};
use super::forward::OriginHead;
use super::interim::Audience;
use super::posted::{Fill, Posted};
use super::respond::{self, Conditions};
use super::site::Route;
use super::upload::{self, UploadFault};
use super::vigil::Vigil;
use super::visit::Visit;
use super::written::Written;

impl Proxy {
    /// Passes the request on and hands the response to this client alone.
    pub(super) async fn pass(self: &Arc<Self>, visit: &mut Visit, route: Arc<Route>, reason: Reason) -> Answer {
        // What came of a HEAD alone is compared with what is stored.
        let asked = if visit.parts.method == Method::HEAD { self.clock.now() } else { visit.started };
        let began = (self.log.applied(), asked);
        let (request, upload) = outgoing(visit, &route);
        match route.origin.send(request).await {
            Ok(reply) => {
                self.learn_from_head(visit, &route, reason, began, &reply);
                hand_over(visit, route, reason, reply)
            }
            Err(fault) => unanswered(route, reason, fault, &upload),
        }
    }

    /// Passes an unsafe request on. If it succeeds, what is stored for its target is invalidated
    /// before the client learns of the success (RFC 9111 section 4.4); what came may then be stored in
    /// its place.
    pub(super) async fn pass_unsafe(self: &Arc<Self>, visit: &mut Visit, route: Arc<Route>, reason: Reason) -> Answer {
        let posted = Posted::new(self, visit, &route, reason);
        let written = Written::by(visit);
        let (request, upload) = outgoing(visit, &route);
        let reply = match Vigil::new(self, &written, &route, request).answer().await {
            Ok(reply) => reply,
            Err(fault) => return unanswered(route, reason, fault, &upload),
        };
        let fill = posted.and_then(|posted| posted.judge(self, visit, &route, &reply));
        let mut born = None;
        if invalidation::invalidates(reply.status) {
            born = self.invalidate_after(&written, &reply.headers(), fill.as_ref().map(Fill::valid_at)).await;
        }
        let mut answer = hand_over(visit, Arc::clone(&route), reason, reply);
        if let (Some(fill), Some(born)) = (fill, born) {
            fill.store(self, &route, born, answer.response.body_mut()).await;
        }
        answer
    }
}

/// The client's own request for the origin, and what the client does wrong in its body.
fn outgoing(visit: &mut Visit, route: &Arc<Route>) -> (Outgoing, UploadFault) {
    let head = OriginHead::pass(visit).for_route(route).telling(visit, Audience::Sole);
    let (body, upload) = upload::watch(visit.body.take());
    let request = if visit.content.is_some() { head.with_content() } else { head.with_body(body) };
    (request, upload)
}

/// The answer for want of one from the origin.
fn unanswered(route: Arc<Route>, reason: Reason, fault: OriginFault, upload: &UploadFault) -> Answer {
    let answer = match upload.get() {
        Some(fault) => Answer::refused(fault, route),
        None => {
            let status = CacheStatus::new(Outcome::Failed).forwarded(Forwarded::by_reason(reason), None);
            let response = respond::failed(fault, status.faulted(Some(fault)));
            Answer::new(response, Outcome::Failed, Some(route)).faulted(Some(fault))
        }
    };
    answer.because(reason)
}

/// The origin's response for the client that asked.
fn hand_over(visit: &mut Visit, route: Arc<Route>, reason: Reason, mut reply: Reply) -> Answer {
    let status = CacheStatus::new(Outcome::Pass).because(reason);
    let status = status.forwarded(Forwarded::by_reason(reason), Some(reply.status));
    if let (Some(origin), Some(client)) = (reply.body.take_tunnel(), visit.upgrade.take()) {
        tokio::spawn(join(client, origin));
    }
    if let Some(protocol) = reply.apart.as_mut().filter(|apart| apart.contains_key(UPGRADE)) {
        protocol.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    Answer::new(respond::direct(visit, &route, reply, Conditions::Shown, status), Outcome::Pass, Some(route))
        .because(reason)
}

/// Joins the two connections once both sides have left HTTP; bytes then pass unseen, both ways,
/// until either side ends.
async fn join(client: Offer, mut origin: Tunnel) {
    let Some(mut client) = client.accepted().await else {
        return tracing::debug!("the protocol upgrade failed");
    };
    if let Err(fault) = tokio::io::copy_bidirectional(&mut client, &mut origin).await {
        tracing::debug!(%fault, "an upgraded connection broke off");
    }
}
