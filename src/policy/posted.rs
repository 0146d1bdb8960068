//! Whether the response to a POST may answer a later GET (RFC 9110 section 9.3.3).

use http::{Method, StatusCode};

use super::Rules;
use super::storability::{Exchange, ResponseVerdict, judge_response};
use crate::reason::Reason;

/// Judges a response to POST as one to a GET of the same target, which its `Content-Location` must name.
/// It needs "explicit freshness information": no lifetime of the route's, and none that is guessed.
pub fn judge_posted(rules: &Rules, exchange: &Exchange<'_>) -> ResponseVerdict {
    if exchange.status != StatusCode::OK {
        return ResponseVerdict::Uncacheable(Reason::StatusNotCacheable);
    }
    let rules = Rules {
        ttl: None,
        force_ttl: None,
        ttl_by_status: Vec::new(),
        negative_ttl: None,
        heuristic_fraction: None,
        ..rules.clone()
    };
    match judge_response(&rules, &Exchange { method: &Method::GET, ..*exchange }) {
        // What needs a validation first was not meant to be used as it is.
        ResponseVerdict::Storable(storable) if !storable.lifetimes.is_fresh_on_arrival() => {
            ResponseVerdict::Uncacheable(Reason::ZeroLifetime)
        }
        verdict => verdict,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::HeaderMap;

    use super::*;

    fn judge(status: u16, request: &[(&'static str, &'static str)], response: &[(&'static str, &'static str)]) -> bool {
        let map = |fields: &[(&'static str, &'static str)]| -> HeaderMap {
            fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        let minute = Some(Duration::from_mins(1));
        let rules = Rules {
            ttl: minute,
            force_ttl: minute,
            ttl_by_status: vec![(200, Duration::from_mins(1))],
            heuristic_fraction: Some(0.1),
            heuristic_max: Duration::from_mins(1),
            ..Rules::default()
        };
        let exchange = Exchange {
            method: &Method::POST,
            request_headers: &map(request),
            status: StatusCode::from_u16(status).unwrap(),
            response_headers: &map(response),
            received_at: SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
            response_delay: Duration::ZERO,
        };
        matches!(judge_posted(&rules, &exchange), ResponseVerdict::Storable(_))
    }

    #[test]
    fn only_a_200_that_says_itself_how_long_it_is_fresh_may_answer_a_get() {
        const FRESH: (&str, &str) = ("cache-control", "max-age=60");
        assert!(judge(200, &[], &[FRESH]));
        assert!(judge(200, &[], &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")]));
        for status in [201, 203, 204, 206, 301, 303, 404, 500] {
            assert!(!judge(status, &[], &[FRESH, ("content-range", "bytes 0-1/2")]), "{status}");
        }
        let modified = ("last-modified", "Sun, 06 Nov 1993 08:49:37 GMT");
        for fields in [
            &[][..],
            &[modified],
            &[("etag", "\"1\"")],
            &[("cache-control", "no-cache, max-age=60"), ("etag", "\"1\"")],
            &[("cache-control", "max-age=0"), ("etag", "\"1\"")],
            &[FRESH, ("age", "60"), ("etag", "\"1\"")],
            &[("cache-control", "private, max-age=60")],
            &[("cache-control", "no-store, max-age=60")],
            &[FRESH, ("set-cookie", "a=b")],
            &[FRESH, ("vary", "*")],
        ] {
            assert!(!judge(200, &[], fields), "{fields:?}");
        }
        let user = [("authorization", "Basic x")];
        assert!(!judge(200, &user, &[FRESH]) && judge(200, &user, &[("cache-control", "public, max-age=60")]));
    }
}
