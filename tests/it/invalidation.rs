//! Invalidation end to end: what is purged, or changed through the proxy, is not served again.

mod in_flight;
mod posted;
mod purges;
mod unsafe_methods;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::client::Ask;
use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;

/// Lifetimes that a test can count on to the second.
const EXACT: &str = "jitter = 0.0, early_refresh = 0.0";

/// A GET of the site that all these tests cache.
fn get(proxy: &Proxy, path: &str) -> Ask {
    ask(proxy, "GET", path)
}

fn ask(proxy: &Proxy, method: &str, path: &str) -> Ask {
    proxy.client().ask(method, path).header("host", "api.test")
}

/// Answers the first request for `path` with `v1`, the next with `v2`, and so on.
fn versions(origin: &Origin, path: &str, dress: impl Fn(Reply) -> Reply + Send + Sync + 'static) {
    let version = AtomicUsize::new(0);
    origin.on_request(path, move |_| {
        let number = version.fetch_add(1, Ordering::SeqCst) + 1;
        dress(Reply::ok().body(format!("v{number}")))
    });
}
