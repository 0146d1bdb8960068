//! Several instances and one Redis.

mod channel;
mod eras;
mod faults;
mod invalidation;
mod kinds;
mod lease;
mod memory;
mod registry;
mod scale;
mod values;

use crate::support::client::Pending;
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

/// Several, whose route has these cache rules.
async fn instances(count: usize, origin: &Origin, redis: &Redis, cache: &str) -> Vec<Proxy> {
    let mut fleet = Vec::new();
    for _ in 0..count {
        let proxy = Proxy::start(origin).cache(cache).section(&section(&redis.url())).await;
        proxy.is_synced(true).await;
        fleet.push(proxy);
    }
    fleet
}

/// Asks every instance at once, each this often; returns when all requests are under way.
async fn ask_all(fleet: &[Proxy], each: u64) -> Vec<Pending> {
    let mut clients = Vec::new();
    for proxy in fleet {
        for _ in 0..each {
            clients.push(proxy.client().get("/a").header("host", "h").start().await);
        }
        proxy.answering(each).await;
    }
    clients
}

/// Waits until an instance has stored this many responses in Redis.
async fn stored(proxy: &Proxy, count: u64) {
    proxy.reaches("l2_fills_total{result=\"stored\"}", count).await;
}
