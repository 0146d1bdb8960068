//! What one client sends can not shape what another gets, unless it is part of the key.

use std::time::Duration;

use super::{for_a_minute, start, with};
use crate::support::origin::{Received, Reply};

/// Fields that frameworks obey, and what an attacker may put there.
const UNKEYED: [(&str, &str); 7] = [
    ("x-original-url", "/admin"),
    ("x-rewrite-url", "/admin"),
    ("x-http-method-override", "DELETE"),
    ("x-method-override", "DELETE"),
    ("x-http-method", "DELETE"),
    ("x-forwarded-scheme", "nothttps"),
    ("x-host", "evil.test"),
];

/// A reply that reflects these fields of a request.
fn reflecting(request: &Received, names: &[&str]) -> Reply {
    let fields: Vec<String> = names.iter().map(|name| request.header(name).unwrap_or_default()).collect();
    for_a_minute(Reply::ok()).body(fields.join("|"))
}

#[tokio::test]
async fn f6_fields_outside_the_key_are_not_part_of_a_fetch() {
    let (origin, proxy) = start("").await;
    for (index, (name, value)) in UNKEYED.into_iter().enumerate() {
        let path = format!("/{index}");
        origin.on_request(&path, move |request| reflecting(request, &[name]));
        assert_eq!(with(&proxy, &path, name, value).send().await.text(), "", "{name}");
        assert_eq!(proxy.client().get(&path).send().await.text(), "", "{name}");
        // A passed request is its client's own affair.
        proxy.client().ask("POST", &path).header(name, value).send().await;
        assert_eq!(origin.last(&path).header(name).as_deref(), Some(value));
    }
}

#[tokio::test]
async fn f6_a_client_can_not_choose_the_host_that_others_are_sent_to() {
    let (origin, proxy) = start("").await;
    let reflected = ["x-forwarded-host", "x-forwarded-proto", "host"];
    origin.on_request("/a", move |request| reflecting(request, &reflected));
    let attack = with(&proxy, "/a", "host", "shop.test").header("x-forwarded-host", "evil.test");
    let attack = attack.header("x-forwarded-proto", "gopher").header("forwarded", "host=evil.test");
    for ask in [attack, with(&proxy, "/a", "host", "shop.test")] {
        assert_eq!(ask.send().await.text(), "shop.test|http|shop.test");
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn f6_a_field_that_is_part_of_the_key_reaches_the_origin() {
    let (origin, proxy) = start(", key = { headers = ['x-host'] }").await;
    origin.on_request("/a", |request| reflecting(request, &["x-host"]));
    for value in ["one", "two", "one"] {
        assert_eq!(with(&proxy, "/a", "x-host", value).send().await.text(), value);
    }
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn f6_the_origin_sees_no_parameter_that_the_key_leaves_out() {
    let (origin, proxy) = start(", key = { query = { allow = ['page'] } }").await;
    origin.on_request("/a", |request| for_a_minute(Reply::ok()).body(request.target.clone()));
    for query in ["callback=evil&page=2", "page=2", "page=2&utm_source=mail"] {
        assert_eq!(proxy.client().get(&format!("/a?{query}")).send().await.text(), "/a?page=2");
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn f7_conditions_and_ranges_of_one_client_never_shape_what_another_gets() {
    const FUTURE: &str = "Sun, 06 Nov 2094 08:49:37 GMT";
    const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (name, value) in [
        ("if-none-match", "*"),
        ("if-none-match", "\"1\""),
        ("if-match", "\"other\""),
        ("if-modified-since", FUTURE),
        ("if-unmodified-since", PAST),
        ("range", "bytes=0-0"),
        ("if-range", "\"1\""),
    ] {
        let (origin, proxy) = start("").await;
        origin.on_request("/a", |request| {
            let reply = for_a_minute(Reply::ok()).header("etag", "\"1\"");
            let shaped = |names: [&str; 2]| names.iter().any(|name| request.header(name).is_some());
            if shaped(["if-match", "if-unmodified-since"]) {
                reply.status(412)
            } else if shaped(["if-none-match", "if-modified-since"]) {
                reply.status(304)
            } else if shaped(["range", "if-range"]) {
                reply.status(206).header("content-range", "bytes 0-0/5").body("h")
            } else {
                reply.body("hello")
            }
        });
        let gate = origin.hold("/a");
        let one = with(&proxy, "/a", name, value).start().await;
        gate.arrived(1).await;
        let other = proxy.client().get("/a").start().await;
        proxy.followers(1).await;
        gate.release();
        assert_eq!(other.rest().await.unwrap(), "hello", "{name}: {value}, in flight");
        one.rest().await.unwrap();
        let stored = proxy.client().get("/a").send().await;
        assert_eq!((stored.status, stored.text(), origin.hits("/a")), (200, "hello", 1), "{name}: {value}");
    }
}

#[tokio::test]
async fn f7_conditions_shape_nothing_for_others_at_a_url_that_is_known_to_be_uncacheable() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| r.header("cache-control", "no-store").header("etag", "\"1\"").body("hello").validates());
    for _ in 0..2 {
        let same = with(&proxy, "/a", "if-none-match", "\"1\"").send().await;
        assert_eq!((same.status, same.text()), (304, ""));
        let other = proxy.client().get("/a").send().await;
        assert_eq!((other.status, other.text()), (200, "hello"));
    }
}

#[tokio::test]
async fn f7_a_get_with_a_body_is_answered_for_its_client_alone() {
    let (origin, proxy) = start("").await;
    origin.on_request("/a", |request| {
        let said = String::from_utf8(request.body.to_vec()).unwrap();
        for_a_minute(Reply::ok()).body(format!("you said {said}"))
    });
    for method in ["GET", "HEAD"] {
        let fat = proxy.client().ask(method, "/a").body("evil").send().await;
        assert_eq!(fat.cache_status().detail.as_deref(), Some("request-body"), "{method}");
        assert_eq!(origin.last("/a").body, "evil");
    }
    for _ in 0..2 {
        assert_eq!(proxy.client().get("/a").send().await.text(), "you said ");
    }
    let fat = proxy.client().get("/a").body("more").send().await;
    assert_eq!((fat.text(), origin.hits("/a")), ("you said more", 4));
}

#[tokio::test]
async fn f8_errors_that_a_client_provokes_are_not_stored_for_others() {
    for status in [400, 413, 414, 431] {
        let (origin, proxy) = start(", ttl = '60s'").await;
        origin.on_request("/a", move |request| match request.header("x-evil") {
            Some(_) => Reply::ok().status(status).body("no"),
            None => Reply::ok().body("hello"),
        });
        assert_eq!(with(&proxy, "/a", "x-evil", "1").send().await.status, status);
        assert_eq!(proxy.client().get("/a").send().await.text(), "hello", "{status}");
    }
}

#[tokio::test]
async fn f8_an_error_that_a_client_provokes_costs_nobody_what_is_stored() {
    for status in [400, 408, 413, 414, 417, 421, 425, 428, 429, 431] {
        let (origin, proxy) = start(", stale_while_revalidate = '60s'").await;
        origin.on_request("/a", move |request| match request.header("x-large") {
            Some(_) => Reply::ok().status(status),
            None => for_a_minute(Reply::ok()).body("good"),
        });
        let get = || proxy.client().get("/a");
        get().send().await;
        proxy.pass(Duration::from_secs(61));
        // Its request is what the response is refreshed with.
        assert_eq!(get().header("x-large", "1").send().await.text(), "good");
        proxy.refreshed("uncacheable", 1).await;
        let stale = get().send().await;
        assert_eq!((stale.text(), stale.cache_status().hit), ("good", true), "{status}");
        assert_eq!(origin.hits("/a"), 2, "not at once: an origin may refuse everybody");
        proxy.pass(Duration::from_secs(1));
        assert_eq!(get().send().await.text(), "good");
        proxy.refreshed("replaced", 1).await;
        proxy.pass(Duration::from_secs(125));
        assert_eq!(get().header("x-large", "1").send().await.status, status);
        assert_eq!(get().send().await.cache_status().fwd.as_deref(), Some("stale"), "{status}: it is shared as before");
    }
}

#[tokio::test]
async fn f8_the_credentials_of_one_client_cost_nobody_what_is_stored() {
    for control in ["max-age=60", "private, max-age=60", "no-store"] {
        let (origin, proxy) = start(", stale_while_revalidate = '60s'").await;
        origin.on_request("/a", move |request| match request.header("authorization") {
            Some(_) => Reply::ok().header("cache-control", control).body("theirs"),
            None => for_a_minute(Reply::ok()).body("good"),
        });
        let get = || proxy.client().get("/a");
        get().send().await;
        proxy.pass(Duration::from_secs(61));
        // What it brings is not for others (RFC 9111 section 3.5), but what is stored is.
        assert_eq!(get().header("authorization", "Basic eDp5").send().await.text(), "good");
        proxy.refreshed("uncacheable", 1).await;
        let answer = get().send().await;
        assert_eq!((answer.text(), answer.cache_status().hit), ("good", true), "{control}");
    }
}
