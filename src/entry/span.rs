//! A span of time in four bytes, as an entry has five of them.

use std::time::Duration;

/// Up to 24 days in milliseconds, beyond that in seconds, and beyond 68 years for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span(u32);

/// Set where the rest counts seconds.
const SECONDS: u32 = 1 << 31;
const FOREVER: u32 = u32::MAX;

impl Span {
    /// The longest that is no longer, for what is granted.
    pub(super) fn at_most(span: Duration) -> Self {
        Self::milliseconds(span.as_millis()).or_else(|| Self::seconds(span.as_secs())).unwrap_or(Self(FOREVER - 1))
    }

    /// The shortest that is no shorter, for what has passed.
    pub(super) fn at_least(span: Duration) -> Self {
        let seconds = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0));
        Self::milliseconds(span.as_nanos().div_ceil(1_000_000))
            .or_else(|| Self::seconds(seconds))
            .unwrap_or(Self(FOREVER))
    }

    /// `Duration::MAX` stands for ever.
    pub(super) const fn get(self) -> Duration {
        match self.0 {
            FOREVER => Duration::MAX,
            seconds if seconds >= SECONDS => Duration::from_secs((seconds - SECONDS) as u64),
            milliseconds => Duration::from_millis(milliseconds as u64),
        }
    }

    fn milliseconds(count: u128) -> Option<Self> {
        u32::try_from(count).ok().filter(|count| *count < SECONDS).map(Self)
    }

    fn seconds(count: u64) -> Option<Self> {
        u32::try_from(count).ok().filter(|count| *count < FOREVER - SECONDS).map(|count| Self(SECONDS + count))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_counted_exactly_stays_as_it_is() {
        let (day, year) = (Duration::from_hours(24), Duration::from_hours(24 * 365));
        for span in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(1999), day, year, 60 * year] {
            assert_eq!((Span::at_most(span).get(), Span::at_least(span).get()), (span, span));
        }
    }

    proptest! {
        #[test]
        fn what_is_rounded_errs_on_the_side_of_age(secs in prop_oneof![0..4_000_000_u64, any::<u64>()], nanos in 0..1_000_000_000_u32) {
            let span = Duration::new(secs, nanos);
            let (most, least) = (Span::at_most(span).get(), Span::at_least(span).get());
            prop_assert!(most <= span && span <= least);
            let near = Duration::from_millis(if secs < 2_000_000 { 1 } else { 1000 });
            prop_assert!(secs >= 2_000_000_000 || least <= most.saturating_add(near));
        }
    }
}
