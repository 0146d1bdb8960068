//! Who is in the fleet, while Redis is full or silent.

use std::time::Duration;

use futures_util::future::join_all;

use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::soon;
use crate::support::wire::Wire;
use tokio::time::Instant;

use super::{body, instance, instance_at, instance_with, lasting, section, stored};

const FULL: [&str; 2] = ["CONFIG SET maxmemory-policy noeviction", "CONFIG SET maxmemory 1mb"];

/// How often the list of instances was read.
async fn registry_reads(redis: &Redis) -> usize {
    let stats = redis.ask("INFO commandstats").await;
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_hgetall:calls=")).unwrap_or("0,");
    line.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn g1_a_full_redis_forgets_no_instance_and_trusts_no_newcomer() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let text = section(&redis.url()).replace("max_unsynced = '10s'", "max_unsynced = '1s'");
    let (one, two) = (instance_with(&origin, &text).await, instance_with(&origin, &text).await);
    redis.session(&FULL).await;
    // For longer than silent instances are remembered.
    let beats = one.metric("invalidation_beats_total").await;
    let newcomer = Proxy::start(&origin).section(&text).await;
    one.reaches("invalidation_beats_total", beats + 20).await;
    assert_eq!(redis.ask("HLEN millpond:{log}:instances").await.trim(), ":2");
    assert_eq!(newcomer.metric("invalidation_beats_total").await, 0, "nobody would wait for its receipts");
    redis.ask("CONFIG SET maxmemory 0").await;
    one.reaches("invalidation_beats_total", beats + 22).await;
    assert!(redis.ask("HGET millpond:{log}:head calm").await.starts_with("$13"), "time for all to speak");
    newcomer.is_synced(true).await;
    let report = two.purge(r#"{"all": true, "wait": "5s"}"#).await;
    assert_eq!(report["receipts"].as_array().unwrap().len(), 3, "{report}");
}

#[tokio::test]
async fn a12_what_a_full_redis_does_not_take_keeps_nobody_from_what_it_has() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    redis.session(&FULL).await;
    origin.set("/a", lasting("v2"));
    let ask = one.admin().ask("POST", "/purge").header("content-type", "application/json");
    assert_eq!(ask.body(r#"{"url": "http://h/a"}"#).send().await.status, 503);
    one.is_synced(true).await;
    redis.ask("CONFIG SET maxmemory 0").await;
    two.answers("v2").await;
}

#[tokio::test]
async fn g1_a_full_redis_goes_on_answering_with_what_it_has() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.on_request("/", |_| lasting("v"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    let paths: Vec<String> = (0..10).map(|number| format!("/?{number}")).collect();
    for path in &paths {
        assert_eq!(one.client().get(path).header("host", "h").send().await.text(), "v");
    }
    stored(&one, 10).await;
    redis.session(&FULL).await;
    assert!(redis.ask("SET a b").await.contains("OOM"));
    for path in &paths {
        let answer = two.client().get(path).header("host", "h").send().await;
        assert_eq!((answer.text(), answer.cache_status().hit), ("v", true), "{path}");
    }
    assert_eq!(two.metric("l2_faults_total").await, 0);
    redis.ask("CONFIG SET maxmemory 0").await;
}

#[tokio::test]
async fn heartbeats_read_who_takes_part_only_after_somebody_came_or_went() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    let rest = async || {
        for instance in [&one, &two] {
            let beats = instance.metric("invalidation_beats_total").await;
            instance.reaches("invalidation_beats_total", beats + 2).await;
        }
    };
    rest().await;
    let before = registry_reads(&redis).await;
    rest().await;
    assert_eq!(registry_reads(&redis).await, before, "nobody came or went");
    let three = instance(&origin, &redis).await;
    rest().await;
    assert!(registry_reads(&redis).await >= before + 3, "each has read of the newcomer");
    let report = one.purge(r#"{"all": true, "wait": "5s"}"#).await;
    assert_eq!(report["receipts"].as_array().unwrap().len(), 3, "{report}");
    // Nobody could say that the third has left: the list is gone. It is known all the same.
    three.stop().await;
    rest().await;
    redis.ask("DEL millpond:{log}:instances millpond:{log}:seen").await;
    let report = one.purge(r#"{"all": true, "wait": "5s"}"#).await;
    assert_eq!(report["missing"].as_array().unwrap().len(), 0, "{report}");
}

#[tokio::test]
async fn a_crowd_of_purges_that_wait_costs_redis_no_more_looks_than_one() {
    const CROWD: usize = 40;
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    let (one, away) = (instance(&origin, &redis).await, instance_at(&origin, &wire.redis_url()).await);
    wire.silence(true);
    away.is_synced(false).await;
    let before = registry_reads(&redis).await;
    // At once: whoever comes late begins with short pauses again, for all.
    let crowd = (0..CROWD).map(async |number| {
        let order = format!(r#"{{"tag": "{number}", "wait": "1s"}}"#);
        let ask = one.admin().ask("POST", "/purge").header("content-type", "application/json");
        ask.body(order).start().await.rest().await.unwrap();
    });
    join_all(crowd).await;
    // Each for itself would be 20 looks in this time at the least: pauses grow to 50 ms.
    let spent = registry_reads(&redis).await - before;
    assert!(spent < 10 * CROWD, "{spent} looks in a second");
    drop((wire, away));
}

#[tokio::test]
async fn purges_that_wait_for_a_redis_that_hangs_give_up_together() {
    const CROWD: usize = 10;
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    let (one, away) = (instance(&origin, &redis).await, instance_at(&origin, &wire.redis_url()).await);
    wire.silence(true);
    away.is_synced(false).await;
    let mut crowd = Vec::new();
    for number in 0..CROWD {
        let ask = one.admin().ask("POST", "/purge").header("content-type", "application/json");
        crowd.push(ask.body(format!(r#"{{"tag": "{number}", "wait": "2s"}}"#)).start().await);
    }
    one.reaches("invalidation_records", CROWD as u64).await;
    soon("all records in the log", async {
        while !redis.ask("HGET millpond:{log}:head seq").await.contains(&CROWD.to_string()) {}
    })
    .await;
    redis.freeze();
    let frozen = Instant::now();
    for purge in crowd {
        let answer = String::from_utf8_lossy(&purge.rest().await.unwrap()).into_owned();
        assert!(answer.contains("cannot be learnt"), "{answer}");
    }
    // The wait, and one look at Redis.
    assert!(frozen.elapsed() < Duration::from_secs(5), "{:?}", frozen.elapsed());
    redis.thaw();
}

#[tokio::test]
async fn b7_an_instance_that_is_newer_than_the_list_of_all_does_not_say_that_all_have_applied() {
    let (origin, mut redis) = (Origin::start().await, Redis::start().await);
    let slow = section(&redis.url()).replace("heartbeat = '100ms'", "heartbeat = '1s'");
    let one = Proxy::start(&origin).section(&slow).await;
    one.reaches("invalidation_beats_total", 1).await;
    redis.kill();
    redis.restart().await;
    let newcomer = Proxy::start(&origin).section(&slow).await;
    newcomer.reaches("invalidation_beats_total", 1).await;
    let ask = newcomer.admin().ask("POST", "/purge").header("content-type", "application/json");
    let answer = ask.body(r#"{"all": true}"#).send().await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let report = newcomer.purge(r#"{"all": true, "wait": "8s"}"#).await;
    assert_eq!(report["receipts"].as_array().unwrap().len(), 2, "{report}");
}

#[tokio::test]
async fn g7_an_instance_that_fell_silent_is_waited_for_no_longer_than_it_may_trust_what_it_knew() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    let quick = |url: &str| section(url).replace("max_unsynced = '10s'", "max_unsynced = '2s'");
    let one = instance_with(&origin, &quick(&redis.url())).await;
    let away = instance_with(&origin, &quick(&wire.redis_url())).await;
    wire.silence(true);
    let silent = Instant::now();
    let report = one.purge(r#"{"all": true, "wait": "8s"}"#).await;
    assert_eq!(report["receipts"].as_array().unwrap().len(), 1, "{report}");
    assert!(silent.elapsed() < Duration::from_millis(3500), "{:?}", silent.elapsed());
    drop(away);
}

#[tokio::test]
async fn a8_a_redis_whose_clock_is_set_back_keeps_nobody_from_the_log() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    // As it would be found after that: the list of instances began an hour from now.
    redis.ask("HINCRBY millpond:{log}:head since 3600000").await;
    one.is_synced(true).await;
    origin.set("/a", lasting("v2"));
    let report = one.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    assert_eq!(report["receipts"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(body(&two).await, "v2");
}
