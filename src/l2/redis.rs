//! Stored responses in Redis.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::types::Value;
use futures_util::future::{BoxFuture, FutureExt};
use http::header::HeaderName;
use tokio::time::{Instant, timeout_at};

use super::ask::{Look, Seen, Span};
use super::envelope::{self, Packing};
use super::names::{Place, fixed, pointer, write_pointer};
use super::shared::{DOUBT, Shared};
use super::wake::Waiter;
use super::{Found, Lease, Query, Remote};
use crate::clock::Clock;
use crate::entry::Entry;
use crate::entry::Seq;
use crate::key::Key;
use crate::policy::vary::Selecting;
use crate::redis::{Connections, LogId, RedisError};
use crate::telemetry::metrics::{L2Metrics, LookUp};

/// How the tier is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What every key begins with.
    pub prefix: String,
    /// The log under which entries are filed.
    pub log_id: LogId,
    /// Connections by the library, for all runtimes; and those for look-ups, of a runtime with several threads.
    pub connections: usize,
    /// How long a command may take.
    pub timeout: Duration,
    /// How long a fetch may take before another instance may try.
    pub lease: Duration,
    /// How entries are written.
    pub packing: Packing,
}

/// The shared tier in Redis.
pub struct Redis(Arc<Shared>);

impl Redis {
    /// Begins to connect, and waits for nothing.
    pub fn new(
        connections: &Connections,
        settings: Settings,
        clock: Clock,
        metrics: L2Metrics,
    ) -> Result<Self, RedisError> {
        Shared::new(connections, connections.direct(), settings, clock, metrics).map(Self)
    }
}

impl Shared {
    fn unpack(&self, key: &Key, value: &Bytes, left: Duration) -> Option<Arc<Entry>> {
        match envelope::unpack(key, value, left, self.settings.packing, self.clock.now()) {
            Ok(entry) => Some(Arc::new(entry)),
            Err(damage) => {
                self.metrics.damaged(damage as usize).inc();
                tracing::debug!(%damage, url = key.url(), "a value in Redis is not used");
                None
            }
        }
    }

    fn plain(&self, key: &Key) -> Place {
        Place::plain(self.settings.log_id.get(), key)
    }

    fn found(&self, result: LookUp, found: Found) -> Found {
        self.metrics.looked_up(result).inc();
        found
    }

    async fn look_up(self: &Arc<Self>, query: Query<'_>) -> Found {
        let plain = self.plain(query.key);
        let began = Instant::now();
        let of = |names: &[HeaderName]| plain.of(&Selecting::new(names, query.request));
        let mut place = if query.names.is_empty() { plain } else { of(query.names) };
        // The value that will not do, and what it is still good for.
        let (mut seen, mut stale) = (None, None);
        // Whether another instance was seen to fetch, and a place among those who wait for that.
        let (mut taken, mut waiter) = (false, None::<Waiter<'_>>);
        // For all that is asked before the first wait for another instance.
        let patience = self.settings.timeout;
        let mut span = Span { from: began, until: began + patience };
        loop {
            if taken && waiter.is_none() {
                waiter = Some(self.waiters.enter(&plain.said()));
            }
            // Before Redis is asked: what is said from here on is heard.
            let mut word = std::pin::pin!(waiter.as_ref().map(Waiter::word));
            if let Some(word) = word.as_mut().as_pin_mut() {
                word.enable();
            }
            let Ok(look) = self.look(place, seen.clone(), span).await else {
                return self.found(LookUp::Unavailable, Found::Unavailable(stale));
            };
            match look {
                Look::Value(value, left) => {
                    if let Some(names) = pointer(&value).filter(|names| place == plain && !names.is_empty()) {
                        place = of(&names);
                        continue;
                    }
                    match self.unpack(query.key, &value, left) {
                        Some(entry) if (query.wanted)(&entry) => {
                            let result = if taken { LookUp::Coalesced } else { LookUp::Hit };
                            return self.found(result, Found::Stored(entry));
                        }
                        // Stale, purged, or damaged: somebody must fetch.
                        useless => (seen, stale) = (Some(Seen::value(&value, left)), useless),
                    }
                }
                Look::Useless(useless) => (seen, stale) = (Some(useless), None),
                Look::Leased(lease) => return self.found(LookUp::Miss, Found::Lead(lease, stale)),
                Look::Disbanded => return self.found(LookUp::Disbanded, Found::Unavailable(stale)),
                // That fetch may end at this moment, and only who waits already hears of it: so the first time is
                // followed by another look.
                Look::Taken => {
                    taken = true;
                    if let Some(word) = word.as_pin_mut() {
                        let deadline = began + query.patience;
                        let doubt = (Instant::now() + DOUBT).min(deadline);
                        let _ = timeout_at(doubt, word).await;
                        let now = Instant::now();
                        if now >= deadline {
                            return self.found(LookUp::GaveUp, Found::Unavailable(stale));
                        }
                        span = Span { from: now, until: now + patience };
                    }
                }
            }
        }
    }

    async fn forget(self: &Arc<Self>, key: &Key, seq: Seq) {
        let (place, prefix) = (self.plain(key), &self.settings.prefix);
        let [variants, tombstone, marker, waiters] = [":s", ":t", ":m", ":w"].map(|what| place.shared(prefix, what));
        let keys = vec![variants, tombstone, marker, place.lease(prefix), waiters];
        // Longer than any lease can live, and than a command can hang.
        let life = (self.settings.lease * 4).as_millis().to_string();
        let args = [fixed(seq), life, self.channel.clone(), place.said(), "purge".to_owned()].map(Value::from);
        let _ = self.run::<i64>(self.library(), keys, args.to_vec()).await;
    }

    async fn fill(self: &Arc<Self>, key: &Key, entry: &Entry, born: Seq, lease: Lease) {
        let packed = envelope::pack(key, entry, born, self.settings.packing, self.clock.now());
        let Some((value, life)) = packed else { return };
        if entry.body().len() > self.settings.packing.max_body {
            // Nor will what the others fetch be shared: let them not wait for one another.
            return lease.disband(self.settings.lease);
        }
        let (plain, prefix) = (self.plain(key), &self.settings.prefix);
        let varies = !entry.selecting().names().is_empty();
        let place = if varies { plain.of(entry.selecting()) } else { plain };
        let [tombstone, variants, waiters, marker] = [":t", ":s", ":w", ":m"].map(|what| plain.shared(prefix, what));
        let held = lease.granted.elapsed().as_millis().to_string();
        let (leased, token) = lease.spend();
        let (value_name, lease_name) = (place.value(prefix), leased.lease(prefix));
        let keys = vec![value_name, lease_name, tombstone, variants, waiters, plain.value(prefix), marker];
        let selecting = if varies { write_pointer(entry.selecting().names()) } else { String::new() };
        let args: Vec<Value> = vec![
            token.clone().into(),
            fixed(born).into(),
            life.as_millis().to_string().into(),
            value.into(),
            self.channel.clone().into(),
            plain.said().into(),
            selecting.into(),
            self.settings.lease.as_millis().to_string().into(),
            held.into(),
            "fill".into(),
        ];
        let client = self.library();
        match self.run::<usize>(client, keys, args).await {
            Ok(result) => self.metrics.filled(result).inc(),
            Err(_) => self.free(client, leased, token, None),
        }
    }
}

impl Remote for Redis {
    fn look_up<'a>(&'a self, query: Query<'a>) -> BoxFuture<'a, Found> {
        self.0.look_up(query).boxed()
    }

    fn fill<'a>(&'a self, key: &'a Key, entry: &'a Arc<Entry>, born: Seq, lease: Lease) -> BoxFuture<'a, ()> {
        self.0.fill(key, entry, born, lease).boxed()
    }

    fn forget<'a>(&'a self, key: &'a Key, seq: Seq) -> BoxFuture<'a, ()> {
        self.0.forget(key, seq).boxed()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.0.close();
    }
}
