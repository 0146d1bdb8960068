//! The log that a fleet shares in Redis: append, follow, catch up.
//!
//! Pub/sub is the fast path and may lose anything; the stream is the memory; the heartbeat compares
//! the two. In this process a number is the era and the number in Redis in one: an era that is
//! raised makes every number of the era before smaller, so entries of an older era are unborn by
//! plain comparison.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, EventInterface, HashesInterface, PubsubInterface, StreamsInterface};
use fred::types::scripts::Script;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::fleet::{Fleet, Instance, LEFT};
use super::number::{LAST, compose, next, shared, split};
use super::wire;
use super::{Log, Pattern, Record, Seq, scripts};
use crate::clock::{Clock, Moment};
use crate::redis::{Connections, RedisError, Reviver, script};

/// Records that one catch-up reads at a time.
const PAGE: u64 = 1000;
/// Records that are remembered while the log is out of reach.
const MAX_OWED: usize = 10_000;
/// Of them, records that are appended in one step.
const OWED_AT_ONCE: usize = 100;
/// An instance that was silent for so many heartbeats is listed no longer, unless it may still serve
/// what was purged.
const PATIENCE: u32 = 3;

/// After a message about a number that the log does not have, messages are no reason to look at it
/// for this long: whoever forges them shall not keep this instance busy. Heartbeats go on.
const CALM: Duration = Duration::from_millis(20);
/// Why a record could not be appended.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// Redis did not answer, or refused.
    #[error("the invalidation log in Redis cannot be reached: {0}")]
    Redis(#[from] Error),
    /// A fault of this program.
    #[error("the task that appends to the invalidation log has panicked")]
    Panicked,
}

/// How an instance takes part.
#[derive(Clone)]
pub struct Membership {
    /// The name of this instance, no other's.
    pub id: String,
    /// What every key and channel begins with.
    pub prefix: String,
    /// Records that are kept.
    pub max_records: usize,
    /// How long a command may take. No client waits for it.
    pub patience: Duration,
    /// How often it compares itself with the log.
    pub heartbeat: Duration,
    /// How long it may serve what was purged if it cannot compare itself with the log.
    pub max_unsynced: Duration,
    /// Requests answered so far, and those of them from memory.
    pub traffic: Arc<dyn Fn() -> (u64, u64) + Send + Sync>,
    /// Counts the comparisons that succeeded.
    pub beats: IntCounter,
    /// Counts those that Redis did not answer.
    pub missed_beats: IntCounter,
    /// Counts messages that say nothing of the log.
    pub ignored: IntCounter,
}

impl Membership {
    /// Until a silent instance is out of everybody's mind: for as long as it may serve what was purged.
    fn presence(&self) -> Duration {
        self.max_unsynced.max(self.heartbeat * PATIENCE)
    }

    /// What this instance says of itself.
    fn report(&self, applied: Seq) -> String {
        let (requests, hits) = (self.traffic)();
        format!("{applied} {} {requests} {hits}", env!("CARGO_PKG_VERSION"))
    }
}

/// This instance's end of the shared log.
pub struct Shared {
    member: Membership,
    commands: Client,
    subscriber: Client,
    append: Script,
    beat: Script,
    keys: Keys,
    /// The record that was applied last, as it stands in the stream.
    last: Mutex<(Seq, String)>,
    /// Records that could not be appended.
    owed: Mutex<Vec<Record>>,
    /// When a message last spoke of a number that the log did not have.
    misled: Mutex<Option<Instant>>,
    /// Whether the last comparison with the log failed.
    lost: AtomicBool,
    /// What the others were told that is applied here.
    reported: AtomicU64,
    fleet: Mutex<Fleet>,
    reviver: Reviver,
}

struct Keys {
    head: String,
    records: String,
    instances: String,
    seen: String,
    channel: String,
}

impl Keys {
    fn new(prefix: &str) -> Self {
        let key = |name: &str| format!("{prefix}{{log}}:{name}");
        Self {
            head: key("head"),
            records: key("records"),
            instances: key("instances"),
            seen: key("seen"),
            channel: key("channel"),
        }
    }
}

impl Shared {
    /// Begins to connect, and waits for nothing.
    pub fn new(connections: &Connections, member: Membership) -> Result<Self, RedisError> {
        Ok(Self {
            commands: connections.single(member.patience)?,
            // A subscription shares no connection: an error reply to it would shift all that follow.
            subscriber: connections.single(member.patience)?,
            append: script(scripts::APPEND),
            beat: script(scripts::BEAT),
            keys: Keys::new(&member.prefix),
            last: Mutex::default(),
            owed: Mutex::default(),
            misled: Mutex::default(),
            lost: AtomicBool::new(false),
            reported: AtomicU64::new(0),
            fleet: Mutex::default(),
            reviver: Reviver::default(),
            member,
        })
    }

    /// Appends records in one step; they are in the log when this returns, with these numbers.
    pub(super) async fn append(&self, own: Seq, records: &[Record]) -> Result<Vec<(Seq, String)>, Unreachable> {
        let lines: Vec<String> = records.iter().map(|record| wire::write(record, rand::random())).collect();
        let keys = vec![self.keys.head.as_str(), &self.keys.records];
        let (era, kept) = (split(own).0.to_string(), self.member.max_records.to_string());
        let last = LAST.to_string();
        let mut args = vec![self.keys.channel.as_str(), &era, &kept, &last];
        args.extend(lines.iter().map(String::as_str));
        let appended = self.append.evalsha_with_reload(&self.commands, keys, args);
        let (era, last): (u64, u64) = within(self.member.patience, appended).await?;
        let first = (last + 1).saturating_sub(lines.len() as u64);
        Ok((first..).map(|seq| compose(era, seq)).zip(lines).collect())
    }

    /// Remembers records that could not be appended, until they can be.
    pub(super) fn owe(&self, records: &[Record]) {
        let mut owed = self.owed.lock();
        if owed.len() + records.len() <= MAX_OWED {
            owed.extend_from_slice(records);
        } else {
            // More than can be told one by one.
            *owed = vec![Record { pattern: Pattern::All, soft: false }];
        }
    }

    /// Appends what is owed.
    async fn settle(&self, log: &Log, clock: &Clock) -> Result<(), Unreachable> {
        loop {
            let due: Vec<Record> = self.owed.lock().iter().take(OWED_AT_ONCE).cloned().collect();
            if due.is_empty() {
                return Ok(());
            }
            for ((seq, _), record) in self.append(log.applied(), &due).await?.iter().zip(&due) {
                log.apply_out_of_order(*seq, record, clock.now());
            }
            let mut owed = self.owed.lock();
            // Unless it has grown too long meanwhile, and was replaced.
            if owed.starts_with(&due) {
                owed.drain(..due.len());
            }
        }
    }

    /// Follows the log for ever.
    pub async fn follow(&self, log: &Log, clock: &Clock) {
        let mut messages = self.subscriber.message_rx();
        let mut reconnected = self.subscriber.reconnect_rx();
        let mut ticks = interval(self.member.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut subscribed, mut heard) = (false, false);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    Ok(message) => {
                        heard = true;
                        self.hear(log, clock, message.value.as_str().as_deref().unwrap_or_default()).await;
                    }
                    // Some were dropped unread, and the stream has them.
                    Err(RecvError::Lagged(_)) => self.check(log, clock).await,
                    Err(RecvError::Closed) => return,
                },
                // A new connection knows of no subscription, and nobody knows what the old one missed.
                _ = reconnected.recv() => {
                    subscribed = self.subscribe().await;
                    self.check(log, clock).await;
                }
                _ = ticks.tick() => {
                    if !subscribed {
                        subscribed = self.subscribe().await;
                    }
                    let before = log.applied();
                    self.check(log, clock).await;
                    if log.applied() != before && !heard {
                        // There was something to hear: the subscription is dead, or soon known not to be.
                        self.reviver.revive([&self.subscriber]);
                    }
                    heard = false;
                }
            }
        }
    }

    async fn subscribe(&self) -> bool {
        let subscribed = within(self.member.patience, self.subscriber.subscribe(self.keys.channel.as_str())).await;
        if let Err(error) = &subscribed {
            tracing::debug!(%error, "cannot subscribe to the invalidation log");
        }
        subscribed.is_ok()
    }

    /// Takes a message: the next record, or a reason to look at the log.
    async fn hear(&self, log: &Log, clock: &Clock, message: &str) {
        let mut parts = message.splitn(3, ' ');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (Some(era), Some(seq)) = (number(), number()) else { return self.member.ignored.inc() };
        let heard = compose(era, seq);
        if heard == next(log.applied())
            && let Some(line) = parts.next()
        {
            self.apply(log, heard, line, clock.now());
        }
        // What is missing is in the stream, and what was applied is waited for by whoever purged.
        if heard > self.reported.load(Ordering::Relaxed) {
            if self.misled.lock().is_some_and(|since| since.elapsed() < CALM) {
                return self.member.ignored.inc();
            }
            self.check(log, clock).await;
            let misled = heard > log.applied();
            *self.misled.lock() = misled.then(Instant::now);
        }
    }

    pub(super) fn apply(&self, log: &Log, seq: Seq, line: &str, now: Moment) {
        let (record, _) = wire::read(line);
        log.apply(seq, &record, now);
        *self.last.lock() = (seq, line.to_owned());
    }

    /// One heartbeat: says what is applied here, and catches up with what is not.
    async fn check(&self, log: &Log, clock: &Clock) {
        let asked = clock.now();
        match self.catch_up(log, clock).await {
            Ok(()) => {
                self.member.beats.inc();
                log.synced(asked);
                if self.lost.swap(false, Ordering::Relaxed) {
                    tracing::info!("in sync with the invalidation log again");
                }
            }
            Err(error) => {
                self.member.missed_beats.inc();
                if !self.lost.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "out of touch with the invalidation log: what it says is not known here");
                }
                self.reviver.revive([&self.commands, &self.subscriber]);
            }
        }
    }

    async fn catch_up(&self, log: &Log, clock: &Clock) -> Result<(), Unreachable> {
        self.settle(log, clock).await?;
        let applied = log.applied();
        let (era, seq) = self.beat(applied).await?;
        let target = compose(era, seq);
        if target <= applied {
            return Ok(());
        }
        let (own_era, own_seq) = split(applied);
        let known = if era == own_era { own_seq } else { 0 };
        self.replay(log, clock, era, known, seq).await?;
        // What was caught up with is what the receipt is about.
        self.beat(log.applied()).await.map(drop)
    }

    async fn beat(&self, applied: Seq) -> Result<(u64, u64), Unreachable> {
        let (era, seq) = split(applied);
        let last = self.last.lock().clone();
        let line = if last.0 == shared(applied) { last.1 } else { String::new() };
        let keys = vec![self.keys.head.as_str(), &self.keys.records, &self.keys.instances, &self.keys.seen];
        let (presence, report) = (self.member.presence().as_millis().to_string(), self.member.report(applied));
        let (era, seq) = (era.to_string(), seq.to_string());
        let args = vec![self.keys.channel.as_str(), &era, &seq, &line, &self.member.id, &report, &presence];
        let sign = self.beat.evalsha_with_reload(&self.commands, keys, args);
        let (era, seq, instances): (u64, u64, HashMap<String, String>) = within(self.member.patience, sign).await?;
        self.reported.fetch_max(applied, Ordering::Relaxed);
        self.fleet.lock().meet(instances);
        Ok((era, seq))
    }

    /// Applies what the stream has after `known`, up to `target`. What it no longer has counts for
    /// everything, and so does a change of era.
    async fn replay(&self, log: &Log, clock: &Clock, era: u64, known: u64, target: u64) -> Result<(), Unreachable> {
        let everything = Record { pattern: Pattern::All, soft: false };
        if era != split(log.applied()).0 {
            log.apply_out_of_order(compose(era, 0), &everything, clock.now());
        }
        let mut next = known + 1;
        while next <= target {
            let from = format!("{next}-0");
            let page = self.commands.xrange_values(&self.keys.records, from, "+", Some(PAGE));
            let page: Vec<(String, HashMap<String, String>)> = within(self.member.patience, page).await?;
            let records = page.into_iter().filter_map(|(id, mut fields)| {
                let seq: u64 = id.split('-').next()?.parse().ok()?;
                Some((seq, fields.remove("r")?))
            });
            let before = next;
            for (seq, line) in records {
                if seq > next {
                    // Trimmed: nothing born before can be trusted.
                    log.apply_out_of_order(compose(era, seq - 1), &everything, clock.now());
                }
                self.apply(log, compose(era, seq), &line, clock.now());
                next = seq + 1;
            }
            if next == before {
                log.apply_out_of_order(compose(era, target), &everything, clock.now());
                log.advance(compose(era, target));
                return Ok(());
            }
        }
        log.advance(compose(era, target));
        Ok(())
    }

    /// The instances by their ids: those that live, and those that were silent for so short a time that
    /// they may still serve what was purged.
    pub async fn instances(&self) -> Result<Vec<(String, Instance)>, Unreachable> {
        let all = self.commands.hgetall(self.keys.instances.as_str());
        let instances = within(self.member.patience, all).await?;
        let mut fleet = self.fleet.lock();
        fleet.meet(instances);
        Ok(fleet.present(self.member.presence()))
    }

    /// When everybody has applied `seq`, or `deadline` has passed: who has, and who has not.
    pub async fn receipts(&self, seq: Seq, deadline: Instant) -> Result<Vec<(String, Instance)>, Unreachable> {
        const LOOK: Duration = Duration::from_millis(2);
        loop {
            let instances = self.instances().await?;
            if instances.iter().all(|(_, instance)| instance.applied >= seq) || Instant::now() >= deadline {
                return Ok(instances);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The name of this instance.
    pub fn id(&self) -> &str {
        &self.member.id
    }

    /// Leaves the fleet, so that nobody waits for this instance's receipts, and ends the connections.
    pub async fn close(&self) {
        let left = [(self.member.id.as_str(), format!("0 {}", self.member.report(LEFT)))];
        let _ = within(self.member.patience, self.commands.hset::<(), _, _>(self.keys.instances.as_str(), left)).await;
        let _ = self.commands.quit().await;
        let _ = self.subscriber.quit().await;
    }
}

/// A command, for `limit` at the most: the library's own limit starts when the command is sent, and
/// one that waits for a connection may not be sent for long.
async fn within<T>(limit: Duration, command: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match timeout(limit, command).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(fred::error::ErrorKind::Timeout, "no answer in time")),
    }
}
