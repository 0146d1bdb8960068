//! Responses that stay as they came.

use super::{ALL, coding, for_a_minute, get, json, made, start, stored_in, text};
use crate::support::origin::Reply;
use crate::support::scrape::Scrape;

fn typed(reply: Reply) -> Reply {
    for_a_minute(reply).header("content-type", "text/plain")
}

#[tokio::test]
async fn what_must_not_be_coded_or_gains_nothing_stays_as_it_came() {
    let (origin, proxy) = start(ALL).await;
    let no_transform =
        |r: Reply| r.header("cache-control", "max-age=60, no-transform").header("content-type", "text/plain");
    origin.on("/no-transform", |r| no_transform(r).body(text()));
    origin.on("/small", |r| typed(r).body("x".repeat(1023)));
    origin.on("/picture", |r| for_a_minute(r).header("content-type", "image/png").body(text()));
    origin.on("/untyped", |r| for_a_minute(r).body(text()));
    origin.on("/digest", |r| typed(r).header("repr-digest", "sha-256=:eA==:").body(text()));
    origin.on("/coded", |r| typed(r).header("content-encoding", "foo").body(text()));
    for path in ["/no-transform", "/small", "/picture", "/untyped", "/digest", "/coded"] {
        for _ in 0..3 {
            let answer = proxy.client().get(path).header("accept-encoding", "gzip, br, zstd").send().await;
            assert_eq!((answer.status, coding(&answer).filter(|c| c != "foo")), (200, None), "{path}");
            assert_eq!(answer.header("vary"), None, "{path}: nothing is negotiated");
        }
        assert_eq!(origin.hits(path), 1, "{path}");
    }
    assert!(Scrape::of(proxy.admin()).await.nonzero("codings_total").is_empty());
}

#[tokio::test]
async fn a_body_of_the_least_size_is_coded() {
    let (origin, proxy) = start(", compress = ['gzip'], compress_from = '2KiB'").await;
    for size in [2047, 2048] {
        origin.on("/a", |r| typed(r).body("x".repeat(size)));
        proxy.purge("{\"all\": true}").await;
        for _ in 0..2 {
            assert_eq!(get(&proxy, "gzip").send().await.header("vary").is_some(), size == 2048, "{size}");
        }
    }
    proxy.reaches(&made("gzip", "kept"), 1).await;
}

#[tokio::test]
async fn a_body_that_does_not_shrink_is_tried_once() {
    let (origin, proxy) = start(ALL).await;
    let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(8192).collect();
    origin.on("/a", |r| typed(r).body(noise.clone()));
    for _ in 0..2 {
        get(&proxy, "br").send().await;
    }
    proxy.reaches(&made("br", "unshrunk"), 1).await;
    for _ in 0..10 {
        let answer = get(&proxy, "br").send().await;
        assert_eq!((coding(&answer), &answer.body.unwrap()[..]), (None, &noise[..]));
    }
    assert_eq!(Scrape::of(proxy.admin()).await.nonzero("codings_total").len(), 1);
    assert_eq!(proxy.metric(&made("br", "unshrunk")).await, 1);
}

#[tokio::test]
async fn a_client_may_ask_for_the_bytes_as_they_are() {
    let (origin, proxy) = start(ALL).await;
    origin.on("/a", json);
    stored_in(&proxy, "gzip").await;
    let answer = get(&proxy, "gzip").header("cache-control", "no-transform").send().await;
    assert_eq!((answer.text(), coding(&answer)), (text().as_str(), None));
}

#[tokio::test]
async fn what_is_for_one_client_alone_is_left_to_the_origin() {
    let (origin, proxy) = start(ALL).await;
    let private = |r: Reply| r.header("cache-control", "private").header("content-type", "text/plain").body(text());
    origin.on("/a", private);
    for _ in 0..3 {
        let answer = get(&proxy, "gzip").send().await;
        assert_eq!((answer.text(), answer.header("vary")), (text().as_str(), None));
    }
    assert_eq!(origin.hits("/a"), 3);
    assert_eq!(origin.last("/a").header("accept-encoding").as_deref(), Some("gzip"), "the origin may code it");
}
