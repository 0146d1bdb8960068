//! A Redis that loses writes, and numbers that are used twice.

use std::time::Duration;

use serde_json::Value;

use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::wire::Wire;

use super::channel::deaf;
use super::{body, instance, instance_at, instance_with, lasting, section, stored};

/// Purges whatever comes of it, and returns status and report.
async fn try_purge(proxy: &Proxy, order: &str) -> (u16, Value) {
    let ask = proxy.admin().ask("POST", "/purge").header("content-type", "application/json");
    let answer = ask.body(order.to_owned()).send().await;
    (answer.status, serde_json::from_str(answer.text()).unwrap_or_default())
}

#[tokio::test]
async fn b4_a_number_that_was_used_twice_is_nobodys_receipt_and_ends_the_era() {
    let (origin, mut redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    origin.set("/a", lasting("v1"));
    let old = instance_at(&origin, &wire.redis_url()).await;
    old.purge(r#"{"url": "http://h/x", "wait": "5s"}"#).await;
    redis.ask("SAVE").await;
    old.purge(r#"{"url": "http://h/y", "wait": "5s"}"#).await;
    assert_eq!(body(&old).await, "v1");
    // A replica that was behind takes over: the second purge is lost, and whoever knew of it is away.
    wire.silence(true);
    redis.kill();
    redis.restore().await;
    let new = instance(&origin, &redis).await;
    origin.set("/a", lasting("v2"));
    let (status, report) = try_purge(&new, r#"{"url": "http://h/a", "wait": "300ms"}"#).await;
    assert_eq!((status, &report["seq"]), (202, &2.into()), "{report}");
    assert_eq!(report["missing"].as_array().unwrap().len(), 1, "the old one has applied another record 2: {report}");
    // More records than it knew of: by numbers alone it would be one that lags behind.
    try_purge(&new, r#"{"url": "http://h/z"}"#).await;
    wire.silence(false);
    old.answers("v2").await;
    old.is_synced(true).await;
    let report = old.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    assert_eq!((&report["era"], report["receipts"].as_array().unwrap().len()), (&2.into(), 2), "{report}");
}

#[tokio::test]
async fn b4_a_message_with_the_next_number_of_another_log_is_not_taken_for_the_next_record() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let old = deaf(&origin, &redis).await;
    old.purge(r#"{"url": "http://h/x", "wait": "5s"}"#).await;
    old.purge(r#"{"url": "http://h/y", "wait": "5s"}"#).await;
    assert_eq!(body(&old).await, "v1");
    // The second record is lost, without a connection that breaks.
    let losing = "local first = redis.call('XRANGE', KEYS[1], '1-0', '1-0')[1][2][2] redis.call('DEL', KEYS[1]) \
                redis.call('XADD', KEYS[1], '1-0', 'r', first) return redis.call('HSET', KEYS[2], 'seq', 1)";
    let lost = redis.ask(&format!("EVAL \"{losing}\" 2 millpond:{{log}}:records millpond:{{log}}:head")).await;
    assert_eq!(lost.trim(), ":0");
    let new = instance(&origin, &redis).await;
    origin.set("/a", lasting("v2"));
    try_purge(&new, r#"{"url": "http://h/a"}"#).await;
    try_purge(&new, r#"{"url": "http://h/z"}"#).await;
    old.answers("v2").await;
}

#[tokio::test]
async fn b4_a_record_that_redis_loses_before_anybody_has_it_is_appended_again() {
    let (origin, mut redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    origin.set("/a", lasting("v1"));
    let one = instance_at(&origin, &wire.redis_url()).await;
    let two = instance(&origin, &redis).await;
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    redis.ask("SAVE").await;
    origin.set("/a", lasting("v2"));
    try_purge(&one, r#"{"url": "http://h/a"}"#).await;
    redis.kill();
    redis.restore().await;
    two.answers("v2").await;
    one.answers("v2").await;
}

#[tokio::test]
async fn f16_a_value_from_further_on_in_the_log_than_it_goes_is_not_trusted() {
    let (origin, mut redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    for _ in 0..3 {
        one.purge(r#"{"url": "http://h/x", "wait": "5s"}"#).await;
    }
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    one.stop().await;
    // The log is lost, and begins anew with the first era; the values are not.
    redis.ask("DEL millpond:{log}:head millpond:{log}:records").await;
    redis.ask("SAVE").await;
    redis.kill();
    redis.restore().await;
    let newcomer = instance(&origin, &redis).await;
    origin.set("/a", lasting("v2"));
    newcomer.purge(r#"{"tag": "t", "wait": "5s"}"#).await;
    assert_eq!(body(&newcomer).await, "v2", "record 1 of this log came after what was fetched at 3 of another");
}

#[tokio::test]
async fn a_log_that_cannot_count_further_eras_is_not_trusted() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let text = section(&redis.url()).replace("max_unsynced = '10s'", "max_unsynced = '2s'");
    let one = instance_with(&origin, &text).await;
    assert_eq!(body(&one).await, "v1");
    redis.ask("HSET millpond:{log}:head era 16384").await;
    one.is_synced(false).await;
    one.pass(Duration::from_secs(3));
    origin.set("/a", lasting("v2"));
    assert_eq!(body(&one).await, "v2");
}
