//! Responses that say by `No-Vary-Search` that they are good for other queries than their own.

use std::sync::Arc;

use crate::config::CachePolicy;
use crate::entry::Entry;
use crate::key::{Key, KeyBuffer};
use crate::policy::request::Demand;
use crate::policy::search::Variance;

use super::Proxy;
use super::hit::LookUp;
use super::visit::Visit;

impl Proxy {
    /// What is stored for a request, and where it stands.
    pub(super) fn find(&self, visit: &Visit, policy: &CachePolicy, demand: &Demand) -> (KeyBuffer, LookUp) {
        let key = visit.key(policy);
        let found = self.look_up(visit, &key, demand);
        if policy.key.no_vary_search
            && matches!(found, LookUp::Forward(..))
            && let Some(equivalent) = self.look_up_equivalent(visit, &key, demand)
        {
            return equivalent;
        }
        (key, found)
    }

    /// What stands under another query of the same meaning, if it can be served as it is, and its key.
    /// What is to be fetched is fetched by its own query: only the response can tell whether it is
    /// still good for others.
    fn look_up_equivalent(&self, visit: &Visit, key: &[u8], demand: &Demand) -> Option<(KeyBuffer, LookUp)> {
        self.l1.equivalents(key).into_iter().find_map(|(place, variance)| {
            let key = KeyBuffer::from(place.as_bytes());
            let found = self.look_up(visit, &key, demand);
            let (LookUp::Fresh(entry)
            | LookUp::StaleUsable(entry)
            | LookUp::StaleAccepted(entry)
            | LookUp::OriginDown(entry)) = &found
            else {
                return None;
            };
            // What stands there now may be another response than the one that led here.
            (Variance::of(entry.fields()) == Some(variance)).then_some((key, found))
        })
    }

    /// Notes where `entry` stands, if it is good for other queries.
    pub(super) fn learn(&self, policy: &CachePolicy, key: &Key, entry: &Arc<Entry>) {
        if policy.key.no_vary_search
            && let Some(variance) = Variance::of(entry.fields())
        {
            self.l1.learn(key, &variance);
        }
    }
}
