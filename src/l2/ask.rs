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
    /// A value that nobody of us wrote: it never expires.
    Immortal(Bytes),
    /// Something of another type than a value, or larger than any.
    Unfit,
    Disbanded,
    /// Nobody has it: the lease is this look's. If who asked has left meanwhile, it frees itself.
    Leased(Lease),
    Taken,
}

/// What has been said of one key: its time to live or why there is none (see `scripts`), and the value, unless it is of
/// another type.
pub(super) type Said<Value = Bytes> = (i64, Option<Value>);

/// Which value a look has no use for, as it tells Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Useless(Bytes);

impl Useless {
    /// None.
    pub(super) const NOTHING: Self = Self(Bytes::new());
    /// One of another type, or that is too large.
    pub(super) const UNFIT: Self = Self(Bytes::from_static(b"!"));

    /// One that begins like this.
    pub(super) fn like(value: &[u8]) -> Self {
        Self([b"=", envelope::head(value)].concat().into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
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
    pub(super) useless: Useless,
    pub(super) span: Span,
    /// What the lease is called if it is granted.
    pub(super) token: u64,
    /// Who waits; nobody any more once it is too late.
    waiting: Option<(Pass, oneshot::Sender<Result<Look, Silence>>)>,
}

/// Where the answer arrives.
pub(super) type Answer = oneshot::Receiver<Result<Look, Silence>>;

impl Ask {
    pub(super) fn new(place: Place, useless: Useless, span: Span, pass: Pass) -> (Self, Answer) {
        let (sender, answer) = oneshot::channel();
        (Self { place, useless, span, token: 0, waiting: Some((pass, sender)) }, answer)
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

fn judge(shared: &Arc<Shared>, (left, value): Said, place: Place, token: u64) -> Look {
    let value = match (left, value) {
        (-2, _) => return Look::Leased(shared.lease(place, token)),
        (-3, _) => return Look::Taken,
        (..-1, _) => return Look::Disbanded,
        (-1.., value) => value.ok_or(Damage::Foreign),
    };
    let damage = match (value, u64::try_from(left)) {
        (Ok(value), _) if value.len() > shared.longest() => Damage::TooLarge,
        (Ok(value), Ok(left)) => return Look::Value(value, Duration::from_millis(left)),
        (Ok(value), Err(_)) => {
            shared.metrics.damaged(Damage::Immortal as usize).inc();
            return Look::Immortal(value);
        }
        (Err(damage), _) => damage,
    };
    shared.metrics.damaged(damage as usize).inc();
    Look::Unfit
}
