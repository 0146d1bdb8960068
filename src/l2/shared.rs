//! What everything shares that asks Redis for stored responses: connections, the breaker, who waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::{Client, Pool};
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::scripts::Script;
use fred::types::{FromValue, Value};
use futures_util::future::join_all;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout, timeout_at};

use super::ask::{Ask, Look, Said, Seen, Silence, Span};
use super::breaker::{Breaker, Pass, Thresholds, Turned, Verdict};
use super::lanes::Lanes;
use super::names::{Place, push_hex};
use super::redis::Settings;
use super::wake::Waiters;
use super::{Lease, scripts};
use crate::clock::Clock;
use crate::redis::{self, Connections, Direct, RedisError, Reviver, script};
use crate::telemetry::metrics::L2Metrics;

/// How often it is looked whether the nodes of a cluster are known.
const GLANCE: Duration = Duration::from_millis(5);
/// How long a waiter trusts that it will be woken.
pub(super) const DOUBT: Duration = Duration::from_millis(250);
/// Commands that may fail in a row, probes that must succeed, and the pause before one.
const THRESHOLDS: Thresholds = Thresholds { failures: 5, successes: 2, pause: Duration::from_millis(500) };

pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) lanes: Lanes,
    pool: Pool,
    /// How look-ups reach Redis by themselves, where they can.
    pub(super) direct: Option<Direct>,
    pub(super) clock: Clock,
    pub(super) waiters: Waiters,
    pub(super) metrics: L2Metrics,
    pub(super) script: Script,
    pub(super) channel: String,
    subscriber: Client,
    breaker: Arc<Breaker>,
    reviver: Reviver,
    /// The next name of a lease. Counted from a random number, so that no two instances share one.
    tokens: AtomicU64,
}

/// Why a command was of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// There was no answer in time.
    Late,
    /// Redis refused it, or can not be reached.
    Refused,
}

impl Shared {
    pub(super) fn new(
        connections: &Connections,
        direct: Option<Direct>,
        settings: Settings,
        clock: Clock,
        metrics: L2Metrics,
    ) -> Result<Arc<Self>, RedisError> {
        metrics.up.set(1);
        let shared = Arc::new(Self {
            lanes: Lanes::default(),
            pool: connections.pool(settings.connections)?,
            direct,
            subscriber: connections.single(settings.timeout)?,
            breaker: Arc::new(Breaker::new(THRESHOLDS, clock.clone())),
            reviver: Reviver::default(),
            waiters: Waiters::default(),
            script: script(scripts::all()),
            channel: format!("{}wake", settings.prefix),
            tokens: AtomicU64::new(rand::random()),
            settings,
            clock,
            metrics,
        });
        tokio::spawn(Arc::clone(&shared).listen());
        Ok(shared)
    }

    /// Hears of leases that ended elsewhere.
    async fn listen(self: Arc<Self>) {
        let mut messages = self.subscriber.message_rx();
        let mut reconnected = self.subscriber.reconnect_rx();
        let mut subscribed = false;
        loop {
            if !subscribed {
                // Without it waiters look again from time to time.
                let subscribe = self.subscriber.subscribe(self.channel.as_str());
                subscribed = matches!(timeout(DOUBT, subscribe).await, Ok(Ok(())));
                self.waiters.wake_all();
            }
            tokio::select! {
                () = tokio::time::sleep(DOUBT), if !subscribed => {}
                message = messages.recv() => match message {
                    Ok(message) => self.waiters.wake(message.value.as_str().as_deref().unwrap_or_default()),
                    Err(RecvError::Lagged(_)) => self.waiters.wake_all(),
                    Err(RecvError::Closed) => return,
                },
                _ = reconnected.recv() => subscribed = false,
            }
        }
    }

    /// Ends all connections.
    pub(super) fn close(&self) {
        self.lanes.close();
        let (pool, subscriber) = (self.pool.clone(), self.subscriber.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = join_all(pool.clients().iter().chain([&subscriber]).map(Client::quit)).await;
            });
        }
    }

    /// One of the library's connections: ask once for all commands that are to be carried out in their order.
    pub(super) fn library(&self) -> &Client {
        self.pool.next()
    }

    /// A name for the leases of one command.
    pub(super) fn token(&self) -> u64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }

    /// The longest value that is read: no body of the size that is allowed makes one as long.
    pub(super) fn longest(&self) -> usize {
        self.settings.packing.max_body.saturating_mul(2).saturating_add(1 << 20)
    }

    /// Notes what became of a command that took so long.
    pub(super) fn settle(&self, pass: Pass, took: Duration, fault: Option<Fault>) {
        self.metrics.latency.observe(took.as_secs_f64());
        let turned = pass.settle(if fault.is_none() { Verdict::Answered } else { Verdict::Failed });
        match turned {
            Some(Turned::Open) => tracing::warn!("Redis does not answer: serving without it"),
            Some(Turned::Closed) => tracing::info!("Redis is in use again"),
            None => {}
        }
        if turned.is_some() || fault.is_some() {
            self.metrics.up.set(i64::from(self.breaker.is_closed()));
        }
        if let Some(fault) = fault {
            self.metrics.faults.inc();
            if fault == Fault::Late && !self.breaker.is_closed() {
                self.reviver.revive(self.pool.clients().iter().chain([&self.subscriber]));
            }
        }
    }

    /// Leave to send a command, if Redis is worth asking.
    fn pass(&self) -> Result<Pass, Silence> {
        self.breaker.pass().ok_or(Silence::NotAsked)
    }

    /// Runs the script by a connection of the library's, if Redis is worth asking.
    pub(super) async fn run<T: FromValue + Send>(
        &self,
        client: &Client,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<T, Silence> {
        let pass = self.pass()?;
        let began = Instant::now();
        let limit = began + self.settings.timeout;
        let done = within(limit, run_script(&self.script, client, keys, args)).await;
        self.settle(pass, began.elapsed(), done.as_ref().err().copied());
        done.map_err(|_| Silence::NoAnswer)
    }

    /// Looks at one place, between these moments, and asks for its lease if nothing will do there. If the caller leaves meanwhile, the
    /// lease is freed as soon as Redis has given it.
    pub(super) async fn look(self: &Arc<Self>, place: Place, seen: Option<Seen>, span: Span) -> Result<Look, Silence> {
        let (mut ask, answer) = Ask::new(place, seen, span, self.pass()?);
        match self.line() {
            Some(line) => line.send(ask),
            None => {
                ask.token = self.token();
                self.begin_look_through(ask);
            }
        }
        answer.await.unwrap_or(Err(Silence::NoAnswer))
    }

    /// Apart, so that its future takes no room on the stack of a look-up that goes by a line.
    #[inline(never)]
    fn begin_look_through(self: &Arc<Self>, ask: Ask) {
        tokio::spawn(Arc::clone(self).look_through(ask));
    }

    /// Looks by a connection of the library's.
    async fn look_through(self: Arc<Self>, mut ask: Ask) {
        let client = self.library();
        let seen = ask.seen.clone().unwrap_or_default();
        let args: Vec<Value> = vec![
            hex(ask.token).into(),
            self.settings.lease.as_millis().to_string().into(),
            self.longest().to_string().into(),
            seen.head.into(),
            seen.left.to_string().into(),
            "read".into(),
        ];
        let keys = vec![ask.place.value(&self.settings.prefix)];
        match within(ask.span.until, run_script::<(i64, Bytes, i64)>(&self.script, client, keys, args)).await {
            Ok(read) => ask.tell(&self, Said::from(read), Instant::now()),
            Err(fault) => {
                ask.give_up(&self, fault, Instant::now());
                // Redis may take it at its word after this, and give a lease to nobody.
                self.free(client, ask.place, hex(ask.token), None);
            }
        }
    }

    /// A lease that frees itself.
    pub(super) fn lease(self: &Arc<Self>, place: Place, token: u64) -> Lease {
        let shared = Arc::clone(self);
        Lease::new(hex(token), place, move |token, alone| {
            shared.free(shared.library(), place, token, alone);
        })
    }

    /// Frees a lease, in a task of its own and whatever the breaker says. After `alone` others may wait
    /// for one another again. A lease that was not taken, or has ended, is nobody's loss.
    pub(super) fn free(&self, client: &Client, place: Place, token: String, alone: Option<Duration>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (script, client, patience) = (self.script.clone(), client.clone(), self.settings.lease);
        let (keys, args) = self.release(place, token, alone);
        let (keys, args) = (keys.to_vec(), args.map(Value::from).to_vec());
        runtime.spawn(async move { timeout(patience, run_script::<i64>(&script, &client, keys, args)).await });
    }

    /// Keys and arguments of the command that frees a lease.
    pub(super) fn release(&self, place: Place, token: String, alone: Option<Duration>) -> ([String; 3], [String; 5]) {
        let prefix = &self.settings.prefix;
        let span = alone.map_or(0, |span| span.as_millis()).to_string();
        (
            [place.lease(prefix), place.shared(prefix, ":m"), place.shared(prefix, ":w")],
            [token, span, self.channel.clone(), place.said(), "release".to_owned()],
        )
    }
}

/// Runs the script. What is sent while it connects the library keeps until it has connected, unless it is for a cluster,
/// whose nodes it does not know before that; and whoever subscribes to its news of connections may miss them.
async fn run_script<T: FromValue + Send>(
    script: &Script,
    client: &Client,
    keys: Vec<String>,
    args: Vec<Value>,
) -> Result<T, Error> {
    while client.is_clustered() && !client.is_connected() {
        tokio::time::sleep(GLANCE).await;
    }
    redis::run(script, client, keys, args).await
}

/// What a command of the library's says until `limit`.
async fn within<T>(limit: Instant, command: impl Future<Output = Result<T, Error>>) -> Result<T, Fault> {
    let done = match timeout_at(limit, command).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(ErrorKind::Timeout, "no answer in time")),
    };
    done.map_err(|error| {
        tracing::debug!(%error, "Redis");
        if *error.kind() == ErrorKind::Timeout { Fault::Late } else { Fault::Refused }
    })
}

/// How a lease's name is written.
pub(super) fn hex(token: u64) -> String {
    let mut text = String::with_capacity(16);
    push_hex(&mut text, token.to_be_bytes());
    text
}
