//! Whether a request may be answered from what is stored.

use std::sync::Arc;

use crate::config::CachePolicy;
use crate::policy::request::{Demand, RequestVerdict, judge_request, only_asks};
use crate::reason::Reason;

use super::content::take_in;
use super::site::Route;
use super::visit::Visit;

/// What the request policy of a route says of a request.
pub(super) enum Admission<'a> {
    /// Consult the cache.
    Lookup(&'a Arc<CachePolicy>, Demand),
    /// Go to the origin, for this reason.
    Pass(Reason),
    /// The same; if it succeeds, what is stored for the target is no longer valid.
    PassUnsafe(Reason),
}

/// Judges a request. Only one whose body may be part of its key is waited for.
pub(super) async fn admit<'a>(visit: &mut Visit, route: &'a Route) -> Admission<'a> {
    // An origin may ignore the offer of another protocol, so the method counts first: whatever it
    // changes must be invalidated.
    if visit.wants_upgrade() && visit.parts.method.is_safe() {
        return Admission::Pass(Reason::Upgrade);
    }
    let Some(policy) = &route.cache else {
        return if visit.parts.method.is_safe() {
            Admission::Pass(Reason::CacheOff)
        } else {
            Admission::PassUnsafe(Reason::UnsafeMethod)
        };
    };
    match judge_request(&policy.rules, &visit.parts.method, &visit.parts.headers) {
        RequestVerdict::Unsafe => Admission::PassUnsafe(Reason::UnsafeMethod),
        RequestVerdict::LookupByBody(_) if visit.wants_upgrade() => by_method(visit, policy, Reason::Upgrade),
        RequestVerdict::LookupByBody(_) if visit.bypasses(policy) => by_method(visit, policy, Reason::BypassRule),
        RequestVerdict::LookupByBody(demand) => match Box::pin(take_in(visit, policy)).await {
            Ok(()) => Admission::Lookup(policy, demand),
            Err(reason) => by_method(visit, policy, reason),
        },
        RequestVerdict::Pass(reason) => Admission::Pass(reason),
        RequestVerdict::Lookup(_) if visit.body.is_some() => Admission::Pass(Reason::RequestBody),
        RequestVerdict::Lookup(_) if visit.bypasses(policy) => Admission::Pass(Reason::BypassRule),
        RequestVerdict::Lookup(demand) => Admission::Lookup(policy, demand),
    }
}

/// A request that is not looked up by its body after all: what it may change must be invalidated.
fn by_method(visit: &Visit, policy: &CachePolicy, reason: Reason) -> Admission<'static> {
    let asks = only_asks(&policy.rules, &visit.parts.method);
    if asks { Admission::Pass(reason) } else { Admission::PassUnsafe(reason) }
}
