//! Requests that change something invalidate what is stored for it (RFC 9111 section 4.4).

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;

use super::{EXACT, ask, get, versions};

fn for_a_minute(reply: Reply) -> Reply {
    reply.header("cache-control", "max-age=60")
}

/// An origin with changing responses at `paths`, each stored in its first version, and the answer
/// to anything but GET.
async fn start(
    cache: &str,
    paths: &[&str],
    write: impl Fn() -> Reply + Send + Sync + Clone + 'static,
) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    for path in paths {
        let write = write.clone();
        let version = AtomicUsize::new(1);
        origin.on_request(path, move |request| {
            if request.method == "GET" {
                for_a_minute(Reply::ok()).body(format!("v{}", version.load(Ordering::SeqCst)))
            } else {
                version.fetch_add(1, Ordering::SeqCst);
                write()
            }
        });
    }
    let proxy = Proxy::start(&origin).cache(&format!("{EXACT}{cache}")).await;
    for path in paths {
        assert_eq!(get(&proxy, path).send().await.text(), "v1");
    }
    (origin, proxy)
}

/// Whether what is stored for `path` was invalidated.
async fn is_gone(origin: &Origin, proxy: &Proxy, path: &str) -> bool {
    let before = origin.hits(path);
    let answer = get(proxy, path).send().await;
    assert_eq!(answer.cache_status().hit, origin.hits(path) == before);
    !answer.cache_status().hit
}

#[tokio::test]
async fn a13_an_unsafe_request_that_succeeds_invalidates_its_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE-LIKE"] {
        for status in [200, 201, 202, 204, 303, 307] {
            let (_origin, proxy) = start("", &["/a"], move || Reply::ok().status(status)).await;
            let changed = ask(&proxy, method, "/a").send().await;
            assert_eq!(changed.status, status);
            assert_eq!(get(&proxy, "/a").send().await.text(), "v2", "{method} {status}");
        }
    }
}

#[tokio::test]
async fn a13_an_unsafe_request_that_fails_invalidates_nothing() {
    for status in [400, 404, 409, 422, 500, 503] {
        let write = move || Reply::ok().status(status).header("location", "/b");
        let (origin, proxy) = start("", &["/a", "/b"], write).await;
        assert_eq!(ask(&proxy, "POST", "/a").body("x").send().await.status, status);
        assert!(!is_gone(&origin, &proxy, "/a").await, "{status}");
        assert!(!is_gone(&origin, &proxy, "/b").await, "{status}");
    }
}

#[tokio::test]
async fn a13_an_unsafe_request_that_never_reached_the_origin_invalidates_nothing() {
    let (origin, proxy) = start("", &["/a"], Reply::ok).await;
    origin.refuse().await;
    assert_eq!(ask(&proxy, "POST", "/a").send().await.status, 502);
    origin.accept_again();
    assert!(!is_gone(&origin, &proxy, "/a").await);
}

#[tokio::test]
async fn a13_what_a_client_has_changed_that_leaves_before_its_answer_is_invalidated() {
    for body in ["", "x"] {
        let (origin, proxy) = start("", &["/a"], Reply::ok).await;
        let gate = origin.hold("/a");
        let write = ask(&proxy, "POST", "/a").body(body).start().await;
        gate.arrived(1).await;
        drop(write);
        proxy.answering(0).await;
        assert!(get(&proxy, "/a").send().await.cache_status().hit, "nothing is known yet");
        gate.release();
        proxy.reaches("invalidation_applied_seq", 1).await;
        assert_eq!(get(&proxy, "/a").send().await.text(), "v2", "{body}");
    }
}

#[tokio::test]
async fn a13_a_client_that_leaves_while_it_waits_for_a_connection_changes_nothing() {
    let origin = Origin::start().await;
    origin.on("/a", |r| for_a_minute(r).body("v1"));
    origin.on("/busy", |r| r);
    let proxy = Proxy::start(&origin).cache(EXACT).origin("max_connections = 1").await;
    get(&proxy, "/a").send().await;
    let gate = origin.hold("/busy");
    let busy = get(&proxy, "/busy").start().await;
    gate.arrived(1).await;
    let write = ask(&proxy, "POST", "/a").start().await;
    proxy.reaches("origin_requests_queued{origin=\"scripted\"}", 1).await;
    drop(write);
    proxy.answering(1).await;
    gate.release();
    busy.rest().await.unwrap();
    // This one waited behind it, if it still waited.
    get(&proxy, "/busy").send().await;
    assert!(origin.requests().iter().all(|request| request.method == "GET"));
    assert!(get(&proxy, "/a").send().await.cache_status().hit);
}

#[tokio::test]
async fn a13_a_safe_method_that_is_not_cached_invalidates_nothing() {
    let (origin, proxy) = start("", &["/a"], Reply::ok).await;
    assert_eq!(ask(&proxy, "OPTIONS", "/a").send().await.status, 200);
    assert!(!is_gone(&origin, &proxy, "/a").await);
}

#[tokio::test]
async fn a13_the_invalidation_is_in_place_before_the_client_learns_of_the_success() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).cache(EXACT).await;
    // Its response begins and does not end: the head is what tells the client.
    let stream = origin.stream("/a", |r| r);
    let mut write = ask(&proxy, "POST", "/a").start().await;
    write.head().await;
    assert_eq!(proxy.metric("invalidation_applied_seq").await, 1);
    stream.finish();
    write.rest().await.unwrap();
}

#[tokio::test]
async fn a13_location_and_content_location_of_the_same_origin_are_invalidated() {
    for (name, value) in [
        ("location", "/b?x=1"),
        ("location", "http://api.test/b?x=1"),
        ("location", "http://API.test:80/b?x=1#part"),
        ("location", "//api.test/b?x=1"),
        ("content-location", "b?x=1"),
        ("content-location", "../b?x=1"),
    ] {
        let write = move || Reply::ok().status(201).header(name, value);
        let (origin, proxy) = start("", &["/a", "/b?x=1", "/c"], write).await;
        ask(&proxy, "POST", "/a").send().await;
        assert!(is_gone(&origin, &proxy, "/b?x=1").await, "{name}: {value}");
        assert!(is_gone(&origin, &proxy, "/a").await, "{name}: {value}");
        assert!(!is_gone(&origin, &proxy, "/c").await, "{name}: {value}");
    }
}

#[tokio::test]
async fn a13_location_of_another_origin_is_ignored() {
    for value in ["http://other.test/b", "https://api.test/b", "http://api.test:8080/b", "//other.test/b", "mailto:b"] {
        let write = move || Reply::ok().header("location", value).header("content-location", value);
        let (origin, proxy) = start("", &["/a", "/b"], write).await;
        let elsewhere = || get(&proxy, "/b").header("host", "other.test");
        elsewhere().send().await;
        ask(&proxy, "POST", "/a").send().await;
        assert!(!is_gone(&origin, &proxy, "/b").await, "{value}");
        assert!(elsewhere().send().await.cache_status().hit, "{value}");
    }
}

#[tokio::test]
async fn a13_the_target_is_normalised_by_the_query_rules_of_the_route() {
    let rules = ", key = { query = { deny = ['utm_*'] }, sort_query = true }";
    let write = || Reply::ok().header("location", "/b?utm_id=2&d=4&c=3");
    let (origin, proxy) = start(rules, &["/a?x=1&y=2", "/b?c=3&d=4", "/a?x=1"], write).await;
    origin.on("/a?y=2&utm_source=mail&x=1", |r| r.header("location", "/b?utm_id=2&d=4&c=3"));
    ask(&proxy, "POST", "/a?y=2&utm_source=mail&x=1").send().await;
    assert!(is_gone(&origin, &proxy, "/a?x=1&y=2").await);
    assert!(is_gone(&origin, &proxy, "/b?c=3&d=4").await);
    assert!(!is_gone(&origin, &proxy, "/a?x=1").await);
}

#[tokio::test]
async fn a13_an_unsafe_request_that_offers_an_upgrade_invalidates_as_well() {
    let (origin, proxy) = start("", &["/a"], Reply::ok).await;
    // As some clients offer HTTP/2 with every request.
    let write = ask(&proxy, "POST", "/a").header("connection", "Upgrade").header("upgrade", "h2c");
    assert_eq!(write.send().await.status, 200);
    assert!(is_gone(&origin, &proxy, "/a").await);
}

#[tokio::test]
async fn a13_a_write_through_an_uncached_route_invalidates_what_another_route_stores() {
    let origin = Origin::start().await;
    versions(&origin, "/a", for_a_minute);
    let reads = "[[routes]]\nname = 'reads'\npath = '*'\nmethods = ['GET', 'HEAD']\norigin = 'scripted'\n";
    let proxy = Proxy::start(&origin).section(reads).no_cache().await;
    assert_eq!(get(&proxy, "/a").send().await.text(), "v1");
    assert_eq!(get(&proxy, "/a").send().await.text(), "v1");
    ask(&proxy, "POST", "/a").send().await;
    assert_eq!(get(&proxy, "/a").send().await.text(), "v3");
}

#[tokio::test]
async fn a13_a_fetch_under_way_during_a_write_is_not_stored() {
    let origin = Origin::start().await;
    versions(&origin, "/a", for_a_minute);
    let proxy = Proxy::start(&origin).cache(EXACT).await;
    let gate = origin.hold("/a");
    let before = get(&proxy, "/a").start().await;
    gate.arrived(1).await;
    let write = ask(&proxy, "DELETE", "/a").start().await;
    gate.arrived(2).await;
    gate.release_one();
    // Its head has come before the write succeeds; its place in the cache has not.
    assert_eq!(before.rest().await.unwrap(), "v1");
    gate.release();
    assert_eq!(write.rest().await.unwrap(), "v2");
    assert_eq!(get(&proxy, "/a").send().await.text(), "v3");
}
