//! Whether a response may be stored for others (RFC 9111 section 3).

use std::time::{Duration, SystemTime};

use http::header::{AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, SET_COOKIE};
use http::{Method, StatusCode};

use super::Rules;
use super::age;
use super::directives::Directives;
use super::fields::ByName;
use super::freshness::{self, Facts};
use super::ranges::Carried;
use super::vary::Vary;
use crate::reason::Reason;

pub use super::freshness::Lifetimes;

/// What to do with a response.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it is matched where it is made and never kept")]
pub enum ResponseVerdict {
    /// It may be stored.
    Storable(Storable),
    /// It may not.
    Uncacheable(Reason),
}

/// Proof that the policy allows to store a response. Only [`judge_response`] makes it.
#[derive(Debug)]
#[allow(clippy::manual_non_exhaustive, reason = "the private field keeps the rest of this crate out as well")]
pub struct Storable {
    /// How long it may be used.
    pub lifetimes: Lifetimes,
    /// Which request fields select it.
    pub vary: Vary,
    /// Fields that must not be part of the stored copy.
    pub withheld: Vec<HeaderName>,
    _proof: (),
}

/// One request and its response.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// Method of the request as it was sent to the origin.
    pub method: &'a Method,
    /// Fields of the client's request.
    pub request_headers: &'a HeaderMap,
    /// Final status.
    pub status: StatusCode,
    /// Fields of the response.
    pub response_headers: &'a HeaderMap,
    /// Wall clock on arrival of the head.
    pub received_at: SystemTime,
    /// Time from the request to the head.
    pub response_delay: Duration,
}

/// Judges a response.
pub fn judge_response(rules: &Rules, exchange: &Exchange<'_>) -> ResponseVerdict {
    let (directives, targeted) = Directives::of_response(exchange.response_headers);
    let vary = match permitted(rules, exchange, &directives) {
        Ok(vary) => vary,
        Err(reason) => return ResponseVerdict::Uncacheable(reason),
    };
    let initial_age = age::initial_age(exchange.response_headers, exchange.received_at, exchange.response_delay);
    let facts = Facts {
        rules,
        // A part lives as long as the whole would.
        status: if exchange.status == StatusCode::PARTIAL_CONTENT { StatusCode::OK } else { exchange.status },
        headers: exchange.response_headers,
        directives: &directives,
        targeted,
        received_at: exchange.received_at,
        initial_age,
        // RFC 9110 section 9.3.3: responses to POST need explicit freshness, which a route may give too.
        heuristics: *exchange.method != Method::POST,
    };
    // A response that must always be validated needs no lifetime.
    let fresh_for = match freshness::lifetime(&facts) {
        Some(lifetime) => lifetime,
        None if directives.no_cache => Duration::ZERO,
        None => return ResponseVerdict::Uncacheable(Reason::NoLifetime),
    };
    let lifetimes = freshness::lifetimes(&facts, fresh_for);
    if !is_of_use(&lifetimes, exchange.response_headers) {
        return ResponseVerdict::Uncacheable(Reason::ZeroLifetime);
    }
    ResponseVerdict::Storable(Storable { lifetimes, vary, withheld: withheld(rules, directives), _proof: () })
}

/// Everything but time: RFC 9111 section 3, in the order of its list.
fn permitted(rules: &Rules, exchange: &Exchange<'_>, directives: &Directives) -> Result<Vary, Reason> {
    let headers = exchange.response_headers;
    // "the request method is understood by the cache"
    if *exchange.method != Method::GET && !rules.by_body.contains(exchange.method) {
        return Err(Reason::MethodNotCached);
    }
    // "the response status code is final"; a 304 is no representation of its own.
    if exchange.status.is_informational() || exchange.status == StatusCode::NOT_MODIFIED {
        return Err(Reason::StatusNotCacheable);
    }
    // "if the response status code is 206 or 304 [...] the cache understands the response status code":
    // a part is understood if it says where it begins, which several parts in one body do each for itself.
    // `Content-Range` says nothing in other responses (RFC 9110 section 14.4).
    if exchange.status == StatusCode::PARTIAL_CONTENT && Carried::of(headers).is_none() {
        return Err(Reason::PartialContent);
    }
    // These answer a condition or a range of one client, neither of which is part of a key.
    if matches!(exchange.status, StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE) {
        return Err(Reason::StatusNotCacheable);
    }
    if is_event_stream(headers) {
        return Err(Reason::EventStream);
    }
    // "the response status code is [...] understood, if must-understand is present"; then it stands
    // in for no-store (section 5.2.2.3).
    if directives.must_understand && !is_understood(exchange.status) {
        return Err(Reason::MustUnderstand);
    }
    // "the no-store cache directive is not present in the response"
    if directives.no_store && !directives.must_understand {
        return Err(Reason::ResponseNoStore);
    }
    // "if the cache is shared: the private response directive is [...] not present or allows [...]"
    if directives.private {
        return Err(Reason::Private);
    }
    // "if the cache is shared: the Authorization header field is not present [...] or a response
    // directive is present that explicitly allows shared caching (section 3.5)"
    let allowed = directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    if exchange.request_headers.contains_key(AUTHORIZATION) && !allowed {
        return Err(Reason::Authorization);
    }
    // Not in the RFC, which leaves it to the origin's Cache-Control: a cookie handed to everybody
    // is somebody's session.
    let set_cookie_withheld = rules.store_set_cookie
        || directives.no_cache_fields.contains(&SET_COOKIE)
        || directives.private_fields.contains(&SET_COOKIE);
    if headers.contains_key(SET_COOKIE) && !set_cookie_withheld {
        return Err(Reason::SetCookie);
    }
    match Vary::of(headers) {
        Vary::Star => Err(Reason::VaryStar),
        names @ Vary::Names(_) => Ok(names),
    }
}

/// Statuses whose caching rules this cache implements.
fn is_understood(status: StatusCode) -> bool {
    freshness::heuristically_cacheable(status)
        || matches!(status.as_u16(), 201 | 202 | 205 | 302 | 303 | 307 | 400..=417 | 421..=426 | 428 | 429 | 431 | 451)
        || matches!(status.as_u16(), 500..=508 | 511)
}

/// Whether a status says more of the request that it answers than of its target: it answers a condition or a range, or
/// another client, or the same one a little later or with fewer fields, would have got something else.
pub fn is_about_one_request(status: StatusCode) -> bool {
    matches!(status.as_u16(), 206 | 304 | 400 | 408 | 412..=414 | 416 | 417 | 421 | 425 | 428 | 429 | 431)
}

/// Server-sent events never end, so they can neither be stored nor shared, nor have a time limit.
pub fn is_event_stream(headers: &impl ByName) -> bool {
    headers.first(&CONTENT_TYPE).is_some_and(|value| {
        let essence = value.split(|&b| b == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// Whether storing can ever spare the origin work: while fresh, while stale, or by a validation.
fn is_of_use(lifetimes: &Lifetimes, headers: &HeaderMap) -> bool {
    let window = lifetimes.stale_while_revalidate.max(lifetimes.stale_if_error) > Duration::ZERO;
    let validator = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
    lifetimes.is_fresh_on_arrival() || (window && !lifetimes.always_revalidate) || validator
}

/// Fields for one user, and fields that may not be reused without validation, which this cache
/// solves by not storing them.
fn withheld(rules: &Rules, directives: Directives) -> Vec<HeaderName> {
    let mut names = directives.no_cache_fields;
    names.extend(directives.private_fields);
    if rules.store_set_cookie {
        names.push(SET_COOKIE);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const MINUTE: Duration = Duration::from_mins(1);

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn judge_all(
        rules: &Rules,
        request: &[(&'static str, &'static str)],
        status: u16,
        response: &[(&'static str, &'static str)],
    ) -> Result<Lifetimes, Reason> {
        let (request, response) = (map(request), map(response));
        let exchange = Exchange {
            method: &Method::GET,
            request_headers: &request,
            status: StatusCode::from_u16(status).unwrap(),
            response_headers: &response,
            received_at: SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
            response_delay: Duration::ZERO,
        };
        match judge_response(rules, &exchange) {
            ResponseVerdict::Storable(storable) => Ok(storable.lifetimes),
            ResponseVerdict::Uncacheable(reason) => Err(reason),
        }
    }

    fn judge(status: u16, response: &[(&'static str, &'static str)]) -> Result<u64, Reason> {
        judge_all(&Rules::default(), &[], status, response).map(|l| l.fresh_for.as_secs())
    }

    #[test]
    fn each_refusal_has_its_reason() {
        for (status, response, reason) in [
            (200, &[("cache-control", "no-store, max-age=60")][..], Reason::ResponseNoStore),
            (200, &[("cache-control", "private, max-age=60")], Reason::Private),
            (200, &[("cache-control", "max-age=60"), ("set-cookie", "a=b")], Reason::SetCookie),
            (200, &[("cache-control", "max-age=60"), ("vary", "accept, *")], Reason::VaryStar),
            (200, &[("cache-control", "max-age=60"), ("content-type", "text/event-stream; x")], Reason::EventStream),
            (206, &[("cache-control", "max-age=60")], Reason::PartialContent),
            (304, &[("cache-control", "max-age=60")], Reason::StatusNotCacheable),
            (599, &[("cache-control", "max-age=60, must-understand")], Reason::MustUnderstand),
            (200, &[], Reason::NoLifetime),
            (200, &[("cache-control", "max-age=0")], Reason::ZeroLifetime),
            (200, &[("expires", "0")], Reason::ZeroLifetime),
            (200, &[("cache-control", "no-cache")], Reason::ZeroLifetime),
        ] {
            assert_eq!(judge(status, response), Err(reason), "{status} {response:?}");
        }
    }

    #[test]
    fn explicit_freshness_counts_for_any_final_status_in_the_order_of_section_4_2_1() {
        for (status, response, lifetime) in [
            (200, &[("cache-control", "max-age=60")][..], 60),
            (200, &[("cache-control", "max-age=60, s-maxage=5")], 5),
            (200, &[("cache-control", "max-age=60"), ("expires", "0")], 60),
            (200, &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], 60),
            (200, &[("cache-control", "max-age=60"), ("cdn-cache-control", "max-age=7")], 7),
            (500, &[("cache-control", "max-age=60")], 60),
            (599, &[("cache-control", "max-age=60")], 60),
            (200, &[("cache-control", "no-store, must-understand, max-age=60")], 60),
            (200, &[("cache-control", "max-age=0"), ("etag", "\"a\"")], 0),
            (200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], 0),
            (200, &[("cache-control", "max-age=0, stale-while-revalidate=5")], 0),
        ] {
            assert_eq!(judge(status, response), Ok(lifetime), "{status} {response:?}");
        }
    }

    #[test]
    fn a_response_to_credentials_needs_an_explicit_permission() {
        let with = |cc: &'static str| {
            let response = [("cache-control", cc)];
            judge_all(&Rules::default(), &[("authorization", "x")], 200, &response).map(|_| ())
        };
        assert_eq!(with("max-age=60"), Err(Reason::Authorization));
        for allowed in ["max-age=60, public", "s-maxage=60", "max-age=60, must-revalidate"] {
            assert_eq!(with(allowed), Ok(()), "{allowed}");
        }
    }

    #[test]
    fn route_defaults_count_from_the_arrival_and_spare_errors_that_clients_provoke() {
        let rules = Rules {
            ttl: Some(MINUTE),
            negative_ttl: Some(5 * MINUTE),
            ttl_by_status: vec![(503, 2 * MINUTE)],
            ..Rules::default()
        };
        let judge = |status| judge_all(&rules, &[], status, &[("age", "100")]).map(|l| l.fresh_for.as_secs());
        assert_eq!(judge(200), Ok(160));
        assert_eq!(judge(404), Ok(400));
        assert_eq!(judge(503), Ok(220));
        for provoked in [400, 413, 431, 500, 302] {
            assert_eq!(judge(provoked), Err(Reason::NoLifetime), "{provoked}");
        }
    }

    #[test]
    fn a_forced_ttl_overrides_time_and_never_privacy() {
        let rules = Rules { force_ttl: Some(MINUTE), ..Rules::default() };
        let judge = |cc| judge_all(&rules, &[], 200, &[("cache-control", cc)]);
        let forced = judge("max-age=1, no-cache").unwrap();
        assert_eq!((forced.fresh_for, forced.always_revalidate), (MINUTE, false));
        assert_eq!(judge("private").unwrap_err(), Reason::Private);
        assert_eq!(judge("no-store").unwrap_err(), Reason::ResponseNoStore);
    }

    #[test]
    fn stale_windows_yield_to_directives_that_forbid_stale_use() {
        let rules =
            Rules { stale_while_revalidate: Some(MINUTE), stale_if_error: Some(2 * MINUTE), ..Rules::default() };
        let windows = |cc| {
            let l = judge_all(&rules, &[], 200, &[("cache-control", cc)]).unwrap();
            (l.stale_while_revalidate.as_secs(), l.stale_if_error.as_secs(), l.must_revalidate)
        };
        assert_eq!(windows("max-age=60"), (60, 120, false));
        assert_eq!(windows("max-age=60, stale-while-revalidate=5"), (5, 120, false));
        assert_eq!(windows("max-age=60, must-revalidate"), (0, 0, true));
        assert_eq!(windows("max-age=60, proxy-revalidate, stale-if-error=9"), (0, 0, true));
        assert_eq!(windows("s-maxage=60"), (0, 0, true));
        assert_eq!(windows("s-maxage=60, stale-while-revalidate=5"), (5, 0, false));
    }

    #[test]
    fn heuristic_freshness_only_where_the_route_asks_for_it() {
        let rules = Rules { heuristic_fraction: Some(0.1), heuristic_max: 10 * MINUTE, ..Rules::default() };
        let judge = |status, modified| {
            let response = [("last-modified", modified), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")];
            judge_all(&rules, &[], status, &response).map(|l| l.fresh_for.as_secs())
        };
        assert_eq!(judge(200, "Sun, 06 Nov 1994 08:39:37 GMT"), Ok(60));
        assert_eq!(judge(200, "Sat, 06 Nov 1993 08:39:37 GMT"), Ok(600));
        assert_eq!(judge(599, "Sun, 06 Nov 1994 08:39:37 GMT"), Err(Reason::NoLifetime));
    }

    #[test]
    fn fields_for_one_user_are_withheld_and_the_rest_is_stored() {
        let response =
            map(&[("cache-control", "max-age=60, private=\"set-cookie\", no-cache=X-A"), ("set-cookie", "a")]);
        let exchange = Exchange {
            method: &Method::GET,
            request_headers: &HeaderMap::new(),
            status: StatusCode::OK,
            response_headers: &response,
            received_at: SystemTime::UNIX_EPOCH,
            response_delay: Duration::ZERO,
        };
        let ResponseVerdict::Storable(storable) = judge_response(&Rules::default(), &exchange) else {
            panic!("it may be stored without the fields")
        };
        assert_eq!(storable.withheld, [HeaderName::from_static("x-a"), SET_COOKIE]);
    }

    #[test]
    fn a_cookie_is_stored_by_nobody_and_a_route_may_store_the_rest() {
        let response = map(&[("cache-control", "max-age=60"), ("set-cookie", "a=b")]);
        let exchange = Exchange {
            method: &Method::GET,
            request_headers: &HeaderMap::new(),
            status: StatusCode::OK,
            response_headers: &response,
            received_at: SystemTime::UNIX_EPOCH,
            response_delay: Duration::ZERO,
        };
        let rules = Rules { store_set_cookie: true, ..Rules::default() };
        let ResponseVerdict::Storable(storable) = judge_response(&rules, &exchange) else {
            panic!("the route allows to store it")
        };
        assert_eq!(storable.withheld, [SET_COOKIE]);
        assert!(matches!(
            judge_response(&Rules::default(), &exchange),
            ResponseVerdict::Uncacheable(Reason::SetCookie)
        ));
    }
}
