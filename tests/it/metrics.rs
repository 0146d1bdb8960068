//! `/metrics` after a scripted set of requests: every figure is the right one.

mod bounds;
mod counts;

use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::scrape::Scrape;

/// A proxy whose route is called `main`, with lifetimes that do not vary.
async fn main_route(origin: &Origin) -> Proxy {
    Proxy::start(origin).cache("jitter = 0.0, early_refresh = 0.0").route("name = 'main'").await
}

async fn scrape(proxy: &Proxy) -> Scrape {
    Scrape::of(proxy.admin()).await
}
