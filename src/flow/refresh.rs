//! Refreshes in the background: nobody waits for them, and their number is bounded.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use http::header::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use crate::config::CachePolicy;
use crate::entry::{Entry, Parts};
use crate::key::Key;
use crate::policy::request::Demand;
use crate::policy::reuse::Reuse;
use crate::telemetry::metrics::RefreshResult;

use super::Proxy;
use super::fetch::{Cause, Fetch, Fetched};
use super::flight::{FlightKey, Head, Leader};
use super::forward::OriginHead;
use super::parts::{Asked, Scope};
use super::site::Route;
use super::visit::Visit;

impl Proxy {
    /// Renews `entry` unless a fetch of it is under way, one failed a moment ago, or too many
    /// refreshes are running.
    pub(super) fn refresh(
        self: &Arc<Self>,
        visit: &Visit,
        route: &Arc<Route>,
        policy: &Arc<CachePolicy>,
        key: &Key,
        entry: &Arc<Entry>,
    ) {
        if !entry.refresh_due(visit.started) {
            return;
        }
        let headers = &visit.parts.headers;
        let Some(place) = self.place_to_refresh(key, headers, route, None) else { return };
        let fetch = Fetch {
            proxy: Arc::clone(self),
            route: Arc::clone(route),
            policy: Arc::clone(policy),
            key: key.clone(),
            site: visit.site_name(),
            request: OriginHead::fetch(visit, key, &policy.key.headers),
            selecting_from: headers.clone(),
            stored: Some(Arc::clone(entry)),
            borrowed: false,
            cause: Cause::Refresh,
            scope: Scope::default(),
            lease: Mutex::default(),
        };
        tokio::spawn(fetch.refresh(place));
    }

    /// The same for stored parts, by the range that a client asks for.
    pub(super) fn refresh_parts(
        self: &Arc<Self>,
        visit: &Visit,
        route: &Arc<Route>,
        policy: &Arc<CachePolicy>,
        key: &Key,
        parts: &Arc<Parts>,
    ) {
        if !parts.entry().refresh_due(visit.started) {
            return;
        }
        let headers = &visit.parts.headers;
        // The client's condition holds for what is stored, and says nothing of what comes.
        let asked = Asked::of(&visit.parts).map(|asked| Asked { if_range: None, ..asked });
        let Some(place) = self.place_to_refresh(key, headers, route, asked.clone()) else { return };
        let fetch = Fetch {
            proxy: Arc::clone(self),
            route: Arc::clone(route),
            policy: Arc::clone(policy),
            key: key.clone(),
            site: visit.site_name(),
            request: OriginHead::fetch(visit, key, &policy.key.headers).asking(asked.as_ref()),
            selecting_from: headers.clone(),
            stored: None,
            borrowed: false,
            cause: Cause::Refresh,
            scope: Scope { asked, parts: Some(Arc::clone(parts)) },
            lease: Mutex::default(),
        };
        tokio::spawn(fetch.refresh(place));
    }

    /// A place among the refreshes, unless a fetch of the key is under way or there are too many.
    fn place_to_refresh(
        &self,
        key: &Key,
        headers: &HeaderMap,
        route: &Arc<Route>,
        asked: Option<Asked>,
    ) -> Option<Place> {
        let flight = FlightKey { key: key.clone(), variant: self.known_variant(key, headers), asked, alone: None };
        let born = self.log.applied();
        let admit =
            |began: &u64, head: Option<&Arc<Head>>| !self.is_doomed((*began, born), key, route, head.map(Arc::as_ref));
        let leader = self.flights.lead(&flight, born, admit)?;
        let Ok(permit) = Arc::clone(&self.refreshes).try_acquire_owned() else {
            count(route, RefreshResult::Dropped);
            return None;
        };
        Some(Place { leader, _permit: permit })
    }
}

/// The right to renew one response.
struct Place {
    leader: Leader,
    _permit: OwnedSemaphorePermit,
}

impl Fetch {
    /// Renews what the fleet had, if that is usable but no longer fresh.
    pub(super) fn refresh_found(mut self, entry: Arc<Entry>) {
        let now = self.proxy.clock.now();
        if entry.reuse(now, &Demand::default()) != Reuse::StaleWhileRevalidate || !entry.refresh_due(now) {
            return;
        }
        let Some(place) = self.proxy.place_to_refresh(&self.key, &self.selecting_from, &self.route, None) else {
            return;
        };
        self.stored = Some(entry);
        self.cause = Cause::Refresh;
        tokio::spawn(self.refresh(place));
    }

    /// What another instance has fetched meanwhile, or else a fetch.
    async fn renew(mut self, leader: Leader) -> Fetched {
        self.stored = self.stored.take().filter(|stored| stored.is_valid(|| self.key.url(), self.proxy.log.table()));
        match self.inquiry().ask().await {
            Ok(entry) => {
                self.inquiry().share(&self.route, leader, &entry, self.proxy.clock.now());
                self.refresh_found(entry);
                Fetched::Stored
            }
            Err(missing) => self.run(leader, missing, None).await,
        }
    }

    /// Boxed, because a fetch that finds something to refresh contains one that refreshes it.
    fn refresh(self, place: Place) -> BoxFuture<'static, ()> {
        async move {
            let Place { leader, _permit } = place;
            let route = Arc::clone(&self.route);
            let result = match self.renew(leader).await {
                Fetched::Stored => RefreshResult::Replaced,
                Fetched::Confirmed => RefreshResult::Confirmed,
                Fetched::NotStored => RefreshResult::Uncacheable,
                Fetched::Failed => RefreshResult::Failed,
            };
            count(&route, result);
        }
        .boxed()
    }
}

fn count(route: &Route, result: RefreshResult) {
    route.metrics.refreshes[result as usize].inc();
}
