//! Entity tags: each form has its own, and every way back to the origin knows the one that the origin gave.

use std::time::Duration;

use super::{ALL, coding, decoded, get, json, made, start, stored_in, text};
use crate::support::origin::Reply;

#[tokio::test]
async fn a_client_that_has_a_form_gets_304_before_and_after_that_form_is_made() {
    let (origin, proxy) = start(ALL).await;
    origin.on("/a", |r| json(r).header("vary", "Origin"));
    proxy.client().get("/a").send().await;
    for round in ["it is not made", "it is made"] {
        for (accept, named, tag) in [
            ("gzip", "\"1-gzip\"", "\"1-gzip\""),
            ("gzip", "W/\"1-gzip\"", "\"1-gzip\""),
            ("gzip, br", "\"0\", \"1-gzip\"", "\"1-gzip\""),
            ("gzip", "\"1\"", "\"1\""),
        ] {
            let answer = get(&proxy, accept).header("if-none-match", named).send().await;
            assert_eq!((answer.status, answer.text()), (304, ""), "{round}: {named}");
            assert_eq!(answer.header("etag").as_deref(), Some(tag), "{round}: {named}");
            assert_eq!(answer.header("vary").as_deref(), Some("Origin, Accept-Encoding"), "{round}: {named}");
            assert_eq!(coding(&answer), None, "{round}: a 304 has no coding");
        }
        for (accept, named) in [("br", "\"1-gzip\""), ("gzip", "\"2-gzip\"")] {
            let answer = get(&proxy, accept).header("if-none-match", named).send().await;
            assert_eq!((answer.status, decoded(&answer)), (200, text()), "{round}: {accept} {named}");
        }
        stored_in(&proxy, "gzip").await;
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn what_the_origin_confirms_keeps_its_forms() {
    let (origin, proxy) = start(ALL).await;
    origin.on("/a", |r| json(r).validates());
    stored_in(&proxy, "gzip").await;
    proxy.pass(Duration::from_secs(61));
    let confirmed = get(&proxy, "gzip").header("if-none-match", "\"1-gzip\"").send().await;
    assert_eq!((confirmed.status, confirmed.header("etag").as_deref()), (304, Some("\"1-gzip\"")));
    assert_eq!(origin.last("/a").header("if-none-match").as_deref(), Some("\"1\""));
    let hit = get(&proxy, "gzip").send().await;
    assert_eq!((coding(&hit).as_deref(), decoded(&hit)), (Some("gzip"), text()));
    assert_eq!((hit.age(), origin.hits("/a")), (Some(0), 2));
    assert_eq!(proxy.metric(&made("gzip", "kept")).await, 1, "the body is the same");
}

#[tokio::test]
async fn a_weak_tag_fits_every_form() {
    let (origin, proxy) = start(ALL).await;
    origin.on("/a", json_weak);
    stored_in(&proxy, "gzip").await;
    for accept in ["gzip", "deflate"] {
        let answer = get(&proxy, accept).send().await;
        assert_eq!(answer.header("etag").as_deref(), Some("W/\"1\""), "{accept}");
        let again = get(&proxy, accept).header("if-none-match", "W/\"1\"").send().await;
        assert_eq!(again.status, 304, "{accept}");
    }
}

fn json_weak(reply: Reply) -> Reply {
    reply
        .header("cache-control", "max-age=60")
        .header("content-type", "application/json")
        .header("etag", "W/\"1\"")
        .body(text())
}

#[tokio::test]
async fn the_origin_is_asked_for_its_own_tag_by_writes_and_by_requests_that_pass() {
    let (origin, proxy) = start(&format!("{ALL}, bypass = {{ headers = ['x-pass'] }}")).await;
    origin.on("/a", |r| json(r).validates());
    stored_in(&proxy, "gzip").await;
    let put = proxy.client().ask("PUT", "/a").header("if-match", "\"1-gzip\"").body("{}");
    assert_eq!(put.send().await.status, 200);
    assert_eq!(origin.last("/a").header("if-match").as_deref(), Some("\"1-gzip\", \"1\""));
    let passed = get(&proxy, "gzip").header("x-pass", "1").header("if-none-match", "\"1-gzip\"").send().await;
    assert_eq!(origin.last("/a").header("if-none-match").as_deref(), Some("\"1-gzip\", \"1\""));
    assert_eq!(origin.last("/a").header("accept-encoding").as_deref(), Some("gzip"), "as the client sent it");
    assert_eq!((passed.status, passed.header("etag").as_deref()), (304, Some("\"1-gzip\"")), "what the client has");
}

#[tokio::test]
async fn a_route_that_codes_nothing_leaves_conditions_alone() {
    let (origin, proxy) = start("").await;
    origin.on("/a", json);
    let put = proxy.client().ask("PUT", "/a").header("if-match", "\"1-gzip\"").body("{}");
    put.send().await;
    assert_eq!(origin.last("/a").header("if-match").as_deref(), Some("\"1-gzip\""));
    for _ in 0..2 {
        let answer = get(&proxy, "gzip").header("if-none-match", "\"1-gzip\"").send().await;
        assert_eq!((answer.status, answer.text(), answer.header("vary")), (200, text().as_str(), None));
    }
    assert_eq!(origin.last("/a").header("accept-encoding").as_deref(), Some("gzip"));
}
