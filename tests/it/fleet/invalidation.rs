//! Purges and writes over several instances, and a channel that fails them.

use std::time::Duration;

use crate::support::binary::Millpond;
use crate::support::config::ConfigText;
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::soon;
use crate::support::wire::Wire;
use nix::sys::signal::Signal;

use super::{body, instance, instance_at, lasting, section};

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
async fn a15_a_fill_that_a_hung_redis_executes_late_is_never_served_after_the_purge_has_come_through() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    // Redis knows the script from now on, so that it needs no second word to execute the fill.
    origin.set("/b", lasting("b"));
    assert_eq!(one.client().get("/b").send().await.text(), "b");
    one.reaches("l2_fills_total{result=\"stored\"}", 1).await;
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
    redis.says("KEYS *:v:-", "*2").await;
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
async fn a3_a_value_that_outlives_its_purge_in_redis_comes_back_nowhere() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    one.reaches("l2_fills_total{result=\"stored\"}", 1).await;
    let key = redis.keys("*:v:-").await.remove(0);
    redis.ask(&format!("COPY {key} kept")).await;
    origin.set("/a", lasting("v2"));
    one.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    // As if the delete were still on its way, and a reader came first.
    redis.ask(&format!("COPY kept {key} REPLACE")).await;
    assert_eq!((body(&two).await, body(&one).await), ("v2".into(), "v2".into()));
}

#[tokio::test]
async fn a18_an_instance_that_starts_before_the_delete_reads_the_old_value_and_never_serves_it() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    one.reaches("l2_fills_total{result=\"stored\"}", 1).await;
    origin.set("/a", lasting("v2"));
    // A purge by tag deletes nothing in Redis: what stands there stays for whoever comes.
    one.purge(r#"{"tag": "t", "wait": "5s"}"#).await;
    let newcomer = instance(&origin, &redis).await;
    assert_eq!(body(&newcomer).await, "v2");
}

#[tokio::test]
async fn a4_an_invalidation_that_overtakes_the_reply_of_redis_counts() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let wire = Wire::to(redis.port()).await;
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    one.reaches("l2_fills_total{result=\"stored\"}", 1).await;
    let text = section(&wire.redis_url()).replace("timeout = '1s'", "timeout = '5s'");
    let slow = Proxy::start(&origin).section(&text).await;
    slow.is_synced(true).await;
    wire.delay(Duration::from_millis(300));
    let early = slow.client().get("/a").header("host", "h").start().await;
    slow.answering(1).await;
    origin.set("/a", lasting("v2"));
    // It counts there at once, while the value is on its way, and is not in the log yet.
    let purge = slow.admin().ask("POST", "/purge").header("content-type", "application/json");
    let purge = purge.body(r#"{"url": "http://h/a"}"#).start().await;
    early.rest().await.unwrap();
    assert_eq!(body(&slow).await, "v2");
    purge.rest().await.unwrap();
}

#[tokio::test]
async fn a8_clocks_that_differ_by_a_quarter_of_an_hour_change_nothing() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    two.clock.advance(Duration::from_mins(15));
    two.is_synced(true).await;
    for (version, writer, reader) in [("v2", &one, &two), ("v3", &two, &one)] {
        origin.set("/a", lasting(version));
        writer.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
        let stored = writer.metric("l2_fills_total{result=\"stored\"}").await;
        assert_eq!(body(writer).await, version);
        writer.reaches("l2_fills_total{result=\"stored\"}", stored + 1).await;
        let asked = origin.hits("/a");
        let answer = reader.client().get("/a").header("host", "h").send().await;
        assert_eq!((answer.text(), answer.age(), origin.hits("/a")), (version, Some(0), asked));
    }
}

#[tokio::test]
async fn a9_an_entry_outlives_the_record_of_its_purge_and_stays_invalid() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let text = section(&redis.url()).replace("[invalidation]", "[invalidation]\nmax_records = 10");
    let (one, two) = (Proxy::start(&origin).section(&text).await, Proxy::start(&origin).section(&text).await);
    one.is_synced(true).await;
    two.is_synced(true).await;
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    origin.set("/a", lasting("v2"));
    one.purge(r#"{"tag": "t", "wait": "5s"}"#).await;
    let others: Vec<String> = (0..250).map(|number| format!("\"{number}\"")).collect();
    one.purge(&format!("{{\"tags\": [{}], \"wait\": \"5s\"}}", others.join(","))).await;
    assert!(two.metric("invalidation_records").await <= 10);
    let newcomer = Proxy::start(&origin).section(&text).await;
    newcomer.is_synced(true).await;
    assert_eq!((body(&newcomer).await, body(&two).await), ("v2".into(), "v2".into()));
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
async fn a16_a_record_of_a_later_version_counts_for_everything() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let one = instance(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    origin.set("/a", lasting("v2"));
    redis
        .session(&[
            "HINCRBY millpond:{log}:head seq 1",
            "XADD millpond:{log}:records 1-0 r \"2 what-comes-after-version-1\"",
            "PUBLISH millpond:{log}:channel \"1 1 2 what-comes-after-version-1\"",
        ])
        .await;
    one.answers("v2").await;
}

#[tokio::test]
async fn a17_forged_messages_are_ignored_counted_and_keep_nobody_busy() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&two).await, "v1");
    let huge = format!("PUBLISH millpond:{{log}}:channel \"{}\"", "x".repeat(60_000));
    let ahead = "PUBLISH millpond:{log}:channel \"1 999999999 1 0 h a \"";
    let mut forged = vec!["PUBLISH millpond:{log}:channel nonsense", &huge];
    forged.extend([ahead; 500]);
    let beats = two.metric("invalidation_beats_total").await;
    redis.session(&forged).await;
    two.reaches("invalidation_ignored_messages_total", 400).await;
    assert!(two.metric("invalidation_beats_total").await < beats + 100);
    assert_eq!((body(&two).await, origin.hits("/a")), ("v1".into(), 1), "nothing was invalidated");
    origin.set("/a", lasting("v2"));
    one.purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    assert_eq!(body(&two).await, "v2");
}

#[tokio::test]
async fn b7_namesakes_give_two_receipts() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let text = section(&redis.url()).replace("[invalidation]", "instance = 'twin'\n[invalidation]");
    let (one, two) = (Proxy::start(&origin).section(&text).await, Proxy::start(&origin).section(&text).await);
    one.is_synced(true).await;
    two.is_synced(true).await;
    let report = one.purge(r#"{"all": true, "wait": "5s"}"#).await;
    let receipts = report["receipts"].as_array().unwrap();
    assert_eq!(receipts.len(), 2, "{report}");
    assert!(receipts.iter().all(|receipt| receipt["instance"].as_str().unwrap().starts_with("twin-")), "{report}");
}

#[tokio::test]
async fn g7_a_killed_instance_is_named_by_a_purge_for_as_long_as_it_could_still_serve() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let text = section(&redis.url()).replace("max_unsynced = '10s'", "max_unsynced = '2s'");
    let mut config = ConfigText::for_origin(&origin);
    config.section(&text.replace("[invalidation]", "instance = 'doomed'\n[invalidation]"));
    let mut doomed = Millpond::run(&config).await;
    let one = Proxy::start(&origin).section(&text).await;
    one.is_synced(true).await;
    let purge = async |wait: &str| {
        let ask = one.admin().ask("POST", "/purge").header("content-type", "application/json");
        ask.body(format!("{{\"all\": true, \"wait\": \"{wait}\"}}")).send().await
    };
    soon("two instances", async { while !purge("5s").await.text().contains("doomed-") {} }).await;
    doomed.process.signal(Signal::SIGKILL);
    doomed.process.exited().await;
    let answer = purge("100ms").await;
    let report: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    assert_eq!(answer.status, 202, "{report}");
    assert!(report["missing"][0]["instance"].as_str().unwrap().starts_with("doomed-"), "{report}");
    // Then it asks the origin before it serves anything, if it lives at all.
    let answer = purge("8s").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}
