//! Instances that keep nothing fresh in memory (`cache.max_entries = 0`).

use std::time::Duration;

use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;

use super::lease::age;
use super::{ask_all, body, instance_with, lasting, section, stored};

async fn without_memory(origin: &Origin, redis: &Redis) -> Proxy {
    instance_with(origin, &format!("[cache]\nmax_entries = 0\n{}", section(&redis.url()))).await
}

#[tokio::test]
async fn an_instance_without_memory_answers_from_redis_and_still_asks_once() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1"));
    origin.on("/mine", |r| r.header("cache-control", "no-store").body("mine"));
    let one = without_memory(&origin, &redis).await;
    let gate = origin.hold("/a");
    let clients = ask_all(std::slice::from_ref(&one), 20).await;
    gate.arrived(1).await;
    gate.release();
    for client in clients {
        assert_eq!(client.rest().await.unwrap(), "v1");
    }
    stored(&one, 1).await;
    for _ in 0..3 {
        let answer = one.client().get("/a").header("host", "h").send().await;
        assert_eq!((answer.text(), answer.cache_status().detail.as_deref()), ("v1", Some("l2")));
    }
    assert_eq!((origin.hits("/a"), one.metric("l1_entries").await), (1, 0));
    origin.set("/a", lasting("v2"));
    one.purge(r#"{"tag": "t", "wait": "5s"}"#).await;
    assert_eq!(body(&one).await, "v2");
    // What is uncacheable is remembered, and forgotten when it can be stored after all.
    let mine = async || one.client().get("/mine").header("host", "h").send().await;
    assert_eq!(mine().await.text(), "mine");
    one.reaches("l1_entries", 1).await;
    assert_eq!(mine().await.text(), "mine");
    one.reaches("passed_total{reason=\"hit-for-miss\",route=\"all\"}", 1).await;
    origin.set("/mine", lasting("shared"));
    assert_eq!(mine().await.text(), "shared");
    one.reaches("l1_entries", 0).await;
    assert_eq!(mine().await.text(), "shared");
    stored(&one, 3).await;
    assert!(mine().await.cache_status().hit);
}

#[tokio::test]
async fn without_memory_what_is_stale_answers_everybody_at_once_while_it_is_refreshed() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    let reply = |body: &str| {
        Reply::ok().header("cache-control", "max-age=60, stale-while-revalidate=600").body(body.to_owned())
    };
    origin.set("/a", reply("v1"));
    let one = without_memory(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    age(&redis, 61_000).await;
    origin.set("/a", reply("v2"));
    let gate = origin.hold("/a");
    for _ in 0..3 {
        assert_eq!(body(&one).await, "v1");
    }
    gate.arrived(1).await;
    gate.release();
    one.answers("v2").await;
    assert_eq!((origin.hits("/a"), one.metric("l1_entries").await), (2, 0));
}

#[tokio::test]
async fn without_memory_an_origin_that_failed_is_left_alone_for_a_moment() {
    let (origin, redis) = (Origin::start().await, Redis::start().await);
    origin.set("/a", lasting("v1").header("cache-control", "max-age=60, stale-if-error=600"));
    let one = without_memory(&origin, &redis).await;
    assert_eq!(body(&one).await, "v1");
    stored(&one, 1).await;
    age(&redis, 61_000).await;
    origin.fail("/a", 503);
    for _ in 0..3 {
        assert_eq!(body(&one).await, "v1");
    }
    assert_eq!(origin.hits("/a"), 2);
    one.pass(Duration::from_secs(1));
    assert_eq!((body(&one).await, origin.hits("/a")), ("v1".into(), 3), "then it is asked again");
}
