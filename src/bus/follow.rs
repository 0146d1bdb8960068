//! Following the fleet's log: what calls for a look at it, and what a look brings.
//!
//! The stream is the only source. A message, a new connection, a heartbeat or an append of this
//! instance is a reason to look, and whatever it says is not believed: one script compares what is
//! applied here with the log and hands out what follows, in one step.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use fred::interfaces::{EventInterface, PubsubInterface};
use fred::types::Value;
use futures_util::future::FutureExt;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::number::{LAST_ERA, compose, shared, split};
use super::shared::{Shared, Unreachable, within};
use super::{EVERYTHING, Log, Record, Seq, wire};
use crate::clock::Clock;
use crate::redis::run;

/// Records that one look brings at the most.
const PAGE: u32 = 1000;
/// After a message about a number that the log does not have, messages are a reason to look only once
/// in this time: whoever forges them shall not keep this instance busy.
const CALM: Duration = Duration::from_millis(20);

/// What a look at the log brought.
struct Look {
    era: u64,
    /// The last number of the log.
    last: u64,
    /// Whether the log has what is applied here.
    sound: bool,
    /// What follows, as far as one look goes.
    records: Vec<(u64, Bytes)>,
    /// Whether the others know of this instance.
    registered: bool,
}

/// The answer to a look, as Redis gives it. What others may have written need not be text.
type Reply = (String, u64, u64, u8, u8, u64, Vec<Bytes>, Vec<Bytes>, String);

/// Why the log is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// A message says that it has come so far.
    Heard(Seq),
    /// There is a new connection, which may be to another Redis.
    Beat,
    /// Something else.
    Other,
}

impl Shared {
    /// Follows the log for ever.
    pub async fn follow(&self, log: &Log, clock: &Clock) {
        let mut messages = self.subscriber.message_rx();
        let mut reconnected = self.subscriber.reconnect_rx();
        let mut ticks = interval(self.member.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut subscribed, mut heard) = (false, false);
        // After a message that was false: until when others have to wait, and whether one does.
        let (mut calm, mut overdue) = (Instant::now(), false);
        loop {
            let reason = tokio::select! {
                message = messages.recv() => match message {
                    Ok(message) => {
                        heard = true;
                        match self.hear(message.value.as_str().as_deref().unwrap_or_default()) {
                            Some(_) if Instant::now() < calm => {
                                self.member.ignored.inc();
                                overdue = true;
                                continue;
                            }
                            Some(position) => Call::Heard(position),
                            None => continue,
                        }
                    }
                    // Some were dropped unread, and the stream has them.
                    Err(RecvError::Lagged(_)) => Call::Other,
                    Err(RecvError::Closed) => return,
                },
                () = sleep_until(calm), if overdue => Call::Other,
                () = self.bell.notified() => Call::Other,
                // A new connection knows of no subscription, and nobody knows what the old one missed.
                _ = reconnected.recv() => {
                    subscribed = self.subscribe().await;
                    Call::Beat
                }
                _ = ticks.tick() => {
                    if !subscribed {
                        subscribed = self.subscribe().await;
                    }
                    let before = log.applied();
                    self.check(log, clock, true).await;
                    if shared(log.applied()) != shared(before) && !heard && messages.is_empty() {
                        // There was something to hear: the subscription is dead, or soon known not to be.
                        self.reviver.revive([&self.subscriber]);
                    }
                    (heard, overdue) = (false, false);
                    continue;
                }
            };
            self.check(log, clock, reason == Call::Beat).await;
            overdue = false;
            if let Call::Heard(position) = reason
                && position > log.applied()
            {
                calm = Instant::now() + CALM;
            }
        }
    }

    async fn subscribe(&self) -> bool {
        let subscribed =
            within(self.member.patience, self.subscriber.subscribe(self.keys.channel.as_str()).boxed()).await;
        if let Err(error) = &subscribed {
            tracing::debug!(%error, "cannot subscribe to the invalidation log");
        }
        subscribed.is_ok()
    }

    /// How far a message says that the log has come, if that is a reason to look: there is something to
    /// apply, or somebody waits to be told that it is applied here.
    fn hear(&self, message: &str) -> Option<Seq> {
        let mut parts = message.split(' ');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (Some(era), Some(seq)) = (number(), number()) else {
            self.member.ignored.inc();
            return None;
        };
        let heard = compose(era, seq);
        (heard > self.reported.load(Ordering::Relaxed)).then_some(heard)
    }

    /// One heartbeat: says what is applied here, and catches up with what is not.
    async fn check(&self, log: &Log, clock: &Clock, with_registry: bool) {
        match self.catch_up(log, clock, with_registry).await {
            Ok(()) => {
                self.member.beats.inc();
                if self.lost.swap(false, Ordering::Relaxed) {
                    tracing::info!("in sync with the invalidation log again");
                }
            }
            Err(error) => {
                self.member.missed_beats.inc();
                if !self.lost.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "out of touch with the invalidation log: what it says is not known here");
                }
                if let Unreachable::Redis(_) = error {
                    self.reviver.revive([&self.commands, &self.subscriber]);
                }
            }
        }
        self.caught_up.notify_waiters();
        // Last: a Redis that takes no more records still has those of the others.
        if let Err(error) = self.settle(log).await {
            tracing::debug!(%error, "records that the fleet has yet to be told wait on");
        }
    }

    /// Applies what the log has, and looks once more to say so.
    async fn catch_up(&self, log: &Log, clock: &Clock, with_registry: bool) -> Result<(), Unreachable> {
        let mut reached = false;
        loop {
            let asked = clock.now();
            let answered = self.answered();
            let look = self.look(log.applied(), with_registry).await?;
            let (end, registered) = (compose(look.era, look.last), look.registered);
            let news = self.take(log, clock, look);
            let reached_before = reached;
            if log.applied() >= end {
                self.miss(&answered);
                reached = true;
            }
            if !registered {
                return Err(Unreachable::Unlisted);
            }
            if reached {
                log.synced(asked);
            }
            // Under a storm of records every look brings some: who was at the end once has said enough.
            if !news || reached_before {
                return Ok(());
            }
        }
    }

    async fn look(&self, applied: Seq, with_registry: bool) -> Result<Look, Unreachable> {
        let (era, number) = split(applied);
        let last = self.last.lock().clone();
        let line = if last.0 == shared(applied) { last.1 } else { Bytes::new() };
        let known = self.fleet.lock().roll().to_owned();
        let keys = vec![self.keys.head.as_str(), &self.keys.records, &self.keys.instances, &self.keys.seen];
        let millis = |span: Duration| Value::from(span.as_millis().to_string());
        let args: Vec<Value> = vec![
            self.keys.channel.as_str().into(),
            era.to_string().into(),
            number.to_string().into(),
            line.into(),
            self.member.id.as_str().into(),
            applied.to_string().into(),
            self.member.report().into(),
            millis(self.member.presence()),
            PAGE.to_string().into(),
            millis(self.member.silence()),
            // Never 0, which stands for an unknown log.
            (rand::random::<u64>() | 1).to_string().into(),
            u8::from(with_registry).to_string().into(),
            self.member.log_id.get().to_string().into(),
            known.as_str().into(),
        ];
        let asked = Instant::now();
        let beat = run(&self.beat, &self.commands, keys, args);
        let reply: Reply = within(self.member.patience, beat).await?;
        let (id, era, last, sound, registered, age, lines, registry, roll) = reply;
        if era > LAST_ERA {
            return Err(Unreachable::Eras { prefix: self.keys.head.clone() });
        }
        self.member.log_id.set(id.parse().unwrap_or(0));
        if with_registry {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            let registry = registry.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect();
            let mut fleet = self.fleet.lock();
            if !roll.is_empty() && roll == known {
                fleet.stay(&roll, asked);
            } else {
                fleet.meet(registry, roll, asked, Duration::from_millis(age));
            }
        }
        if sound == 1 {
            self.reported.fetch_max(applied, Ordering::Relaxed);
        }
        let records = lines.chunks_exact(2).filter_map(|record| Some((number_of(&record[0])?, record[1].clone())));
        Ok(Look { era, last, sound: sound == 1, records: records.collect(), registered: registered == 1 })
    }

    /// Applies what a look brought, and returns whether that is more than was applied. What the log no
    /// longer has counts for everything, and so does a log that does not know what is applied here.
    fn take(&self, log: &Log, clock: &Clock, look: Look) -> bool {
        let before = shared(log.applied());
        let (own_era, own_number) = split(before);
        let mut next = if look.era == own_era { own_number + 1 } else { 1 };
        let first = look.records.first().map_or(look.last + 1, |(number, _)| *number);
        if !look.sound || first > next {
            log.apply_out_of_order(compose(look.era, first - 1), &EVERYTHING, clock.now());
            next = first;
        }
        for (number, line) in look.records {
            let seq = compose(look.era, number);
            if number > next {
                log.apply_out_of_order(compose(look.era, number - 1), &EVERYTHING, clock.now());
            }
            // What is no text was written by nobody of us, and counts for everything like all of that kind.
            let text = std::str::from_utf8(&line).unwrap_or_default();
            log.apply(seq, &wire::read(text).0, clock.now());
            self.sent.lock().remove(text);
            *self.last.lock() = (seq, line);
            next = number + 1;
        }
        log.advance(compose(look.era, next - 1));
        shared(log.applied()) != before
    }

    /// What this instance knows to be in the log, and has not read there yet.
    fn answered(&self) -> Vec<String> {
        let sent = self.sent.lock();
        sent.iter().filter(|(_, seq)| **seq != Seq::MAX).map(|(line, _)| line.clone()).collect()
    }

    /// After a look that has come to the end of the log: what was in it before that look, and was not
    /// read, is lost, and to be appended again.
    fn miss(&self, answered: &[String]) {
        let mut sent = self.sent.lock();
        let lost = answered.iter().filter(|line| sent.remove(line.as_str()).is_some());
        let lost: Vec<Record> = lost.map(|line| wire::read(line).0).collect();
        drop(sent);
        if !lost.is_empty() {
            tracing::warn!(records = lost.len(), "Redis has lost invalidations, which are appended again");
            self.owe(&lost);
        }
    }
}

/// The number of a record by its id in the stream.
fn number_of(id: &[u8]) -> Option<u64> {
    std::str::from_utf8(id).ok()?.split('-').next()?.parse().ok()
}
