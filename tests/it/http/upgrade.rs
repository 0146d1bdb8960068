//! Leaving HTTP: after a 101 the proxy is a pipe, and nothing is agreed that was not asked for.

use super::{for_a_minute, start};

const ASK: &str = "GET /socket HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

#[tokio::test]
async fn bytes_pass_both_ways_after_an_upgrade() {
    let (origin, proxy) = start("").await;
    origin.raw("/socket", |s| s.send(AGREED).send("welcome").echo());
    let mut connection = proxy.client().connect_raw().await;
    connection.send(ASK).await;
    let head = connection.until("welcome").await.to_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for field in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-accept: s3pplmbi", "\r\ndate: "] {
        assert!(head.contains(field), "{field} in {head}");
    }
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
    let request = origin.last("/socket");
    assert_eq!(request.header("upgrade").as_deref(), Some("websocket"));
    assert_eq!(request.header("connection").unwrap().to_lowercase(), "upgrade");
    assert_eq!(request.header("sec-websocket-version").as_deref(), Some("13"));
    for message in ["ping", "\0\r\n\r\nGET / HTTP/1.1\r\n", "bye"] {
        connection.send(message).await;
        connection.until(message).await;
    }
}

#[tokio::test]
async fn an_older_client_cannot_ask_for_an_upgrade() {
    // RFC 9110 section 7.8: a server ignores Upgrade in an HTTP/1.0 request.
    let (origin, proxy) = start("").await;
    origin.on("/socket", for_a_minute);
    let answer = proxy.client().raw(ASK.replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.0 200 "), "{}", String::from_utf8_lossy(&answer));
    let request = origin.last("/socket");
    assert_eq!((request.header("upgrade"), request.header("connection")), (None, None));
}

#[tokio::test]
async fn an_upgraded_connection_ends_when_either_side_ends_it() {
    let (origin, proxy) = start("").await;
    origin.raw("/socket", |s| s.send(AGREED).send("bye").close());
    let mut connection = proxy.client().connect_raw().await;
    connection.send(ASK).await;
    connection.until("bye").await;
    connection.finish_sending().await;
    assert_eq!(connection.until_closed().await, b"");
    origin.raw("/socket", |s| s.send(AGREED).send("welcome").hang());
    let mut connection = proxy.client().connect_raw().await;
    connection.send(ASK).await;
    connection.until("welcome").await;
    drop(connection);
    origin.abandoned().await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_exchange() {
    let (origin, proxy) = start("").await;
    origin.on("/socket", |r| for_a_minute(r).body("plain"));
    let mut connection = proxy.client().connect_raw().await;
    for _ in 0..2 {
        connection.send(ASK).await;
        let text = connection.until("plain").await.to_lowercase();
        assert!(text.starts_with("http/1.1 200 ") && text.contains("detail=upgrade"), "{text}");
        assert!(!text.contains("\r\nupgrade:"), "{text}");
    }
    assert_eq!(origin.hits("/socket"), 2, "such requests are passed");
    connection.send("GET /socket HTTP/1.1\r\nHost: api.test\r\n\r\n").await;
    assert!(connection.until("plain").await.contains("fwd=uri-miss"), "and their responses not stored");
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_a_fault_of_the_origin() {
    let (origin, proxy) = start("").await;
    origin.raw("/a", |s| s.send(AGREED).hang());
    let answer = proxy.client().get("/a").send().await;
    assert_eq!(answer.status, 502);
    origin.abandoned().await;
}

#[tokio::test]
async fn f20_bytes_after_an_upgrade_request_are_not_forwarded_before_the_origin_agrees() {
    let (origin, proxy) = start("").await;
    origin.on("/socket", |r| r.body("plain"));
    let gate = origin.hold("/socket");
    let mut connection = proxy.client().connect_raw().await;
    connection.send(format!("{ASK}GET /smuggled HTTP/1.1\r\nHost: api.test\r\n\r\n")).await;
    gate.arrived(1).await;
    assert_eq!((origin.hits("/smuggled"), origin.malformed()), (0, 0));
    gate.release();
    connection.until("plain").await;
    // A refusal leaves the connection in HTTP or closes it; either way the bytes are no longer the
    // upgrade's, and the origin's connection is in order for the next client.
    assert_eq!(proxy.client().get("/socket").send().await.text(), "plain");
    assert_eq!(origin.malformed(), 0);
}
