//! How long a response is fresh, and how long after that it may still be used (RFC 9111 section
//! 4.2, RFC 5861).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

use super::Rules;
use super::age;
use super::directives::Directives;

/// The lifetimes of a stored response. Ages count from the moment the origin made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifetimes {
    /// `freshness_lifetime`: it is fresh while it is younger than this.
    pub fresh_for: Duration,
    /// `corrected_initial_age`: its age on arrival.
    pub initial_age: Duration,
    /// After that it may be used for this long while it is refreshed in the background.
    pub stale_while_revalidate: Duration,
    /// After that it may stand in for this long if the origin fails.
    pub stale_if_error: Duration,
    /// It must never be used stale (`must-revalidate` and its kin).
    pub must_revalidate: bool,
    /// It must never be used without validation (`no-cache`).
    pub always_revalidate: bool,
}

/// Statuses that a failed or misled client can provoke: storing them by a default would let one
/// client deny a resource to others.
const PROVOKED: [u16; 4] = [400, 413, 414, 431];
/// Statuses that `negative_ttl` is for: the resource or the method is not there.
const NEGATIVE: [u16; 4] = [404, 405, 410, 501];

/// Statuses that may be stored without explicit freshness (RFC 9110 section 15.1).
pub fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Where the lifetime of a response comes from.
pub(super) struct Facts<'a> {
    pub(super) rules: &'a Rules,
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) directives: &'a Directives,
    /// Whether the directives come from a targeted field, so that `Expires` does not count.
    pub(super) targeted: bool,
    pub(super) received_at: SystemTime,
    pub(super) initial_age: Duration,
    /// Whether a lifetime may be guessed.
    pub(super) heuristics: bool,
}

/// The freshness lifetime; `None` if nothing gives one.
pub(super) fn lifetime(facts: &Facts<'_>) -> Option<Duration> {
    // A lifetime that this proxy grants counts from the arrival.
    let granted = |ttl: Duration| facts.initial_age.saturating_add(ttl);
    if let Some(ttl) = facts.rules.force_ttl {
        return Some(granted(ttl));
    }
    explicit(facts).or_else(|| default_ttl(facts).map(granted)).or_else(|| heuristic(facts))
}

/// RFC 9111 section 4.2.1: s-maxage, max-age, Expires.
fn explicit(facts: &Facts<'_>) -> Option<Duration> {
    let expires = || if facts.targeted { None } else { age::expires(facts.headers, facts.received_at) };
    facts.directives.s_maxage.or(facts.directives.max_age).or_else(expires)
}

/// What the route says about responses that say nothing.
fn default_ttl(facts: &Facts<'_>) -> Option<Duration> {
    let status = facts.status.as_u16();
    let listed = facts.rules.ttl_by_status.iter().find(|(listed, _)| *listed == status);
    if let Some((_, ttl)) = listed {
        return Some(*ttl);
    }
    if facts.rules.negative_ttl.is_some() && NEGATIVE.contains(&status) {
        return facts.rules.negative_ttl;
    }
    let eligible = heuristically_cacheable(facts.status) && !PROVOKED.contains(&status) && status < 500;
    facts.rules.ttl.filter(|_| eligible)
}

/// RFC 9111 section 4.2.2: a share of the time since the last change.
fn heuristic(facts: &Facts<'_>) -> Option<Duration> {
    let fraction = facts.rules.heuristic_fraction.filter(|_| facts.heuristics)?;
    let eligible = heuristically_cacheable(facts.status) || facts.directives.public;
    let unmodified = age::unmodified_for(facts.headers, facts.received_at).filter(|_| eligible)?;
    Some(unmodified.mul_f64(fraction.clamp(0.0, 1.0)).min(facts.rules.heuristic_max))
}

/// Everything about time, given the freshness lifetime.
pub(super) fn lifetimes(facts: &Facts<'_>, fresh_for: Duration) -> Lifetimes {
    let d = facts.directives;
    let rules = facts.rules;
    let forced = rules.force_ttl.is_some();
    // Sections 5.2.2.2, 5.2.2.8 and 5.2.2.10 forbid stale reuse. An origin that sends s-maxage
    // together with an RFC 5861 window has said itself what it wants.
    let own_window = d.stale_while_revalidate.is_some() || d.stale_if_error.is_some();
    let must_revalidate = d.must_revalidate || d.proxy_revalidate || (d.s_maxage.is_some() && !own_window);
    let configured = |ttl: Option<Duration>| ttl.filter(|_| d.s_maxage.is_none());
    let window = |own: Option<Duration>, rule: Option<Duration>| {
        let window = own.or_else(|| configured(rule)).unwrap_or_default();
        if must_revalidate { Duration::ZERO } else { window }
    };
    Lifetimes {
        fresh_for,
        initial_age: facts.initial_age,
        stale_while_revalidate: window(d.stale_while_revalidate, rules.stale_while_revalidate),
        stale_if_error: window(d.stale_if_error, rules.stale_if_error),
        must_revalidate,
        always_revalidate: d.no_cache && !forced,
    }
}
