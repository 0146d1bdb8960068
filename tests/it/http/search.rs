//! `No-Vary-Search`: responses that are good for other queries than their own.

use std::time::Duration;

use crate::support::client::Answer;
use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;

use super::{EXACT, for_a_minute};

/// A route that heeds the field, and an origin whose responses to `/s` have this one and tell their target.
async fn start(field: &'static str, cache: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    answer_with(&origin, field);
    origin.on("/other", for_a_minute);
    let proxy = Proxy::start(&origin).cache(&format!("{EXACT}, key = {{ no_vary_search = true }}{cache}")).await;
    (origin, proxy)
}

fn answer_with(origin: &Origin, field: &'static str) {
    origin.on_request("/s", move |request| {
        for_a_minute(Reply::ok()).header("no-vary-search", field).body(request.target.clone())
    });
}

async fn get(proxy: &Proxy, target: &str) -> Answer {
    let answer = proxy.client().get(target).header("host", "api.test").send().await;
    assert_eq!(answer.status, 200);
    answer
}

/// Whether the response to one target answers this one.
async fn is_good_for(field: &'static str, one: &str, other: &str) -> bool {
    let (origin, proxy) = start(field, "").await;
    assert_eq!(get(&proxy, one).await.text(), one);
    let answer = get(&proxy, other).await;
    assert_eq!(answer.cache_status().hit, origin.hits("/s") == 1);
    assert_eq!(answer.text(), if answer.cache_status().hit { one } else { other });
    answer.cache_status().hit
}

#[tokio::test]
async fn a_response_answers_the_queries_that_it_says_it_is_good_for_and_no_others() {
    for (field, one, other, expected) in [
        ("params=(\"utm\")", "/s?q=1&utm=a", "/s?utm=b&q=1", true),
        ("params=(\"utm\")", "/s?q=1&utm=a", "/s?q=1", true),
        ("params=(\"utm\")", "/s?utm=a", "/s", true),
        ("params=(\"utm\")", "/s", "/s?", true),
        ("params=(\"utm\")", "/s?q=1&utm=a", "/s?q=2&utm=a", false),
        ("params=(\"utm\")", "/s?q=1&utm=a", "/s?q=1&q=1", false),
        ("params, except=(\"q\")", "/s?q=1&a=2", "/s?b=3&q=1", true),
        ("params, except=(\"q\")", "/s?q=1&a=2", "/s?a=2", false),
        ("key-order", "/s?a=1&b=2", "/s?b=%32&a=1", true),
        ("key-order", "/s?a=1&b=2", "/s?b=1&a=2", false),
        ("params=(utm)", "/s?utm=a", "/s", false),
    ] {
        assert_eq!(is_good_for(field, one, other).await, expected, "{field}: {one} {other}");
    }
}

#[tokio::test]
async fn a_route_that_does_not_say_so_heeds_nothing() {
    let origin = Origin::start().await;
    answer_with(&origin, "params");
    let proxy = Proxy::start(&origin).cache(EXACT).await;
    for target in ["/s?a=1", "/s?a=2", "/s"] {
        assert_eq!(get(&proxy, target).await.text(), target);
    }
    assert_eq!(origin.hits("/s"), 3);
}

#[tokio::test]
async fn what_one_response_says_does_not_count_for_another() {
    let (origin, proxy) = start("params=(\"utm\")", "").await;
    get(&proxy, "/s?q=1&utm=a").await;
    assert!(get(&proxy, "/s?q=1&utm=b").await.cache_status().hit);
    origin.on_request("/s", |request| for_a_minute(Reply::ok()).body(request.target.clone()));
    for target in ["/s?q=2&utm=a", "/s?q=2&utm=b", "/s?q=2"] {
        assert_eq!(get(&proxy, target).await.text(), target);
    }
    // The same place now holds a response that says nothing.
    proxy.pass(Duration::from_secs(61));
    for target in ["/s?q=1&utm=a", "/s?q=1&utm=b"] {
        assert_eq!(get(&proxy, target).await.text(), target);
    }
    answer_with(&origin, "params=(\"other\")");
    proxy.pass(Duration::from_secs(61));
    for target in ["/s?q=1&utm=a", "/s?q=1&utm=b"] {
        assert_eq!(get(&proxy, target).await.text(), target);
    }
    assert!(get(&proxy, "/s?q=1&utm=b&other=1").await.cache_status().hit, "the latest counts");
}

#[tokio::test]
async fn a_variant_answers_only_who_it_is_for() {
    let (origin, proxy) = start("params", "").await;
    origin.on_request("/s", |request| {
        let reply = for_a_minute(Reply::ok()).header("no-vary-search", "params").header("vary", "accept-language");
        reply.body(request.header("accept-language").unwrap_or_default())
    });
    let ask = async |target: &str, language: &str| {
        let ask = proxy.client().get(target).header("host", "api.test").header("accept-language", language);
        let answer = ask.send().await;
        assert_eq!(answer.text(), language);
        answer.cache_status().hit
    };
    assert!(!ask("/s?a=1", "de").await);
    assert!(ask("/s?a=2", "de").await);
    assert!(!ask("/s?a=3", "en").await);
    assert!(ask("/s?a=4", "en").await);
}

#[tokio::test]
async fn what_is_stale_is_refreshed_by_its_own_query_or_fetched_by_that_of_the_client() {
    let (origin, proxy) = start("params", ", stale_while_revalidate = '60s'").await;
    get(&proxy, "/s?a=1").await;
    proxy.pass(Duration::from_secs(61));
    let stale = get(&proxy, "/s?a=2").await;
    assert_eq!((stale.text(), stale.cache_status().hit), ("/s?a=1", true));
    proxy.refreshed("replaced", 1).await;
    assert_eq!((origin.hits("/s"), origin.last("/s").target.as_str()), (2, "/s?a=1"));
    proxy.pass(Duration::from_secs(121));
    assert_eq!(get(&proxy, "/s?a=3").await.text(), "/s?a=3");
    assert_eq!(get(&proxy, "/s?a=4").await.text(), "/s?a=3", "the fresh one, not the stale one");
}

#[tokio::test]
async fn a_purge_of_any_url_that_a_response_is_good_for_removes_it() {
    for order in [
        "{\"url\": \"http://api.test/s?a=1\"}",
        "{\"url\": \"http://api.test/s?a=2\"}",
        "{\"url\": \"http://api.test/s\"}",
        "{\"prefix\": \"http://api.test/s?b\"}",
        "{\"prefix\": \"/s?b\"}",
    ] {
        let (_origin, proxy) = start("params", "").await;
        get(&proxy, "/s?a=1").await;
        get(&proxy, "/other?a=1").await;
        assert!(get(&proxy, "/s?a=3").await.cache_status().hit);
        let report = proxy.purge(order).await;
        assert_eq!(report["entries"], 1, "{order}: {report}");
        assert!(!get(&proxy, "/s?a=3").await.cache_status().hit, "{order}");
        assert!(get(&proxy, "/s?a=1").await.cache_status().hit, "what was fetched since");
        proxy.purge("{\"url\": \"http://api.test/other?s\"}").await;
        proxy.purge("{\"url\": \"http://api.test:81/s?a=1\"}").await;
        assert!(get(&proxy, "/s?a=1").await.cache_status().hit, "{order}");
    }
}

#[tokio::test]
async fn a13_a_write_to_any_url_that_a_response_is_good_for_invalidates_it() {
    for target in ["/s?a=1", "/s?a=2", "/s"] {
        let (_origin, proxy) = start("params", "").await;
        get(&proxy, "/s?a=1").await;
        assert!(get(&proxy, "/s?a=3").await.cache_status().hit);
        proxy.client().ask("PUT", target).header("host", "api.test").send().await;
        assert!(!get(&proxy, "/s?a=3").await.cache_status().hit, "{target}");
    }
}

#[tokio::test]
async fn a1_a_purge_of_another_url_dooms_a_fetch_whose_response_is_good_for_that_too() {
    let (origin, proxy) = start("params", "").await;
    let gate = origin.hold("/s");
    let first = proxy.client().get("/s?a=1").header("host", "api.test").start().await;
    gate.arrived(1).await;
    proxy.purge("{\"url\": \"http://api.test/s?a=2\"}").await;
    gate.release();
    assert_eq!(first.rest().await.unwrap(), "/s?a=1");
    assert!(!get(&proxy, "/s?a=1").await.cache_status().hit, "it was not stored");
    assert!(get(&proxy, "/s?a=2").await.cache_status().hit);
    assert_eq!(origin.hits("/s"), 2);
}
