//! Methods that are looked up with their body in the key, where a route says so.

mod bodies;
mod graphql;
mod keys;
mod methods;
mod writes;

use crate::support::client::{Answer, Ask};
use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;

use super::{EXACT, for_a_minute};

const JSON: &str = "application/json";

/// A route that looks up QUERY and POST with these further keys of `key.body`, and an origin that
/// answers `/s` with the body it is sent, for a minute.
async fn start(keys: &str, cache: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    origin.on_request("/s", |request| for_a_minute(Reply::ok()).body(request.body.clone()));
    let body = format!("body = {{ methods = ['QUERY', 'POST'], max_size = '1KiB'{keys} }}");
    let proxy = Proxy::start(&origin).cache(&format!("{EXACT}, key = {{ {body} }}{cache}")).await;
    (origin, proxy)
}

/// A request for `/s` of the site that all these tests cache.
fn ask(proxy: &Proxy, method: &str, kind: &str, body: &str) -> Ask {
    let ask = proxy.client().ask(method, "/s").header("host", "api.test").header("content-type", kind);
    ask.body(body.to_owned())
}

async fn post(proxy: &Proxy, body: &str) -> Answer {
    ask(proxy, "POST", JSON, body).send().await
}

/// Whether this POST is answered from the cache; the body must be right either way.
async fn hits(proxy: &Proxy, body: &str) -> bool {
    let answer = post(proxy, body).await;
    assert_eq!((answer.status, answer.text()), (200, body));
    answer.cache_status().hit
}
