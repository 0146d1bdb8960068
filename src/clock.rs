//! The only reader of clocks.
//!
//! Lifetimes run on a monotonic clock ([`Moment`]), so that a jump of the wall
//! clock neither revives nor kills an entry. The wall clock is read once per
//! response, to interpret `Date` and `Expires`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// A point on the monotonic clock of this process, in microseconds since the clock was made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The moment `micros` microseconds after the clock was made.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock was made.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to this moment, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// This moment plus `span`; saturates far in the future.
    pub fn plus(self, span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// A source of time: the system's clocks, or those of a test that moves them by hand.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    shift: Option<Arc<Shift>>,
}

/// What a test adds to the system's clocks.
#[derive(Debug, Default)]
struct Shift {
    monotonic_micros: AtomicU64,
    wall_millis: AtomicI64,
}

impl Clock {
    /// The system's clocks.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn system() -> Self {
        Self { start: Instant::now(), shift: None }
    }

    /// The system's clocks plus a shift that [`advance`](Self::advance) and
    /// [`jump_wall`](Self::jump_wall) change, for tests.
    pub fn adjustable() -> Self {
        Self { shift: Some(Arc::default()), ..Self::system() }
    }

    /// Now, on the monotonic clock.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(&self) -> Moment {
        let elapsed = self.start.elapsed();
        let shift = self.shift.as_ref().map_or(0, |s| s.monotonic_micros.load(Ordering::SeqCst));
        Moment(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).saturating_add(shift))
    }

    /// Now, on the wall clock.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn wall(&self) -> SystemTime {
        let now = SystemTime::now();
        let Some(shift) = &self.shift else { return now };
        let millis = shift.wall_millis.load(Ordering::SeqCst);
        let span = Duration::from_millis(millis.unsigned_abs());
        if millis < 0 { now - span } else { now + span }
    }

    /// Lets `span` pass on both clocks. Does nothing on a system clock.
    pub fn advance(&self, span: Duration) {
        let Some(shift) = &self.shift else { return };
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        shift.monotonic_micros.fetch_add(micros, Ordering::SeqCst);
        self.jump_wall(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
    }

    /// Moves the wall clock alone by `millis`, as NTP or an operator would.
    pub fn jump_wall(&self, millis: i64) {
        if let Some(shift) = &self.shift {
            shift.wall_millis.fetch_add(millis, Ordering::SeqCst);
        }
    }
}
