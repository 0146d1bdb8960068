//! How long a connection waits for a client to send and to read.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;
use crate::wire::alarm::Alarm;

/// No time-out is longer, so that adding one to an instant cannot overflow.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// What a client owes us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The first byte of a request.
    Request,
    /// The rest of a head.
    Head,
    /// More of a body.
    Body,
}

/// Measures how long a client has kept us waiting for bytes.
///
/// The clock is read once per wait, not per poll, and the timer is set anew only when it rings
/// too early.
pub(super) struct ReadClock {
    idle: Duration,
    head: Duration,
    body: Duration,
    waiting: Option<(Awaited, Instant)>,
    alarm: Alarm,
}

impl ReadClock {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            idle: limits.idle_timeout.min(LONGEST),
            head: limits.head_timeout.min(LONGEST),
            body: limits.body_timeout.min(LONGEST),
            waiting: None,
            alarm: Alarm::default(),
        }
    }

    /// Bytes went on: the wait is over. Bytes of an incomplete head do not count.
    pub(super) fn progress(&mut self) {
        self.waiting = None;
    }

    /// The wait for a request began at this moment: one that is known need not be read of the clock.
    pub(super) fn idle_since(&mut self, moment: Instant) {
        self.waiting = Some((Awaited::Request, moment));
    }

    /// Ready once `awaited` has been outstanding for too long.
    pub(super) fn poll_overdue(&mut self, cx: &mut Context<'_>, awaited: Awaited) -> Poll<Awaited> {
        let deadline = self.deadline(awaited);
        ready!(self.alarm.poll(cx, deadline));
        Poll::Ready(awaited)
    }

    fn deadline(&mut self, awaited: Awaited) -> Instant {
        let since = match self.waiting {
            Some((same, since)) if same == awaited => since,
            _ => Instant::now(),
        };
        self.waiting = Some((awaited, since));
        since
            + match awaited {
                Awaited::Request => self.idle,
                Awaited::Head => self.head,
                Awaited::Body => self.body,
            }
    }
}

/// Measures how long a client has refused to read.
pub(super) struct WriteClock {
    limit: Duration,
    stalled: Option<Instant>,
    alarm: Alarm,
}

impl WriteClock {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limit: limits.write_timeout.min(LONGEST), stalled: None, alarm: Alarm::default() }
    }

    /// Lets the outcome of a write through, and fails it once none has succeeded for too long.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        ready!(self.alarm.poll(cx, since + self.limit));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading its response")))
    }
}
