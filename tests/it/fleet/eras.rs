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

/// What an instance does for this run of the server that knew no more than it does.
async fn vouch_for(redis: &Redis) {
    let vouch = "return redis.call('HSET', KEYS[1], 'run', string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'))";
    assert_eq!(redis.ask(&format!("EVAL \"{vouch}\" 1 millpond:{{log}}:head")).await.trim(), ":0");
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
    vouch_for(&redis).await;
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
    let (old, other) = (deaf(&origin, &redis).await, instance(&origin, &redis).await);
    for url in ["x", "y"] {
        other.purge(&format!("{{\"url\": \"http://h/{url}\", \"wait\": \"5s\"}}")).await;
    }
    other.stop().await;
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

/// Takes the log back to before its first record.
async fn rewind(redis: &Redis) {
    let rewind = "redis.call('DEL', KEYS[1]) return redis.call('HSET', KEYS[2], 'seq', 0)";
    redis.ask(&format!("EVAL \"{rewind}\" 2 millpond:{{log}}:records millpond:{{log}}:head")).await;
}

#[tokio::test]
async fn b4_a_record_that_redis_loses_before_anybody_has_it_is_appended_again() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    // Nobody can look at the log, and everybody can append to it.
    redis.ask("ACL SETUSER default -zrevrange").await;
    one.is_synced(false).await;
    two.is_synced(false).await;
    origin.set("/a", lasting("v2"));
    let before = scripts(&redis).await;
    let (status, report) = try_purge(&one, r#"{"url": "http://h/a"}"#).await;
    assert_eq!((status, &report["seq"]), (202, &1.into()), "{report}");
    assert!(scripts(&redis).await - before < 50, "who cannot look does not try without a pause");
    rewind(&redis).await;
    redis.ask("ACL SETUSER default +zrevrange").await;
    two.answers("v2").await;
    assert_eq!(redis.ask("HGET millpond:{log}:head seq").await.lines().last(), Some("1"));
}

async fn scripts(redis: &Redis) -> u64 {
    let stats = redis.ask("INFO commandstats").await;
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    line.split(',').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn b4_a_counter_that_is_lost_without_its_stream_costs_one_era_and_not_all() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    one.purge(r#"{"url": "http://h/x", "wait": "5s"}"#).await;
    redis.ask("DEL millpond:{log}:head").await;
    let beats = one.metric("invalidation_beats_total").await;
    one.reaches("invalidation_beats_total", beats + 10).await;
    two.is_synced(true).await;
    let era: u64 = redis.ask("HGET millpond:{log}:head era").await.lines().last().unwrap().parse().unwrap();
    assert!(era <= 4, "era {era}");
    origin.set("/a", lasting("v2"));
    let report = one.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    assert_eq!(report["receipts"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(body(&two).await, "v2");
}

#[tokio::test]
async fn a16_a_record_that_is_no_text_counts_for_everything_and_stops_nobody() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    one.purge(r#"{"url": "http://h/x", "wait": "5s"}"#).await;
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    origin.set("/a", lasting("v2"));
    let foreign =
        "redis.call('HINCRBY', KEYS[2], 'seq', 1) return redis.call('XADD', KEYS[1], '2-0', 'r', '1 00 h u \\\\255')";
    let added = redis.ask(&format!("EVAL \"{foreign}\" 2 millpond:{{log}}:records millpond:{{log}}:head")).await;
    assert!(added.contains("2-0"), "{added}");
    one.answers("v2").await;
    two.answers("v2").await;
    let report = one.purge(r#"{"url": "http://h/y", "wait": "5s"}"#).await;
    assert_eq!((&report["era"], &report["seq"]), (&1.into(), &3.into()), "{report}");
}

#[tokio::test]
async fn f16_a_value_of_a_log_that_was_lost_is_never_trusted_again() {
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
    for tag in ["t", "b", "c"] {
        newcomer.purge(&format!("{{\"tag\": \"{tag}\", \"wait\": \"5s\"}}")).await;
    }
    assert_eq!(body(&newcomer).await, "v2", "record 3 of this log is not the one that it was fetched after");
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

/// What a replica of `redis` has that is told to be a master.
async fn replica_of(redis: &Redis) -> Redis {
    let replica = Redis::start().await;
    replica.ask(&format!("REPLICAOF 127.0.0.1 {}", redis.port())).await;
    replica.says("INFO replication", "master_link_status:up").await;
    replica.ask("REPLICAOF NO ONE").await;
    replica
}

#[tokio::test]
async fn b4_what_was_purged_at_a_master_that_was_voted_out_is_purged_when_its_instance_comes_over() {
    let (origin, old) = (Origin::start().await, Redis::start().await);
    let (wire, other) = (Wire::to(old.port()).await, Wire::to(old.port()).await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance_at(&origin, &wire.redis_url()).await, instance_at(&origin, &other.redis_url()).await);
    one.purge(r#"{"url": "http://h/x", "wait": "5s"}"#).await;
    let new = replica_of(&old).await;
    one.purge(r#"{"url": "http://h/y", "wait": "5s"}"#).await;
    // One instance follows the vote, and finds that the new master lacks a record.
    other.lead_to(new.port());
    new.says("HGET millpond:{log}:head era", "2").await;
    two.is_synced(true).await;
    assert_eq!(body(&two).await, "v1");
    origin.set("/a", lasting("v2"));
    let (status, report) = try_purge(&one, r#"{"url": "http://h/a"}"#).await;
    assert_eq!((status, &report["seq"]), (202, &3.into()), "{report}");
    assert_eq!(body(&two).await, "v1", "it cannot know");
    wire.lead_to(new.port());
    two.answers("v2").await;
    // One era for the record that the old master took, and no more.
    one.is_synced(true).await;
    new.says("HGET millpond:{log}:head era", "3").await;
}

#[tokio::test]
async fn b4_an_instance_that_had_applied_nothing_tells_another_log_from_its_own() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    origin.set("/a", lasting("v1"));
    let old = instance_at(&origin, &wire.redis_url()).await;
    assert_eq!(body(&old).await, "v1");
    wire.silence(true);
    let one = instance(&origin, &redis).await;
    origin.set("/a", lasting("v2"));
    try_purge(&one, r#"{"url": "http://h/a"}"#).await;
    one.stop().await;
    // Nobody who could be heard knew of the record that is lost.
    redis.ask("FLUSHALL").await;
    let _new = instance(&origin, &redis).await;
    wire.silence(false);
    old.answers("v2").await;
}

#[tokio::test]
async fn b4_what_redis_remembers_after_a_crash_is_not_trusted_when_nobody_lived_to_tell_what_it_forgot() {
    let (origin, mut redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    redis.ask("SAVE").await;
    origin.set("/a", lasting("v2"));
    one.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    // The machine that both were on.
    one.stop().await;
    redis.kill();
    redis.restore().await;
    let new = instance(&origin, &redis).await;
    assert_eq!(body(&new).await, "v2");
}

#[tokio::test]
async fn a_restart_of_redis_costs_no_era_where_somebody_lived_through_it_and_it_forgot_nothing() {
    let (origin, mut redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    one.purge(r#"{"url": "http://h/x", "wait": "5s"}"#).await;
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    redis.ask("SAVE").await;
    redis.kill();
    redis.restore().await;
    one.is_synced(true).await;
    let new = instance(&origin, &redis).await;
    assert_eq!((body(&one).await, body(&new).await, origin.hits("/a")), ("v1".into(), "v1".into(), 1));
    // Nor does a fleet that starts again while Redis goes on.
    one.stop().await;
    new.stop().await;
    let newer = instance(&origin, &redis).await;
    assert_eq!((body(&newer).await, origin.hits("/a")), ("v1".into(), 1));
}
