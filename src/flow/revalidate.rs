//! A 304 from the origin: what is stored lives on with new fields (RFC 9111 section 4.3.4).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::entry::{self, Entry};
use crate::policy::storability::ResponseVerdict;
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
        let content = stored.content();
        let mut headers = validation::updates(&content.headers, arrived.response.headers());
        let (cookies, judged) = match self.verdict(content.status, &headers, arrived.delay) {
            ResponseVerdict::Storable(storable) => (fields::prepare_stored(&mut headers, &storable), Ok(storable)),
            ResponseVerdict::Uncacheable(reason @ (Reason::NoLifetime | Reason::ZeroLifetime)) => {
                (fields::prepare_shared(&mut headers), Err(reason))
            }
            // It is for one client: as a 200 it would be, so it is asked for as one.
            ResponseVerdict::Uncacheable(_) => {
                drop(arrived);
                return self.ask_plainly(leader, client).await;
            }
        };
        drop(client);
        let provenance = self.provenance(&leader, &arrived);
        // The 304 may say that the response varies on something else than was known.
        let selecting = coding::selecting(&self.policy, &Vary::of(&headers), &headers, &self.selecting_from);
        let head = Arc::new(Head {
            status: content.status,
            tags: self.tags_with(&headers, stored),
            headers,
            cookies,
            length: Some(content.body.len() as u64),
            part: None,
            selecting: selecting.clone(),
            initial_age: judged.as_ref().map_or(Duration::ZERO, |storable| storable.lifetimes.initial_age),
            received: arrived.received,
            ttl: judged.as_ref().ok().map(|storable| entry::fresh_on_arrival(&storable.lifetimes, provenance.jitter)),
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
                if selecting.names() != stored.selecting().names() {
                    // Or it would go on answering requests that the new names tell apart.
                    self.proxy.l1.retain(&self.key, arrived.received, |kept| !std::ptr::eq(kept, &raw const **stored));
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
}
