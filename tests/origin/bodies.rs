//! Heads and bodies arrive as they were sent, in both directions.

use std::sync::Arc;

use http::{Method, Request};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use millpond::config::OriginConfig;
use millpond::origin::{Reply, RequestBody};

use crate::harness::{OK, Peer, Subject, channel, config, full, listen, outgoing, request, text};

/// The request head that the origin sees.
async fn seen_head(request: Request<RequestBody>, host_header: Option<&str>) -> String {
    let (listener, at) = listen().await;
    let host_header = host_header.map(|host| host.parse().unwrap());
    let subject = Subject::new(OriginConfig { host_header, ..config(at) });
    let (answer, head) = tokio::join!(subject.send(request), async { Peer::accept(&listener).await.answer(OK).await });
    text(answer.unwrap()).await.unwrap();
    head.replace(&at.to_string(), "ORIGIN")
}

#[tokio::test]
async fn the_client_s_host_is_kept_unless_one_is_configured() {
    let kept = seen_head(request(Method::GET, RequestBody::Empty), None).await;
    assert_eq!(kept, "GET /path?query HTTP/1.1\r\nhost: client.test\r\n\r\n");
    let replaced = seen_head(request(Method::GET, RequestBody::Empty), Some("api.internal:81")).await;
    assert_eq!(replaced, "GET /path?query HTTP/1.1\r\nhost: api.internal:81\r\n\r\n");
    let bare = Request::get("/").version(http::Version::HTTP_10).body(RequestBody::Empty).unwrap();
    assert_eq!(seen_head(bare, None).await, "GET / HTTP/1.1\r\nhost: ORIGIN\r\n\r\n");
}

#[tokio::test]
async fn f22_an_absolute_target_does_not_choose_where_a_request_goes() {
    let absolute = Request::get("http://169.254.169.254/secret").body(RequestBody::Empty).unwrap();
    assert_eq!(seen_head(absolute, None).await, "GET /secret HTTP/1.1\r\nhost: ORIGIN\r\n\r\n");
}

#[tokio::test]
async fn f1_framing_follows_from_the_body_and_not_from_the_client_s_fields() {
    let mut lying = request(Method::POST, full("four"));
    lying.headers_mut().insert("content-length", "400".parse().unwrap());
    lying.headers_mut().insert("transfer-encoding", "chunked".parse().unwrap());
    lying.headers_mut().insert("expect", "100-continue".parse().unwrap());
    let head = seen_head(lying, None).await;
    assert_eq!(head, "POST /path?query HTTP/1.1\r\nhost: client.test\r\ncontent-length: 4\r\n\r\n");
    let mut empty = request(Method::GET, RequestBody::Empty);
    empty.headers_mut().insert("content-length", "4".parse().unwrap());
    assert_eq!(seen_head(empty, None).await, "GET /path?query HTTP/1.1\r\nhost: client.test\r\n\r\n");
    let head = seen_head(request(Method::POST, RequestBody::Empty), None).await;
    assert!(head.contains("content-length: 0\r\n"), "{head}");
}

#[tokio::test]
async fn f7_a_get_with_a_body_of_unknown_length_is_sent_in_chunks() {
    let (pieces, body) = channel();
    pieces.send(Ok("x".into())).unwrap();
    let head = seen_head(request(Method::GET, body), None).await;
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
}

#[tokio::test]
async fn trailers_pass() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (answer, _) = tokio::join!(subject.get(), async {
        Peer::accept(&listener)
            .await
            .answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n")
            .await
    });
    let collected = answer.unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
    assert_eq!(collected.to_bytes(), "ok");
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn the_length_is_known_before_the_first_byte() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (answer, _peer) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        peer
    });
    assert_eq!(answer.unwrap().body().size_hint().exact(), Some(1000));
}

#[tokio::test]
async fn a_client_s_body_streams_through() {
    let (front, front_at) = listen().await;
    let (back, back_at) = listen().await;
    let subject = Subject::at(back_at);
    let origin = Arc::clone(&subject.origin);
    // A listener of our own, because only hyper makes an `Incoming`.
    tokio::spawn(async move {
        let (client, _) = front.accept().await.unwrap();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let origin = Arc::clone(&origin);
            let body = |body: Incoming| RequestBody::Streaming(Box::pin(body.map_err(Into::into)));
            async move { origin.send(outgoing(request.map(body))).await.map(Reply::into_response) }
        });
        let io = hyper_util::rt::TokioIo::new(client);
        hyper::server::conn::http1::Builder::new().serve_connection(io, service).await.unwrap();
    });
    let mut client = Peer(tokio::net::TcpStream::connect(front_at).await.unwrap());
    client.say("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\none").await;
    let mut peer = Peer::accept(&back).await;
    // The first half arrives before the client sends the second.
    assert!(peer.until("one").await.contains("content-length: 6\r\n"));
    client.say("two").await;
    peer.until("two").await;
    peer.say(OK).await;
    assert!(client.until("\r\n\r\nok").await.starts_with("HTTP/1.1 200 OK\r\n"));
    subject.assert_idle_after(&[]);
}
