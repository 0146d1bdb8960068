//! Parts of what is not stored as a whole, from the client's side: answered from, and asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderValue, IF_RANGE};
use http::request::Parts as Request;

use crate::clock::Moment;
use crate::config::{CachePolicy, RangeFetch};
use crate::entry::Parts;
use crate::key::Key;
use crate::l1::Slot;
use crate::policy::ranges::{ContentRange, RangeSpec};
use crate::policy::request::Demand;
use crate::policy::reuse::Reuse;
use crate::policy::validation;
use crate::reason::Outcome;

use super::Proxy;
use super::answer::Answer;
use super::body::Body;
use super::cache_status::CacheStatus;
use super::coding;
use super::fill::Miss;
use super::hit::Known;
use super::respond::{self, Slice};
use super::site::Route;
use super::visit::Visit;

/// The one range that a request asks for, and the condition under which it wants no more than that.
/// Requests that agree in both share a fetch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Asked {
    pub(super) spec: RangeSpec,
    pub(super) if_range: Option<HeaderValue>,
}

impl Asked {
    /// `None` for a request that asks for the whole, or for several ranges, which are cut from the whole.
    pub(super) fn of(request: &Request) -> Option<Self> {
        if request.method != Method::GET {
            return None;
        }
        let spec = RangeSpec::of(&request.headers)?;
        Some(Self { spec, if_range: request.headers.get(IF_RANGE).cloned() })
    }
}

/// How much of a representation a fetch is for.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// This range of it; `None` for the whole.
    pub(super) asked: Option<Asked>,
    /// What is stored of it: to be completed, confirmed or joined, and to stand in if the origin fails.
    pub(super) parts: Option<Arc<Parts>>,
}

/// Stored bytes that answer a request for a range.
pub(super) struct PartHit {
    pub(super) parts: Arc<Parts>,
    part: ContentRange,
    bytes: VecDeque<Bytes>,
    pub(super) outcome: Outcome,
}

impl PartHit {
    /// What is stored for `asked`, if it is all of it.
    fn new(parts: &Arc<Parts>, asked: &Asked, outcome: Outcome) -> Option<Self> {
        let (part, bytes) = parts.answer(asked.spec)?;
        Some(Self { parts: Arc::clone(parts), part, bytes, outcome })
    }

    /// The answer, or 304 if the client has what is stored.
    fn respond(self, visit: &Visit, route: &Route, now: Moment, status: CacheStatus) -> http::Response<Body> {
        let entry = self.parts.entry();
        let (fields, age) = (entry.fields(), entry.age(now));
        let form = coding::part(route, fields, self.part.complete);
        let shown = Slice { fields, age, part: &self.part, body: Body::pieces(self.bytes) };
        respond::slice(visit, &form, shown, status)
    }
}

impl Proxy {
    /// What is stored of the range that a request asks for, if it may be used now.
    pub(super) fn find_part(&self, slot: &Slot, visit: &Visit, url: &str, demand: &Demand) -> Option<PartHit> {
        let headers = &visit.parts.headers;
        let parts = slot.select_parts(headers)?;
        let asked = Asked::of(&visit.parts)?;
        let entry = parts.entry();
        let known = entry.is_valid(|| url, self.log.table()) && validation::if_range_holds(headers, entry.fields());
        let now = self.clock.now();
        let outcome = match entry.reuse(now, demand) {
            _ if !known || !self.is_trusted(entry, now) => return None,
            Reuse::Fresh => Outcome::Hit,
            Reuse::StaleAccepted => Outcome::StaleAccepted,
            Reuse::StaleWhileRevalidate => Outcome::StaleWhileRevalidate,
            Reuse::StaleIfError if !entry.refresh_due(now) => Outcome::StaleIfError,
            Reuse::StaleIfError | Reuse::Expired => return None,
        };
        PartHit::new(parts, &asked, outcome)
    }

    /// Answers from a stored part.
    pub(super) fn hit_part(&self, visit: &Visit, route: Arc<Route>, hit: PartHit) -> Answer {
        let (now, outcome) = (self.clock.now(), hit.outcome);
        let entry = hit.parts.entry();
        let status = CacheStatus::hit(outcome, &entry.standing(now));
        Answer::new(hit.respond(visit, &route, now, status), outcome, Some(route))
    }

    /// What another fetch has left since this request was looked up, if it is to be used as it is.
    pub(super) fn find_by_now(&self, visit: &Visit, route: &Arc<Route>, miss: &Miss) -> Option<Answer> {
        if let Some((entry, outcome)) = self.find_usable(&miss.key, &visit.parts.headers, &miss.demand) {
            return Some(Self::hit(visit, Arc::clone(route), &entry, self.clock.now(), outcome));
        }
        miss.scope.asked.as_ref()?;
        let slot = self.l1.find(miss.key.as_bytes())?;
        let hit = self.find_part(&slot, visit, miss.key.url(), &miss.demand)?;
        (hit.outcome == Outcome::Hit).then(|| self.hit_part(visit, Arc::clone(route), hit))
    }

    /// What a fetch for this request is for: the range alone if the route says so or the whole is known
    /// to be too large to be stored, else the whole.
    pub(super) fn scope(
        &self,
        visit: &Visit,
        policy: &CachePolicy,
        key: &Key,
        known: &Known,
        too_large: bool,
    ) -> Scope {
        // What is stored as a whole is confirmed as a whole.
        if known.stored.is_some() {
            return Scope::default();
        }
        let parts = known.slot.as_ref().and_then(|slot| self.stored_parts(slot, key, &visit.parts.headers));
        let complete = parts.as_ref().and_then(|parts| parts.complete());
        let alone = too_large
            || policy.ranges == RangeFetch::AsAsked
            || complete.is_some_and(|complete| complete > policy.max_object_size);
        Scope { asked: if alone { Asked::of(&visit.parts) } else { None }, parts }
    }

    fn stored_parts(&self, slot: &Slot, key: &Key, request: &HeaderMap) -> Option<Arc<Parts>> {
        let parts = slot.select_parts(request)?;
        parts.entry().is_valid(|| key.url(), self.log.table()).then(|| Arc::clone(parts))
    }

    /// The stored part that may stand in for a failed origin.
    pub(super) fn part_to_stand_in(&self, visit: &Visit, miss: &Miss) -> Option<PartHit> {
        let (asked, parts) = (miss.scope.asked.as_ref()?, miss.scope.parts.as_ref()?);
        let entry = parts.entry();
        let usable = entry.usable_on_error(self.clock.now(), &miss.demand)
            && entry.is_valid(|| miss.key.url(), self.log.table())
            && validation::if_range_holds(&visit.parts.headers, entry.fields());
        if usable { PartHit::new(parts, asked, Outcome::StaleIfError) } else { None }
    }

    /// The same as an answer, with what is said of the origin.
    pub(super) fn part_stands_in(
        &self,
        visit: &Visit,
        route: &Route,
        hit: PartHit,
        status: CacheStatus,
    ) -> http::Response<Body> {
        hit.respond(visit, route, self.clock.now(), status)
    }
}
