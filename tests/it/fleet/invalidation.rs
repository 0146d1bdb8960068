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
use tokio::time::Instant;

use super::channel::deaf;
use super::{body, instance, instance_at, lasting, section, stored};

/// A port where nothing listens.
const NOWHERE: u16 = 1;

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
    let asked = origin.hits("/a");
    assert_eq!((body(&one).await, origin.hits("/a")), ("v2".into(), asked), "what was fetched since is stored");
    assert_eq!(body(&two).await, "v1");
    redis.restart().await;
    two.answers("v2").await;
}

#[tokio::test]
async fn a12_an_instance_that_stops_tells_the_others_what_it_owes_them() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (deaf(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    redis.ask("ACL SETUSER default -hincrby").await;
    origin.set("/a", lasting("v2"));
    one.client().ask("POST", "/a").header("host", "h").send().await;
    redis.ask("ACL SETUSER default +hincrby").await;
    one.stop().await;
    two.answers("v2").await;
}

#[tokio::test]
async fn a12_an_instance_that_stops_while_redis_is_away_tells_the_others_what_it_was_about_to_tell() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let wire = Wire::to(redis.port()).await;
    let (one, two) = (instance_at(&origin, &wire.redis_url()).await, instance(&origin, &redis).await);
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    wire.lead_to(NOWHERE);
    origin.set("/a", lasting("v2"));
    one.client().ask("POST", "/a").header("host", "h").send().await;
    tokio::join!(one.stop(), async { wire.lead_to(redis.port()) });
    two.answers("v2").await;
}

#[tokio::test]
async fn a13_what_a_deserted_write_has_changed_is_not_known_when_its_instance_stops_and_counts_as_changed() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!((body(&one).await, body(&two).await), ("v1".into(), "v1".into()));
    let gate = origin.hold("/a");
    let write = one.client().ask("POST", "/a").header("host", "h").start().await;
    gate.arrived(1).await;
    drop(write);
    one.answering(0).await;
    origin.set("/a", lasting("v2"));
    one.stop().await;
    gate.release();
    two.answers("v2").await;
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
    stored(&one, 1).await;
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
    stored(&one, 1).await;
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
    stored(&one, 1).await;
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
    stored(&one, 1).await;
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
        let before = writer.metric("l2_fills_total{result=\"stored\"}").await;
        assert_eq!(body(writer).await, version);
        stored(writer, before + 1).await;
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

#[tokio::test]
async fn after_a_soft_purge_the_whole_fleet_serves_what_is_stale_and_refreshes_it_once() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let reply = |body: &str| lasting(body).header("cache-control", "stale-while-revalidate=600");
    origin.set("/a", reply("v1"));
    let (one, two) = (instance(&origin, &redis).await, instance(&origin, &redis).await);
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    assert_eq!(body(&two).await, "v1");
    one.purge(r#"{"tag": "t", "soft": true, "wait": "5s"}"#).await;
    origin.set("/a", reply("v2"));
    let gate = origin.hold("/a");
    let newcomer = instance(&origin, &redis).await;
    for proxy in [&one, &two, &newcomer] {
        assert_eq!(body(proxy).await, "v1", "nobody waits");
    }
    gate.arrived(1).await;
    gate.release();
    for proxy in [&one, &two, &newcomer] {
        proxy.answers("v2").await;
    }
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn a13_a_write_waits_for_a_hung_redis_no_longer_than_its_budget() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    // The log has five seconds for a command; a client has not.
    let text = section(&redis.url()).replace("timeout = '1s'", "timeout = '50ms'").replace("'100ms'", "'5s'");
    let one = Proxy::start(&origin).section(&text).await;
    one.reaches("invalidation_beats_total", 1).await;
    assert_eq!(body(&one).await, "v1");
    redis.freeze();
    origin.set("/a", lasting("v2"));
    let began = Instant::now();
    let write = one.client().ask("POST", "/a").header("host", "h").send().await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((write.status, body(&one).await), (200, "v2".into()));
}

#[tokio::test]
async fn a_posted_response_is_stored_where_it_passed_unless_another_instance_invalidated_it_meanwhile() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let fleet = super::instances(2, &origin, &redis, "post_fills_get = true").await;
    let posted = || lasting("posted").header("content-location", "/a");
    origin.on_request("/a", move |request| if request.method == "POST" { posted() } else { lasting("got") });
    let gate = origin.hold("/a");
    let post = || fleet[0].client().ask("POST", "/a").header("host", "h").start();
    let overtaken = post().await;
    gate.arrived(1).await;
    fleet[1].purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    gate.release();
    assert_eq!(overtaken.rest().await.unwrap(), "posted");
    assert_eq!(body(&fleet[0]).await, "got");
    let asked = origin.hits("/a");
    assert_eq!(post().await.rest().await.unwrap(), "posted");
    assert_eq!((body(&fleet[0]).await, origin.hits("/a")), ("posted".into(), asked + 1));
    assert_eq!(body(&fleet[1]).await, "got", "it is not shared, and what was is gone");
    fleet[1].purge(r#"{"url": "http://h/a", "wait": "5s"}"#).await;
    assert_eq!(body(&fleet[0]).await, "got");
}
