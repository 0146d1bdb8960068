//! Traps C1 to C4 and everything about refreshing: lifetimes on a clock that cannot jump.

use std::collections::BTreeMap;
use std::time::Duration;

use super::support::client::herd;
use super::support::origin::{Origin, Reply};
use super::support::proxy::Proxy;

const SECOND: Duration = Duration::from_secs(1);

fn lasting(seconds: u32, body: &str) -> Reply {
    Reply::ok().header("cache-control", &format!("max-age={seconds}")).body(body.to_owned())
}

#[tokio::test]
async fn c1_what_arrives_with_little_life_left_is_dropped_when_that_ends() {
    let origin = Origin::start().await;
    origin.set("/a", lasting(60, "v").header("age", "59"));
    let proxy = Proxy::start(&origin).cache("jitter = 0.0, early_refresh = 0.0").await;
    proxy.client().get("/a").send().await;
    proxy.pass(Duration::from_millis(800));
    assert!(proxy.client().get("/a").send().await.cache_status().hit);
    proxy.pass(Duration::from_millis(200));
    assert!(!proxy.client().get("/a").send().await.cache_status().hit);
}

#[tokio::test]
async fn c2_jitter_is_drawn_once_and_only_shortens() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).cache("jitter = 0.5, early_refresh = 0.0").await;
    for i in 0..50 {
        let path = format!("/{i}");
        origin.set(&path, lasting(1000, "v"));
        proxy.client().get(&path).send().await;
        let ttl = async || proxy.client().get(&path).send().await.cache_status().ttl.unwrap();
        let first = ttl().await;
        assert!((499..=1000).contains(&first), "{first}");
        assert!((ttl().await - first).abs() <= 1, "drawn once");
        let answer = proxy.client().get(&path).send().await;
        assert!(answer.cache_status().hit && answer.age().unwrap() <= 1000);
    }
}

#[tokio::test]
async fn c3_lifetimes_hold_when_the_wall_clock_jumps_an_hour_either_way() {
    for hour in [3_600_000, -3_600_000] {
        let origin = Origin::start().await;
        origin.set("/a", lasting(60, "v"));
        let proxy = Proxy::start(&origin).cache("jitter = 0.0, early_refresh = 0.0").await;
        proxy.client().get("/a").send().await;
        proxy.clock.jump_wall(hour);
        let answer = proxy.client().get("/a").send().await;
        assert!(answer.cache_status().hit && answer.age().unwrap() <= 1, "{hour}");
        proxy.pass(61 * SECOND);
        assert!(!proxy.client().get("/a").send().await.cache_status().hit, "{hour}");
    }
}

#[tokio::test]
async fn c4_entries_stored_in_one_second_expire_evenly_over_the_jitter_window() {
    const KEYS: usize = 2000;
    let origin = Origin::start().await;
    origin.on_request("/k", |_| lasting(1000, "v"));
    let proxy = Proxy::start(&origin).cache("jitter = 0.5, early_refresh = 0.0").await;
    let mut connection = proxy.client().connect().await;
    let mut tenths: BTreeMap<i64, usize> = BTreeMap::new();
    for i in 0..KEYS {
        connection.get(&format!("/k?{i}")).await;
        let ttl = connection.get(&format!("/k?{i}")).await.cache_status().ttl.unwrap();
        *tenths.entry((ttl - 500) / 50).or_default() += 1;
    }
    // Ten equal parts of the window with 200 keys each on average; six standard deviations are 80.
    for tenth in 0..10 {
        let keys = tenths.get(&tenth).copied().unwrap_or_default();
        assert!((120..=280).contains(&keys), "{tenths:?}");
    }
}

#[tokio::test]
async fn d10_while_a_refresh_runs_every_stale_hit_returns_at_once() {
    let origin = Origin::start().await;
    origin.set("/a", lasting(60, "v1"));
    let proxy = Proxy::start(&origin).cache("stale_while_revalidate = '1h'").await;
    proxy.client().get("/a").send().await;
    proxy.pass(61 * SECOND);
    let gate = origin.hold("/a");
    let client = proxy.client();
    // The refresh is held at the origin all the time, so whoever waited for it would never end.
    herd(200, || client.get("/a")).await.all_got(200, "v1");
    gate.arrived(1).await;
    origin.set("/a", lasting(60, "v2"));
    gate.release();
    proxy.refreshed("replaced", 1).await;
    assert_eq!(proxy.client().get("/a").send().await.text(), "v2");
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn a_hot_key_is_refreshed_before_it_expires() {
    let origin = Origin::start().await;
    origin.set("/a", lasting(60, "v1"));
    let proxy = Proxy::start(&origin).cache("jitter = 0.0, early_refresh = 10.0").await;
    let gate = origin.hold("/a");
    let first = proxy.client().start("/a").await;
    gate.arrived(1).await;
    proxy.pass(Duration::from_millis(300));
    gate.release();
    first.rest().await.unwrap();
    // 1.7 s before the end of what took 0.3 s to fetch, times ten: every other hit draws a refresh.
    proxy.pass(Duration::from_secs(58));
    let mut connection = proxy.client().connect().await;
    for _ in 0..200 {
        assert!(connection.get("/a").await.cache_status().hit, "nobody waits");
        if origin.hits("/a") == 2 {
            return proxy.refreshed("replaced", 1).await;
        }
    }
    panic!("no early refresh in 200 hits");
}

#[tokio::test]
async fn a_failed_refresh_keeps_the_stale_copy_and_pauses_for_a_second() {
    let origin = Origin::start().await;
    origin.set("/a", lasting(60, "v1"));
    let proxy = Proxy::start(&origin).cache("stale_while_revalidate = '1h', stale_if_error = '1h'").await;
    proxy.client().get("/a").send().await;
    proxy.pass(61 * SECOND);
    origin.fail("/a", 503);
    let text = async || proxy.client().get("/a").send().await.text().to_owned();
    assert_eq!(text().await, "v1");
    proxy.refreshed("failed", 1).await;
    for _ in 0..10 {
        assert_eq!(text().await, "v1");
    }
    assert_eq!(origin.hits("/a"), 2, "the origin is left alone for a second");
    proxy.pass(2 * SECOND);
    assert_eq!(text().await, "v1");
    proxy.refreshed("failed", 2).await;
}

#[tokio::test]
async fn a_stale_response_stands_in_for_a_failed_origin_within_its_window_only() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).cache("stale_if_error = '10m', jitter = 0.0").await;
    for (path, strict) in [("/a", ""), ("/b", ", must-revalidate")] {
        origin.on(path, |r| r.header("cache-control", &format!("max-age=60{strict}")).body("old"));
        proxy.client().get(path).send().await;
    }
    proxy.pass(61 * SECOND);
    origin.refuse().await;
    let stale = proxy.client().get("/a").send().await;
    assert_eq!((stale.status, stale.text()), (200, "old"));
    assert_eq!(stale.cache_status().detail.as_deref(), Some("connect"));
    assert_eq!(proxy.client().get("/b").send().await.status, 502, "must-revalidate is never stale");
    proxy.pass(600 * SECOND);
    assert_eq!(proxy.client().get("/a").send().await.status, 502, "the window is over");
}

#[tokio::test]
async fn a_confirmed_response_lives_on_with_new_fields_and_the_old_body() {
    let origin = Origin::start().await;
    origin.on("/a", |r| {
        r.header("cache-control", "max-age=60").header("etag", "\"1\"").header("x-v", "1").body("body").validates()
    });
    let proxy = Proxy::start(&origin).await;
    proxy.client().get("/a").send().await;
    proxy.pass(61 * SECOND);
    origin.on("/a", |r| {
        r.header("cache-control", "max-age=60").header("etag", "\"1\"").header("x-v", "2").body("body").validates()
    });
    let confirmed = proxy.client().get("/a").send().await;
    assert_eq!((confirmed.status, confirmed.text(), confirmed.cache_status().fwd_status), (200, "body", Some(304)));
    assert_eq!(confirmed.header("x-v").as_deref(), Some("2"));
    assert_eq!(origin.last("/a").header("if-none-match").as_deref(), Some("\"1\""));
    assert!(proxy.client().get("/a").send().await.cache_status().hit);
}

#[tokio::test]
async fn refreshes_beyond_their_bound_are_dropped_and_counted() {
    let origin = Origin::start().await;
    for path in ["/a", "/b"] {
        origin.set(path, lasting(60, "v"));
    }
    let proxy =
        Proxy::start(&origin).cache("stale_while_revalidate = '1h'").section("[cache]\nmax_refreshes = 1\n").await;
    for path in ["/a", "/b"] {
        proxy.client().get(path).send().await;
    }
    proxy.pass(61 * SECOND);
    let gate = origin.hold("/a");
    proxy.client().get("/a").send().await;
    gate.arrived(1).await;
    assert_eq!(proxy.client().get("/b").send().await.text(), "v");
    proxy.refreshed("dropped", 1).await;
    gate.release();
    proxy.refreshed("replaced", 1).await;
    assert_eq!(origin.hits("/b"), 1);
}

#[tokio::test]
async fn missing_resources_and_listed_statuses_have_lifetimes_of_their_own() {
    let origin = Origin::start().await;
    origin.fail("/gone", 404);
    origin.fail("/down", 503);
    let rules = "ttl = '1h', negative_ttl = '10s', ttl_by_status = { 503 = '2s' }, jitter = 0.0, early_refresh = 0.0";
    let proxy = Proxy::start(&origin).cache(rules).await;
    for (path, status, seconds) in [("/gone", 404, 10), ("/down", 503, 2)] {
        proxy.client().get(path).send().await;
        let stored = proxy.client().get(path).send().await;
        assert!(stored.status == status && stored.cache_status().hit, "{path}");
        proxy.pass(seconds * SECOND);
        assert!(!proxy.client().get(path).send().await.cache_status().hit, "{path}");
    }
}
