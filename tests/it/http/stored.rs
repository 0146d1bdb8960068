//! What a stored response answers by itself: HEAD, conditions, and its own revalidation.

use std::time::Duration;

use super::{AFTER, BEFORE, MODIFIED, for_a_minute, start};

#[tokio::test]
async fn a_head_is_answered_from_a_stored_get() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| for_a_minute(r).header("etag", "\"1\"").body("hello"));
    proxy.client().get("/a").send().await;
    let head = proxy.client().ask("HEAD", "/a").send().await;
    assert_eq!((head.status, head.text(), origin.hits("/a")), (200, "", 1));
    assert_eq!((head.header("content-length").as_deref(), head.header("etag").as_deref()), (Some("5"), Some("\"1\"")));
    assert!(head.cache_status().hit);
}

#[tokio::test]
async fn a_head_that_nothing_answers_fills_the_cache_for_the_gets_that_follow() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| for_a_minute(r).body("hello"));
    let head = proxy.client().ask("HEAD", "/a").send().await;
    assert_eq!((head.status, head.text(), head.header("content-length").as_deref()), (200, "", Some("5")));
    assert_eq!(origin.last("/a").method, "GET");
    let get = proxy.client().get("/a").send().await;
    assert_eq!((get.text(), origin.hits("/a")), ("hello", 1));
}

#[tokio::test]
async fn a_head_leaves_the_connection_in_order_for_the_next_request() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| for_a_minute(r).body("hello"));
    origin.on("/private", |r| r.header("cache-control", "private").body("mine"));
    let mut connection = proxy.client().connect().await;
    for path in ["/a", "/a", "/private", "/private"] {
        let head = connection.send(proxy.client().ask("HEAD", path)).await.unwrap();
        assert_eq!((head.status, head.text()), (200, ""), "{path}");
        assert!(connection.get(path).await.text().len() >= 4, "{path}");
    }
}

#[tokio::test]
async fn conditions_of_clients_are_answered_from_the_cache() {
    let (origin, proxy) = start("").await;
    let dressed = |r| for_a_minute(r).header("last-modified", MODIFIED).header("x-large", "1").header("vary", "x-v");
    origin.on("/strong", |r| dressed(r).header("etag", "\"1\"").body("hello"));
    origin.on("/weak", |r| dressed(r).header("etag", "W/\"1\"").body("hello"));
    origin.on("/dated", |r| dressed(r).body("hello"));
    for path in ["/strong", "/weak", "/dated"] {
        proxy.client().get(path).send().await;
    }
    for (path, fields, status) in [
        ("/strong", &[("if-none-match", "\"1\"")][..], 304),
        ("/strong", &[("if-none-match", "W/\"1\"")], 304),
        ("/strong", &[("if-none-match", "\"0\", W/\"7\" , \"1\"")], 304),
        ("/strong", &[("if-none-match", "\"0\""), ("if-none-match", "\"1\"")], 304),
        ("/strong", &[("if-none-match", "*")], 304),
        ("/strong", &[("if-none-match", "\"2\"")], 200),
        ("/strong", &[("if-none-match", "\"*\"")], 200),
        ("/strong", &[("if-none-match", "\"2\""), ("if-modified-since", AFTER)], 200),
        ("/weak", &[("if-none-match", "\"1\"")], 304),
        ("/weak", &[("if-none-match", "W/\"1\"")], 304),
        ("/weak", &[("if-none-match", "W/\"2\"")], 200),
        ("/dated", &[("if-modified-since", MODIFIED)], 304),
        ("/dated", &[("if-modified-since", AFTER)], 304),
        ("/dated", &[("if-modified-since", BEFORE)], 200),
        ("/dated", &[("if-modified-since", "yesterday")], 200),
        ("/dated", &[("if-none-match", "\"1\"")], 200),
    ] {
        for method in ["GET", "HEAD"] {
            let ask = proxy.client().ask(method, path);
            let answer = fields.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await;
            let body = if status == 200 && method == "GET" { "hello" } else { "" };
            assert_eq!((answer.status, answer.text()), (status, body), "{method} {path} {fields:?}");
            assert!(answer.cache_status().hit, "{method} {path} {fields:?}");
            // RFC 9110 section 15.4.5: what a 200 would have said of caching, and not the rest.
            assert_eq!(answer.header("cache-control").as_deref(), Some("max-age=60"));
            assert!(answer.header("date").is_some() && answer.header("age").is_some());
            assert_eq!(answer.header("vary").as_deref(), Some("x-v"));
            assert_eq!(answer.header("x-large").is_none(), status == 304, "{method} {path} {fields:?}");
        }
        assert_eq!(origin.hits(path), 1);
    }
}

#[tokio::test]
async fn a_condition_on_a_cold_url_is_answered_from_the_fetch_that_it_causes() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| for_a_minute(r).header("etag", "\"1\"").body("hello"));
    let answer = proxy.client().get("/a").header("if-none-match", "\"1\"").send().await;
    assert_eq!((answer.status, answer.text()), (304, ""));
    assert_eq!(origin.last("/a").header("if-none-match"), None, "the whole was fetched, for everybody");
    let other = proxy.client().get("/a").send().await;
    assert_eq!((other.text(), origin.hits("/a")), ("hello", 1));
}

#[tokio::test]
async fn a_304_from_the_origin_keeps_the_body_and_updates_the_fields() {
    let (origin, proxy) = start("").await;
    let reply = |state: &'static str| {
        move |r: crate::support::origin::Reply| {
            let r = r.header("cache-control", "max-age=60").header("etag", "\"1\"").header("x-state", state);
            r.header("via", if state == "old" { "1.0 first" } else { "1.1 second" })
        }
    };
    origin.on("/a", |r| reply("old")(r).header("x-kept", "yes").body("hello").validates());
    proxy.client().get("/a").send().await;
    proxy.pass(Duration::from_secs(61));
    // This body would show if the proxy took it over.
    origin.on("/a", |r| reply("new")(r).body("not this one").validates());
    let confirmed = proxy.client().get("/a").send().await;
    assert_eq!((confirmed.status, confirmed.text()), (200, "hello"));
    assert_eq!(confirmed.header("x-state").as_deref(), Some("new"));
    assert_eq!(confirmed.header("x-kept").as_deref(), Some("yes"));
    assert_eq!(confirmed.cache_status().fwd_status, Some(304));
    proxy.pass(Duration::from_secs(59));
    let hit = proxy.client().get("/a").send().await;
    assert_eq!((hit.text(), hit.header("x-state").as_deref(), hit.age()), ("hello", Some("new"), Some(59)));
    assert_eq!((origin.hits("/a"), hit.cache_status().hit), (2, true));
    let via: Vec<_> = hit.headers.get_all("via").iter().collect();
    assert_eq!(via, ["1.1 second", "1.1 millpond"], "the way of the 304, and by us once");
}

#[tokio::test]
async fn a_304_about_another_representation_is_answered_by_a_whole_fetch() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| for_a_minute(r).header("etag", "\"1\"").body("old"));
    proxy.client().get("/a").send().await;
    proxy.pass(Duration::from_secs(61));
    origin.on_request("/a", |request| {
        let reply = for_a_minute(crate::support::origin::Reply::ok()).header("etag", "\"2\"");
        if request.header("if-none-match").is_some() { reply.status(304) } else { reply.body("new") }
    });
    let answer = proxy.client().get("/a").send().await;
    assert_eq!((answer.status, answer.text(), origin.hits("/a")), (200, "new", 3));
}

#[tokio::test]
async fn a_304_to_a_client_that_validates_an_older_copy_is_not_taken_for_the_stored_one() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| for_a_minute(r).header("etag", "\"2\"").body("new").validates());
    proxy.client().get("/a").send().await;
    proxy.pass(Duration::from_secs(61));
    let answer = proxy.client().get("/a").header("if-none-match", "\"1\"").send().await;
    assert_eq!((answer.status, answer.text()), (200, "new"));
    assert_eq!(origin.last("/a").header("if-none-match").as_deref(), Some("\"2\""), "our condition, not the client's");
}

/// Stores a GET with these fields, then has a HEAD passed on that is sent with `accept` and shown `shown`.
async fn told_by_a_head(
    accept: (&'static str, &'static str),
    stored: &'static [(&'static str, &'static str)],
    shown: &'static [(&'static str, &'static str)],
) -> (crate::support::origin::Origin, crate::support::proxy::Proxy) {
    let (origin, proxy) = start(", respect_client_cache_control = true").await;
    let dressed = |fields: &'static [(&'static str, &'static str)]| {
        move |r| fields.iter().fold(for_a_minute(r), |r, (name, value)| r.header(name, value)).body("hello")
    };
    origin.on("/a", dressed(stored));
    proxy.client().get("/a").header("accept-language", "de").header("accept-encoding", "gzip").send().await;
    origin.on("/a", dressed(shown));
    let head = proxy.client().ask("HEAD", "/a").header("cache-control", "no-store");
    let others =
        [("accept-language", "de"), ("accept-encoding", "gzip")].into_iter().filter(|(name, _)| *name != accept.0);
    let head = others.fold(head, |head, (name, value)| head.header(name, value));
    head.header(accept.0, accept.1).send().await;
    origin.on("/a", |r| for_a_minute(r).header("vary", "accept-language").body("new"));
    (origin, proxy)
}

#[tokio::test]
async fn a_head_that_shows_a_new_selecting_field_does_not_hand_the_stored_body_to_its_own_audience() {
    let vary = &[("vary", "accept-language")];
    let (_origin, proxy) = told_by_a_head(("accept-language", "fr"), &[], vary).await;
    // Which language it was asked for in, nobody noted when it was stored.
    let french = proxy.client().get("/a").header("accept-language", "fr").send().await;
    assert_eq!(french.text(), "new", "{:?}", french.header("cache-status"));
}

#[tokio::test]
async fn a_head_for_another_variant_says_nothing_of_one_that_its_client_would_take_as_well() {
    let gzip = &[("vary", "accept-encoding"), ("content-encoding", "gzip"), ("etag", "\"g\"")];
    let brotli = &[("vary", "accept-encoding"), ("content-encoding", "br"), ("etag", "\"b\"")];
    let (_origin, proxy) = told_by_a_head(("accept-encoding", "gzip, br"), gzip, brotli).await;
    let ask = proxy.client().get("/a").header("accept-encoding", "gzip").header("accept-language", "de");
    assert!(ask.send().await.cache_status().hit);
}
