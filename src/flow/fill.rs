//! A miss, from the client's side: join the fetch under way, or lead one.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName};
use prometheus::IntGauge;

use crate::bus::{Seq, Subject};
use crate::coalesce::{Follower, Joined, Outcome as Seen};
use crate::config::CachePolicy;
use crate::key::Key;
use crate::l1::Slot;
use crate::policy::fields::ByName;
use crate::policy::request::Demand;
use crate::policy::reuse::Reuse;
use crate::policy::search::NO_VARY_SEARCH;
use crate::policy::vary::Selecting;
use crate::reason::Reason;

use super::Proxy;
use super::answer::Answer;
use super::fetch::Cause;
use super::flight::{Failure, FlightKey, Head};
use super::hit::Known;
use super::lead::Role;
use super::parts::Scope;
use super::site::Route;
use super::visit::Visit;

/// A request that nothing stored can answer.
pub(super) struct Miss {
    pub(super) key: Key,
    pub(super) policy: Arc<CachePolicy>,
    pub(super) demand: Demand,
    /// What was stored when it was looked up.
    pub(super) known: Known,
    /// Whom a fetch would be for.
    pub(super) cause: Cause,
    /// How much of the representation it would be for.
    pub(super) scope: Scope,
}

/// What a follower does next.
#[allow(clippy::large_enum_variant, reason = "a box would cost every follower an allocation")]
enum Next {
    /// It has its answer.
    Done(Answer),
    /// Look again, for this variant if one is given.
    Again(Option<Selecting>),
    /// Waiting for others is no use: fetch alone.
    Alone(Reason),
}

/// A place in the gauge of waiting requests; a client that leaves gives it back as well.
struct Waiting<'a>(&'a IntGauge);

impl<'a> Waiting<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How often a request joins or leads before it goes to the origin by itself. Each round needs a
/// new event (a fetch abandoned, doomed, or for another variant), so two are the rule.
const ROUNDS: usize = 4;

impl Proxy {
    /// Follows or leads until there is an answer. What is rare is boxed, so that the common miss carries no large
    /// future about.
    pub(super) async fn fill(self: &Arc<Self>, visit: &mut Visit, route: Arc<Route>, mut miss: Miss) -> Answer {
        // Nobody waits with all variants of a URL in hand.
        let mut told = miss.known.slot.take().and_then(|slot| variant(&slot, &visit.parts.headers));
        let rounds = if miss.policy.coalesce { ROUNDS } else { 0 };
        for round in 0..rounds {
            let known = || if round > 0 { self.known_variant(&miss.key, &visit.parts.headers) } else { None };
            let variant = told.take().or_else(known);
            let flight = FlightKey { key: miss.key.clone(), variant, asked: miss.scope.asked.clone(), alone: None };
            // Read before the join: a fetch that began before a purge which this request came after
            // is not for this request.
            let arrived = self.log.applied();
            let joined = self.flights.join(&flight, arrived, |born, head| {
                !self.is_doomed((*born, arrived), &miss.key, &route, head.map(Arc::as_ref))
            });
            let next = match joined {
                Joined::Lead(leader) => {
                    if self.l1.find_again(miss.key.as_bytes()).is_some() {
                        // Between the look at L1 and the join another fetch may have ended and left its
                        // response: without a second look the origin would be asked twice.
                        if let Some(answer) = self.find_by_now(visit, &route, &miss) {
                            return answer;
                        }
                        // That response may have been the first to tell what the URL varies on, and
                        // others wait for this variant already.
                        if flight.variant.is_none() && self.known_variant(&miss.key, &visit.parts.headers).is_some() {
                            continue;
                        }
                    }
                    let names = flight.variant.as_ref().map_or(&[][..], Selecting::names);
                    return self.lead(visit, &route, &miss, leader, names).await;
                }
                Joined::Follow(follower) => self.follow(visit, &route, &miss, follower, arrived).await,
            };
            match next {
                Next::Done(answer) => return answer,
                Next::Again(selecting) => told = selecting,
                Next::Alone(reason) => {
                    return Box::pin(self.fetch_alone(visit, route, miss.policy, &miss.key, reason)).await;
                }
            }
        }
        Box::pin(self.lead_unjoined(visit, &route, &miss)).await
    }

    /// Waits for the head of another's fetch.
    async fn follow(
        &self,
        visit: &Visit,
        route: &Arc<Route>,
        miss: &Miss,
        mut follower: Follower<Seq, Arc<Head>, Failure>,
        arrived: Seq,
    ) -> Next {
        let span = (*follower.info(), arrived);
        let waited_from = self.clock.now();
        let _waiting = Waiting::new(&self.metrics.coalesce_waiting);
        let seen = tokio::time::timeout(miss.policy.coalesce_wait, follower.head()).await;
        self.metrics.coalesce_wait.observe(self.clock.now().since(waited_from).as_secs_f64());
        let headers = &visit.parts.headers;
        match seen {
            Err(_elapsed) => Next::Alone(Reason::CoalesceTimeout),
            Ok(Seen::Uncacheable) => Next::Alone(Reason::HitForMiss),
            Ok(Seen::Abandoned) => self.find_by_now(visit, route, miss).map_or(Next::Again(None), Next::Done),
            // What is stored was to stand in, but is not for this request.
            Ok(Seen::Failed(failure)) if failure.is_for_others(miss, headers) => {
                let names = failure.stored.as_ref().map(|entry| entry.selecting().names());
                Next::Again(names.map(|names| Selecting::new(names, headers)))
            }
            Ok(Seen::Failed(failure)) => Next::Done(self.stand_in(visit, route, miss, &failure)),
            // The response is for requests that differ from this one in a selecting field.
            Ok(Seen::Filled { head, .. }) if !head.selecting.matches(headers) => {
                Next::Again(Some(Selecting::new(head.selecting.names(), headers)))
            }
            // Purged between the start of the fetch and the arrival of this request, which only the
            // tags in the head could tell.
            Ok(Seen::Filled { head, .. }) if self.is_doomed(span, &miss.key, route, Some(&head)) => Next::Again(None),
            // The fleet's copy is good enough for the one who found it, and not for this one.
            Ok(Seen::Filled { head, .. }) if !self.will_do(&head, &miss.demand) => Next::Again(None),
            Ok(Seen::Filled { head, body }) => Next::Done(self.show(visit, route, miss, &head, body, Role::Follower)),
        }
    }

    /// Whether what another fetch has found in the shared tier meets the demands of this client.
    fn will_do(&self, head: &Head, demand: &Demand) -> bool {
        let Some(entry) = &head.found else { return true };
        let reuse = entry.reuse(self.clock.now(), demand);
        matches!(reuse, Reuse::Fresh | Reuse::StaleWhileRevalidate | Reuse::StaleAccepted)
    }

    /// The variant that this request asks for, judged by what the URL's stored responses vary on.
    pub(super) fn known_variant(&self, key: &Key, request: &HeaderMap) -> Option<Selecting> {
        variant(&self.l1.find_again(key.as_bytes())?, request)
    }

    /// What the stored responses of a URL vary on.
    pub(super) fn known_names(&self, key: &Key) -> Option<Vec<HeaderName>> {
        Some(self.l1.find_again(key.as_bytes())?.all().next()?.selecting().names().to_vec())
    }

    /// Whether something that a fetch brings was purged after it began and before `arrived`.
    pub(super) fn is_doomed(&self, (born, arrived): (Seq, Seq), key: &Key, route: &Route, head: Option<&Head>) -> bool {
        let tags = head.map_or(&[][..], |head| &head.tags);
        let any_query = head.is_some_and(|head| head.fields.has(&NO_VARY_SEARCH));
        let subject = Subject { url: key.url(), route: &route.name, tags, any_query };
        self.log.table().matched_between(born, arrived, &subject)
    }
}

/// The variant that a request asks for, judged by what is stored under its key.
fn variant(slot: &Slot, request: &HeaderMap) -> Option<Selecting> {
    let names = slot.all().next()?.selecting().names();
    (!names.is_empty()).then(|| Selecting::new(names, request))
}
