//! Requests that two parsers could read differently: refused, closed, and nothing forwarded.

use super::support::origin::Origin;
use super::support::proxy::Proxy;

/// Request bytes, and the status they get: one of each kind. `tests/malformed` has them all.
const MALFORMED: &[(&str, u16)] = &[
    ("GET / HTTP/1.1\nHost: h\n\n", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 400),
    ("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", 400),
    ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na", 400),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: h\r\nConnection: transfer-encoding\r\n\r\n", 400),
];

/// A head is well formed, its chunked body is not. The request may have reached the origin by then.
const BROKEN_CHUNKS: &[&str] = &[
    "z\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhelloX\r\n0\r\n\r\n",
    "ffffffffffffffffff\r\n",
    "-1\r\n",
    "0\r\nBad Trailer: x\r\n\r\n",
];

#[tokio::test]
async fn f1_each_malformed_request_gets_its_status_a_closed_connection_and_is_not_forwarded() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).await;
    for (bytes, status) in MALFORMED {
        // `raw` reads until the proxy closes, so an open connection fails the test by its time limit.
        let answer = String::from_utf8_lossy(&proxy.client().raw(bytes).await).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{bytes:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "one answer: {answer}");
    }
    assert_eq!(origin.requests().len(), 0);
    assert_eq!(proxy.metric("requests_in_flight").await, 0);
}

#[tokio::test]
async fn f1_a_broken_chunked_body_ends_the_connection_and_the_next_request_is_unharmed() {
    let origin = Origin::start().await;
    origin.on("/next", |r| r.body("fine"));
    let proxy = Proxy::start(&origin).await;
    for chunks in BROKEN_CHUNKS {
        let request = format!("POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let answer = String::from_utf8_lossy(&proxy.client().raw(&request).await).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
        assert_eq!(proxy.client().get("/next").send().await.text(), "fine");
    }
}

#[tokio::test]
async fn a_good_request_before_a_malformed_one_is_answered_first() {
    let origin = Origin::start().await;
    origin.on("/good", |r| r.body("good"));
    let proxy = Proxy::start(&origin).await;
    let both = "GET /good HTTP/1.1\r\nHost: h\r\n\r\nGET /bad HTTP/1.1\r\nHost: h\nX: y\r\n\r\n";
    let answer = String::from_utf8_lossy(&proxy.client().raw(both).await).into_owned();
    let (first, second) = answer.split_once("good").expect("the good answer");
    assert!(first.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(second.contains("HTTP/1.1 400 "), "{answer}");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn limits_on_head_target_and_body_have_their_statuses() {
    let origin = Origin::start().await;
    let limits = "[limits]\nhead_bytes = '2KiB'\nhead_fields = 10\ntarget_bytes = '100B'\nrequest_body = '10B'\n";
    let proxy = Proxy::start(&origin).section(limits).await;
    let long = "x".repeat(3000);
    let many = "x: y\r\n".repeat(20);
    for (request, status) in [
        (format!("GET / HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: h\r\n{many}\r\n"), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "y".repeat(200)), 414),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world".to_owned(), 413),
    ] {
        let answer = String::from_utf8_lossy(&proxy.client().raw(&request).await).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    }
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test]
async fn a_chunked_body_is_too_large_once_it_is_and_its_client_is_told() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).section("[limits]\nrequest_body = '10B'\n").await;
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n";
    let answer = String::from_utf8_lossy(&proxy.client().raw(request).await).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("body-too-large"), "{answer}");
}
