//! HTTP semantics end to end, over real sockets.

mod broken_parts;
mod by_body;
mod codings;
mod interim;
mod not_for_others;
mod origins;
mod parts;
mod ranges;
mod search;
mod stored;
mod stored_parts;
mod streaming;
mod trailers;
mod upgrade;

use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;

/// When the bodies of these tests were last changed, and a second before and after.
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// Lifetimes that a test can count on to the second.
const EXACT: &str = "jitter = 0.0, early_refresh = 0.0";

async fn start(cache: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).cache(&format!("{EXACT}{cache}")).await;
    (origin, proxy)
}

fn for_a_minute(reply: Reply) -> Reply {
    reply.header("cache-control", "max-age=60")
}
