//! Traps D4 to D16: one fetch for many clients, and nobody left behind.

use std::time::Duration;

use super::support::client::herd;
use super::support::origin::Origin;
use super::support::proxy::Proxy;
use super::support::soon;

const MAX_AGE: (&str, &str) = ("cache-control", "max-age=60");

#[tokio::test]
async fn d4_the_origin_never_answers_and_the_slot_is_free_at_the_deadline() {
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header(MAX_AGE.0, MAX_AGE.1).body("late"));
    let gate = origin.hold("/a");
    let proxy = Proxy::start(&origin).origin("first_byte_timeout = '200ms'").await;
    let answer = proxy.client().get("/a").send().await;
    assert_eq!((answer.status, answer.cache_status().detail.as_deref()), (504, Some("first-byte-timeout")));
    assert_eq!(
        answer.header("proxy-status").as_deref(),
        Some("Millpond; error=http_response_timeout; details=\"first-byte-timeout\"")
    );
    gate.release();
    assert_eq!(proxy.client().get("/a").send().await.text(), "late");
}

#[tokio::test]
async fn d5_the_leaders_client_leaves_mid_body_and_fifty_followers_get_whole_bodies() {
    let origin = Origin::start().await;
    let stream = origin.stream("/a", |r| r.header(MAX_AGE.0, MAX_AGE.1));
    let proxy = Proxy::start(&origin).await;
    let mut leader = proxy.client().start("/a").await;
    stream.requested(1).await;
    stream.send("one ");
    leader.expect("one ").await;
    let mut followers = Vec::new();
    for _ in 0..50 {
        let mut follower = proxy.client().start("/a").await;
        follower.expect("one ").await;
        followers.push(follower);
    }
    drop(leader);
    stream.send("two");
    stream.finish();
    for follower in followers {
        assert_eq!(soon("a whole body", follower.rest()).await.unwrap(), "two");
    }
    assert_eq!(origin.hits("/a"), 1);
    assert!(proxy.client().get("/a").send().await.cache_status().hit);
}

#[tokio::test]
async fn d5_an_uncacheable_fetch_is_abandoned_when_its_only_client_leaves() {
    let origin = Origin::start().await;
    let stream = origin.stream("/a", |r| r.header("cache-control", "no-store"));
    let proxy = Proxy::start(&origin).await;
    let mut client = proxy.client().start("/a").await;
    stream.requested(1).await;
    stream.send("one");
    client.expect("one").await;
    drop(client);
    stream.deserted(1).await;
}

#[tokio::test]
async fn d7_uncacheable_requests_are_not_serialised_in_this_burst_nor_the_next() {
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header("cache-control", "no-store").body("mine"));
    let proxy = Proxy::start(&origin).await;
    for burst in 1..=2 {
        let gate = origin.hold("/a");
        let client = proxy.client();
        let clients = tokio::spawn(async move { herd(100, || client.get("/a")).await });
        // In the first burst one fetch finds out; from then on all hundred are at the origin at once.
        if burst == 1 {
            gate.arrived(1).await;
            gate.release_one();
            gate.arrived(99).await;
        } else {
            gate.arrived(100).await;
        }
        gate.release();
        clients.await.unwrap().all_got(200, "mine");
    }
    assert_eq!(origin.hits("/a"), 200);
}

#[tokio::test]
async fn d7_one_later_cacheable_answer_ends_the_marker_and_so_does_time() {
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header("cache-control", "no-store").body("v1"));
    let proxy = Proxy::start(&origin).await;
    proxy.client().get("/a").send().await;
    origin.on("/a", |r| r.header(MAX_AGE.0, MAX_AGE.1).body("v2"));
    let marked = proxy.client().get("/a").send().await;
    assert_eq!((marked.text(), marked.cache_status().fwd.as_deref()), ("v2", Some("bypass")));
    assert!(proxy.client().get("/a").send().await.cache_status().hit);

    origin.on("/b", |r| r.header("cache-control", "no-store"));
    proxy.client().get("/b").send().await;
    assert_eq!(proxy.client().get("/b").send().await.cache_status().fwd.as_deref(), Some("bypass"));
    proxy.pass(Duration::from_secs(11));
    assert_eq!(proxy.client().get("/b").send().await.cache_status().fwd.as_deref(), Some("uri-miss"));
}

#[tokio::test]
async fn d8_a_follower_never_sees_a_response_that_is_not_for_it() {
    for (field, value) in [("cache-control", "private, max-age=60"), ("set-cookie", "session=of-a"), ("vary", "*")] {
        let origin = Origin::start().await;
        origin.on_request("/a", move |request| {
            let user = request.header("x-user").unwrap_or_default();
            super::support::origin::Reply::ok().header(MAX_AGE.0, MAX_AGE.1).header(field, value).body(user)
        });
        let proxy = Proxy::start(&origin).await;
        let gate = origin.hold("/a");
        let ask = |user: &str| proxy.client().get("/a").header("x-user", user).start();
        let (a, b) = (ask("a").await, ask("b").await);
        gate.arrived(1).await;
        gate.release();
        assert_eq!(a.rest().await.unwrap(), "a", "{field}");
        assert_eq!(b.rest().await.unwrap(), "b", "{field}");
        assert_eq!(origin.hits("/a"), 2);
    }
}

#[tokio::test]
async fn d8_a_follower_whose_variant_differs_gets_its_own() {
    let origin = Origin::start().await;
    origin.on_request("/a", |request| {
        let language = request.header("accept-language").unwrap_or_default();
        super::support::origin::Reply::ok()
            .header(MAX_AGE.0, MAX_AGE.1)
            .header("vary", "accept-language")
            .body(language)
    });
    let proxy = Proxy::start(&origin).await;
    let gate = origin.hold("/a");
    let ask = |language: &str| proxy.client().get("/a").header("accept-language", language).start();
    let mut clients = Vec::new();
    for language in ["de", "en", "de", "en", "fr"] {
        clients.push((language, ask(language).await));
    }
    gate.arrived(1).await;
    gate.release();
    for (language, client) in clients {
        assert_eq!(client.rest().await.unwrap(), language);
    }
    assert_eq!(origin.hits("/a"), 3, "one fetch for each variant");
    for language in ["de", "en", "fr"] {
        let answer = proxy.client().get("/a").header("accept-language", language).send().await;
        assert!(answer.cache_status().hit && answer.text() == language, "{language}");
    }
}

#[tokio::test]
async fn d9_a_hundred_followers_of_a_failed_fetch_are_answered_by_one_attempt() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).await;
    for (path, status) in [("/reset", 502), ("/error", 500)] {
        origin.on("/error", |r| r.status(500).body("broken"));
        origin.raw("/reset", super::support::origin::RawScript::reset);
        let gate = origin.hold(path);
        let client = proxy.client();
        let clients = tokio::spawn(async move { herd(100, || client.get(path)).await });
        gate.arrived(1).await;
        proxy.followers(99).await;
        gate.release();
        let herd = clients.await.unwrap();
        assert_eq!(herd.answers.len(), 100);
        assert!(herd.answers.iter().all(|answer| answer.status == status), "{path}");
        assert_eq!(origin.hits(path), 1, "{path}");
    }
}

#[tokio::test]
async fn d12_a_follower_that_does_not_read_slows_nobody_and_is_cut_off() {
    const BODY: usize = 24 << 20;
    let origin = Origin::start().await;
    let stream = origin.stream("/big", |r| r.header(MAX_AGE.0, MAX_AGE.1));
    let proxy = Proxy::start(&origin).cache("max_object_size = '1MiB'").await;
    let mut quick = proxy.client().start("/big").await;
    stream.requested(1).await;
    stream.send("x");
    quick.expect("x").await;
    let mut slow = proxy.client().get("/big").small_buffer().start().await;
    slow.expect("x").await;
    let chunk = "y".repeat(64 << 10);
    for _ in 0..BODY / chunk.len() {
        stream.send(chunk.clone());
        quick.expect(&chunk).await;
    }
    stream.finish();
    assert_eq!(soon("the quick client", quick.rest()).await.unwrap(), "");
    assert!(slow.rest().await.is_err(), "the slow one is cut off, not ended cleanly");
    assert_eq!(origin.hits("/big"), 1);
}

#[tokio::test]
async fn d14_followers_get_the_first_byte_when_the_origin_sends_it() {
    let origin = Origin::start().await;
    let stream = origin.stream("/a", |r| r.header(MAX_AGE.0, MAX_AGE.1));
    let proxy = Proxy::start(&origin).await;
    let mut leader = proxy.client().start("/a").await;
    stream.requested(1).await;
    let mut follower = proxy.client().start("/a").await;
    stream.send("first");
    leader.expect("first").await;
    follower.expect("first").await;
    stream.send("last");
    stream.finish();
    assert_eq!(leader.rest().await.unwrap(), "last");
    assert_eq!(follower.rest().await.unwrap(), "last");
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn d15_a_fetch_that_breaks_mid_body_ends_cleanly_for_nobody_and_stores_nothing() {
    let origin = Origin::start().await;
    let stream = origin.stream("/a", |r| r.header(MAX_AGE.0, MAX_AGE.1));
    let proxy = Proxy::start(&origin).await;
    let mut leader = proxy.client().start("/a").await;
    stream.requested(1).await;
    stream.send("half");
    leader.expect("half").await;
    let mut follower = proxy.client().start("/a").await;
    follower.expect("half").await;
    stream.abort();
    assert!(leader.rest().await.is_err());
    assert!(follower.rest().await.is_err());
    origin.on("/a", |r| r.header(MAX_AGE.0, MAX_AGE.1).body("whole"));
    let answer = proxy.client().get("/a").send().await;
    assert_eq!((answer.text(), answer.cache_status().hit), ("whole", false));
    assert_eq!(proxy.metric("not_stored_total{reason=\"incomplete\",route=\"all\"}").await, 1);
}

#[tokio::test]
async fn without_coalescing_each_client_asks_the_origin() {
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header(MAX_AGE.0, MAX_AGE.1).body("v"));
    let proxy = Proxy::start(&origin).cache("coalesce = false").await;
    let gate = origin.hold("/a");
    let client = proxy.client();
    let clients = tokio::spawn(async move { herd(10, || client.get("/a")).await });
    gate.arrived(10).await;
    gate.release();
    clients.await.unwrap().all_got(200, "v");
    assert!(proxy.client().get("/a").send().await.cache_status().hit);
}

#[tokio::test]
async fn a_follower_goes_itself_when_its_wait_is_over() {
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header(MAX_AGE.0, MAX_AGE.1).body("v"));
    let proxy = Proxy::start(&origin).cache("coalesce_wait = '50ms'").await;
    let gate = origin.hold("/a");
    let leader = proxy.client().start("/a").await;
    gate.arrived(1).await;
    let follower = proxy.client().start("/a").await;
    gate.arrived(2).await;
    gate.release();
    assert_eq!(leader.rest().await.unwrap(), "v");
    assert_eq!(follower.rest().await.unwrap(), "v");
}
