//! What a request allows: look into the cache, pass, or invalidate afterwards.

use std::time::Duration;

use http::Method;
use http::header::{
    CACHE_CONTROL, HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    PRAGMA, RANGE,
};

use super::Rules;
use super::directives::Directives;
use crate::reason::Reason;

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestVerdict {
    /// Consult the cache.
    Lookup(Demand),
    /// Consult the cache if the body can be part of the key; else treat it as [`Pass`](Self::Pass) where
    /// it [only asks](only_asks) all the same, and as [`Unsafe`](Self::Unsafe) where it may not.
    LookupByBody(Demand),
    /// Send it to the origin, for this reason.
    Pass(Reason),
    /// Send it to the origin; if it succeeds, its target is invalidated (RFC 9111 section 4.4).
    Unsafe,
}

/// What the client asks of a stored response. Neutral unless the route respects it, because
/// otherwise any client could force refreshes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// RFC 9111 section 5.2.1.7: a stored response or 504.
    pub only_if_cached: bool,
    /// Section 5.2.1.4: not without validation.
    pub no_cache: bool,
    /// Section 5.2.1.1: no older than this.
    pub max_age: Option<Duration>,
    /// Section 5.2.1.3: fresh for at least this long.
    pub min_fresh: Option<Duration>,
    /// Section 5.2.1.2: stale by no more than this.
    pub max_stale: Option<Duration>,
}

/// Fields by which a client may get less than the whole of a response. Others of their kind mean nothing without these, or
/// nothing to a cache.
static SELECTIVE: [HeaderName; 3] = [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE];

/// Whether a field is a condition that a cache evaluates (RFC 9110 section 13), or a range (section 14).
pub fn is_selective(name: &HeaderName) -> bool {
    SELECTIVE.contains(name)
}

/// Judges method and directives of a request.
pub fn judge_request(rules: &Rules, method: &Method, headers: &HeaderMap) -> RequestVerdict {
    if !matches!(*method, Method::GET | Method::HEAD) {
        if rules.by_body.contains(method) {
            return judge_by_body(rules, method, headers);
        }
        // RFC 9110 section 9.2.1: a method that is not known to be safe may change something.
        let safe = matches!(*method, Method::OPTIONS | Method::TRACE);
        return if safe { RequestVerdict::Pass(Reason::MethodNotCached) } else { RequestVerdict::Unsafe };
    }
    demand(rules, headers).map_or_else(RequestVerdict::Pass, RequestVerdict::Lookup)
}

/// What the client asks of a stored response, or why there must be none.
fn demand(rules: &Rules, headers: &HeaderMap) -> Result<Demand, Reason> {
    if !rules.respect_client_cache_control {
        return Ok(Demand::default());
    }
    if !headers.contains_key(CACHE_CONTROL) {
        // RFC 9111 section 5.4: Pragma counts where there is no Cache-Control.
        let no_cache = headers.get_all(PRAGMA).iter().any(|field| {
            field.as_bytes().split(|&b| b == b',').any(|d| d.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
        });
        return Ok(Demand { no_cache, ..Demand::default() });
    }
    let directives = Directives::of_request(headers);
    if directives.no_store {
        return Err(Reason::RequestNoStore);
    }
    Ok(Demand {
        only_if_cached: directives.only_if_cached,
        no_cache: directives.no_cache,
        max_age: directives.max_age,
        min_fresh: directives.min_fresh,
        max_stale: directives.max_stale,
    })
}

/// Fields by which a POST is another method in disguise.
const OVERRIDES: [&str; 3] = ["x-http-method-override", "x-method-override", "x-http-method"];
/// Fields that mean something else, or nothing, for POST (RFC 9110 sections 13.1 and 14.2): only the
/// origin can answer them.
const CONDITIONS: [HeaderName; 6] = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// Judges a request whose method the route looks up by its body.
fn judge_by_body(rules: &Rules, method: &Method, headers: &HeaderMap) -> RequestVerdict {
    let disguised = OVERRIDES.iter().any(|name| headers.contains_key(*name));
    let conditional = *method == Method::POST && CONDITIONS.iter().any(|name| headers.contains_key(name));
    match demand(rules, headers) {
        Ok(demand) if !disguised && !conditional => RequestVerdict::LookupByBody(demand),
        _ if disguised || !only_asks(rules, method) => RequestVerdict::Unsafe,
        Err(reason) => RequestVerdict::Pass(reason),
        Ok(_) => RequestVerdict::Pass(Reason::MethodNotCached),
    }
}

/// Whether a method that the route looks up by its body changes nothing, even if the body cannot be part of the key. The
/// route says so of POST, and it counts for each: if one that is too large, or has a condition, invalidated the URL, a
/// single request could cost everybody the answers to all bodies.
pub fn only_asks(rules: &Rules, method: &Method) -> bool {
    *method != Method::POST || !rules.graphql
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn judge(respect: bool, method: &Method, fields: &[(&'static str, &'static str)]) -> RequestVerdict {
        let rules = Rules { respect_client_cache_control: respect, ..Rules::default() };
        let headers = fields
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect::<HeaderMap>();
        judge_request(&rules, method, &headers)
    }

    #[test]
    fn only_get_and_head_consult_the_cache_and_unknown_methods_are_unsafe() {
        let unknown = Method::from_bytes(b"PURGE").unwrap();
        assert_eq!(judge(false, &Method::GET, &[]), RequestVerdict::Lookup(Demand::default()));
        assert_eq!(judge(false, &Method::HEAD, &[]), RequestVerdict::Lookup(Demand::default()));
        assert_eq!(judge(false, &Method::OPTIONS, &[]), RequestVerdict::Pass(Reason::MethodNotCached));
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, unknown] {
            assert_eq!(judge(false, &method, &[]), RequestVerdict::Unsafe, "{method}");
        }
    }

    #[test]
    fn a_client_can_not_force_a_refresh_unless_the_route_respects_it() {
        let fields = [("cache-control", "no-cache, max-age=0, no-store"), ("pragma", "no-cache")];
        assert_eq!(judge(false, &Method::GET, &fields), RequestVerdict::Lookup(Demand::default()));
        assert_eq!(judge(true, &Method::GET, &fields), RequestVerdict::Pass(Reason::RequestNoStore));
    }

    #[test]
    fn a_method_of_the_route_is_looked_up_by_its_body_unless_it_means_more_than_it_says() {
        let query = Method::from_bytes(b"QUERY").unwrap();
        let judge_where = |graphql, method: &Method, name: &'static str| {
            let by_body = vec![Method::POST, query.clone()];
            let rules = Rules { respect_client_cache_control: true, by_body, graphql, ..Rules::default() };
            let value = HeaderValue::from_static("no-store");
            judge_request(&rules, method, &HeaderMap::from_iter([(HeaderName::from_static(name), value)]))
        };
        let judge = |method: &Method, name| judge_where(false, method, name);
        let lookup = RequestVerdict::LookupByBody(Demand::default());
        let passed = RequestVerdict::Pass(Reason::MethodNotCached);
        for (name, post, asked) in [
            ("content-type", lookup.clone(), lookup.clone()),
            ("if-none-match", passed.clone(), lookup.clone()),
            ("if-match", passed.clone(), lookup.clone()),
            ("range", passed.clone(), lookup.clone()),
            ("x-http-method-override", RequestVerdict::Unsafe, RequestVerdict::Unsafe),
            (
                "cache-control",
                RequestVerdict::Pass(Reason::RequestNoStore),
                RequestVerdict::Pass(Reason::RequestNoStore),
            ),
        ] {
            assert_eq!((judge(&Method::POST, name), judge(&query, name)), (post, asked.clone()), "{name}");
            // Where POST may be a mutation as well, one that is not looked up counts as one.
            let mutating = if name == "content-type" { lookup.clone() } else { RequestVerdict::Unsafe };
            assert_eq!(
                (judge_where(true, &Method::POST, name), judge_where(true, &query, name)),
                (mutating, asked),
                "{name}"
            );
        }
        assert_eq!(judge(&Method::PUT, "content-type"), RequestVerdict::Unsafe);
        assert_eq!(judge(&Method::GET, "content-type"), RequestVerdict::Lookup(Demand::default()));
    }

    #[test]
    fn pragma_counts_only_without_cache_control() {
        let no_cache = |fields: &[(&'static str, &'static str)]| match judge(true, &Method::GET, fields) {
            RequestVerdict::Lookup(demand) => demand.no_cache,
            other => panic!("{other:?}"),
        };
        assert!(no_cache(&[("pragma", "x, No-Cache")]));
        assert!(!no_cache(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]));
    }
}
