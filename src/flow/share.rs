//! What a fetch brought, shared with everybody who waits for it while it arrives, and stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderMap;
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::clock::Moment;
use crate::coalesce::{BodyLimits, Pushed};
use crate::entry::{self, Content, Entry, Fields, Provenance};
use crate::key::Key;
use crate::l1::Stored;
use crate::origin::ResponseBody;
use crate::policy::fields;
use crate::policy::storability::Storable;
use crate::policy::tags::{self, Tag};
use crate::policy::vary::Vary;
use crate::reason::Reason;

use super::Proxy;
use super::coding;
use super::fetch::{Arrived, Fetch, Fetched, RETRY_PAUSE};
use super::flight::{Filling, Head, Landing, Leader};

/// Bytes that the origin may be ahead of the fastest reader once a body is too large to keep.
pub(super) const READ_AHEAD: usize = 256 * 1024;

/// How the copying of a body ended.
pub(super) enum Pumped {
    /// All of it is there.
    All(Landing),
    /// The origin broke off; so will the readers, once this is dropped.
    Broken(Filling),
    /// Nobody needs what is there.
    Deserted,
}

impl Fetch {
    /// Streams a storable response to everybody who waits, and stores it when it is whole.
    pub(super) async fn fill(&self, leader: Leader, arrived: Arrived, storable: Storable) -> Fetched {
        let provenance = self.provenance(&leader, &arrived);
        let (mut parts, body) = arrived.response.into_parts();
        let head = Arc::new(self.head(&mut parts, &body, &storable, &provenance));
        let cap = usize::try_from(self.policy.max_object_size).unwrap_or(usize::MAX);
        let filling = leader.publish(Arc::clone(&head), BodyLimits { cap, window: READ_AHEAD });
        let mut landing = match self.pump(filling, body, true).await {
            Pumped::All(landing) => landing,
            Pumped::Broken(filling) => return self.keep_incomplete(&filling, storable, (&head, false), provenance),
            Pumped::Deserted => return Fetched::Failed,
        };
        let Some(bytes) = landing.body() else {
            self.give_up();
            return self.not_stored(Reason::TooLarge);
        };
        let kept = self.keep(Arc::new(self.entry(storable, &head, bytes, provenance)));
        self.land(landing, kept).await
    }

    /// How this fetch came to its response; draws the jitter.
    pub(super) fn provenance(&self, leader: &Leader, arrived: &Arrived) -> Provenance {
        let jitter = self.policy.jitter * rand::random::<f64>();
        Provenance { born: *leader.info(), received: arrived.received, fetch_time: arrived.delay, jitter }
    }

    pub(super) fn entry(&self, storable: Storable, head: &Head, body: Bytes, provenance: Provenance) -> Entry {
        let content = Content { status: head.status, fields: head.fields.clone(), body };
        Entry::new(storable, content, head.selecting.clone(), head.tags.clone(), &self.route.name, provenance)
    }

    pub(super) fn head(
        &self,
        parts: &mut http::response::Parts,
        body: &ResponseBody,
        storable: &Storable,
        provenance: &Provenance,
    ) -> Head {
        // Before the stored form leaves them out.
        let tags = self.tags(&parts.headers);
        let cookies = fields::prepare_stored(&mut parts.headers, storable);
        let selecting = self.selecting(storable, &parts.headers);
        Head {
            status: parts.status,
            fields: Fields::from_map(&parts.headers),
            cookies,
            length: body.size_hint().exact(),
            part: None,
            selecting,
            tags,
            initial_age: storable.lifetimes.initial_age,
            received: provenance.received,
            ttl: Some(entry::fresh_on_arrival(&storable.lifetimes, provenance.jitter)),
            confirmed: false,
            not_stored: None,
            found: None,
        }
    }

    pub(super) fn tags(&self, headers: &HeaderMap) -> Vec<Tag> {
        tags::tags(headers, &self.policy.tag_headers, &self.site, tags::MAX_TAGS)
    }

    /// The tags that these fields give, and those of what they are an update of, as far as there is room: a
    /// whole that was made of parts has tags that its fields no longer show.
    pub(super) fn tags_with(&self, headers: &HeaderMap, stored: &Entry) -> Vec<Tag> {
        tags::with_earlier(self.tags(headers), stored.tags(), tags::MAX_TAGS)
    }

    /// Copies the body to the readers, all but its last chunk, if the length tells which that is:
    /// whoever has the whole body shall find it stored.
    pub(super) async fn pump(&self, mut filling: Filling, mut body: ResponseBody, mut to_store: bool) -> Pumped {
        let mut last = Bytes::new();
        while let Some(frame) = body.frame().await {
            let chunk = match frame.map(http_body::Frame::into_data) {
                Ok(Ok(chunk)) => chunk,
                // Trailers of a response that is shared are discarded (RFC 9110 section 6.5.1).
                Ok(Err(_trailers)) => continue,
                Err(fault) => {
                    tracing::debug!(%fault, url = self.key.url(), "the response broke off");
                    self.disband(RETRY_PAUSE);
                    return Pumped::Broken(filling);
                }
            };
            if body.is_end_stream() {
                last = chunk;
                break;
            }
            if !filling.append(chunk) && std::mem::take(&mut to_store) {
                // Before the wait for readers.
                self.give_up();
            }
            if filling.room().await == Pushed::Deserted {
                self.not_stored(Reason::TooLarge);
                return Pumped::Deserted;
            }
        }
        Pumped::All(filling.finish(last))
    }

    /// The body turns out too large to be stored: nobody, here or elsewhere, waits for it to end.
    fn give_up(&self) {
        self.mark_too_large(None);
        self.disband(self.proxy.hit_for_miss_ttl);
    }

    /// Puts what was fetched into L1, and notes which other queries it is good for.
    pub(super) fn keep(&self, entry: Arc<Entry>) -> Result<Arc<Entry>, Reason> {
        self.proxy.keep(&self.key, &entry, self.proxy.clock.now())?;
        self.proxy.learn(&self.policy, &self.key, &entry);
        Ok(entry)
    }

    /// Ends a flight whose entry was offered to L1: frees its slot, and only then waits for L2.
    pub(super) async fn land(&self, landing: Landing, kept: Result<Arc<Entry>, Reason>) -> Fetched {
        drop(landing);
        match kept {
            Ok(entry) => {
                if let Some(old) = &self.stored {
                    self.proxy.code_again(&self.route, &self.key, old, &entry);
                }
                let lease = self.lease.lock().take();
                if let Some(lease) = lease {
                    let born = self.proxy.log.common(entry.born());
                    self.proxy.remote.fill(&self.key, &entry, born, lease).await;
                }
                Fetched::Stored
            }
            Err(reason) => self.not_stored(reason),
        }
    }

    pub(super) fn not_stored(&self, reason: Reason) -> Fetched {
        self.route.metrics.not_stored[reason as usize].inc();
        Fetched::NotStored
    }

    /// Shares a server error with those who wait, and stores nothing.
    pub(super) async fn share_error(&self, leader: Leader, arrived: Arrived, reason: Reason) -> Fetched {
        self.hold_refresh();
        self.disband(RETRY_PAUSE);
        let Arrived { response, received, .. } = arrived;
        let (mut parts, body) = response.into_parts();
        // Those who wait with other selecting fields look for an answer of their own.
        let vary = Vary::of(&parts.headers);
        let selecting = coding::selecting(&self.policy, &vary, &parts.headers, &self.selecting_from);
        let cookies = fields::prepare_shared(&mut parts.headers);
        let head = Head {
            status: parts.status,
            fields: Fields::from_map(&parts.headers),
            cookies,
            length: body.size_hint().exact(),
            part: None,
            selecting,
            tags: Vec::new(),
            initial_age: Duration::ZERO,
            received,
            ttl: None,
            confirmed: false,
            not_stored: Some(reason),
            found: None,
        };
        let filling = leader.publish(Arc::new(head), BodyLimits { cap: READ_AHEAD, window: READ_AHEAD });
        drop(self.pump(filling, body, false).await);
        self.not_stored(reason)
    }
}

impl Proxy {
    /// Puts an entry into L1, unless it was invalidated while the origin was asked.
    pub(super) fn keep(&self, key: &Key, entry: &Arc<Entry>, now: Moment) -> Result<(), Reason> {
        // What was purged meanwhile must not take the place of what a later fetch has stored.
        if !entry.is_valid(|| key.url(), self.log.table()) {
            return Err(Reason::Invalidated);
        }
        if self.l1.store(key, entry, now) == Stored::TooManyVariants {
            return Err(Reason::TooManyVariants);
        }
        // An invalidation may have been applied between the check and the insert. Every reader
        // checks `born` as well; this only frees the memory and tells the operator.
        if !entry.is_valid(|| key.url(), self.log.table()) {
            self.l1.retain(key, |kept| !std::ptr::eq(kept, &raw const **entry));
            return Err(Reason::Invalidated);
        }
        Ok(())
    }
}

/// Publishes a response whose body is in memory.
pub(super) fn share(leader: Leader, head: Arc<Head>, body: Bytes) -> Landing {
    leader.publish(head, BodyLimits { cap: body.len(), window: READ_AHEAD }).finish(body)
}
