//! The age of a response on arrival (RFC 9111 section 4.2.3).

use std::time::{Duration, SystemTime};

use http::header::{AGE, DATE, EXPIRES, HeaderMap, LAST_MODIFIED};

use super::dates::{InvalidDate, date};
use super::directives::delta_seconds;

/// `corrected_initial_age`: the larger of what upstream caches say plus the time the response took,
/// and what its `Date` tells, in whole seconds, since that is how fine a date is.
pub fn initial_age(headers: &HeaderMap, received_at: SystemTime, response_delay: Duration) -> Duration {
    let apparent = date(headers, &DATE, received_at)
        .and_then(Result::ok)
        .map_or(0, |date| received_at.duration_since(date).unwrap_or_default().as_secs());
    Duration::from_secs(apparent).max(age_value(headers).saturating_add(response_delay))
}

/// `Age`, zero if it is absent or invalid. Section 5.1: of several the first counts, and an invalid
/// one is ignored.
pub fn age_value(headers: &HeaderMap) -> Duration {
    let first = headers.get(AGE).and_then(|field| field.as_bytes().split(|&b| b == b',').next());
    first.and_then(|age| delta_seconds(age.trim_ascii())).unwrap_or_default()
}

/// Time from `Date` (or, without one, from the arrival) to `Expires`; zero if `Expires` is invalid,
/// in particular `0` (section 5.3).
pub fn expires(headers: &HeaderMap, received_at: SystemTime) -> Option<Duration> {
    let expires = match date(headers, &EXPIRES, received_at)? {
        Ok(expires) => expires,
        Err(InvalidDate) => return Some(Duration::ZERO),
    };
    let base = date(headers, &DATE, received_at).and_then(Result::ok).unwrap_or(received_at);
    Some(expires.duration_since(base).unwrap_or_default())
}

/// Time from `Last-Modified` to `Date`, for heuristics (section 4.2.2).
pub fn unmodified_for(headers: &HeaderMap, received_at: SystemTime) -> Option<Duration> {
    let modified = date(headers, &LAST_MODIFIED, received_at)?.ok()?;
    let base = date(headers, &DATE, received_at).and_then(Result::ok).unwrap_or(received_at);
    base.duration_since(modified).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: u64 = 784_111_777;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn the_larger_of_apparent_and_corrected_age_counts() {
        let delay = Duration::from_secs(2);
        for (fields, expected) in [
            (&[][..], 2),
            (&[("age", "10")], 12),
            (&[("age", "10, 20")], 12),
            (&[("age", "-1")], 2),
            (&[("age", "x")], 2),
            (&[("date", "Sun, 06 Nov 1994 08:49:00 GMT")], 37),
            (&[("date", "Sun, 06 Nov 1994 08:49:00 GMT"), ("age", "100")], 102),
            (&[("date", "Sun, 06 Nov 1994 09:49:37 GMT")], 2),
            (&[("date", "yesterday")], 2),
        ] {
            assert_eq!(initial_age(&headers(fields), now(), delay).as_secs(), expected, "{fields:?}");
        }
    }

    #[test]
    fn expires_counts_from_date_and_an_invalid_one_is_past() {
        for (fields, expected) in [
            (&[][..], None),
            (&[("expires", "0")], Some(0)),
            (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60)),
            (&[("expires", "Sunday, 06-Nov-94 08:50:37 GMT")], Some(60)),
            (&[("expires", "Sun Nov  6 08:50:37 1994")], Some(60)),
            (&[("expires", "SUN, 06 nov 1994 08:50:37 gmt")], Some(60)),
            (&[("expires", "sunday, 06-NOV-94 08:50:37 Gmt")], Some(60)),
            (&[("expires", "sun nov  6 08:50:37 1994")], Some(60)),
            (&[("expires", "Sun, 06 Nov 1994 08:50:37 UTC")], Some(0)),
            (&[("expires", "Sun, 06 Nov 1994 08:49:36 GMT")], Some(0)),
            (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("date", "Sun, 06 Nov 1994 08:50:36 GMT")], Some(1)),
        ] {
            let lifetime = expires(&headers(fields), now()).map(|l| l.as_secs());
            assert_eq!(lifetime, expected, "{fields:?}");
        }
    }
}
