//! What goes to the origin about a request and its client, and what comes back about the cache.

mod cache_status;
mod client;
mod hops;
mod identity;

use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;

async fn start() -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).await;
    (origin, proxy)
}

fn for_a_minute(reply: Reply) -> Reply {
    reply.header("cache-control", "max-age=60")
}
