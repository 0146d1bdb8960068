//! What QUERY and POST do not have in common: conditions, ranges, and how the origin is asked again.

use std::time::Duration;

use crate::support::origin::Reply;
use crate::support::proxy::Proxy;

use super::{JSON, ask, for_a_minute, post, start};

async fn query(proxy: &Proxy, fields: &[(&str, &str)]) -> crate::support::client::Answer {
    let ask = ask(proxy, "QUERY", JSON, "hello");
    fields.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send().await
}

#[tokio::test]
async fn conditions_and_ranges_of_a_query_are_answered_from_the_cache() {
    let (origin, proxy) = start("", "").await;
    origin.on_request("/s", |r| for_a_minute(Reply::ok()).header("etag", "\"1\"").body(r.body.clone()));
    query(&proxy, &[("if-none-match", "\"0\"")]).await;
    for (fields, status, body) in [
        (&[("if-none-match", "\"1\"")][..], 304, ""),
        (&[("if-none-match", "\"2\"")], 200, "hello"),
        (&[("range", "bytes=1-2")], 206, "el"),
        (&[("range", "bytes=1-2"), ("if-range", "\"2\"")], 200, "hello"),
    ] {
        let answer = query(&proxy, fields).await;
        assert_eq!((answer.status, answer.text(), answer.cache_status().hit), (status, body, true), "{fields:?}");
    }
    assert_eq!((origin.hits("/s"), origin.last("/s").header("if-none-match")), (1, None));
}

#[tokio::test]
async fn a_conditional_post_is_the_origins_to_judge() {
    let (origin, proxy) = start("", "").await;
    post(&proxy, "hello").await;
    for (round, (name, value)) in
        [("if-none-match", "*"), ("if-match", "\"1\""), ("range", "bytes=0-1"), ("x-http-method-override", "DELETE")]
            .into_iter()
            .enumerate()
    {
        let answer = ask(&proxy, "POST", JSON, "hello").header(name, value).send().await;
        assert_eq!((answer.status, answer.text()), (200, "hello"), "{name}");
        let detail = if name == "x-http-method-override" { "unsafe-method" } else { "method-not-cached" };
        assert_eq!(answer.cache_status().detail.as_deref(), Some(detail), "{name}");
        assert_eq!((origin.hits("/s"), origin.last("/s").header(name).as_deref()), (round + 2, Some(value)));
    }
}

#[tokio::test]
async fn what_is_stale_is_confirmed_by_query_and_fetched_anew_by_post() {
    let (origin, proxy) = start("", "").await;
    origin.on_request("/s", |r| for_a_minute(Reply::ok()).header("etag", "\"1\"").body(r.body.clone()).validates());
    for (method, condition, fwd_status) in [("QUERY", Some("\"1\""), 304), ("POST", None, 200)] {
        ask(&proxy, method, JSON, "hello").send().await;
        proxy.pass(Duration::from_secs(61));
        let answer = ask(&proxy, method, JSON, "hello").send().await;
        assert_eq!((answer.text(), answer.cache_status().fwd_status), ("hello", Some(fwd_status)), "{method}");
        let asked = origin.last("/s");
        assert_eq!((asked.header("if-none-match").as_deref(), &*asked.body), (condition, &b"hello"[..]), "{method}");
        assert!(ask(&proxy, method, JSON, "hello").send().await.cache_status().hit);
    }
}

#[tokio::test]
async fn a_304_that_nobody_asked_for_does_not_confirm_a_post() {
    let (origin, proxy) = start("", "").await;
    post(&proxy, "hello").await;
    proxy.pass(Duration::from_secs(61));
    origin.on("/s", |r| r.status(304));
    assert_eq!(post(&proxy, "hello").await.status, 304);
    origin.on("/s", |r| for_a_minute(r).body("new"));
    proxy.pass(Duration::from_secs(11));
    assert_eq!(post(&proxy, "hello").await.text(), "new");
}

#[tokio::test]
async fn a_stale_response_is_served_while_the_same_body_asks_for_a_new_one() {
    for method in ["POST", "QUERY"] {
        let (origin, proxy) = start("", ", stale_while_revalidate = '60s', stale_if_error = '60s'").await;
        ask(&proxy, method, JSON, "hello").send().await;
        proxy.pass(Duration::from_secs(61));
        let stale = ask(&proxy, method, JSON, "hello").send().await;
        assert_eq!((stale.text(), stale.cache_status().hit), ("hello", true));
        proxy.refreshed("replaced", 1).await;
        let asked = origin.last("/s");
        assert_eq!((asked.method.as_str(), &*asked.body), (method, &b"hello"[..]));
        assert_eq!(asked.header("content-type").as_deref(), Some(JSON));
        assert_eq!(ask(&proxy, method, JSON, "hello").send().await.age(), Some(0));
        proxy.pass(Duration::from_secs(125));
        origin.fail("/s", 503);
        assert_eq!(ask(&proxy, method, JSON, "hello").send().await.status, 503, "past both windows");
    }
}
