//! Bytes on their way: pipelining, uploads with back-pressure, event streams.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{for_a_minute, start};
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::soon;

/// More than the buffers of two connections and the proxy hold.
const LARGE: usize = 128 << 20;
/// What may be on its way between an end that writes and one that does not read: on Linux a socket
/// may come to hold 32 MiB received and 4 MiB to be sent.
const BUFFERED: usize = 80 << 20;

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (origin, proxy) = start("").await;
    origin.on("/slow", |r| r.header("cache-control", "private").body("slow"));
    origin.on("/fast", |r| for_a_minute(r).body("fast"));
    proxy.client().get("/fast").send().await;
    let gate = origin.hold("/slow");
    let mut connection = proxy.client().connect_raw().await;
    let head = "Host: api.test\r\n";
    let three = format!(
        "GET /slow HTTP/1.1\r\n{head}\r\nPOST /slow HTTP/1.1\r\n{head}Content-Length: 4\r\n\r\nbodyGET /fast HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
    );
    connection.send(three).await;
    gate.arrived(1).await;
    gate.release();
    let text = String::from_utf8(connection.until_closed().await).unwrap();
    let at = |body: &str| text.match_indices(&format!("\r\n\r\n{body}")).map(|(at, _)| at).collect::<Vec<_>>();
    let (slow, fast) = (at("slow"), at("fast"));
    assert_eq!((slow.len(), fast.len()), (2, 1), "{text}");
    assert!(slow.iter().all(|&slow| slow < fast[0]), "{text}");
    assert_eq!(origin.last("/slow").body, "body");
}

#[tokio::test]
async fn a_request_body_reaches_the_origin_unchanged_and_while_it_is_sent() {
    let (origin, proxy) = start("").await;
    origin.raw("/up", |s| s.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
    let mut connection = proxy.client().connect_raw().await;
    connection.send("POST /up HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    // The first part opens the exchange: the origin is connected to before the body is complete.
    proxy.reaches(r#"origin_requests_in_flight{origin="scripted"}"#, 1).await;
    connection.send("4\r\ndefg\r\n0\r\n\r\n").await;
    connection.until("ok").await;
    assert_eq!(origin.last("/up").body, "abcdefg");
}

#[tokio::test]
async fn an_upload_to_an_origin_that_does_not_read_stalls_its_client() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let deaf = format!("[origins.deaf]\nurl = 'http://{}'\n", listener.local_addr().unwrap());
    let route = "[[routes]]\npath = '/up'\norigin = 'deaf'\n";
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).section(&format!("{deaf}{route}")).await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let (mut reads, mut writes) = stream.split();
    let head = format!("POST /up HTTP/1.1\r\nHost: api.test\r\nContent-Length: {LARGE}\r\n\r\n");
    writes.write_all(head.as_bytes()).await.unwrap();
    let (mut peer, _) = soon("the proxy to connect", listener.accept()).await.unwrap();
    let chunk = vec![b'x'; 64 << 10];
    let mut sent = 0;
    // Nothing tells that a peer will never read, so this one wait is a span: far longer than a
    // write takes that finds room.
    let still = Duration::from_millis(300);
    while let Ok(written) = tokio::time::timeout(still, writes.write(&chunk)).await {
        sent += written.unwrap();
        assert!(sent < BUFFERED, "the proxy has swallowed {sent} bytes that nobody reads");
    }
    // As soon as the origin reads, the rest flows, and nothing was lost.
    let upload = async {
        while sent < LARGE {
            let left = chunk.len().min(LARGE - sent);
            sent += writes.write(&chunk[..left]).await.unwrap();
        }
    };
    let download = async {
        let mut reader = BufReader::new(&mut peer);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).await.unwrap();
        }
        let mut body = reader.take(LARGE as u64);
        tokio::io::copy(&mut body, &mut tokio::io::sink()).await.unwrap()
    };
    let ((), count) = soon("the upload to end", async { tokio::join!(upload, download) }).await;
    assert_eq!(count, LARGE as u64);
    peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"done") {
        assert!(soon("the answer", reads.read_buf(&mut answer)).await.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_download_by_a_client_that_does_not_read_stalls_the_origin() {
    let (origin, proxy) = start("").await;
    let stream = origin.stream("/down", |r| r.header("cache-control", "private"));
    let mut slow = proxy.client().get("/down").small_buffer().start().await;
    slow.head().await;
    for _ in 0..LARGE >> 20 {
        stream.send(vec![b'x'; 1 << 20]);
    }
    stream.finish();
    let taken = usize::try_from(stream.stalled().await).unwrap();
    assert!(taken < BUFFERED, "the proxy has taken {taken} bytes that nobody reads");
    assert_eq!(slow.rest().await.unwrap().len(), LARGE);
}

#[tokio::test]
async fn server_sent_events_pass_one_by_one_and_are_never_shared() {
    // Time-outs of a whole exchange do not apply to a stream that is meant to last.
    let (origin, proxy) = start(", ttl = '60s'").await;
    let stream = origin.stream("/events", |r| r.header("content-type", "text/event-stream"));
    let mut one = proxy.client().get("/events").start().await;
    one.head().await;
    let mut two = proxy.client().get("/events").start().await;
    two.head().await;
    for number in 0..3 {
        let event = format!("data: {number}\n\n");
        stream.send(event.clone());
        one.expect(&event).await;
        two.expect(&event).await;
    }
    assert_eq!(origin.hits("/events"), 2, "each client has a stream of its own");
    drop(one);
    stream.deserted(1).await;
    stream.send("data: last\n\n");
    two.expect("data: last\n\n").await;
}

#[tokio::test]
async fn an_event_stream_outlives_the_time_limit_of_an_exchange() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).origin("total_timeout = '100ms'").await;
    let stream = origin.stream("/events", |r| r.header("content-type", "text/event-stream; charset=utf-8"));
    let cut = origin.stream("/plain", |r| r.header("cache-control", "private"));
    let mut events = proxy.client().get("/events").start().await;
    stream.send("data: 1\n\n");
    events.expect("data: 1\n\n").await;
    // The limit has passed when a response that it does apply to has been cut off by it.
    let mut plain = proxy.client().get("/plain").start().await;
    cut.send("x");
    plain.expect("x").await;
    assert!(plain.rest().await.is_err());
    stream.send("data: 2\n\n");
    events.expect("data: 2\n\n").await;
}

#[tokio::test]
async fn a_client_that_expects_a_continue_gets_it_before_it_sends_its_body() {
    let (origin, proxy) = start("").await;
    origin.on("/up", |r| r.body("ok"));
    let mut connection = proxy.client().connect_raw().await;
    let head = "POST /up HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    connection.send(head).await;
    assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    connection.send("body").await;
    connection.until("ok").await;
    assert_eq!(origin.last("/up").body, "body");
}
