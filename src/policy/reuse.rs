//! What a stored response may be used for now (RFC 9111 section 4, RFC 5861).

use std::time::Duration;

use super::freshness::Lifetimes;
use super::request::Demand;

/// What a stored response may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// Serve it.
    Fresh,
    /// Serve it and refresh it in the background.
    StaleWhileRevalidate,
    /// Serve it: the client accepts stale responses.
    StaleAccepted,
    /// Ask the origin; it may stand in if that fails.
    StaleIfError,
    /// Ask the origin; all it is good for is to be validated.
    Expired,
}

/// Judges a response of this `age`. A soft purge made it stale at the age `stale_from`.
pub fn reuse(lifetimes: &Lifetimes, age: Duration, stale_from: Option<Duration>, demand: &Demand) -> Reuse {
    let fresh_for = fresh_for(lifetimes, stale_from);
    let acceptable = !must_validate(lifetimes, age, demand);
    // Section 4.2: response_is_fresh = (freshness_lifetime > current_age)
    let fresh_left = fresh_for.saturating_sub(age);
    if acceptable && !fresh_left.is_zero() && fresh_left >= demand.min_fresh.unwrap_or_default() {
        return Reuse::Fresh;
    }
    // Section 4.2.4: no stale response where a directive forbids it.
    if lifetimes.must_revalidate || lifetimes.always_revalidate {
        return Reuse::Expired;
    }
    let stale_for = age.saturating_sub(fresh_for);
    if acceptable && age >= fresh_for && demand.min_fresh.is_none() {
        if demand.max_stale.is_some_and(|limit| stale_for <= limit) {
            return Reuse::StaleAccepted;
        }
        // RFC 5861 section 3. A client that limits age or staleness has said what it takes: with
        // max-age nothing stale (section 5.2.1.1), with max-stale nothing staler (5.2.1.2).
        let limited = demand.max_age.is_some() || demand.max_stale.is_some();
        if stale_for < lifetimes.stale_while_revalidate && !limited {
            return Reuse::StaleWhileRevalidate;
        }
    }
    if stale_for < lifetimes.stale_if_error { Reuse::StaleIfError } else { Reuse::Expired }
}

/// Whether it may stand in for a failed origin (RFC 5861 section 4).
pub fn usable_on_error(lifetimes: &Lifetimes, age: Duration, stale_from: Option<Duration>, demand: &Demand) -> bool {
    let usable = reuse(lifetimes, age, stale_from, demand) != Reuse::Expired;
    usable && !lifetimes.must_revalidate && !lifetimes.always_revalidate
}

/// The age from which it is stale.
fn fresh_for(lifetimes: &Lifetimes, stale_from: Option<Duration>) -> Duration {
    stale_from.map_or(lifetimes.fresh_for, |soft| soft.min(lifetimes.fresh_for))
}

/// Whether the origin (section 5.2.2.4) or the client (5.2.1.1, 5.2.1.4) wants it validated.
fn must_validate(lifetimes: &Lifetimes, age: Duration, demand: &Demand) -> bool {
    lifetimes.always_revalidate || demand.no_cache || demand.max_age.is_some_and(|limit| age > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn lifetimes() -> Lifetimes {
        Lifetimes { fresh_for: 60 * S, stale_while_revalidate: 10 * S, stale_if_error: 100 * S, ..Lifetimes::default() }
    }

    fn at(age: u32, demand: &Demand) -> Reuse {
        reuse(&lifetimes(), age * S, None, demand)
    }

    #[test]
    fn it_passes_through_its_stages_at_the_exact_second() {
        let neutral = Demand::default();
        for (age, expected) in [
            (0, Reuse::Fresh),
            (59, Reuse::Fresh),
            (60, Reuse::StaleWhileRevalidate),
            (69, Reuse::StaleWhileRevalidate),
            (70, Reuse::StaleIfError),
            (159, Reuse::StaleIfError),
            (160, Reuse::Expired),
        ] {
            assert_eq!(at(age, &neutral), expected, "age {age}");
        }
    }

    #[test]
    fn a_soft_purge_makes_it_stale_from_its_moment_and_never_later() {
        let judge = |soft: u32, age: u32| reuse(&lifetimes(), age * S, Some(soft * S), &Demand::default());
        assert_eq!(judge(5, 5), Reuse::StaleWhileRevalidate);
        assert_eq!(judge(5, 15), Reuse::StaleIfError);
        assert_eq!(judge(500, 60), Reuse::StaleWhileRevalidate);
    }

    #[test]
    fn client_demands_narrow_and_widen() {
        let with = |change: fn(&mut Demand)| {
            let mut demand = Demand::default();
            change(&mut demand);
            demand
        };
        assert_eq!(at(10, &with(|d| d.no_cache = true)), Reuse::StaleIfError);
        assert_eq!(at(10, &with(|d| d.max_age = Some(9 * S))), Reuse::StaleIfError);
        assert_eq!(at(10, &with(|d| d.max_age = Some(10 * S))), Reuse::Fresh);
        assert_eq!(at(10, &with(|d| d.min_fresh = Some(50 * S))), Reuse::Fresh);
        assert_eq!(at(10, &with(|d| d.min_fresh = Some(51 * S))), Reuse::StaleIfError);
        assert_eq!(at(200, &with(|d| d.max_stale = Some(140 * S))), Reuse::StaleAccepted);
        assert_eq!(at(200, &with(|d| d.max_stale = Some(139 * S))), Reuse::Expired);
    }

    #[test]
    fn a_window_is_not_for_clients_that_limit_age_or_staleness() {
        let limited = |max_age: Option<u32>, max_stale: Option<u32>| Demand {
            max_age: max_age.map(|s| s * S),
            max_stale: max_stale.map(|s| s * S),
            ..Demand::default()
        };
        assert_eq!(at(65, &limited(None, None)), Reuse::StaleWhileRevalidate);
        assert_eq!(at(65, &limited(Some(100), None)), Reuse::StaleIfError);
        assert_eq!(at(65, &limited(Some(100), Some(5))), Reuse::StaleAccepted);
        assert_eq!(at(65, &limited(None, Some(4))), Reuse::StaleIfError);
    }

    #[test]
    fn a_directive_that_forbids_stale_use_overrides_every_window() {
        let strict = Lifetimes { must_revalidate: true, ..lifetimes() };
        let any = Demand { max_stale: Some(Duration::MAX), ..Demand::default() };
        assert_eq!(reuse(&strict, 61 * S, None, &any), Reuse::Expired);
        assert!(!usable_on_error(&strict, 61 * S, None, &any));
        let validated = Lifetimes { always_revalidate: true, ..lifetimes() };
        assert_eq!(reuse(&validated, S, None, &Demand::default()), Reuse::Expired);
    }
}
