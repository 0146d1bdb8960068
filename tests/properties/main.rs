//! What must hold for every request, every response and every clock, over generated ones.
//!
//! The generators make what is asked from its meaning, so that the tests know the answer without
//! reading fields as the policy does. `PROPTEST_CASES` sets the number of cases.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod ranges;
mod selection;
mod time;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode};
use millpond::policy::Rules;
use millpond::policy::storability::{Exchange, ResponseVerdict, Storable, judge_response};
use proptest::test_runner::Config as ProptestConfig;

/// A failure prints its smallest case, which becomes a test of its own; nothing is kept in files.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// What the policy makes of a response to a GET; `None` if it may not be stored.
fn stored(
    rules: &Rules,
    request: &HeaderMap,
    response: &HeaderMap,
    at: SystemTime,
    took: Duration,
) -> Option<Storable> {
    let exchange = Exchange {
        method: &Method::GET,
        request_headers: request,
        status: StatusCode::OK,
        response_headers: response,
        received_at: at,
        response_delay: took,
    };
    match judge_response(rules, &exchange) {
        ResponseVerdict::Storable(storable) => Some(storable),
        ResponseVerdict::Uncacheable(_) => None,
    }
}
