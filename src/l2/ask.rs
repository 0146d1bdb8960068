//! One look at Redis: what is asked, what it may say, and how the answer finds its way back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Lease;
use super::breaker::Pass;
use super::envelope::{self, Damage};
use super::names::Place;
use super::shared::{Fault, Shared};

/// Why Redis said nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Silence {
    /// It is not worth asking at the moment.
    NotAsked,
    /// It refused, or did not answer in time.
    NoAnswer,
}

/// What one look at Redis found.
#[derive(Debug)]
pub(super) enum Look {
    /// A value, and how long it lives.
    Value(Bytes, Duration),
    /// Nothing of ours: it never expires, is no value at all, or has gone since.
    Useless(Seen),
    Disbanded,
    /// Nobody has it: the lease is this look's. If who asked has left meanwhile, it frees itself.
    Leased(Lease),
    Taken,
}

/// A value that will not do.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// How it begins; nothing if it was no value.
    pub(super) head: Bytes,
    /// Milliseconds that it was said to live; -1 for ever.
    pub(super) left: i64,
}

impl Seen {
    /// A value that was said to live so long.
    pub(super) fn value(value: &Bytes, left: Duration) -> Self {
        Self { head: envelope::head(value), left: i64::try_from(left.as_millis()).unwrap_or(i64::MAX) }
    }
}

/// What has been said of one key.
#[derive(Debug)]
pub(super) struct Said {
    /// Milliseconds that its value lives, or what became of its lease (see `scripts`).
    pub(super) left: i64,
    /// The value, unless it is of no use at all.
    pub(super) value: Result<Bytes, Damage>,
}

/// What the script reads of one key: see `scripts`.
impl From<(i64, Bytes, i64)> for Said {
    fn from((left, value, unfit): (i64, Bytes, i64)) -> Self {
        let value = match unfit {
            0 => Ok(value),
            1 => Err(Damage::Foreign),
            _ => Err(Damage::TooLarge),
        };
        Self { left, value }
    }
}

/// When a look begins, and until when its answer is of use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: Instant,
    pub(super) until: Instant,
}

/// One look that somebody waits for.
pub(super) struct Ask {
    pub(super) place: Place,
    /// What was seen before and will not do; none for a first look.
    pub(super) seen: Option<Seen>,
    pub(super) span: Span,
    /// What the lease is called if it is granted.
    pub(super) token: u64,
    /// Who waits; nobody any more once it is too late.
    waiting: Option<(Pass, oneshot::Sender<Result<Look, Silence>>)>,
}

/// Where the answer arrives.
pub(super) type Answer = oneshot::Receiver<Result<Look, Silence>>;

impl Ask {
    pub(super) fn new(place: Place, seen: Option<Seen>, span: Span, pass: Pass) -> (Self, Answer) {
        let (sender, answer) = oneshot::channel();
        (Self { place, seen, span, token: 0, waiting: Some((pass, sender)) }, answer)
    }

    /// Whether nobody was told anything yet.
    pub(super) fn is_open(&self) -> bool {
        self.waiting.is_some()
    }

    /// Tells what Redis said. If that is too late the lease that it may have given is freed already.
    pub(super) fn tell(mut self, shared: &Arc<Shared>, said: Said, now: Instant) {
        let Some((pass, sender)) = self.waiting.take() else { return };
        shared.settle(pass, now.duration_since(self.span.from), None);
        // Whoever has left drops what it was sent, and a lease with it.
        let _ = sender.send(Ok(judge(shared, said, self.place, self.token)));
    }

    /// Tells that Redis said nothing; the first time only.
    pub(super) fn give_up(&mut self, shared: &Shared, fault: Fault, now: Instant) {
        let Some((pass, sender)) = self.waiting.take() else { return };
        shared.settle(pass, now.duration_since(self.span.from), Some(fault));
        let _ = sender.send(Err(Silence::NoAnswer));
    }
}

fn judge(shared: &Arc<Shared>, said: Said, place: Place, token: u64) -> Look {
    let Said { left, value } = said;
    let damaged = |damage: Damage| shared.metrics.damaged(damage as usize).inc();
    // Where it is not removed yet, it is looked at again.
    if let (..-1, Err(damage)) = (left, &value) {
        damaged(*damage);
    }
    match (left, value) {
        (-2, _) => Look::Leased(shared.lease(place, token)),
        (-3, _) => Look::Taken,
        (..-1, _) => Look::Disbanded,
        (_, Err(_)) => Look::Useless(Seen::default()),
        (_, Ok(value)) => match u64::try_from(left) {
            // It has gone since the script ran.
            _ if value.is_empty() => Look::Useless(Seen::default()),
            Ok(left) => Look::Value(value, Duration::from_millis(left)),
            Err(_) => {
                damaged(Damage::Immortal);
                Look::Useless(Seen { head: envelope::head(&value), left })
            }
        },
    }
}
