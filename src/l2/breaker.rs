//! Whether Redis is worth asking: closed, open, half-open.
//!
//! A tier that is slow is worse than one that is gone, because every miss waits for it. After a run
//! of failures nobody asks any more; after a pause one request probes, and a run of successful
//! probes closes the breaker again, so that a Redis that comes and goes does not flap.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Moment};

/// When the breaker opens and closes.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Successful probes in a row that close it.
    pub successes: u32,
    /// Pause before each probe.
    pub pause: Duration,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Redis answered.
    Answered,
    /// It did not, or refused.
    Failed,
}

/// A breaker that was closed and is open, or the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// Nobody asks any more.
    Open,
    /// Everybody asks again.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { probe_at: Moment, successes: u32 },
    HalfOpen { successes: u32 },
}

/// The breaker.
#[derive(Debug)]
pub struct Breaker {
    thresholds: Thresholds,
    clock: Clock,
    state: Mutex<State>,
}

/// Leave to send one command. What became of it is told with [`Pass::settle`]; a pass that is
/// dropped instead counts as a failure, so that an abandoned probe does not block the next.
#[must_use]
#[derive(Debug)]
pub struct Pass {
    breaker: Arc<Breaker>,
    settled: bool,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(thresholds: Thresholds, clock: Clock) -> Self {
        Self { thresholds, clock, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Leave to send a command; none while Redis is not worth asking.
    pub fn pass(self: &Arc<Self>) -> Option<Pass> {
        let mut state = self.state.lock();
        match *state {
            State::Closed { .. } => {}
            State::Open { probe_at, successes } if self.clock.now() >= probe_at => {
                *state = State::HalfOpen { successes }
            }
            State::Open { .. } | State::HalfOpen { .. } => return None,
        }
        drop(state);
        Some(Pass { breaker: Arc::clone(self), settled: false })
    }

    /// Whether commands flow freely.
    pub fn is_closed(&self) -> bool {
        matches!(*self.state.lock(), State::Closed { .. })
    }

    fn settle(&self, verdict: Verdict) -> Option<Turned> {
        // The clock is read where it matters, which is not on the way of a Redis that answers.
        let now = || self.clock.now();
        let mut state = self.state.lock();
        let limits = self.thresholds;
        let before = *state;
        *state = match (*state, verdict) {
            (State::Closed { .. }, Verdict::Answered) => State::Closed { failures: 0 },
            (State::Closed { failures }, Verdict::Failed) if failures + 1 < limits.failures => {
                State::Closed { failures: failures + 1 }
            }
            (State::HalfOpen { successes }, Verdict::Answered) if successes + 1 >= limits.successes => {
                State::Closed { failures: 0 }
            }
            (State::HalfOpen { successes }, Verdict::Answered) => {
                State::Open { probe_at: now(), successes: successes + 1 }
            }
            (State::Closed { .. } | State::HalfOpen { .. }, Verdict::Failed) => {
                State::Open { probe_at: now().plus(limits.pause), successes: 0 }
            }
            // A command that was on its way when the breaker opened: the probes decide.
            (open @ State::Open { .. }, _) => open,
        };
        match (before, *state) {
            (State::Closed { .. }, State::Open { .. }) => Some(Turned::Open),
            (State::HalfOpen { .. }, State::Closed { .. }) => Some(Turned::Closed),
            _ => None,
        }
    }
}

impl Pass {
    /// Tells what became of the command; returns what that did to the breaker.
    pub fn settle(mut self, verdict: Verdict) -> Option<Turned> {
        self.settled = true;
        self.breaker.settle(verdict)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.settled {
            self.breaker.settle(Verdict::Failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    fn breaker() -> (Arc<Breaker>, Clock) {
        let clock = Clock::manual();
        let thresholds = Thresholds { failures: 3, successes: 2, pause: PAUSE };
        (Arc::new(Breaker::new(thresholds, clock.clone())), clock)
    }

    fn tell(breaker: &Arc<Breaker>, verdict: Verdict) -> Option<Turned> {
        breaker.pass().expect("a pass").settle(verdict)
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_not_before() {
        let (breaker, clock) = breaker();
        for verdict in [Verdict::Failed, Verdict::Failed, Verdict::Answered, Verdict::Failed, Verdict::Failed] {
            assert_eq!(tell(&breaker, verdict), None);
        }
        assert!(breaker.is_closed());
        assert_eq!(tell(&breaker, Verdict::Failed), Some(Turned::Open));
        clock.advance(millis(999));
        assert!(breaker.pass().is_none());
    }

    #[test]
    fn one_probe_at_a_time_and_several_in_a_row_close_it() {
        let (breaker, clock) = breaker();
        let turned = [0; 3].map(|_| tell(&breaker, Verdict::Failed));
        assert_eq!(turned, [None, None, Some(Turned::Open)]);
        clock.advance(PAUSE);
        let probe = breaker.pass().unwrap();
        assert!(breaker.pass().is_none(), "a second probe");
        assert_eq!(probe.settle(Verdict::Answered), None);
        assert!(!breaker.is_closed());
        assert_eq!(tell(&breaker, Verdict::Answered), Some(Turned::Closed));
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_failed_or_abandoned_probe_starts_the_pause_again() {
        let (breaker, clock) = breaker();
        let turned = [0; 3].map(|_| tell(&breaker, Verdict::Failed));
        assert_eq!(turned, [None, None, Some(Turned::Open)]);
        for abandoned in [false, true] {
            clock.advance(millis(999));
            assert!(breaker.pass().is_none());
            clock.advance(millis(1));
            let probe = breaker.pass().unwrap();
            if abandoned {
                drop(probe);
            } else {
                assert_eq!(probe.settle(Verdict::Failed), None);
            }
        }
        clock.advance(millis(999));
        assert!(breaker.pass().is_none());
        clock.advance(millis(1));
        assert!(breaker.pass().is_some());
    }
}
