//! What the fleet is asked before the origin is, and which of its answers will do.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName};

use crate::clock::Moment;
use crate::config::CachePolicy;
use crate::entry::Entry;
use crate::key::Key;
use crate::l2::{Found, Query};
use crate::policy::request::Demand;
use crate::policy::reuse::Reuse;

use super::Proxy;
use super::fetch::{Cause, Missing};
use super::flight::{Head, Leader};
use super::parts::Scope;
use super::share::share;
use super::site::Route;

/// Two copies of one response that came by different ways differ in age by less.
const SAME: Duration = Duration::from_millis(20);

/// A question to the fleet.
pub(super) struct Inquiry<'a> {
    pub(super) proxy: &'a Arc<Proxy>,
    pub(super) policy: &'a CachePolicy,
    pub(super) key: &'a Key,
    /// The client's fields, which select the variant.
    pub(super) request: &'a HeaderMap,
    /// What responses vary on, as far as is known here.
    pub(super) names: &'a [HeaderName],
    /// What is stored here.
    pub(super) stored: Option<&'a Arc<Entry>>,
    pub(super) cause: &'a Cause,
    pub(super) scope: &'a Scope,
}

impl Inquiry<'_> {
    /// What the fleet has, or else what a fetch has to go by. Waits while another instance fetches. Whoever drops this
    /// meanwhile leaves no lease behind.
    pub(super) async fn ask(&self) -> Result<Arc<Entry>, Missing> {
        // Parts are not shared: a lease for one would keep others from fetching the whole.
        if *self.cause == Cause::Alone || self.scope.asked.is_some() || !self.proxy.is_in_sync() {
            return Err(Missing { lease: None, stale: None });
        }
        let patience = if self.policy.coalesce { self.policy.coalesce_wait } else { Duration::ZERO };
        let wanted = |entry: &Entry| self.is_wanted(entry);
        let query = Query { key: self.key, request: self.request, names: self.names, wanted: &wanted, patience };
        match self.proxy.remote.look_up(query).await {
            Found::Stored(entry) => Ok(entry),
            Found::Lead(lease, stale) => Err(Missing { lease: Some(lease), stale }),
            Found::Unavailable(stale) => Err(Missing { lease: None, stale }),
        }
    }

    /// Whether an entry of the fleet spares the fetch: it is newer than what is stored here, and fresh
    /// or, for a client that waits, good enough until it has been refreshed.
    fn is_wanted(&self, entry: &Entry) -> bool {
        // It came a moment ago.
        let now = entry.received();
        let newer = self
            .stored
            .is_none_or(|stored| entry.born() > stored.born() || entry.age(now).saturating_add(SAME) < stored.age(now));
        let will_do = match self.cause {
            Cause::Client(demand) => {
                let reuse = entry.reuse(now, demand);
                matches!(reuse, Reuse::Fresh | Reuse::StaleWhileRevalidate | Reuse::StaleAccepted)
            }
            Cause::Refresh => entry.reuse(now, &Demand::default()) == Reuse::Fresh,
            Cause::Alone => false,
        };
        newer && will_do && self.fits(entry)
    }

    /// Whether an entry of the fleet is valid here and for this request. One that was fetched further on
    /// in the log than is known here cannot be judged: it may be from a log that Redis has lost.
    pub(super) fn fits(&self, entry: &Entry) -> bool {
        self.proxy.log.knows(entry.born())
            && entry.is_valid(|| self.key.url(), self.proxy.log.table())
            && entry.selecting().matches(self.request)
    }

    /// Stores what the fleet has, and shares it with those who wait: it is as good as a fetch.
    pub(super) fn share(&self, route: &Arc<Route>, leader: Leader, entry: &Arc<Entry>, now: Moment) {
        // It answers those who wait, even if it may not stay.
        if self.proxy.keep(self.key, entry, now).is_ok() {
            self.proxy.learn(self.policy, self.key, entry);
        }
        if let Some(old) = self.stored {
            self.proxy.code_again(route, self.key, old, entry);
        }
        // Mostly nobody waits.
        let Some(leader) = leader.unless_alone() else { return };
        let head = Head {
            status: entry.status(),
            fields: entry.fields().clone(),
            cookies: Vec::new(),
            length: Some(entry.body().len() as u64),
            part: None,
            selecting: entry.selecting().clone(),
            tags: entry.tags().to_vec(),
            initial_age: entry.age(now),
            received: now,
            ttl: None,
            confirmed: false,
            not_stored: None,
            found: Some(Arc::clone(entry)),
        };
        drop(share(leader, Arc::new(head), entry.body().share()));
    }
}
