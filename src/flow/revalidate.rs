//! A 304 from the origin: what is stored lives on with new fields (RFC 9111 section 4.3.4).

use std::sync::Arc;
use std::time::Duration;

use crate::entry::Entry;
use crate::policy::storability::ResponseVerdict;
use crate::policy::{fields, validation};

use super::fetch::{Arrived, Fetch, Fetched};
use super::flight::{Head, Leader};
use super::share::share;

impl Fetch {
    /// The origin confirmed what is stored: freshens it (RFC 9111 section 4.3.4) and shares it.
    pub(super) async fn confirm(&self, leader: Leader, stored: &Arc<Entry>, arrived: &Arrived) -> Fetched {
        let content = stored.content();
        let mut headers = validation::updates(&content.headers, arrived.response.headers());
        let judged = match self.verdict(content.status, &headers, arrived.delay) {
            ResponseVerdict::Storable(storable) => {
                fields::prepare_stored(&mut headers, &storable);
                Ok(storable)
            }
            ResponseVerdict::Uncacheable(reason) => Err(reason),
        };
        let provenance = self.provenance(&leader, arrived);
        let head = Arc::new(Head {
            status: content.status,
            tags: self.tags(&headers),
            headers,
            length: Some(content.body.len() as u64),
            selecting: stored.selecting().clone(),
            initial_age: judged.as_ref().map_or(Duration::ZERO, |storable| storable.lifetimes.initial_age),
            received: arrived.received,
            confirmed: true,
            not_stored: judged.as_ref().err().copied(),
            found: None,
        });
        let landing = share(leader, Arc::clone(&head), content.body.clone());
        match judged {
            Ok(storable) => {
                let entry = self.entry(storable, &head, content.body.clone(), provenance);
                // The body stays, and so does what was made of it.
                entry.inherit_forms(stored);
                let kept = self.keep(entry);
                match self.land(landing, kept).await {
                    Fetched::Stored => Fetched::Confirmed,
                    other => other,
                }
            }
            Err(reason) => {
                self.mark_uncacheable();
                self.disband(self.proxy.hit_for_miss_ttl);
                self.not_stored(reason)
            }
        }
    }
}
