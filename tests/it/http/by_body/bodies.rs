//! Bodies on their way: short and long, chunked, awaited, broken.

use std::fmt::Write;

use crate::support::proxy::Proxy;

use super::{JSON, ask, post, start};

/// Sends a request for `/s` as bytes and returns the answer as text.
async fn raw(proxy: &Proxy, fields: &str, body: &str) -> String {
    let request = format!("POST /s HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n{fields}\r\n{body}");
    String::from_utf8(proxy.client().raw(request).await).unwrap()
}

const CHUNKED: &str = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";

#[tokio::test]
async fn a_body_is_the_same_however_it_is_framed() {
    let (origin, proxy) = start("", "").await;
    post(&proxy, "hello").await;
    let answer = raw(&proxy, CHUNKED, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n").await;
    assert!(answer.contains("; hit;") && answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert_eq!(origin.hits("/s"), 1);
    let request = raw(&proxy, CHUNKED, "2\r\nyo\r\n0\r\n\r\n").await;
    assert!(request.ends_with("\r\n\r\nyo"), "{request}");
    assert_eq!(origin.last("/s").header("content-length").as_deref(), Some("2"), "the whole is known by then");
}

#[tokio::test]
async fn a_body_larger_than_the_limit_reaches_the_origin_to_its_last_byte() {
    let (origin, proxy) = start("", "").await;
    for length in [1025, 5_000, 3 << 20] {
        let body: String = ('a'..='z').cycle().take(length).collect();
        let chunks = body.as_bytes().chunks(700).fold(String::new(), |mut chunks, chunk| {
            let _ = write!(chunks, "{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk));
            chunks
        });
        for round in 0..2 {
            let answer = post(&proxy, &body).await;
            assert_eq!(answer.cache_status().detail.as_deref(), Some("request-body"), "{length}");
            assert!(answer.text() == body && origin.last("/s").body == body, "{length} {round}");
            assert_eq!(origin.last("/s").header("content-length"), Some(length.to_string()));
            let answer = raw(&proxy, CHUNKED, &format!("{chunks}0\r\n\r\n")).await;
            assert!(answer.ends_with(&body) && !answer.contains("; hit"), "{length} {round}");
            assert!(origin.last("/s").body == body, "{length} {round}");
        }
    }
    assert_eq!(origin.hits("/s"), 12);
    let exact = "x".repeat(1024);
    assert!(!super::hits(&proxy, &exact).await && super::hits(&proxy, &exact).await);
}

#[tokio::test]
async fn f20_a_body_that_awaits_100_continue_is_asked_for() {
    let (origin, proxy) = start("", "").await;
    for (round, hit) in [(0, false), (1, true)] {
        let mut connection = proxy.client().connect_raw().await;
        let head = "POST /s HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        connection.send(head).await;
        assert_eq!(connection.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n", "{round}");
        connection.send("hello").await;
        assert_eq!(connection.until("hello").await.contains("; hit;"), hit);
        assert_eq!((origin.hits("/s"), origin.last("/s").header("expect")), (1, None));
    }
}

#[tokio::test]
async fn f20_a_body_too_large_for_the_key_is_asked_for_when_the_origin_takes_it() {
    let (origin, proxy) = start("", "").await;
    let mut connection = proxy.client().connect_raw().await;
    let head = "POST /s HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n";
    connection.send(head).await;
    assert_eq!(connection.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    connection.send("x".repeat(2000)).await;
    connection.until(&"x".repeat(2000)).await;
    assert_eq!(origin.last("/s").body.len(), 2000);
}

#[tokio::test]
async fn f1_a_broken_body_is_refused_as_ever_and_nothing_is_stored() {
    let (_origin, proxy) = start("", "").await;
    let answer = raw(&proxy, CHUNKED, "5\r\nhello\r\nZZ\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // A client that leaves in the middle.
    let mut connection = proxy.client().connect_raw().await;
    connection
        .send("POST /s HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\nhello")
        .await;
    connection.finish_sending().await;
    connection.until_closed().await;
    assert!(!super::hits(&proxy, "hello").await);
}

#[tokio::test]
async fn a_request_with_trailers_is_passed_on_with_them() {
    let (origin, proxy) = start("", "").await;
    for round in 1..=2 {
        let answer = raw(&proxy, &format!("{CHUNKED}Trailer: X-Sum\r\n"), "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").await;
        assert!(answer.contains("detail=request-body") && answer.ends_with("hello"), "{answer}");
        assert_eq!((origin.hits("/s"), origin.last("/s").header("trailer").as_deref()), (round, Some("X-Sum")));
    }
}

#[tokio::test]
async fn the_connection_is_in_order_for_the_next_request() {
    let (_origin, proxy) = start("", "").await;
    let mut connection = proxy.client().connect().await;
    for body in ["a", "a", &"b".repeat(2000), "", "a"] {
        let answer = connection.send(ask(&proxy, "POST", JSON, body)).await.unwrap();
        assert_eq!(answer.text(), body);
    }
}
