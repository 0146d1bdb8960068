//! Purges while a fetch is under way: the response of a fetch that began before a purge is for those
//! who waited for it by then, and for nobody else.

use std::time::Duration;

use crate::support::origin::{Gate, Origin, Reply};
use crate::support::proxy::Proxy;

use super::{EXACT, ask, get, versions};

/// Everything that can be purged, as it matches the response of [`tagged`] for `/a`.
const PURGES: [&str; 5] = [
    r#"{"url": "http://api.test/a"}"#,
    r#"{"prefix": "http://api.test/"}"#,
    r#"{"tag": "user:42"}"#,
    r#"{"route": "everything"}"#,
    r#"{"all": true}"#,
];

fn tagged(reply: Reply) -> Reply {
    reply.header("cache-control", "max-age=60").header("surrogate-key", "team user:42")
}

async fn start(cache: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let cache = format!("{EXACT}{cache}");
    let proxy = Proxy::start(&origin).cache(&cache).route("name = 'everything'").await;
    (origin, proxy)
}

/// Lets the request that waits longest at the gate go, and everything after it.
fn release_in_order(gate: &Gate) {
    gate.release_one();
    gate.release();
}

#[tokio::test]
async fn a1_a_fetch_that_a_purge_overtakes_answers_those_who_waited_and_is_not_stored() {
    for purge in PURGES {
        let (origin, proxy) = start("").await;
        versions(&origin, "/a", tagged);
        let gate = origin.hold("/a");
        let leader = get(&proxy, "/a").start().await;
        gate.arrived(1).await;
        let follower = get(&proxy, "/a").start().await;
        proxy.followers(1).await;
        proxy.purge(purge).await;
        gate.release_one();
        assert_eq!(leader.rest().await.unwrap(), "v1", "{purge}");
        assert_eq!(follower.rest().await.unwrap(), "v1", "{purge}");
        gate.release();
        let next = get(&proxy, "/a").send().await;
        assert_eq!((next.text(), origin.hits("/a")), ("v2", 2), "{purge}");
        let stored = get(&proxy, "/a").send().await;
        assert_eq!((stored.text(), stored.cache_status().hit, origin.hits("/a")), ("v2", true, 2), "{purge}");
    }
}

#[tokio::test]
async fn a1_a_request_that_comes_after_the_purge_starts_a_fetch_of_its_own_at_once() {
    // Whether a tag matches is not known before the head; that case has a test of its own.
    for purge in PURGES.iter().filter(|purge| !purge.contains("tag")) {
        let (origin, proxy) = start("").await;
        versions(&origin, "/a", tagged);
        let gate = origin.hold("/a");
        let before = get(&proxy, "/a").start().await;
        gate.arrived(1).await;
        proxy.purge(purge).await;
        let after = get(&proxy, "/a").start().await;
        gate.arrived(2).await;
        release_in_order(&gate);
        let bodies = (before.rest().await.unwrap(), after.rest().await.unwrap());
        assert_eq!(bodies, ("v1".into(), "v2".into()), "{purge}");
        // The old fetch, whichever of the two ends last, does not replace the new response.
        let stored = get(&proxy, "/a").send().await;
        assert_eq!((stored.text(), origin.hits("/a")), ("v2", 2), "{purge}");
    }
}

#[tokio::test]
async fn a1_a_request_that_comes_after_a_tag_purge_never_gets_what_was_tagged_before_it() {
    let (origin, proxy) = start("").await;
    versions(&origin, "/a", tagged);
    let gate = origin.hold("/a");
    let before = get(&proxy, "/a").start().await;
    gate.arrived(1).await;
    proxy.purge(r#"{"tag": "user:42"}"#).await;
    // It can not know yet that the fetch under way is doomed, and waits with the other.
    let after = get(&proxy, "/a").start().await;
    proxy.followers(1).await;
    assert_eq!(origin.hits("/a"), 1);
    release_in_order(&gate);
    assert_eq!(before.rest().await.unwrap(), "v1");
    assert_eq!(after.rest().await.unwrap(), "v2");
    assert_eq!(get(&proxy, "/a").send().await.text(), "v2");
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn a1_a_purge_of_another_tag_leaves_the_fetch_and_its_followers_alone() {
    let (origin, proxy) = start("").await;
    versions(&origin, "/a", tagged);
    let gate = origin.hold("/a");
    let before = get(&proxy, "/a").start().await;
    gate.arrived(1).await;
    proxy.purge(r#"{"tag": "user:4"}"#).await;
    let after = get(&proxy, "/a").start().await;
    proxy.followers(1).await;
    gate.release();
    assert_eq!(before.rest().await.unwrap(), "v1");
    assert_eq!(after.rest().await.unwrap(), "v1");
    assert_eq!((get(&proxy, "/a").send().await.text(), origin.hits("/a")), ("v1", 1));
}

#[tokio::test]
async fn a1_a_purge_in_the_middle_of_the_body_keeps_the_response_out_of_the_cache() {
    for purge in PURGES {
        let (origin, proxy) = start("").await;
        let stream = origin.stream("/a", tagged);
        let mut early = get(&proxy, "/a").start().await;
        stream.send("old ");
        early.expect("old ").await;
        proxy.purge(purge).await;
        // The head is known by now, so that even a tag tells.
        origin.on("/a", |r| tagged(r).body("new"));
        assert_eq!(get(&proxy, "/a").send().await.text(), "new", "{purge}");
        stream.send("text");
        stream.finish();
        assert_eq!(early.rest().await.unwrap(), "text", "{purge}");
        let stored = get(&proxy, "/a").send().await;
        assert_eq!((stored.text(), origin.hits("/a")), ("new", 2), "{purge}");
    }
}

#[tokio::test]
async fn a5_a_background_refresh_that_a_purge_overtakes_is_not_stored() {
    for purge in PURGES {
        let (origin, proxy) = start(", stale_while_revalidate = '10m'").await;
        versions(&origin, "/a", tagged);
        assert_eq!(get(&proxy, "/a").send().await.text(), "v1");
        proxy.pass(Duration::from_secs(61));
        let gate = origin.hold("/a");
        assert_eq!(get(&proxy, "/a").send().await.text(), "v1", "stale, while it is refreshed");
        gate.arrived(1).await;
        proxy.purge(purge).await;
        let after = get(&proxy, "/a").start().await;
        if purge.contains("tag") {
            proxy.followers(1).await;
        } else {
            gate.arrived(2).await;
        }
        // The refresh brings v2, the state before the purge.
        release_in_order(&gate);
        assert_eq!(after.rest().await.unwrap(), "v3", "{purge}");
        let stored = get(&proxy, "/a").send().await;
        assert_eq!((stored.text(), stored.cache_status().hit, origin.hits("/a")), ("v3", true, 3), "{purge}");
    }
}

#[tokio::test]
async fn a5_a_background_refresh_that_ends_after_a_purge_leaves_nothing_behind() {
    for purge in PURGES {
        let (origin, proxy) = start(", stale_while_revalidate = '10m'").await;
        versions(&origin, "/a", tagged);
        get(&proxy, "/a").send().await;
        proxy.pass(Duration::from_secs(61));
        let gate = origin.hold("/a");
        assert_eq!(get(&proxy, "/a").send().await.text(), "v1", "stale, while it is refreshed");
        gate.arrived(1).await;
        proxy.purge(purge).await;
        gate.release();
        proxy.reaches(r#"not_stored_total{reason="invalidated",route="everything"}"#, 1).await;
        assert_eq!((get(&proxy, "/a").send().await.text(), origin.hits("/a")), ("v3", 3), "{purge}");
    }
}

#[tokio::test]
async fn a5_a_refresh_that_the_origin_confirms_after_a_purge_does_not_revive_what_was_purged() {
    for purge in PURGES {
        let (origin, proxy) = start(", stale_while_revalidate = '10m'").await;
        origin.on("/a", |r| tagged(r).header("etag", "\"1\"").body("v1").validates());
        get(&proxy, "/a").send().await;
        proxy.pass(Duration::from_secs(61));
        let gate = origin.hold("/a");
        assert_eq!(get(&proxy, "/a").send().await.text(), "v1", "stale, while it is refreshed");
        gate.arrived(1).await;
        assert_eq!(origin.last("/a").header("if-none-match").as_deref(), Some("\"1\""));
        proxy.purge(purge).await;
        gate.release();
        proxy.reaches(r#"not_stored_total{reason="invalidated",route="everything"}"#, 1).await;
        origin.on("/a", |r| tagged(r).body("v2"));
        assert_eq!(get(&proxy, "/a").send().await.text(), "v2", "{purge}");
    }
}

#[tokio::test]
async fn a1_who_waited_during_a_purge_and_fetches_after_it_does_not_have_the_purged_confirmed() {
    for purge in PURGES {
        let (origin, proxy) = start("").await;
        let by = |tenant: &str| get(&proxy, "/a").header("tenant", tenant);
        origin.on("/a", |r| tagged(r).header("etag", "\"1\"").body("v1").validates());
        by("one").send().await;
        proxy.pass(Duration::from_secs(61));
        let gate = origin.hold("/a");
        let leader = by("one").start().await;
        gate.arrived(1).await;
        let follower = by("two").start().await;
        proxy.followers(1).await;
        proxy.purge(purge).await;
        // It turns out that the response is not for the follower, whose own fetch begins after the purge.
        origin.on("/a", |r| tagged(r).header("vary", "tenant").body("v2"));
        release_in_order(&gate);
        assert_eq!(leader.rest().await.unwrap(), "v2", "{purge}");
        assert_eq!(follower.rest().await.unwrap(), "v2", "{purge}");
        assert_eq!(origin.hits("/a"), 3, "{purge}");
        assert_eq!(origin.last("/a").header("if-none-match"), None, "{purge}");
    }
}

#[tokio::test]
async fn a5_an_early_refresh_that_a_purge_overtakes_is_not_stored() {
    for purge in PURGES {
        let origin = Origin::start().await;
        let proxy =
            Proxy::start(&origin).cache("jitter = 0.0, early_refresh = 10.0").route("name = 'everything'").await;
        versions(&origin, "/a", tagged);
        let gate = origin.hold("/a");
        // A fetch that costs longer than the lifetime left makes an early refresh all but certain.
        let first = get(&proxy, "/a").start().await;
        gate.arrived(1).await;
        proxy.pass(Duration::from_secs(58));
        gate.release_one();
        assert_eq!(first.rest().await.unwrap(), "v1");
        let refreshed = async {
            while origin.hits("/a") < 2 {
                let hit = get(&proxy, "/a").send().await;
                assert_eq!((hit.text(), hit.cache_status().hit), ("v1", true), "fresh, while it is refreshed");
            }
        };
        crate::support::soon("an early refresh", refreshed).await;
        gate.arrived(2).await;
        proxy.purge(purge).await;
        gate.release();
        proxy.reaches(r#"not_stored_total{reason="invalidated",route="everything"}"#, 1).await;
        assert_eq!((get(&proxy, "/a").send().await.text(), origin.hits("/a")), ("v3", 3), "{purge}");
    }
}

#[tokio::test]
async fn a1_a_head_that_began_before_a_purge_takes_the_place_of_nothing_stored_since() {
    let (origin, proxy) = start(", respect_client_cache_control = true").await;
    origin.on("/a", |r| tagged(r).header("etag", "\"1\"").body("v1"));
    let gate = origin.hold("/a");
    let mut head = ask(&proxy, "HEAD", "/a").header("cache-control", "no-store").start().await;
    gate.arrived(1).await;
    proxy.purge(PURGES[0]).await;
    origin.hold("/a").release();
    get(&proxy, "/a").send().await;
    gate.release();
    head.head().await;
    assert!(get(&proxy, "/a").send().await.cache_status().hit);
}
