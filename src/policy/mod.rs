//! RFC 9111 and its relatives as pure decisions: no I/O, no clock, no random numbers.

pub mod age;
pub mod coding;
pub mod dates;
pub mod directives;
pub mod fields;
pub mod freshness;
pub mod graphql;
pub mod invalidation;
pub mod posted;
pub mod ranges;
pub mod request;
pub mod reuse;
pub mod search;
pub mod storability;
pub mod tags;
pub mod validation;
pub mod vary;

use std::time::Duration;

use http::Method;

/// What a route adds to, or overrides in, RFC 9111.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Lifetime where the response gives none.
    pub ttl: Option<Duration>,
    /// Lifetime that replaces whatever the response says.
    pub force_ttl: Option<Duration>,
    /// Lifetimes by status where the response gives none; they win over `ttl` and `negative_ttl`.
    pub ttl_by_status: Vec<(u16, Duration)>,
    /// Lifetime of 404, 405, 410 and 501 where the response gives none.
    pub negative_ttl: Option<Duration>,
    /// RFC 5861 window where the response gives none.
    pub stale_while_revalidate: Option<Duration>,
    /// RFC 5861 window where the response gives none.
    pub stale_if_error: Option<Duration>,
    /// The share of the time since `Last-Modified` used as lifetime where nothing else gives one
    /// (RFC 9111 section 4.2.2); `None` switches heuristics off.
    pub heuristic_fraction: Option<f64>,
    /// The upper bound of a heuristic lifetime.
    pub heuristic_max: Duration,
    /// Whether `Cache-Control` in requests counts.
    pub respect_client_cache_control: bool,
    /// Whether responses with `Set-Cookie` may be stored; the field is removed from the stored copy.
    pub store_set_cookie: bool,
    /// Methods other than GET and HEAD that are looked up, with the body as a part of the key. The
    /// configuration says of each that it only asks.
    pub by_body: Vec<Method>,
    /// The exception: a POST whose body is plainly a GraphQL query. Any other may change something.
    pub graphql: bool,
}
