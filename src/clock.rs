//! The only reader of clocks.
//!
//! Lifetimes run on a monotonic clock ([`Moment`]), so that a jump of the wall
//! clock neither revives nor kills an entry. The wall clock is read once per
//! response, and once per request that has a date, to interpret dates.

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

    /// The moment `span` after the clock was made.
    fn of(span: Duration) -> Self {
        Self(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
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

/// A source of time: the system's clocks, or those of a test, which stand still until it moves them.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { start: Instant },
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    monotonic_micros: AtomicU64,
    /// Since 1970.
    wall_millis: AtomicI64,
}

impl Clock {
    /// The system's clocks.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn system() -> Self {
        Self(Source::System { start: Instant::now() })
    }

    /// Clocks that stand still but for [`advance`](Self::advance) and [`jump_wall`](Self::jump_wall),
    /// for tests. The wall clock starts at the present second.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn manual() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall_millis = i64::try_from(since_epoch.as_secs() * 1000).unwrap_or_default();
        Self(Source::Manual(Arc::new(Manual { monotonic_micros: 1_000_000.into(), wall_millis: wall_millis.into() })))
    }

    /// Now, on the monotonic clock.
    pub fn now(&self) -> Moment {
        match &self.0 {
            Source::System { start } => Moment::of(start.elapsed()),
            Source::Manual(manual) => Moment(manual.monotonic_micros.load(Ordering::SeqCst)),
        }
    }

    /// The moment of `now`, which has just been read of the clock that timers run by.
    pub fn at(&self, now: tokio::time::Instant) -> Moment {
        match &self.0 {
            Source::System { start } => Moment::of(now.into_std().saturating_duration_since(*start)),
            Source::Manual(_) => self.now(),
        }
    }

    /// Now, on the wall clock.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System { .. } => SystemTime::now(),
            Source::Manual(manual) => {
                let millis = manual.wall_millis.load(Ordering::SeqCst);
                SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default())
            }
        }
    }

    /// Lets `span` pass on both clocks. Does nothing on a system clock.
    pub fn advance(&self, span: Duration) {
        let Source::Manual(manual) = &self.0 else { return };
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        manual.monotonic_micros.fetch_add(micros, Ordering::SeqCst);
        self.jump_wall(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
    }

    /// Moves the wall clock alone by `millis`, as NTP or an operator would.
    pub fn jump_wall(&self, millis: i64) {
        if let Source::Manual(manual) = &self.0 {
            manual.wall_millis.fetch_add(millis, Ordering::SeqCst);
        }
    }
}
