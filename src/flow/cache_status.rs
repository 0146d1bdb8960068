//! The `Cache-Status` field (RFC 9211): what this cache did, in one list member.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName};
use http::{HeaderValue, StatusCode};

use crate::reason::{OriginFault, Outcome, Reason};

pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

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
    /// Set when the request went to the origin.
    pub(super) forwarded: Option<Forwarded>,
    /// Status of the origin's answer.
    pub(super) forward_status: Option<StatusCode>,
    /// How long the response is fresh, if it was stored.
    pub(super) ttl: Option<Duration>,
    pub(super) reason: Option<Reason>,
    pub(super) fault: Option<OriginFault>,
}

impl CacheStatus {
    /// The member for an answer without a look at the origin.
    pub(super) const fn new(outcome: Outcome) -> Self {
        Self { outcome, forwarded: None, forward_status: None, ttl: None, reason: None, fault: None }
    }

    /// Notes that the request went to the origin.
    pub(super) const fn forwarded(mut self, why: Forwarded, status: Option<StatusCode>) -> Self {
        self.forwarded = Some(why);
        self.forward_status = status;
        self
    }

    /// Notes for how long the response is fresh.
    pub(super) const fn fresh_for(mut self, ttl: Option<Duration>) -> Self {
        self.ttl = ttl;
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

    /// The member as a field value.
    pub(super) fn value(self) -> HeaderValue {
        let mut text = String::with_capacity(64);
        text.push_str("Millpond");
        if let Some(why) = self.forwarded {
            text.push_str("; fwd=");
            text.push_str(why.as_str());
        }
        if let Some(status) = self.forward_status {
            text.push_str("; fwd-status=");
            text.push_str(status.as_str());
        }
        match self.outcome {
            Outcome::Miss | Outcome::Revalidated => text.push_str("; stored"),
            Outcome::Coalesced => text.push_str("; collapsed"),
            _ => {}
        }
        if let Some(ttl) = self.ttl {
            text.push_str("; ttl=");
            text.push_str(itoa::Buffer::new().format(ttl.as_secs()));
        }
        let detail = self.fault.map(OriginFault::as_str).or(self.reason.map(Reason::as_str)).or(match self.outcome {
            Outcome::StaleIfError | Outcome::Rejected | Outcome::Failed => Some(self.outcome.as_str()),
            _ => None,
        });
        if let Some(detail) = detail {
            text.push_str("; detail=");
            text.push_str(detail);
        }
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Millpond"))
    }
}

/// Adds the key to the member of this cache, which is the last.
pub(super) fn name_key(headers: &mut HeaderMap, key: &str) {
    let mut members: Vec<HeaderValue> = headers.get_all(CACHE_STATUS).iter().cloned().collect();
    let Some(own) = members.pop() else { return };
    let named = HeaderValue::try_from([own.as_bytes(), b"; key=", key.as_bytes()].concat()).unwrap_or(own);
    headers.remove(CACHE_STATUS);
    for member in members.into_iter().chain([named]) {
        headers.append(CACHE_STATUS, member);
    }
}

/// The member for a hit, built without the formatting machinery.
pub(super) fn hit(fresh_left: Duration, stale_for: Duration, outcome: Outcome) -> HeaderValue {
    let mut text = smallvec::SmallVec::<[u8; 48]>::new();
    text.extend_from_slice(b"Millpond; hit; ttl=");
    let mut digits = itoa::Buffer::new();
    if stale_for.as_secs() > 0 {
        text.push(b'-');
    }
    text.extend_from_slice(digits.format(fresh_left.max(stale_for).as_secs()).as_bytes());
    if outcome == Outcome::HitL2 {
        text.extend_from_slice(b"; detail=l2");
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("Millpond; hit"))
}
