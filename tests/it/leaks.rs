//! Nobody is shown what was made for somebody else, and nobody chooses what others are shown.

mod key;
mod poisoning;
mod users;

use crate::support::client::Ask;
use crate::support::origin::{Origin, Received, Reply};
use crate::support::proxy::Proxy;

const EXACT: &str = "jitter = 0.0, early_refresh = 0.0";

async fn start(cache: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).cache(&format!("{EXACT}{cache}")).await;
    (origin, proxy)
}

fn for_a_minute(reply: Reply) -> Reply {
    reply.header("cache-control", "max-age=60")
}

/// A GET with one more field.
fn with(proxy: &Proxy, path: &str, name: &str, value: &str) -> Ask {
    proxy.client().get(path).header(name, value)
}

/// What an origin may say to a user it knows by `field`.
fn hello(request: &Received, field: &str) -> String {
    format!("hello {}", request.header(field).unwrap_or_else(|| "stranger".to_owned()))
}
