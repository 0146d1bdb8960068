//! Stored responses in Redis.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::{Client, Pool};
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::scripts::Script;
use futures_util::future::{BoxFuture, FutureExt};
use http::header::HeaderName;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout, timeout_at};

use super::breaker::{Breaker, Thresholds, Turned, Verdict};
use super::envelope::{self, Damage, Packing};
use super::names::{Names, PLAIN, fixed, pointer, said, write_pointer};
use super::wake::Waiters;
use super::{Found, Lease, Query, Remote, scripts};
use crate::clock::Clock;
use crate::entry::Entry;
use crate::entry::Seq;
use crate::key::Key;
use crate::policy::vary::Selecting;
use crate::redis::{Connections, LogId, RedisError, Reviver, script};
use crate::telemetry::metrics::{L2Metrics, LookUp};

/// How long a waiter trusts that it will be woken.
const DOUBT: Duration = Duration::from_millis(250);
/// Commands that may fail in a row, probes that must succeed, and the pause before one.
const THRESHOLDS: Thresholds = Thresholds { failures: 5, successes: 2, pause: Duration::from_millis(500) };

/// How the tier is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What every key begins with.
    pub prefix: String,
    /// The log under which entries are filed.
    pub log_id: LogId,
    /// How long a command may take.
    pub timeout: Duration,
    /// How long a fetch may take before another instance may try.
    pub lease: Duration,
    /// How entries are written.
    pub packing: Packing,
}

/// The shared tier in Redis.
pub struct Redis(Arc<Shared>);

struct Shared {
    settings: Settings,
    pool: Pool,
    subscriber: Client,
    clock: Clock,
    breaker: Breaker,
    reviver: Reviver,
    waiters: Waiters,
    metrics: L2Metrics,
    script: Script,
    channel: String,
}

/// Why Redis said nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// It is not worth asking at the moment.
    NotAsked,
    /// It refused, or did not answer in time; it may still do what it was asked.
    NoAnswer,
}

/// What one look at Redis found.
enum Look {
    /// A value, and how long it lives.
    Value(Bytes, Duration),
    /// A value that nobody of us wrote: it never expires.
    Immortal(Bytes),
    Disbanded,
    Leased,
    Taken,
}

impl Redis {
    /// Begins to connect, and waits for nothing.
    pub fn new(
        connections: &Connections,
        settings: Settings,
        clock: Clock,
        metrics: L2Metrics,
    ) -> Result<Self, RedisError> {
        metrics.up.set(1);
        let shared = Arc::new(Shared {
            pool: connections.pool()?,
            subscriber: connections.single(settings.timeout)?,
            breaker: Breaker::new(THRESHOLDS),
            reviver: Reviver::default(),
            waiters: Waiters::default(),
            script: script(scripts::all()),
            channel: format!("{}wake", settings.prefix),
            settings,
            clock,
            metrics,
        });
        tokio::spawn(listen(Arc::clone(&shared)));
        Ok(Self(shared))
    }
}

/// Hears of leases that ended elsewhere.
async fn listen(shared: Arc<Shared>) {
    let mut messages = shared.subscriber.message_rx();
    let mut reconnected = shared.subscriber.reconnect_rx();
    let mut subscribed = false;
    loop {
        if !subscribed {
            // Without it waiters look again from time to time.
            let subscribe = shared.subscriber.subscribe(shared.channel.as_str());
            subscribed = matches!(timeout(DOUBT, subscribe).await, Ok(Ok(())));
            shared.waiters.wake_all();
        }
        tokio::select! {
            () = tokio::time::sleep(DOUBT), if !subscribed => {}
            message = messages.recv() => match message {
                Ok(message) => shared.waiters.wake(message.value.as_str().as_deref().unwrap_or_default()),
                Err(RecvError::Lagged(_)) => shared.waiters.wake_all(),
                Err(RecvError::Closed) => return,
            },
            _ = reconnected.recv() => subscribed = false,
        }
    }
}

impl Shared {
    /// Until when a command may take that begins now.
    fn limit(&self) -> Instant {
        Instant::now() + self.settings.timeout
    }

    /// Runs a command until `limit`, if Redis is worth asking.
    async fn run<T>(&self, limit: Instant, command: impl Future<Output = Result<T, Error>>) -> Result<T, Silence> {
        let began = self.clock.now();
        let pass = self.breaker.pass(began).ok_or(Silence::NotAsked)?;
        let done = match timeout_at(limit, command).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(ErrorKind::Timeout, "no answer in time")),
        };
        let verdict = if done.is_ok() { Verdict::Answered } else { Verdict::Failed };
        let ended = self.clock.now();
        let turned = pass.settle(verdict, ended);
        self.metrics.latency.observe(ended.since(began).as_secs_f64());
        self.metrics.up.set(i64::from(self.breaker.is_closed()));
        match turned {
            Some(Turned::Open) => tracing::warn!("Redis does not answer: serving without it"),
            Some(Turned::Closed) => tracing::info!("Redis is in use again"),
            None => {}
        }
        match done {
            Ok(value) => Ok(value),
            Err(error) => {
                self.metrics.faults.inc();
                if *error.kind() == ErrorKind::Timeout && !self.breaker.is_closed() {
                    self.reviver.revive(self.pool.clients().iter().chain([&self.subscriber]));
                }
                tracing::debug!(%error, "Redis");
                Err(Silence::NoAnswer)
            }
        }
    }

    async fn look(
        &self,
        client: &Client,
        names: &Names,
        token: &str,
        seen: &Bytes,
        limit: Instant,
    ) -> Result<Look, Silence> {
        let keys = vec![names.value.clone(), names.lease.clone(), names.of("m"), names.of("w")];
        let longest = self.settings.packing.max_body.saturating_mul(2).saturating_add(1 << 20);
        let args: Vec<fred::types::Value> = vec![
            "look".into(),
            token.into(),
            self.settings.lease.as_millis().to_string().into(),
            longest.to_string().into(),
            seen.clone().into(),
        ];
        let look = self.script.evalsha_with_reload(client, keys, args);
        let (state, value, left): (u8, Bytes, i64) = self.run(limit, look).await?;
        match left {
            -3 => self.metrics.damaged(Damage::Foreign as usize).inc(),
            -4 => self.metrics.damaged(Damage::TooLarge as usize).inc(),
            _ => {}
        }
        Ok(match (state, u64::try_from(left)) {
            (1, Ok(left)) => Look::Value(value, Duration::from_millis(left)),
            (1, Err(_)) => {
                self.metrics.damaged(Damage::Immortal as usize).inc();
                Look::Immortal(value)
            }
            (3, _) => Look::Leased,
            (4, _) => Look::Taken,
            _ => Look::Disbanded,
        })
    }

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

    /// A lease that frees itself.
    fn lease(self: &Arc<Self>, names: &Names, key: &Key, token: &str) -> Lease {
        let (shared, key, mine, name) = (Arc::clone(self), key.clone(), token.to_owned(), names.lease.clone());
        Lease::new(token.to_owned(), names.lease.clone(), move |alone| {
            shared.free(shared.pool.next(), name, &key, mine, alone);
        })
    }

    /// Frees a lease, in a task of its own and whatever the breaker says. After `alone` others may wait
    /// for one another again. A lease that was not taken, or has ended, is nobody's loss.
    fn free(&self, client: &Client, lease: String, key: &Key, token: String, alone: Option<Duration>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (script, client, patience) = (self.script.clone(), client.clone(), self.settings.lease);
        let names = Names::new(&self.settings, key, PLAIN);
        let keys = vec![lease, names.of("m"), names.of("w")];
        let span = alone.map_or(0, |span| span.as_millis()).to_string();
        let args = vec!["release".to_owned(), token, span, self.channel.clone(), said(key)];
        runtime.spawn(
            async move { timeout(patience, script.evalsha_with_reload::<i64, _, _>(&client, keys, args)).await },
        );
    }

    /// What the variant is called that a request asks for, if responses vary on these fields.
    fn names(&self, query: &Query<'_>, vary: &[HeaderName]) -> Names {
        let selecting = (!vary.is_empty()).then(|| Names::variant(&Selecting::new(vary, query.request)));
        Names::new(&self.settings, query.key, selecting.as_deref().unwrap_or(PLAIN))
    }

    fn found(&self, result: LookUp, found: Found) -> Found {
        self.metrics.looked_up(result).inc();
        found
    }

    async fn look_up(self: &Arc<Self>, query: Query<'_>) -> Found {
        let deadline = Instant::now() + query.patience;
        let token = format!("{:016x}", rand::random::<u64>());
        let waiter = self.waiters.enter(&said(query.key));
        let mut vary: Vec<HeaderName> = query.names.to_vec();
        // How the value begins that will not do, and what it is still good for.
        let (mut seen, mut stale) = (Bytes::new(), None);
        let mut coalesced = false;
        // For all that is asked before the first wait for another instance.
        let mut limit = self.limit();
        loop {
            // Before Redis is asked: what is said from here on is heard.
            let mut word = std::pin::pin!(waiter.word());
            word.as_mut().enable();
            let names = self.names(&query, &vary);
            let client = self.pool.next();
            let look = match self.look(client, &names, &token, &seen, limit).await {
                Ok(look) => look,
                Err(silence) => {
                    if silence == Silence::NoAnswer {
                        // Redis may take it at its word after this, and give a lease to nobody.
                        self.free(client, names.lease, query.key, token, None);
                    }
                    return self.found(LookUp::Unavailable, Found::Unavailable(stale));
                }
            };
            match look {
                Look::Value(value, left) => {
                    if let Some(names) = pointer(&value).filter(|names| vary.is_empty() && !names.is_empty()) {
                        vary = names;
                        continue;
                    }
                    let entry = self.unpack(query.key, &value, left);
                    match entry {
                        Some(entry) if (query.wanted)(&entry) => {
                            let result = if coalesced { LookUp::Coalesced } else { LookUp::Hit };
                            return self.found(result, Found::Stored(entry));
                        }
                        // Stale, purged, or damaged: somebody must fetch.
                        useless => (seen, stale) = (envelope::head(&value), useless),
                    }
                }
                Look::Immortal(value) => (seen, stale) = (envelope::head(&value), None),
                Look::Leased => {
                    return self.found(LookUp::Miss, Found::Lead(self.lease(&names, query.key, &token), stale));
                }
                Look::Disbanded => return self.found(LookUp::Disbanded, Found::Unavailable(stale)),
                Look::Taken => {
                    coalesced = true;
                    let doubt = (Instant::now() + DOUBT).min(deadline);
                    let _ = timeout_at(doubt, word).await;
                    if Instant::now() >= deadline {
                        return self.found(LookUp::GaveUp, Found::Unavailable(stale));
                    }
                    limit = self.limit();
                }
            }
        }
    }

    async fn forget(&self, key: &Key, seq: Seq) {
        let names = Names::new(&self.settings, key, PLAIN);
        let keys = vec![names.of("s"), names.of("t"), names.of("m"), names.lease.clone(), names.of("w")];
        // Longer than any lease can live, and than a command can hang.
        let life = (self.settings.lease * 4).as_millis().to_string();
        let args = vec!["purge".to_owned(), fixed(seq), life, self.channel.clone(), said(key)];
        let _ =
            self.run(self.limit(), self.script.evalsha_with_reload::<i64, _, _>(self.pool.next(), keys, args)).await;
    }

    async fn fill(&self, key: &Key, entry: &Entry, born: Seq, lease: Lease) {
        let packed = envelope::pack(key, entry, born, self.settings.packing, self.clock.now());
        let Some((value, life)) = packed else { return };
        if entry.content().body.len() > self.settings.packing.max_body {
            // Nor will what the others fetch be shared: let them not wait for one another.
            return lease.disband(self.settings.lease);
        }
        let plain = Names::new(&self.settings, key, PLAIN);
        let varies = !entry.selecting().names().is_empty();
        let variant = if varies { Names::variant(entry.selecting()) } else { PLAIN.to_owned() };
        let names = Names::new(&self.settings, key, &variant);
        let [tombstone, variants, waiters, marker] = ["t", "s", "w", "m"].map(|what| names.of(what));
        let held = lease.granted.elapsed().as_millis().to_string();
        let (lease, token) = lease.spend();
        let keys = vec![names.value, lease.clone(), tombstone, variants, waiters, plain.value, marker];
        let selecting = if varies { write_pointer(entry.selecting().names()) } else { String::new() };
        let args: Vec<fred::types::Value> = vec![
            "fill".into(),
            token.clone().into(),
            fixed(born).into(),
            life.as_millis().to_string().into(),
            value.into(),
            self.channel.clone().into(),
            said(key).into(),
            selecting.into(),
            self.settings.lease.as_millis().to_string().into(),
            held.into(),
        ];
        let client = self.pool.next();
        let fill = self.script.evalsha_with_reload::<usize, _, _>(client, keys, args);
        match self.run(self.limit(), fill).await {
            Ok(result) => self.metrics.filled(result).inc(),
            Err(_) => self.free(client, lease, key, token, None),
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
        let (pool, subscriber) = (self.0.pool.clone(), self.0.subscriber.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = tokio::join!(pool.quit(), subscriber.quit());
            });
        }
    }
}
