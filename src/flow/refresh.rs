//! Refreshes in the background: nobody waits for them, and their number is bounded.

use std::sync::Arc;

use crate::config::CachePolicy;
use crate::entry::Entry;
use crate::key::Key;
use crate::telemetry::metrics::RefreshResult;
use parking_lot::Mutex;

use super::Proxy;
use super::fetch::{Fetch, Fetched};
use super::flight::{FlightKey, Head};
use super::forward::OriginHead;
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
        let variant = self.known_variant(key, &visit.parts.headers);
        let flight = FlightKey { key: key.clone(), variant, alone: None };
        let born = self.log.applied();
        let admit = |began: &u64, head: Option<&Arc<Head>>| {
            !self.is_doomed((*began, born), key, route, head.map_or(&[], |head| &head.tags))
        };
        let Some(leader) = self.flights.lead(&flight, born, admit) else { return };
        let Ok(permit) = Arc::clone(&self.refreshes).try_acquire_owned() else {
            return count(route, RefreshResult::Dropped);
        };
        let fetch = Fetch {
            proxy: Arc::clone(self),
            route: Arc::clone(route),
            policy: Arc::clone(policy),
            key: key.clone(),
            site: visit.site_name(),
            request: OriginHead::fetch(visit, key, &policy.key.headers),
            selecting_from: visit.parts.headers.clone(),
            stored: Some(Arc::clone(entry)),
            lease: Mutex::default(),
        };
        let route = Arc::clone(route);
        tokio::spawn(async move {
            let _permit = permit;
            let fetched = fetch.run(leader, None).await;
            count(
                &route,
                match fetched {
                    Fetched::Stored => RefreshResult::Replaced,
                    Fetched::Confirmed => RefreshResult::Confirmed,
                    Fetched::NotStored => RefreshResult::Uncacheable,
                    Fetched::Failed => RefreshResult::Failed,
                },
            );
        });
    }
}

fn count(route: &Route, result: RefreshResult) {
    route.metrics.refreshes[result as usize].inc();
}
