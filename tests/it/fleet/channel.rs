//! A log whose messages, connections or records are lost.

use std::time::Duration;

use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::wire::Wire;

use super::{body, instance, instance_at, lasting, section, stored};

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
async fn while_the_log_is_out_of_reach_nothing_is_served_unasked_for_longer_than_max_unsynced() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    redis.freeze();
    one.is_synced(false).await;
    let asked = origin.hits("/a");
    one.pass(Duration::from_secs(4));
    assert_eq!((body(&one).await, origin.hits("/a")), ("v1".into(), asked));
    // The end is near: the origin is asked in the background.
    origin.set("/a", lasting("v2"));
    let gate = origin.hold("/a");
    one.pass(Duration::from_millis(5500));
    assert_eq!(body(&one).await, "v1");
    gate.arrived(1).await;
    one.pass(Duration::from_secs(1));
    let waiting = one.client().get("/a").header("host", "h").start().await;
    one.followers(1).await;
    gate.release();
    assert_eq!(waiting.rest().await.unwrap(), "v2");
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
async fn b5_an_instance_that_was_away_while_the_log_was_trimmed_trusts_nothing_from_before() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    origin.set("/a", lasting("v1"));
    let small = |url: &str| section(url).replace("[invalidation]", "[invalidation]\nmax_records = 10");
    let one = Proxy::start(&origin).section(&small(&redis.url())).await;
    let away = Proxy::start(&origin).section(&small(&wire.redis_url())).await;
    one.is_synced(true).await;
    away.is_synced(true).await;
    assert_eq!(body(&away).await, "v1");
    wire.silence(true);
    away.is_synced(false).await;
    origin.set("/a", lasting("v2"));
    let ask = async |order: String| {
        let ask = one.admin().ask("POST", "/purge").header("content-type", "application/json");
        // Not everybody can confirm it.
        assert_eq!(ask.body(order).send().await.status, 202);
    };
    ask(r#"{"tag": "t"}"#.into()).await;
    let others: Vec<String> = (0..250).map(|number| format!("\"{number}\"")).collect();
    ask(format!("{{\"tags\": [{}]}}", others.join(","))).await;
    ask(format!("{{\"tags\": [{}]}}", others.join(","))).await;
    assert!(!redis.ask("XRANGE millpond:{log}:records - + COUNT 1").await.contains("\r\n1-0\r\n"), "it was trimmed");
    wire.silence(false);
    away.is_synced(true).await;
    assert_eq!(body(&away).await, "v2");
}

#[tokio::test]
async fn b2_a_half_open_connection_is_found_by_the_heartbeat_and_not_by_tcp() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance_at(&origin, &wire.redis_url()).await);
    assert_eq!(body(&two).await, "v1");
    origin.set("/a", lasting("v2"));
    wire.half_open();
    let report = one.purge(r#"{"url": "http://h/a", "wait": "8s"}"#).await;
    assert_eq!(report["receipts"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(body(&two).await, "v2");
}

#[tokio::test]
async fn b3_ten_thousand_records_at_once_are_applied_one_and_all() {
    const ORDERS: u64 = 40;
    const TAGS: u64 = 250;
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&two).await, "v1");
    let mut orders = Vec::new();
    for order in 0..ORDERS {
        let tags: Vec<String> = (0..TAGS).map(|number| format!("\"{order}-{number}\"")).collect();
        let ask = one.admin().ask("POST", "/purge").header("content-type", "application/json");
        orders.push(ask.body(format!("{{\"tags\": [{}]}}", tags.join(","))).start().await);
    }
    for order in orders {
        order.rest().await.unwrap();
    }
    origin.set("/a", lasting("v2"));
    let report = one.purge(r#"{"tag": "t", "wait": "8s"}"#).await;
    assert_eq!((&report["era"], &report["seq"]), (&1.into(), &(ORDERS * TAGS + 1).into()));
    assert_eq!(report["receipts"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(two.metric("invalidation_records").await, ORDERS * TAGS + 1, "nothing was skipped or collapsed");
    assert_eq!(body(&two).await, "v2");
}

#[tokio::test]
async fn a17_forged_messages_are_ignored_counted_and_keep_nobody_busy() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&two).await, "v1");
    let huge = format!("PUBLISH millpond:{{log}}:channel \"{}\"", "x".repeat(60_000));
    // The log is empty: its next number is 1.
    let next = "PUBLISH millpond:{log}:channel \"1 1 1 0 h a \"";
    let ahead = "PUBLISH millpond:{log}:channel \"1 999999999\"";
    let another_era = "PUBLISH millpond:{log}:channel \"16384 1\"";
    let mut forged = vec!["PUBLISH millpond:{log}:channel nonsense", &huge];
    forged.extend([[next; 200], [ahead; 200], [another_era; 200]].concat());
    let beats = two.metric("invalidation_beats_total").await;
    redis.session(&forged).await;
    two.reaches("invalidation_ignored_messages_total", 400).await;
    assert!(two.metric("invalidation_beats_total").await < beats + 100);
    assert_eq!((body(&two).await, origin.hits("/a")), ("v1".into(), 1), "nothing was invalidated");
    origin.set("/a", lasting("v2"));
    let report = one.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    assert_eq!((&report["era"], &report["seq"]), (&1.into(), &1.into()), "nobody takes the log for a lost one");
    assert_eq!(body(&two).await, "v2");
}

#[tokio::test]
async fn with_redis_and_the_origin_away_what_is_stored_stands_in() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    redis.freeze();
    one.is_synced(false).await;
    one.pass(Duration::from_secs(11));
    origin.fail("/a", 503);
    let asked = origin.hits("/a");
    assert_eq!((body(&one).await, origin.hits("/a")), ("v1".into(), asked + 1));
}

/// An instance that hears of the log as it starts and for two hours no more, which is as long as it
/// may be out of touch.
pub(super) async fn deaf(origin: &Origin, redis: &Redis) -> Proxy {
    let text = section(&redis.url()).replace("'100ms'", "'1h'").replace("'10s'", "'2h'");
    let proxy = Proxy::start(origin).section(&text).await;
    proxy.reaches("invalidation_beats_total", 1).await;
    proxy
}

fn for_days(body: &str) -> Reply {
    Reply::ok().header("cache-control", "max-age=864000").body(body.to_owned())
}

#[tokio::test]
async fn what_comes_from_redis_is_trusted_no_longer_than_the_log_is_known() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", for_days("v1"));
    let one = instance(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    loop {
        let two = deaf(&origin, &redis).await;
        let beats = two.metric("invalidation_beats_total").await;
        origin.set("/a", for_days("v1"));
        two.pass(Duration::from_mins(50));
        assert_eq!(body(&two).await, "v1");
        two.pass(Duration::from_mins(80));
        origin.set("/a", for_days("v2"));
        if body(&two).await == "v2" {
            return;
        }
        // One that has heard of the log meanwhile shows nothing.
        let heard = two.metric("invalidation_beats_total").await;
        assert_ne!(heard, beats, "nobody has said that the other is still right");
    }
}

#[tokio::test]
async fn trust_in_what_the_origin_said_counts_from_when_it_was_asked() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", for_days("v1"));
    let one = deaf(&origin, &redis).await;
    let gate = origin.hold("/a");
    let slow = one.client().get("/a").header("host", "h").start().await;
    gate.arrived(1).await;
    one.pass(Duration::from_mins(100));
    gate.release();
    assert_eq!(slow.rest().await.unwrap(), "v1");
    one.pass(Duration::from_mins(30));
    origin.set("/a", for_days("v2"));
    assert_eq!(body(&one).await, "v2", "more than two hours ago it may have been right");
}
