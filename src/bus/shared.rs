//! The log that a fleet shares in Redis: append to it, and know who has applied what.
//!
//! In this process a number is the era and the number in Redis in one: an era that is raised makes
//! every number of the era before smaller, so entries of an older era are unborn by plain comparison.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::Error;
use fred::types::scripts::Script;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::fleet::Fleet;
use super::number::{LAST, compose, split};
use super::receipts::LookedAround;
use super::wire;
use super::{EVERYTHING, Log, Record, Seq, scripts};
use crate::redis::{Connections, LogId, RedisError, Reviver, run, script};

/// Records that are remembered while the log is out of reach.
const MAX_OWED: usize = 10_000;
/// Of them, records that are appended in one step.
const OWED_AT_ONCE: usize = 100;
/// An instance that was silent for so many heartbeats is listed no longer, unless what it knew of the
/// log may still be trusted there.
const PATIENCE: u32 = 3;
/// Why the log is out of reach, or a record not in it.
#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    /// Redis did not answer, or refused.
    #[error("the invalidation log in Redis cannot be reached: {0}")]
    Redis(#[from] Error),
    /// A fault of this program.
    #[error("the task that appends to the invalidation log has panicked")]
    Panicked,
    /// It was appended, and is gone.
    #[error("Redis lost the record after it took it, as a failover or a restart does; purge again")]
    Lost,
    /// Redis has no room for the entry that tells the others of this instance.
    #[error("Redis is full: it cannot list this instance, so nobody would wait for its receipts")]
    Unlisted,
    /// No further era can be numbered.
    #[error(
        "the log has lost writes too often to count: delete {prefix} and what is beside it in Redis, and restart \
         every instance"
    )]
    Eras {
        /// The key that counts them.
        prefix: String,
    },
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
    /// Which log it is, for whoever stores what the log can make invalid.
    pub log_id: LogId,
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
    /// Until a silent instance is out of everybody's mind. For so long it may trust what it knew of the
    /// log; after that it serves nothing for longer than `max_unsynced` without asking the origin.
    pub(super) fn presence(&self) -> Duration {
        self.max_unsynced.max(self.silence())
    }

    /// A silence of all that is no accident: Redis was full or away.
    pub(super) fn silence(&self) -> Duration {
        self.heartbeat * PATIENCE
    }

    /// What this instance says of itself, besides its position.
    pub(super) fn report(&self) -> String {
        let (requests, hits) = (self.traffic)();
        format!("{} {requests} {hits}", env!("CARGO_PKG_VERSION"))
    }
}

/// A record that was appended.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Its number; of several, that of the last.
    pub seq: Seq,
    /// It, as it stands in the stream; empty without Redis.
    pub line: String,
}

/// This instance's end of the shared log.
pub struct Shared {
    pub(super) member: Membership,
    pub(super) commands: Client,
    pub(super) subscriber: Client,
    append: Script,
    pub(super) beat: Script,
    pub(super) registry: Script,
    pub(super) keys: Keys,
    /// The record that was applied last, as it stands in the stream.
    pub(super) last: Mutex<(Seq, Bytes)>,
    /// Records that were appended here and are yet to be seen in the stream, with their numbers once
    /// those are known.
    pub(super) sent: Mutex<HashMap<String, Seq>>,
    /// Records that could not be appended.
    owed: Mutex<Vec<Record>>,
    /// Whether the last comparison with the log failed.
    pub(super) lost: AtomicBool,
    /// What the others were told that is applied here.
    pub(super) reported: AtomicU64,
    pub(super) fleet: Mutex<Fleet>,
    /// The last look at the registry for receipts.
    pub(super) looked: tokio::sync::Mutex<LookedAround>,
    /// Rung when there is a reason to look at the log.
    pub(super) bell: Notify,
    /// Rung when the log was looked at.
    pub(super) caught_up: Notify,
    pub(super) reviver: Reviver,
}

pub(super) struct Keys {
    pub(super) head: String,
    pub(super) records: String,
    pub(super) instances: String,
    pub(super) seen: String,
    pub(super) channel: String,
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
            registry: script(scripts::REGISTRY),
            keys: Keys::new(&member.prefix),
            last: Mutex::default(),
            sent: Mutex::default(),
            owed: Mutex::default(),
            lost: AtomicBool::new(false),
            reported: AtomicU64::new(0),
            fleet: Mutex::default(),
            looked: tokio::sync::Mutex::default(),
            bell: Notify::new(),
            caught_up: Notify::new(),
            reviver: Reviver::default(),
            member,
        })
    }

    /// Appends records in one step; they are in the log when this returns. A few are lost again if
    /// Redis fails over: the follower of the log sees that.
    pub(super) async fn append(&self, own: Seq, records: &[Record]) -> Result<Logged, Unreachable> {
        let lines: Vec<String> = records.iter().map(|record| wire::write(record, rand::random())).collect();
        let keys = vec![self.keys.head.as_str(), &self.keys.records];
        let (era, kept) = (split(own).0.to_string(), self.member.max_records.to_string());
        let last = LAST.to_string();
        let mut args = vec![self.keys.channel.as_str(), &era, &kept, &last];
        args.extend(lines.iter().map(String::as_str));
        // Before they are sent: the follower may see them before the answer is here.
        self.expect(&lines);
        let appended = run(&self.append, &self.commands, keys, args);
        let appended: Result<(u64, u64), Error> = within(self.member.patience, appended).await;
        let mut sent = self.sent.lock();
        match appended {
            Ok((era, last)) => {
                let first = (last + 1).saturating_sub(lines.len() as u64);
                for (number, line) in (first..).zip(&lines) {
                    sent.entry(line.clone()).and_modify(|seq| *seq = compose(era, number));
                }
                Ok(Logged { seq: compose(era, last), line: lines.into_iter().next_back().unwrap_or_default() })
            }
            Err(error) => {
                sent.retain(|line, _| !lines.contains(line));
                Err(error.into())
            }
        }
    }

    /// Notes that these are to appear in the stream.
    fn expect(&self, lines: &[String]) {
        let mut sent = self.sent.lock();
        if sent.len() + lines.len() > MAX_OWED {
            // More than can be watched for one by one.
            sent.clear();
            *self.owed.lock() = vec![EVERYTHING];
        }
        sent.extend(lines.iter().map(|line| (line.clone(), Seq::MAX)));
    }

    /// Remembers records that could not be appended, until they can be.
    pub(super) fn owe(&self, records: &[Record]) {
        let mut owed = self.owed.lock();
        if owed.len() + records.len() <= MAX_OWED {
            owed.extend_from_slice(records);
        } else {
            // More than can be told one by one.
            *owed = vec![EVERYTHING];
        }
    }

    /// Appends what is owed.
    pub(super) async fn settle(&self, log: &Log) -> Result<(), Unreachable> {
        loop {
            let due: Vec<Record> = self.owed.lock().iter().take(OWED_AT_ONCE).cloned().collect();
            if due.is_empty() {
                return Ok(());
            }
            self.append(log.applied(), &due).await?;
            let mut owed = self.owed.lock();
            // Unless it has grown too long meanwhile, and was replaced.
            if owed.starts_with(&due) {
                owed.drain(..due.len());
            }
        }
    }

    /// Looks at the log soon.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// When this instance knows which log it follows, or that takes longer than `limit`. What is asked of Redis
    /// before that is filed under no log, so that an instance that starts would find nothing there.
    pub async fn introduced(&self, limit: Duration) {
        let known = async {
            loop {
                let mut looked = std::pin::pin!(self.caught_up.notified());
                looked.as_mut().enable();
                if self.member.log_id.get() != 0 {
                    return;
                }
                looked.await;
            }
        };
        // Redis is never a client's trouble: without it this instance serves by itself.
        let _ = timeout(limit, known).await;
    }

    /// Looks at the log, and returns when `seq` is applied here or that takes too long.
    pub(super) async fn reach(&self, log: &Log, seq: Seq) {
        let deadline = Instant::now() + self.member.patience;
        // The first to end may have begun before the record was there; the second has seen it, or failed.
        for _ in 0..2 {
            let mut looked = std::pin::pin!(self.caught_up.notified());
            looked.as_mut().enable();
            self.ring();
            if log.applied() >= seq || timeout_at(deadline, looked).await.is_err() {
                return;
            }
        }
    }
}

/// A command, for `limit` at the most: the library's own limit starts when the command is sent, and
/// one that waits for a connection may not be sent for long. In a box, since its futures are large.
pub(super) async fn within<T>(limit: Duration, command: BoxFuture<'_, Result<T, Error>>) -> Result<T, Error> {
    match timeout(limit, command).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(fred::error::ErrorKind::Timeout, "no answer in time")),
    }
}
