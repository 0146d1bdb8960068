//! Several instances and one Redis.

mod kinds;

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::support::binary::Millpond;
use crate::support::config::ConfigText;
use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::scrape::Scrape;

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
    let proxy = Proxy::start(origin).section(&section(url)).await;
    proxy.is_synced(true).await;
    proxy
}

async fn body(proxy: &Proxy) -> String {
    proxy.client().get("/a").header("host", "h").send().await.text().to_owned()
}

#[tokio::test]
async fn a_purge_on_one_instance_is_over_when_all_have_applied_it() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    for order in [r#""url": "http://h/a""#, r#""prefix": "/a""#, r#""tag": "t""#, r#""route": "all""#, r#""all": true"#]
    {
        origin.set("/a", lasting("v1"));
        one.purge(r#"{"all": true, "wait": "5s"}"#).await;
        assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
        origin.set("/a", lasting("v2"));
        let report = one.purge(&format!("{{{order}, \"wait\": \"5s\"}}")).await;
        assert_eq!(report["receipts"].as_array().unwrap().len(), 2, "{report}");
        assert_eq!(report["missing"].as_array().unwrap().len(), 0, "{report}");
        assert_eq!((body(&two).await, body(&one).await), ("v2".into(), "v2".into()), "{order}");
    }
}

#[tokio::test]
async fn a13_a_write_through_one_instance_invalidates_on_the_others() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&two).await, "v1");
    origin.set("/a", lasting("v2"));
    one.client().ask("POST", "/a").header("host", "h").send().await;
    two.answers("v2").await;
}

#[tokio::test]
async fn b1_a_purge_while_the_subscriber_is_cut_off_is_found_by_the_heartbeat() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    for round in 0..5 {
        let version = format!("v{round}");
        origin.set("/a", lasting(&version));
        redis.ask("CLIENT KILL TYPE pubsub").await;
        one.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
        assert_eq!(body(&two).await, version);
    }
}

#[tokio::test]
async fn b4_redis_restarts_empty_and_no_old_entry_is_trusted() {
    let (origin, mut redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    one.purge(r#"{"url": "http://h/x", "wait": "5s"}"#).await;
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    origin.set("/a", lasting("v2"));
    redis.kill();
    redis.restart().await;
    one.answers("v2").await;
    two.answers("v2").await;
    let report = two.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    assert_eq!(report["missing"].as_array().unwrap().len(), 0, "{report}");
}

#[tokio::test]
async fn a12_a_purge_that_redis_does_not_take_says_so_and_reaches_the_others_later() {
    let (origin, mut redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    redis.kill();
    origin.set("/a", lasting("v2"));
    let ask = one.admin().ask("POST", "/purge").header("content-type", "application/json");
    let answer = ask.body(r#"{"url": "http://h/a"}"#).send().await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(body(&one).await, "v2", "what could be done here is done");
    assert_eq!(body(&two).await, "v1");
    redis.restart().await;
    two.answers("v2").await;
}

#[tokio::test]
async fn while_the_log_is_out_of_reach_nothing_is_served_unasked_for_longer_than_max_unsynced() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    redis.freeze();
    one.is_synced(false).await;
    let asked = origin.hits("/a");
    one.pass(Duration::from_secs(9));
    assert_eq!((body(&one).await, origin.hits("/a")), ("v1".into(), asked));
    one.pass(Duration::from_secs(2));
    origin.set("/a", lasting("v2"));
    assert_eq!(body(&one).await, "v2");
    // What the origin has just said is good for as long again.
    assert_eq!((body(&one).await, origin.hits("/a")), ("v2".into(), asked + 1));
    redis.thaw();
    one.is_synced(true).await;
}

#[tokio::test]
async fn b6_an_instance_that_starts_without_redis_serves_by_itself_and_joins_when_it_comes() {
    let origin = Origin::start().await;
    let mut redis = Redis::start().await;
    redis.kill();
    origin.set("/a", lasting("v1"));
    let section = format!("[redis]\nurl = '{}'\n[invalidation]\nheartbeat = '100ms'\n", redis.url());
    let one = Proxy::start(&origin).section(&section).await;
    assert_eq!((body(&one).await, body(&one).await), ("v1".into(), "v1".into()));
    let ready = one.admin().get("/readyz").send().await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("not reached yet"), "{}", ready.text());
    redis.restart().await;
    one.is_synced(true).await;
}

#[tokio::test]
async fn what_one_instance_has_fetched_the_others_read_from_redis() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let big = "x".repeat(100_000);
    origin.set("/a", lasting(&big).header("vary", "accept-language").header("etag", "\"1\""));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    let ask = async |proxy: &Proxy, language: &'static str| {
        proxy.client().get("/a").header("host", "h").header("accept-language", language).send().await
    };
    for (count, language) in [(1, "de"), (2, "en")] {
        assert_eq!(ask(&one, language).await.text(), big);
        one.reaches("l2_fills_total{result=\"stored\"}", count).await;
    }
    for language in ["de", "en"] {
        let answer = ask(&two, language).await;
        assert_eq!((answer.text(), answer.cache_status().hit), (&*big, true), "{language}");
        assert_eq!(answer.header("etag").as_deref(), Some("\"1\""));
    }
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn d11_a_herd_over_eight_instances_costs_one_origin_request() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v"));
    let mut fleet = Vec::new();
    for _ in 0..8 {
        fleet.push(instance(&origin, &redis).await);
    }
    let gate = origin.hold("/a");
    let mut clients = Vec::new();
    for proxy in &fleet {
        for _ in 0..20 {
            clients.push(proxy.client().get("/a").header("host", "h").start().await);
        }
        proxy.answering(20).await;
    }
    gate.arrived(1).await;
    gate.release();
    for client in clients {
        assert_eq!(client.rest().await.unwrap(), "v");
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn a2_a_fetch_that_a_purge_elsewhere_overtakes_is_refused_by_redis() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    let gate = origin.hold("/a");
    let early = one.client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    two.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    origin.set("/a", lasting("v2"));
    gate.release_one();
    early.rest().await.unwrap();
    gate.release();
    assert_eq!((body(&two).await, body(&one).await), ("v2".into(), "v2".into()));
}

#[tokio::test]
async fn d2_an_uncacheable_response_frees_the_lease_at_once_and_nobody_queues() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on("/a", |r| r.header("cache-control", "no-store").body("mine"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    let gate = origin.hold("/a");
    let first = one.client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    let second = two.client().get("/a").header("host", "h").start().await;
    two.answering(1).await;
    gate.release_one();
    assert_eq!(first.rest().await.unwrap(), "mine");
    // The lease would last for ten seconds more.
    gate.arrived(2).await;
    gate.release();
    assert_eq!(second.rest().await.unwrap(), "mine");
}

#[tokio::test]
async fn damaged_and_foreign_values_are_misses() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    one.reaches("l2_fills_total{result=\"stored\"}", 1).await;
    let keys = redis.ask("KEYS *:v:-").await;
    let key = keys.lines().last().unwrap().to_owned();
    for commands in [
        &["SET K nonsense PX 60000"][..],
        &["SET K nonsense"],
        &["DEL K", "LPUSH K a"],
        // A bit of the body or of the metadata, and the end.
        &["SETRANGE K 60 ~"],
        &["APPEND K x"],
    ] {
        for command in commands {
            redis.ask(&command.replace('K', &key)).await;
        }
        let command = commands[0];
        let fresh = instance(&origin, &redis).await;
        let before = origin.hits("/a");
        assert_eq!(body(&fresh).await, "v1", "{command}");
        assert_eq!(origin.hits("/a"), before + 1, "{command}");
        fresh.reaches("l2_fills_total{result=\"stored\"}", 1).await;
    }
}

#[tokio::test]
async fn g1_a_frozen_redis_costs_a_miss_no_more_than_its_budget() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on_request("/", |_| lasting("v"));
    let section = format!("[redis]\nurl = '{}'\n[invalidation]\nheartbeat = '100ms'\n", redis.url());
    let one = Proxy::start(&origin).section(&section).await;
    one.is_synced(true).await;
    redis.freeze();
    for i in 0..30 {
        let answer = one.client().get(&format!("/?{i}")).send().await;
        assert_eq!(answer.status, 200);
    }
    redis.thaw();
    one.is_synced(true).await;
}

#[tokio::test]
async fn c1_what_redis_keeps_for_200_ms_more_is_fresh_here_for_200_ms_more() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&one).await, "v1");
    one.reaches("l2_fills_total{result=\"stored\"}", 1).await;
    let key = redis.ask("KEYS *:v:-").await.lines().last().unwrap().to_owned();
    // After its ten minutes it is kept for an hour, to be validated. What runs out here is the clock
    // of Redis; those of the instances stand still.
    redis.ask(&format!("PEXPIRE {key} 3600400")).await;
    let answer = two.client().get("/a").header("host", "h").send().await;
    assert_eq!((answer.text(), answer.cache_status().ttl), ("v1", Some(0)));
    assert_eq!(origin.hits("/a"), 1);
    two.pass(Duration::from_millis(400));
    redis.ask(&format!("PEXPIRE {key} 3600000")).await;
    assert!(!two.client().get("/a").header("host", "h").send().await.cache_status().hit);
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn d1_a_fetch_that_outlives_its_lease_neither_frees_nor_overwrites_what_came_after() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let section = |url: &str| {
        format!("[redis]\nurl = '{url}'\ntimeout = '1s'\nlease = '300ms'\n[invalidation]\nheartbeat = '100ms'\n")
    };
    let mut fleet = Vec::new();
    for _ in 0..3 {
        let proxy = Proxy::start(&origin).section(&section(&redis.url())).await;
        proxy.is_synced(true).await;
        fleet.push(proxy);
    }
    let gate = origin.hold("/a");
    let first = fleet[0].client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    // It waits for the lease to end, and then fetches itself.
    let second = fleet[1].client().get("/a").header("host", "h").start().await;
    gate.arrived(2).await;
    gate.release_one();
    assert_eq!(first.rest().await.unwrap(), "v1");
    fleet[0].reaches("l2_fills_total{result=\"lease-lost\"}", 1).await;
    origin.set("/a", lasting("v2"));
    gate.release();
    second.rest().await.unwrap();
    fleet[1].reaches("l2_fills_total{result=\"stored\"}", 1).await;
    let asked = origin.hits("/a");
    assert_eq!(body(&fleet[2]).await, body(&fleet[1]).await);
    assert_eq!(origin.hits("/a"), asked);
}

#[tokio::test]
async fn a15_a_fill_that_a_hung_redis_executes_late_is_never_served_after_the_purge_has_come_through() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    let gate = origin.hold("/a");
    let first = one.client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    redis.freeze();
    gate.release();
    assert_eq!(first.rest().await.unwrap(), "v1");
    // The fill has timed out here, and sits in the socket there.
    one.reaches("l2_faults_total", 1).await;
    origin.set("/a", lasting("v2"));
    let ask = one.admin().ask("POST", "/purge").header("content-type", "application/json");
    assert_eq!(ask.body(r#"{"url": "http://h/a"}"#).send().await.status, 503);
    redis.thaw();
    two.answers("v2").await;
    assert_eq!((body(&one).await, body(&two).await), ("v2".into(), "v2".into()));
}

#[tokio::test]
async fn b7_instances_are_listed_while_they_live_and_receipts_wait_for_no_one_who_left() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    body(&one).await;
    body(&one).await;
    let list = async || {
        let answer = one.admin().get("/fleet").send().await;
        serde_json::from_str::<Vec<serde_json::Value>>(answer.text()).unwrap()
    };
    one.is_synced(true).await;
    let members = list().await;
    assert_eq!(members.len(), 2, "{members:?}");
    let this = members.iter().find(|member| member["this"] == true).unwrap();
    assert_eq!(
        (&this["hit_ratio"], &this["lag"], &this["version"]),
        (&0.5.into(), &0.into(), &env!("CARGO_PKG_VERSION").into())
    );
    two.stop().await;
    let report = one.purge(r#"{"all": true, "wait": "5s"}"#).await;
    assert_eq!(report["missing"].as_array().unwrap().len(), 0, "{report}");
}

#[tokio::test]
async fn d13_the_holder_of_the_lease_is_killed_and_the_others_go_on_after_a_lease_at_most() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let section = format!(
        "[redis]\nurl = '{}'\ntimeout = '1s'\nlease = '1s'\n[invalidation]\nheartbeat = '100ms'\n",
        redis.url()
    );
    let mut config = ConfigText::for_origin(&origin);
    config.section(&section);
    let mut holder = Millpond::run(&config).await;
    Scrape::until(holder.admin_client(), "invalidation_beats_total", 1).await;
    let one = Proxy::start(&origin).section(&section).await;
    one.is_synced(true).await;
    let gate = origin.hold("/a");
    let _lost = holder.client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    let waiting = one.client().get("/a").header("host", "h").start().await;
    one.answering(1).await;
    let killed = Instant::now();
    holder.process.signal(Signal::SIGKILL);
    holder.process.exited().await;
    gate.arrived(2).await;
    assert!(killed.elapsed() < Duration::from_millis(2_500), "{:?}", killed.elapsed());
    gate.release();
    assert_eq!(waiting.rest().await.unwrap(), "v1");
}
