//! A 304 from the origin: what is stored lives on with new fields (RFC 9111 section 4.3.4).

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::oneshot;

use crate::entry::{self, Entry, Fields, Provenance};
use crate::policy::storability::{ResponseVerdict, Storable};
use crate::policy::vary::Vary;
use crate::policy::{fields, validation};
use crate::reason::Reason;

use super::coding;
use super::fetch::{Arrived, Direct, Fetch, Fetched};
use super::flight::{Head, Leader};
use super::share::share;

impl Fetch {
    /// The origin confirmed what is stored: freshens it (RFC 9111 section 4.3.4) and shares it.
    pub(super) async fn confirm(
        &self,
        leader: Leader,
        client: Option<oneshot::Sender<Direct>>,
        stored: &Arc<Entry>,
        arrived: Arrived,
    ) -> Fetched {
        let provenance = self.provenance(&leader, &arrived);
        let Some((head, judged)) = self.confirmed(stored, stored.status(), &arrived, &provenance) else {
            drop(arrived);
            return self.ask_plainly(leader, client).await;
        };
        drop(client);
        let head = Arc::new(Head { length: Some(stored.body().len() as u64), ..head });
        let landing = share(leader, Arc::clone(&head), stored.body().share());
        match judged {
            Ok(storable) => {
                let entry = self.entry(storable, &head, stored.body().share(), provenance);
                // The body stays, and so does what was made of it.
                entry.inherit_forms(stored);
                let kept = self.keep(Arc::new(entry));
                if head.selecting.names() != stored.selecting().names() {
                    // Or it would go on answering requests that the new names tell apart.
                    self.proxy.l1.retain(&self.key, |kept| !std::ptr::eq(kept, &raw const **stored));
                }
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

    /// What a 304 makes of a stored response, judged as one with this status, and whether that may be stored. `None` if
    /// it is for one client: as a 200 it would be, so it is to be asked for as one.
    pub(super) fn confirmed(
        &self,
        stored: &Entry,
        status: StatusCode,
        arrived: &Arrived,
        provenance: &Provenance,
    ) -> Option<(Head, Result<Storable, Reason>)> {
        let mut headers = validation::updates(stored.fields().to_map(), arrived.response.headers());
        let judged = match self.verdict(status, &headers, arrived.delay) {
            ResponseVerdict::Storable(storable) => Ok(storable),
            ResponseVerdict::Uncacheable(reason @ (Reason::NoLifetime | Reason::ZeroLifetime)) => Err(reason),
            ResponseVerdict::Uncacheable(_) => return None,
        };
        // Both before the stored form leaves fields out. The 304 may say that the response varies on something else than
        // was known.
        let tags = self.tags_with(&headers, stored);
        let vary = Vary::of(&headers).and(stored.selecting());
        let selecting = coding::selecting(&self.policy, &vary, &headers, &self.selecting_from);
        let cookies = match &judged {
            Ok(storable) => fields::prepare_stored(&mut headers, storable),
            Err(_) => fields::prepare_shared(&mut headers),
        };
        let lifetimes = judged.as_ref().ok().map(|storable| &storable.lifetimes);
        let head = Head {
            status,
            fields: Fields::from_map(&headers),
            cookies,
            length: None,
            part: None,
            selecting,
            tags,
            initial_age: lifetimes.map_or(Duration::ZERO, |lifetimes| lifetimes.initial_age),
            received: arrived.received,
            ttl: lifetimes.map(|lifetimes| entry::fresh_on_arrival(lifetimes, provenance.jitter)),
            confirmed: true,
            not_stored: judged.as_ref().err().copied(),
            found: None,
        };
        Some((head, judged))
    }
}
