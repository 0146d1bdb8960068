//! Several instances and one Redis.

mod faults;
mod invalidation;
mod kinds;
mod lease;
mod scale;
mod values;

use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;

fn lasting(body: &str) -> Reply {
    Reply::ok().header("cache-control", "max-age=600").header("surrogate-key", "t").body(body.to_owned())
}

/// What a configuration says of a Redis for tests: enough time for a busy machine, and quick beats.
pub(crate) fn section(url: &str) -> String {
    format!("[redis]\nurl = '{url}'\ntimeout = '1s'\n[invalidation]\nheartbeat = '100ms'\nmax_unsynced = '10s'\n")
}

/// An instance that is in sync with its fleet.
pub(crate) async fn instance(origin: &Origin, redis: &Redis) -> Proxy {
    instance_at(origin, &redis.url()).await
}

/// The same for a Redis of any kind.
pub(crate) async fn instance_at(origin: &Origin, url: &str) -> Proxy {
    instance_with(origin, &section(url)).await
}

/// The same with these sections.
async fn instance_with(origin: &Origin, sections: &str) -> Proxy {
    let proxy = Proxy::start(origin).section(sections).await;
    proxy.is_synced(true).await;
    proxy
}

async fn body(proxy: &Proxy) -> String {
    proxy.client().get("/a").header("host", "h").send().await.text().to_owned()
}
