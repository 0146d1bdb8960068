//! The access record of one request, written when its response body ends.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Response;
use http::header::AGE;

use crate::clock::Moment;
use crate::listener::Fault;
use crate::reason::Outcome;
use crate::telemetry::access::{AccessLog, AccessRecord, Facts, Texts};
use crate::telemetry::trace::RequestId;

use super::answer::Books;
use super::body::Body;
use super::site::Route;
use super::visit::Visit;

/// A record that is logged when it is dropped, with the body it belongs to.
pub(super) struct Record {
    log: Arc<AccessLog>,
    line: Box<AccessRecord>,
}

impl Record {
    pub(super) fn new(
        visit: &mut Visit,
        response: &Response<Body>,
        books: Books,
        route: Option<&Route>,
        log: &Arc<AccessLog>,
    ) -> Self {
        let origin_said = || str::from_utf8(response.body().line(&AGE)?).ok()?.parse().ok();
        let age = response.body().age().or_else(origin_said);
        let facts = Facts {
            started: visit.started,
            peer: visit.client(),
            status: response.status().as_u16(),
            outcome: books.outcome,
            reason: books.reason,
            refusal: None,
            origin_fault: books.fault,
            body_bytes: 0,
            trace: visit.trace(),
            age,
        };
        let request_id = visit.take_request_id();
        let texts = Texts {
            method: Some(&visit.parts.method),
            host: visit.host_field(),
            uri: Some(&visit.parts.uri),
            route: route.map(|route| &*route.name),
            request_id: &request_id,
        };
        Self { log: Arc::clone(log), line: Box::new(AccessRecord::new(facts, &texts)) }
    }

    /// The record of a request that the listener refused: nothing that it says can be trusted.
    pub(super) fn refused(fault: Fault, peer: SocketAddr, log: &Arc<AccessLog>, now: Moment) -> Self {
        let facts = Facts {
            started: now,
            peer: peer.ip().to_canonical(),
            status: fault.status().as_u16(),
            outcome: Outcome::Rejected,
            reason: None,
            refusal: Some(fault.as_str()),
            origin_fault: None,
            body_bytes: 0,
            trace: None,
            age: None,
        };
        let texts = Texts { method: None, host: None, uri: None, route: None, request_id: &RequestId::random() };
        Self { log: Arc::clone(log), line: Box::new(AccessRecord::new(facts, &texts)) }
    }

    /// Notes bytes of the body as they are sent.
    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.line.facts.body_bytes += bytes as u64;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.log.record(&self.line);
    }
}
