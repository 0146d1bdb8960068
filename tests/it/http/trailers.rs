//! Trailers: passed on where one client talks to the origin, discarded where a response is shared.

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{for_a_minute, start};
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::soon;

/// Asks for `path` with trailers welcome, and returns all bytes of the answer.
async fn raw_get(proxy: &Proxy, path: &str) -> String {
    let ask = format!("GET {path} HTTP/1.1\r\nHost: api.test\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n");
    String::from_utf8(proxy.client().raw(ask).await).unwrap().to_lowercase()
}

#[tokio::test]
async fn the_trailers_of_a_passed_response_reach_its_client() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).no_cache().await;
    origin.on("/a", |r| {
        r.header("trailer", "x-sum, x-time").chunks(&["hel", "lo"]).trailer("X-Sum", "abc").trailer("X-Time", "7")
    });
    let text = raw_get(&proxy, "/a").await;
    let (_, trailers) = text.split_once("\r\n0\r\n").expect("a chunked body");
    assert!(trailers.contains("x-sum: abc\r\n") && trailers.contains("x-time: 7\r\n"), "{text}");
}

#[tokio::test]
async fn the_trailers_of_a_response_for_one_client_reach_it() {
    let (origin, proxy) = start("").await;
    let dress = |r: crate::support::origin::Reply| r.header("cache-control", "private").header("trailer", "x-sum");
    origin.on("/a", |r| dress(r).chunks(&["hello"]).trailer("X-Sum", "abc"));
    // The first is fetched for all, the second alone.
    for _ in 0..2 {
        let text = raw_get(&proxy, "/a").await;
        assert!(text.contains("\r\n0\r\nx-sum: abc\r\n"), "{text}");
    }
}

#[tokio::test]
async fn the_trailers_of_a_shared_response_are_discarded() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| for_a_minute(r).header("trailer", "x-sum").chunks(&["hello"]).trailer("X-Sum", "abc"));
    for _ in 0..2 {
        let text = raw_get(&proxy, "/a").await;
        assert!(text.contains("hello") && !text.contains("x-sum"), "{text}");
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn the_trailers_of_a_request_reach_the_origin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scripted = Origin::start().await;
    let other = format!("[origins.other]\nurl = 'http://{}'\n", listener.local_addr().unwrap());
    let route = "[[routes]]\npath = '/up'\norigin = 'other'\n";
    let proxy = Proxy::start(&scripted).section(&format!("{other}{route}")).await;
    let mut connection = proxy.client().connect_raw().await;
    let head = "POST /up HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    connection.send(format!("{head}5\r\nhello\r\n0\r\nX-Sum: abc\r\n\r\n")).await;
    let (mut peer, _) = soon("the proxy to connect", listener.accept()).await.unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") || !received.windows(5).any(|five| five == b"\r\n0\r\n") {
        assert!(soon("the end of the request", peer.read_buf(&mut received)).await.unwrap() > 0);
    }
    let text = String::from_utf8(received).unwrap().to_lowercase();
    assert!(text.contains("\r\n0\r\nx-sum: abc\r\n"), "{text}");
}
