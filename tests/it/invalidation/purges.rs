//! Purges of what is stored: hard and soft, by every name, with every copy, and counted.

use std::time::Duration;

use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;

use super::{EXACT, get, versions};

const URL: &str = r#"{"url": "http://api.test/a"}"#;
const URL_SOFT: &str = r#"{"url": "http://api.test/a", "soft": true}"#;

fn for_a_minute(reply: Reply) -> Reply {
    reply.header("cache-control", "max-age=60")
}

async fn start(cache: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let cache = format!("{EXACT}{cache}");
    let proxy = Proxy::start(&origin).cache(&cache).route("name = 'everything'").await;
    (origin, proxy)
}

#[tokio::test]
async fn a6_after_a_hard_purge_the_old_body_does_not_stand_in_for_an_error() {
    let (origin, proxy) = start(", stale_if_error = '1h', stale_while_revalidate = '1h'").await;
    origin.on("/a", |r| for_a_minute(r).body("old"));
    get(&proxy, "/a").send().await;
    proxy.pass(Duration::from_secs(61));
    proxy.purge(URL).await;
    origin.fail("/a", 500);
    let answer = get(&proxy, "/a").send().await;
    assert_eq!((answer.status, answer.text()), (500, "failed on purpose"));
}

#[tokio::test]
async fn a6_a_hard_purge_during_a_revalidation_leaves_the_origins_own_error() {
    let (origin, proxy) = start(", stale_if_error = '1h'").await;
    origin.on("/a", |r| for_a_minute(r).header("etag", "\"1\"").body("old"));
    get(&proxy, "/a").send().await;
    proxy.pass(Duration::from_secs(61));
    let gate = origin.hold("/a");
    origin.fail("/a", 500);
    let pending = get(&proxy, "/a").start().await;
    gate.arrived(1).await;
    proxy.purge(URL).await;
    gate.release();
    assert_eq!(pending.rest().await.unwrap(), "failed on purpose");
}

#[tokio::test]
async fn a6_after_a_soft_purge_the_old_body_stands_in_for_an_error() {
    let (origin, proxy) = start(", stale_if_error = '1h'").await;
    origin.on("/a", |r| for_a_minute(r).body("old"));
    get(&proxy, "/a").send().await;
    proxy.purge(URL_SOFT).await;
    origin.fail("/a", 500);
    let answer = get(&proxy, "/a").send().await;
    assert_eq!((answer.status, answer.text(), origin.hits("/a")), (200, "old", 2));
    assert_eq!(answer.cache_status().detail.as_deref(), Some("stale-if-error"));
    proxy.pass(Duration::from_secs(3601));
    assert_eq!(get(&proxy, "/a").send().await.status, 500, "beyond the window it does not");
}

#[tokio::test]
async fn a6_after_a_soft_purge_nobody_waits_while_the_response_is_fetched_again() {
    let (origin, proxy) = start(", stale_while_revalidate = '1h'").await;
    versions(&origin, "/a", for_a_minute);
    get(&proxy, "/a").send().await;
    proxy.purge(URL_SOFT).await;
    let gate = origin.hold("/a");
    let stale = get(&proxy, "/a").send().await;
    assert_eq!((stale.text(), stale.cache_status().hit), ("v1", true));
    assert!(stale.cache_status().ttl.unwrap() <= 0, "{:?}", stale.cache_status());
    gate.arrived(1).await;
    assert_eq!(get(&proxy, "/a").send().await.text(), "v1", "and one refresh is enough");
    gate.release();
    proxy.reaches(r#"refreshes_total{result="replaced",route="everything"}"#, 1).await;
    let fresh = get(&proxy, "/a").send().await;
    assert_eq!((fresh.text(), fresh.cache_status().hit, origin.hits("/a")), ("v2", true, 2));
    assert!(fresh.cache_status().ttl.unwrap() > 0);
}

#[tokio::test]
async fn a6_a_soft_purge_of_what_may_not_be_served_stale_is_as_good_as_a_hard_one() {
    let (origin, proxy) = start("").await;
    versions(&origin, "/a", for_a_minute);
    get(&proxy, "/a").send().await;
    proxy.purge(URL_SOFT).await;
    assert_eq!(get(&proxy, "/a").send().await.text(), "v2");
}

#[tokio::test]
async fn a10_a_purge_by_url_removes_every_variant_and_every_stale_copy() {
    let (origin, proxy) = start(", stale_if_error = '1h'").await;
    let languages = ["de", "en", "fr"];
    let by_language = |version: &'static str| {
        move |request: &crate::support::origin::Received| {
            let language = request.header("accept-language").unwrap_or_default();
            for_a_minute(Reply::ok()).header("vary", "Accept-Language").body(format!("{version} {language}"))
        }
    };
    origin.on_request("/a", by_language("old"));
    for language in &languages[..2] {
        get(&proxy, "/a").header("accept-language", language).send().await;
    }
    proxy.pass(Duration::from_secs(61));
    get(&proxy, "/a").header("accept-language", languages[2]).send().await;
    assert_eq!(proxy.purge(URL).await["entries"], 3);
    origin.on_request("/a", by_language("new"));
    for language in languages {
        let answer = get(&proxy, "/a").header("accept-language", language).send().await;
        assert_eq!(answer.text(), format!("new {language}"));
    }
    assert_eq!(origin.hits("/a"), 6);
}

#[tokio::test]
async fn a10_a_purge_by_url_removes_what_is_stored_for_every_header_and_cookie_in_the_key() {
    let (origin, proxy) = start(", key = { headers = ['x-tenant'], cookies = ['plan'] }").await;
    versions(&origin, "/a", for_a_minute);
    let keyed = [("x-tenant", "one"), ("x-tenant", "two"), ("cookie", "plan=gold"), ("cookie", "plan=free")];
    for (index, (name, value)) in keyed.iter().enumerate() {
        let answer = get(&proxy, "/a").header(name, value).send().await;
        assert_eq!(answer.text(), format!("v{}", index + 1), "each has an entry of its own");
    }
    assert_eq!(proxy.purge(URL).await["entries"], 4);
    for (index, (name, value)) in keyed.iter().enumerate() {
        let answer = get(&proxy, "/a").header(name, value).send().await;
        assert_eq!(answer.text(), format!("v{}", index + 5));
    }
}

#[tokio::test]
async fn a10_a_purge_by_url_follows_the_query_rules_and_leaves_other_urls_alone() {
    let (origin, proxy) = start(", key = { query = { deny = ['utm_*'] }, sort_query = true }").await;
    for path in ["/a", "/a/b", "/ab"] {
        versions(&origin, path, for_a_minute);
        get(&proxy, path).send().await;
    }
    versions(&origin, "/a?x=1&y=2", for_a_minute);
    assert_eq!(get(&proxy, "/a?y=2&x=1&utm_source=mail").send().await.text(), "v1");
    let purge = r#"{"url": "http://API.test:80/a?utm_id=7&y=2&x=1"}"#;
    assert_eq!(proxy.purge(purge).await["entries"], 1);
    assert_eq!(get(&proxy, "/a?x=1&y=2").send().await.text(), "v2");
    for path in ["/a", "/a/b", "/ab"] {
        assert_eq!(get(&proxy, path).send().await.text(), "v1", "{path}");
    }
}

#[tokio::test]
async fn a10_a_tag_that_a_304_brings_and_withholds_is_good_for_a_purge() {
    for control in ["max-age=60, no-cache=\"surrogate-key\"", "max-age=60, private=\"surrogate-key\""] {
        let (origin, proxy) = start("").await;
        origin.on("/a", |r| for_a_minute(r).header("etag", "\"1\"").body("good"));
        get(&proxy, "/a").send().await;
        proxy.pass(Duration::from_secs(61));
        let tagged = |r: Reply| r.header("cache-control", control).header("surrogate-key", "t").header("etag", "\"1\"");
        origin.on("/a", |r| tagged(r).body("good").validates());
        let confirmed = get(&proxy, "/a").send().await;
        assert_eq!((confirmed.cache_status().fwd_status, confirmed.header("surrogate-key")), (Some(304), None));
        assert_eq!(proxy.purge(r#"{"tag": "t"}"#).await["entries"], 1, "{control}");
    }
}

#[tokio::test]
async fn a11_an_ordinary_fill_appends_nothing_to_the_invalidation_log() {
    let (origin, proxy) = start(", stale_while_revalidate = '1h'").await;
    versions(&origin, "/a", for_a_minute);
    origin.on("/private", |r| r.header("cache-control", "private").body("mine"));
    origin.fail("/gone", 404);
    for path in ["/a", "/a", "/private", "/gone"] {
        get(&proxy, path).send().await;
    }
    proxy.pass(Duration::from_secs(61));
    get(&proxy, "/a").send().await;
    proxy.reaches(r#"refreshes_total{result="replaced",route="everything"}"#, 1).await;
    assert_eq!((proxy.metric("invalidation_applied_seq").await, proxy.metric("invalidation_records").await), (0, 0));
    proxy.purge(URL).await;
    assert_eq!(proxy.metric("invalidation_applied_seq").await, 1);
}

#[tokio::test]
async fn a_purge_says_how_many_stored_responses_it_matched() {
    let (origin, proxy) = start("").await;
    for (path, tags) in [("/users/1", "user:1 team"), ("/users/2", "user:2 team"), ("/news", "front")] {
        origin.on(path, |r| for_a_minute(r).header("surrogate-key", tags).body("x"));
    }
    for (purge, entries) in [
        (r#"{"url": "http://api.test/users/1"}"#, 1),
        (r#"{"url": "http://api.test/users/3"}"#, 0),
        (r#"{"prefix": "/users/"}"#, 2),
        (r#"{"prefix": "http://other.test/"}"#, 0),
        (r#"{"tag": "team"}"#, 2),
        (r#"{"tags": ["user:1", "front", "team"]}"#, 3),
        (r#"{"tag": "user"}"#, 0),
        (r#"{"route": "everything"}"#, 3),
        (r#"{"all": true}"#, 3),
        (r#"{"all": true}"#, 0),
        (r#"{"all": true, "soft": true}"#, 0),
    ] {
        // The last two find an empty cache.
        if entries > 0 || !purge.contains("all") {
            for path in ["/users/1", "/users/2", "/news"] {
                get(&proxy, path).send().await;
            }
        }
        assert_eq!(proxy.purge(purge).await["entries"], entries, "{purge}");
    }
}
