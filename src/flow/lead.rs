//! The client that leads: it starts the fetch and reads what the fetch brings like any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::{BoxFuture, FutureExt};
use http::StatusCode;
use http::header::{HeaderName, RANGE};
use parking_lot::Mutex;

use crate::clock::Moment;
use crate::coalesce::{Joined, Outcome as Seen, Reader};
use crate::config::CachePolicy;
use crate::entry::Entry;
use crate::key::Key;
use crate::policy::request::Demand;
use crate::policy::reuse::Reuse;
use crate::reason::{OriginFault, Outcome, Reason};

use super::Proxy;
use super::answer::Answer;
use super::cache_status::{CacheStatus, Forwarded};
use super::coding;
use super::fetch::{Cause, Direct, Fetch, Missing};
use super::fill::Miss;
use super::flight::{Failure, FailureKind, FlightKey, Head, Leader};
use super::forward::OriginHead;
use super::hit::Known;
use super::inquiry::Inquiry;
use super::interim::Audience;
use super::parts::{Asked, Scope};
use super::respond::{self, Conditions};
use super::site::Route;
use super::visit::Visit;

/// A client's part in a shared fetch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Leader,
    Follower,
}

/// Numbers fetches that nobody may join.
static UNJOINED: AtomicU64 = AtomicU64::new(0);

impl Proxy {
    /// Leads a flight. The fleet is asked here: if it has the response, as a shared tier mostly has, no task and no
    /// request to the origin is made. A client that leaves meanwhile lets go of the flight, and of a lease that it
    /// was given; those who wait look again. Responses of the key vary on `names`, as far as is known here.
    pub(super) async fn lead(
        self: &Arc<Self>,
        visit: &mut Visit,
        route: &Arc<Route>,
        miss: &Miss,
        leader: Leader,
        names: &[HeaderName],
    ) -> Answer {
        // It may have been purged since it was looked up. The fetch counts as newer than that purge, so what
        // it confirmed would be taken for newer as well.
        let stored = miss.known.stored.as_ref().filter(|stored| stored.is_valid(|| miss.key.url(), self.log.table()));
        let inquiry = Inquiry {
            proxy: self,
            policy: &miss.policy,
            key: &miss.key,
            request: &visit.parts.headers,
            names: stored.map_or(names, |stored| stored.selecting().names()),
            stored,
            cause: &miss.cause,
            scope: &miss.scope,
        };
        match inquiry.ask().await {
            Ok(entry) => {
                // It came a moment ago.
                let now = entry.received();
                inquiry.share(route, leader, &entry, now);
                if entry.fresh_left(now).is_zero() {
                    self.fetch(visit, route, miss, stored).refresh_found(Arc::clone(&entry));
                }
                Self::show_found(visit, route, miss, &entry, now)
            }
            Err(missing) => {
                let fetch = self.fetch(visit, route, miss, stored);
                Box::pin(self.lead_fetch(visit, route, miss, leader, (fetch, missing))).await
            }
        }
    }

    /// Leads to the origin: the fetch runs in a task of its own, so that this client may leave.
    async fn lead_fetch(
        self: &Arc<Self>,
        visit: &mut Visit,
        route: &Arc<Route>,
        miss: &Miss,
        leader: Leader,
        (fetch, missing): (Fetch, Missing),
    ) -> Answer {
        let mut follower = leader.follower();
        // The sender is dropped without a word when the response is shared, or there is none.
        if let Ok(direct) = fetch.begin(leader, missing).await {
            return Box::pin(self.direct(visit, route, miss, direct)).await;
        }
        match follower.head().await {
            Seen::Filled { head, body } => self.show(visit, route, miss, &head, body, Role::Leader),
            Seen::Failed(failure) => self.stand_in(visit, route, miss, &failure),
            // Let go without a response: L1 may have one by now.
            Seen::Uncacheable | Seen::Abandoned => match self.find_by_now(visit, route, miss) {
                Some(answer) => answer,
                None => self.stand_in(visit, route, miss, &Failure::origin(OriginFault::Abandoned)),
            },
        }
    }

    /// Leads a flight that nobody else can join.
    pub(super) async fn lead_unjoined(self: &Arc<Self>, visit: &mut Visit, route: &Arc<Route>, miss: &Miss) -> Answer {
        let number = UNJOINED.fetch_add(1, Ordering::Relaxed);
        let flight = FlightKey { key: miss.key.clone(), variant: None, asked: None, alone: Some(number) };
        let names = self.known_names(&miss.key).unwrap_or_default();
        match self.flights.join(&flight, self.log.applied(), |_, _| false) {
            Joined::Lead(leader) => self.lead(visit, route, miss, leader, &names).await,
            Joined::Follow(_) => self.stand_in(visit, route, miss, &Failure::origin(OriginFault::Abandoned)),
        }
    }

    /// Asks the origin for this client alone, without looking at other fetches; stores the
    /// response if it turns out to be storable, which ends a hit-for-miss marker.
    pub(super) async fn fetch_alone(
        self: &Arc<Self>,
        visit: &mut Visit,
        route: Arc<Route>,
        policy: Arc<CachePolicy>,
        key: &Key,
        reason: Reason,
    ) -> Answer {
        if visit.parts.method == http::Method::HEAD {
            return self.pass(visit, route, reason).await;
        }
        route.metrics.passed[reason as usize].inc();
        let (demand, cause) = (Demand::default(), Cause::Alone);
        let scope = Scope { asked: Asked::of(&visit.parts), parts: None };
        let known = Known::nothing(Forwarded::Bypass);
        let miss = Miss { key: key.clone(), policy, demand, known, cause, scope };
        self.lead_unjoined(visit, &route, &miss).await
    }

    /// Fetches what is too large to be stored: the range that the client asks for, which others may share
    /// and which is stored as a part, or else the whole for this client alone. Boxed, because a fetch
    /// learns only on its way how large the whole is.
    pub(super) fn fill_too_large<'a>(
        self: &'a Arc<Self>,
        visit: &'a mut Visit,
        route: Arc<Route>,
        policy: Arc<CachePolicy>,
        key: Key,
        demand: Demand,
    ) -> BoxFuture<'a, Answer> {
        async move {
            let slot = self.l1.find_again(key.as_bytes());
            let known = Known { slot, ..Known::nothing(Forwarded::UriMiss) };
            let scope = self.scope(visit, &policy, &key, &known, true);
            if scope.asked.is_none() {
                return self.fetch_alone(visit, route, policy, &key, Reason::HitForMiss).await;
            }
            let cause = Cause::Client(demand.clone());
            self.fill(visit, route, Miss { key, policy, demand, known, cause, scope }).await
        }
        .boxed()
    }

    /// The origin's response, for this client alone.
    async fn direct(self: &Arc<Self>, visit: &mut Visit, route: &Arc<Route>, miss: &Miss, direct: Direct) -> Answer {
        let Direct { response, reason } = direct;
        let left_out = miss.scope.asked.is_none() && visit.parts.headers.contains_key(RANGE);
        if left_out && response.status() == StatusCode::OK {
            // The range was left out so that the whole could be stored. It can not be, so the
            // client's own request goes out instead of a body it did not ask for.
            drop(response);
            if reason == Reason::TooLarge && Asked::of(&visit.parts).is_some() {
                let (policy, key) = (Arc::clone(&miss.policy), miss.key.clone());
                return self.fill_too_large(visit, Arc::clone(route), policy, key, miss.demand.clone()).await;
            }
            return self.pass(visit, Arc::clone(route), reason).await;
        }
        let status =
            CacheStatus::new(Outcome::Uncacheable).forwarded(miss.known.why, Some(response.status())).because(reason);
        let response = respond::direct(visit, route, response.into(), Conditions::LeftOut, status);
        Answer::new(response, Outcome::Uncacheable, Some(Arc::clone(route))).because(reason)
    }

    /// Shows a shared response.
    pub(super) fn show(
        &self,
        visit: &Visit,
        route: &Arc<Route>,
        miss: &Miss,
        head: &Head,
        body: Reader,
        role: Role,
    ) -> Answer {
        if let Some(entry) = &head.found {
            return Self::show_found(visit, route, miss, entry, self.clock.now());
        }
        let outcome = match (role, head.not_stored, head.confirmed) {
            (Role::Follower, ..) => Outcome::Coalesced,
            (Role::Leader, Some(_), _) => Outcome::Uncacheable,
            (Role::Leader, None, true) => Outcome::Revalidated,
            (Role::Leader, None, false) => Outcome::Miss,
        };
        let answered = if head.confirmed { StatusCode::NOT_MODIFIED } else { head.status };
        let left = head.ttl.map(|ttl| ttl.saturating_sub(self.clock.now().since(head.received)));
        let mut status = CacheStatus::new(outcome).forwarded(miss.known.why, Some(answered)).fresh_for(left);
        if let Some(reason) = head.not_stored {
            status = status.because(reason);
        }
        let age = head.initial_age.saturating_add(self.clock.now().since(head.received));
        let form = coding::arriving(&visit.parts, route, head);
        let mut response = respond::arriving(visit, head, &form, body, age, status);
        if role == Role::Leader {
            respond::add_cookies(&mut response, &head.cookies);
        }
        let answer = Answer::new(response, outcome, Some(Arc::clone(route)));
        match head.not_stored {
            Some(reason) => answer.because(reason),
            None => answer,
        }
    }

    /// Answers with what the fleet had.
    fn show_found(visit: &Visit, route: &Arc<Route>, miss: &Miss, entry: &Arc<Entry>, now: Moment) -> Answer {
        let outcome = match entry.reuse(now, &miss.demand) {
            Reuse::StaleWhileRevalidate => Outcome::StaleWhileRevalidate,
            Reuse::StaleAccepted => Outcome::StaleAccepted,
            // Or it was fresh when it was found.
            Reuse::Fresh | Reuse::StaleIfError | Reuse::Expired => Outcome::HitL2,
        };
        Self::hit(visit, Arc::clone(route), entry, now, outcome)
    }

    /// The origin failed: the stale response if it may stand in, else an honest error.
    pub(super) fn stand_in(&self, visit: &Visit, route: &Arc<Route>, miss: &Miss, failure: &Failure) -> Answer {
        let (fault, answered) = match failure.kind {
            FailureKind::Origin(fault) => (Some(fault), None),
            FailureKind::ServerError(status) => (None, Some(status)),
        };
        let now = self.clock.now();
        let usable = failure.stored_for(miss, &visit.parts.headers).filter(|entry| {
            entry.usable_on_error(now, &miss.demand) && entry.is_valid(|| miss.key.url(), self.log.table())
        });
        let (outcome, response) = match usable {
            Some(entry) => {
                let status = CacheStatus::new(Outcome::StaleIfError).forwarded(miss.known.why, answered).faulted(fault);
                let form = coding::stored(&visit.parts, route, entry);
                let shown = respond::stored(visit, entry, &form, entry.age(now), status);
                (Outcome::StaleIfError, shown)
            }
            None if let Some(hit) = self.part_to_stand_in(visit, miss) => {
                let status = CacheStatus::new(Outcome::StaleIfError).forwarded(miss.known.why, answered).faulted(fault);
                (Outcome::StaleIfError, self.part_stands_in(visit, route, hit, status))
            }
            None => {
                let fault = fault.unwrap_or(OriginFault::Abandoned);
                let status = CacheStatus::new(Outcome::Failed).forwarded(miss.known.why, answered).faulted(Some(fault));
                (Outcome::Failed, respond::failed(fault, status))
            }
        };
        Answer::new(response, outcome, Some(Arc::clone(route))).faulted(fault)
    }

    /// What the fetch needs to outlive this request.
    fn fetch(self: &Arc<Self>, visit: &Visit, route: &Arc<Route>, miss: &Miss, stored: Option<&Arc<Entry>>) -> Fetch {
        let request = match miss.cause {
            // The client's conditions stay: whatever they shape is not storable, and most clients of an
            // uncacheable URL are better served by a 304.
            Cause::Alone => {
                OriginHead::fetch_with_conditions(visit, &miss.key, &miss.policy.key.headers).for_route(route)
            }
            Cause::Client(_) | Cause::Refresh => {
                let request = OriginHead::fetch(visit, &miss.key, &miss.policy.key.headers);
                request.asking(miss.scope.asked.as_ref())
            }
        };
        Fetch {
            proxy: Arc::clone(self),
            route: Arc::clone(route),
            policy: Arc::clone(&miss.policy),
            key: miss.key.clone(),
            site: visit.site_name(),
            request: request.telling(visit, Audience::First),
            selecting_from: visit.parts.headers.clone(),
            stored: stored.map(Arc::clone),
            borrowed: false,
            cause: miss.cause.clone(),
            scope: miss.scope.clone(),
            lease: Mutex::default(),
        }
    }
}
