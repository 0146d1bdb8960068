//! What the journey ends with, and the books that are kept of it.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Response};

use crate::key;
use crate::listener::Fault;
use crate::reason::{OriginFault, Outcome, Reason};
use crate::telemetry::metrics::RouteMetrics;

use super::Proxy;
use super::body::Body;
use super::cache_status::CacheStatus;
use super::record::Record;
use super::respond;
use super::site::Route;
use super::visit::Visit;

/// A response and how it came about.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) books: Books,
    pub(super) route: Option<Arc<Route>>,
}

/// How an answer came about, for metrics and log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Books {
    pub(super) outcome: Outcome,
    pub(super) reason: Option<Reason>,
    pub(super) fault: Option<OriginFault>,
}

impl Answer {
    pub(super) fn new(response: Response<Body>, outcome: Outcome, route: Option<Arc<Route>>) -> Self {
        Self { response, books: Books { outcome, reason: None, fault: None }, route }
    }

    pub(super) fn because(mut self, reason: Reason) -> Self {
        self.books.reason = Some(reason);
        self
    }

    pub(super) fn faulted(mut self, fault: Option<OriginFault>) -> Self {
        self.books.fault = fault;
        self
    }

    pub(super) fn no_route() -> Self {
        Self::new(respond::no_route(CacheStatus::new(Outcome::Rejected)), Outcome::Rejected, None)
    }

    /// The client's body broke a rule of the listener while it was passed on.
    pub(super) fn refused(fault: Fault, route: Arc<Route>) -> Self {
        Self::new(respond::rejected(fault, CacheStatus::new(Outcome::Rejected)), Outcome::Rejected, Some(route))
    }

    pub(super) fn connect_refused() -> Self {
        Self::new(respond::connect_refused(CacheStatus::new(Outcome::Rejected)), Outcome::Rejected, None)
    }

    pub(super) fn only_if_cached(route: Arc<Route>) -> Self {
        Self::new(respond::only_if_cached(CacheStatus::new(Outcome::Rejected)), Outcome::Rejected, Some(route))
    }
}

impl Proxy {
    /// Answers, counts and logs a request that the listener refused.
    pub(super) fn refuse(&self, fault: Fault, peer: SocketAddr) -> Response<Body> {
        let mut response = respond::rejected(fault, CacheStatus::new(Outcome::Rejected));
        let site = self.site.load();
        count(&site.unrouted, &response, Outcome::Rejected);
        response.body_mut().count(&site.unrouted.body_bytes);
        if self.access.wants(response.status().as_u16(), None) {
            response.body_mut().record(Record::refused(fault, peer, &self.access, self.clock.now()));
        }
        response
    }

    /// Counts the answer and hands its log record to the body, which knows when it has ended.
    pub(super) fn settle(&self, visit: &mut Visit, answer: Answer) -> Response<Body> {
        let Answer { mut response, books, route } = answer;
        if let Some(policy) = route.as_ref().and_then(|route| route.cache.as_ref()).filter(|policy| policy.key.show)
            && !matches!(books.outcome, Outcome::Pass | Outcome::Rejected)
            && let Some(key) = key::shown(&key::url(visit.target(), &policy.key), &policy.key)
            && let Some(signature) = response.body_mut().signature()
        {
            signature.show_key(key);
        }
        let metrics = route.as_ref().map_or(&visit.site.unrouted, |route| &route.metrics);
        count(metrics, &response, books.outcome);
        // Why a response was not stored is counted where that is decided, once per fetch.
        if let (Outcome::Pass, Some(reason)) = (books.outcome, books.reason) {
            metrics.passed[reason as usize].inc();
        }
        self.metrics.latency[books.outcome as usize].observe(self.clock.now().since(visit.started));
        // An answer to HEAD may have a body, which nobody is sent.
        if visit.parts.method != Method::HEAD {
            response.body_mut().count(&metrics.body_bytes);
        }
        if self.access.wants(response.status().as_u16(), books.fault) {
            let record = Record::new(visit, &response, books, route.as_deref(), &self.access);
            response.body_mut().record(record);
        }
        response
    }
}

/// Counts an answer by how it came about and by its status class.
fn count<B>(metrics: &RouteMetrics, response: &Response<B>, outcome: Outcome) {
    let class = usize::from(response.status().as_u16() / 100).clamp(1, 5) - 1;
    metrics.requests[outcome as usize].inc();
    metrics.responses[class].inc();
}
