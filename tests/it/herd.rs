//! Must show 3: a herd on one key, against the real binary.
//!
//! `HERD_CLIENTS` sets the size; `scripts/herd` runs these tests with 10,000 clients in release.
//! The proxy is a process of its own: one process could not hold both ends of every connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::binary::Millpond;
use crate::support::client::{Herd, herd};
use crate::support::config::ConfigText;
use crate::support::origin::Origin;
use crate::support::redis::Redis;
use crate::support::scrape::Scrape;
use crate::support::{open_files, soon};

/// How long the origin takes for an answer.
const LATENCY: Duration = Duration::from_secs(1);

/// The last answer comes no later than this after the first.
const SPREAD: Duration = Duration::from_millis(1_500);

fn clients() -> usize {
    let clients = std::env::var("HERD_CLIENTS").map_or(1_000, |number| number.parse().expect("a number of clients"));
    let limit = open_files(20_000);
    assert!(limit > clients as u64 + 500, "{limit} open files are too few for {clients} clients");
    clients
}

/// A proxy that holds as many connections as the herd has clients.
async fn millpond(origin: &Origin, clients: usize) -> Millpond {
    let mut config = ConfigText::for_origin(origin);
    config.section(&format!("[limits]\nconnections = {}", clients + 100));
    config.origin(&format!("max_connections = {clients}"));
    Millpond::run(&config).await
}

fn report(what: &str, herd: &Herd, origin_requests: usize) {
    let (first, last) = (herd.first_byte().as_secs_f64(), herd.last_byte().as_secs_f64());
    let slowest = herd.answers.iter().map(|answer| answer.first_byte).max().unwrap_or_default().as_secs_f64();
    println!(
        "herd: {what}: {} clients, {origin_requests} origin requests, first byte after {first:.3} s, slowest first \
         byte {slowest:.3} s, last byte {last:.3} s, spread {:.3} s",
        herd.answers.len(),
        last - first
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_on_a_cold_key_costs_one_origin_request_and_is_answered_together() {
    let clients = clients();
    let origin = Origin::start().await;
    origin.on("/hot", |r| r.header("Cache-Control", "max-age=60").body("hot").delay(LATENCY));
    let millpond = millpond(&origin, clients).await;
    let client = millpond.client();
    let herd = herd(clients, move || client.get("/hot")).await;
    herd.all_got(200, "hot");
    report("cold key", &herd, origin.hits("/hot"));
    assert_eq!((herd.answers.len(), origin.hits("/hot")), (clients, 1));
    assert!(herd.first_byte() >= LATENCY, "the answer is the one that the origin took its time for");
    assert!(herd.last_byte() < herd.first_byte() + SPREAD, "{:?} to {:?}", herd.first_byte(), herd.last_byte());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_expiry_a_herd_gets_the_stale_copy_and_no_client_waits() {
    let clients = clients();
    let origin = Origin::start().await;
    // Its lifetime is over as it arrives, and its stale window has just begun.
    let fields = |r: crate::support::origin::Reply| {
        r.header("Cache-Control", "max-age=60, stale-while-revalidate=3600").header("Age", "60")
    };
    origin.on("/hot", |r| fields(r).body("stale"));
    let millpond = millpond(&origin, clients).await;
    let client = millpond.client();
    assert_eq!(client.get("/hot").send().await.text(), "stale");
    let gate = origin.hold("/hot");
    let herd = herd(clients, move || client.get("/hot")).await;
    // The gate is still closed: whoever has an answer by now did not wait for the refresh.
    herd.all_got(200, "stale");
    gate.arrived(1).await;
    report("expired key with a stale copy", &herd, origin.hits("/hot") - 1);
    assert_eq!((herd.answers.len(), origin.hits("/hot")), (clients, 2), "one fetch to fill, one refresh");
    gate.release();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_herd_on_an_uncacheable_key_is_not_serialised() {
    // Each client costs the proxy two connections here, and this process as well.
    let clients = clients() / 5;
    let origin = Origin::start().await;
    origin.on("/own", |r| r.header("Cache-Control", "no-store").body("own"));
    let millpond = millpond(&origin, clients).await;
    let client = millpond.client();
    let gate = origin.hold("/own");
    let first = tokio::spawn(herd(clients, move || client.get("/own")));
    gate.arrived(1).await;
    gate.release_one();
    // The first answer says that nobody can share it: all others are at the origin before any of
    // them is answered.
    gate.arrived(clients).await;
    gate.release();
    let first = first.await.unwrap();
    first.all_got(200, "own");
    report("uncacheable key", &first, origin.hits("/own"));
    // The next herd finds the marker and does not even queue behind one of its own.
    let gate = origin.hold("/own");
    let second = tokio::spawn(herd(clients, move || client.get("/own")));
    gate.arrived(clients).await;
    gate.release();
    let second = second.await.unwrap();
    second.all_got(200, "own");
    report("uncacheable key again", &second, origin.hits("/own") - clients);
    assert_eq!(origin.hits("/own"), 2 * clients);
}

/// Instances of the fleet that a herd is let loose on.
const INSTANCES: usize = 8;

/// Eight proxies in processes of their own that share a Redis.
async fn fleet(origin: &Origin, redis: &Redis, clients: usize) -> Vec<Millpond> {
    let mut config = ConfigText::for_origin(origin);
    config.cache("early_refresh = 0.0, jitter = 0.0");
    // Ten thousand clients on a machine of two cores are no reason to take Redis for dead.
    config.section(&format!("[redis]\nurl = '{}'\ntimeout = '1s'\n", redis.url()));
    config.section(&format!("[limits]\nconnections = {}", clients / INSTANCES + 100));
    let mut fleet = Vec::new();
    for _ in 0..INSTANCES {
        let millpond = Millpond::run(&config).await;
        Scrape::until(millpond.admin_client(), "invalidation_beats_total", 1).await;
        fleet.push(millpond);
    }
    fleet
}

/// A herd whose clients are spread over the fleet.
async fn herd_on(fleet: &[Millpond], clients: usize, path: &'static str) -> Herd {
    let (all, next) = (fleet.iter().map(Millpond::client).collect::<Vec<_>>(), AtomicUsize::new(0));
    herd(clients, move || all[next.fetch_add(1, Ordering::Relaxed) % all.len()].get(path).header("host", "h")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d11_a_herd_on_eight_instances_costs_one_origin_request() {
    let clients = clients();
    let (origin, mut redis) = (Origin::start().await, Redis::start().await);
    for path in ["/hot", "/alone"] {
        origin.on(path, |r| r.header("Cache-Control", "max-age=60").body("hot").delay(LATENCY));
    }
    let fleet = fleet(&origin, &redis, clients).await;
    let herd = herd_on(&fleet, clients, "/hot").await;
    herd.all_got(200, "hot");
    report("cold key, 8 instances", &herd, origin.hits("/hot"));
    assert_eq!((herd.answers.len(), origin.hits("/hot")), (clients, 1));
    redis.kill();
    let herd = herd_on(&fleet, clients, "/alone").await;
    herd.all_got(200, "hot");
    report("cold key, 8 instances, Redis down", &herd, origin.hits("/alone"));
    assert!(origin.hits("/alone") <= INSTANCES, "{}", origin.hits("/alone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_expiry_a_herd_on_eight_instances_costs_one_refresh() {
    let clients = clients();
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let fields = |r: crate::support::origin::Reply| r.header("Cache-Control", "max-age=2, stale-while-revalidate=3600");
    origin.on("/hot", |r| fields(r).body("stale"));
    let fleet = fleet(&origin, &redis, clients).await;
    for millpond in &fleet {
        assert_eq!(millpond.client().get("/hot").header("host", "h").send().await.text(), "stale");
    }
    assert_eq!(origin.hits("/hot"), 1);
    let gate = origin.hold("/hot");
    soon("the lifetime to end", async {
        while fleet[0].client().get("/hot").header("host", "h").send().await.cache_status().ttl >= Some(0) {}
    })
    .await;
    let herd = herd_on(&fleet, clients, "/hot").await;
    // The gate is still closed: whoever has an answer by now did not wait for the refresh.
    herd.all_got(200, "stale");
    gate.arrived(1).await;
    report("expired key, 8 instances", &herd, origin.hits("/hot") - 1);
    assert_eq!((herd.answers.len(), origin.hits("/hot")), (clients, 2), "one fetch to fill, one refresh");
    gate.release();
}
