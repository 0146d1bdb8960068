//! The `Cache-Status` field (RFC 9211): what this cache did, in one list member.

use std::time::Duration;

use http::StatusCode;

use crate::entry::Standing;
use crate::reason::{OriginFault, Outcome, Reason};

/// Why a request went to the origin (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarded {
    /// Nothing is stored for the URL.
    UriMiss,
    /// Something is stored for the URL, but not for these request fields.
    VaryMiss,
    /// What is stored is stale.
    Stale,
    /// What is stored is fresh, but the request asks for validation.
    Request,
    /// The method requires it.
    Method,
    /// The configuration requires it.
    Bypass,
}

impl Forwarded {
    const fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::Method => "method",
            Self::Bypass => "bypass",
        }
    }

    /// Why a request that never consulted the cache was forwarded.
    pub(super) const fn by_reason(reason: Reason) -> Self {
        match reason {
            Reason::UnsafeMethod
            | Reason::MethodNotCached
            | Reason::RequestBody
            | Reason::NotAQuery
            | Reason::Upgrade => Self::Method,
            Reason::RequestNoStore => Self::Request,
            _ => Self::Bypass,
        }
    }
}

/// What the member says.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheStatus {
    pub(super) outcome: Outcome,
    /// Answered without the origin.
    hit: bool,
    /// Set when the request went to the origin.
    forwarded: Option<Forwarded>,
    /// Status of the origin's answer.
    forward_status: Option<StatusCode>,
    /// Seconds that the response stays fresh, if it is stored; less than none if it is stale.
    ttl: Option<i64>,
    reason: Option<Reason>,
    fault: Option<OriginFault>,
}

impl CacheStatus {
    /// The member for an answer without a look at the origin.
    pub(super) const fn new(outcome: Outcome) -> Self {
        Self { outcome, hit: false, forwarded: None, forward_status: None, ttl: None, reason: None, fault: None }
    }

    /// The member for a stored response.
    pub(super) fn hit(outcome: Outcome, standing: &Standing) -> Self {
        let Standing { fresh_left, stale_for, .. } = *standing;
        let ttl = if stale_for.as_secs() > 0 { -seconds(stale_for) } else { seconds(fresh_left) };
        Self { hit: true, ttl: Some(ttl), ..Self::new(outcome) }
    }

    /// Notes that the request went to the origin.
    pub(super) const fn forwarded(mut self, why: Forwarded, status: Option<StatusCode>) -> Self {
        self.forwarded = Some(why);
        self.forward_status = status;
        self
    }

    /// Notes for how long the response is fresh.
    pub(super) fn fresh_for(mut self, ttl: Option<Duration>) -> Self {
        self.ttl = ttl.map(seconds);
        self
    }

    /// Notes why nothing was looked up or stored.
    pub(super) const fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Notes what went wrong at the origin.
    pub(super) const fn faulted(mut self, fault: Option<OriginFault>) -> Self {
        self.fault = fault;
        self
    }

    /// Writes the member.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"Millpond");
        if self.hit {
            out.extend_from_slice(b"; hit");
        }
        if let Some(why) = self.forwarded {
            parameter(out, b"; fwd=", why.as_str());
        }
        if let Some(status) = self.forward_status {
            parameter(out, b"; fwd-status=", status.as_str());
        }
        match self.outcome {
            Outcome::Miss | Outcome::Revalidated => out.extend_from_slice(b"; stored"),
            Outcome::Coalesced => out.extend_from_slice(b"; collapsed"),
            _ => {}
        }
        if let Some(ttl) = self.ttl {
            parameter(out, b"; ttl=", itoa::Buffer::new().format(ttl));
        }
        if let Some(detail) = self.detail() {
            parameter(out, b"; detail=", detail);
        }
    }

    fn detail(&self) -> Option<&'static str> {
        let named = self.fault.map(OriginFault::as_str).or(self.reason.map(Reason::as_str));
        named.or(match self.outcome {
            Outcome::HitL2 => Some("l2"),
            Outcome::StaleIfError | Outcome::Rejected | Outcome::Failed if !self.hit => Some(self.outcome.as_str()),
            _ => None,
        })
    }
}

fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

fn parameter(out: &mut Vec<u8>, name: &[u8], value: &str) {
    out.extend_from_slice(name);
    out.extend_from_slice(value.as_bytes());
}
