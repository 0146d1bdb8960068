//! A 304 from the origin: what is stored lives on with new fields (RFC 9111 section 4.3.4).

use std::sync::Arc;
use std::time::Duration;

use crate::entry::{self, Entry};
use crate::policy::storability::ResponseVerdict;
use crate::policy::vary::Vary;
use crate::policy::{fields, validation};

use super::coding;
use super::fetch::{Arrived, Fetch, Fetched};
use super::flight::{Head, Leader};
use super::share::share;

impl Fetch {
    /// The origin confirmed what is stored: freshens it (RFC 9111 section 4.3.4) and shares it.
    pub(super) async fn confirm(&self, leader: Leader, stored: &Arc<Entry>, arrived: &Arrived) -> Fetched {
        let content = stored.content();
        let mut headers = validation::updates(&content.headers, arrived.response.headers());
        let (cookies, judged) = match self.verdict(content.status, &headers, arrived.delay) {
            ResponseVerdict::Storable(storable) => (fields::prepare_stored(&mut headers, &storable), Ok(storable)),
            // Those who wait get what was stored for all, and nobody's cookie.
            ResponseVerdict::Uncacheable(reason) => (fields::take_cookies(&mut headers), Err(reason)),
        };
        let provenance = self.provenance(&leader, arrived);
        // The 304 may say that the response varies on something else than was known.
        let selecting = coding::selecting(&self.policy, &Vary::of(&headers), &headers, &self.selecting_from);
        let head = Arc::new(Head {
            status: content.status,
            tags: self.tags(&headers),
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
