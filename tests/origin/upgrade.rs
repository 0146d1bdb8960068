//! A change of protocol.

use http::Request;
use millpond::config::OriginConfig;
use millpond::origin::RequestBody;
use millpond::reason::OriginFault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{LATER, OK, Peer, Subject, channel, config, listen, text};

#[tokio::test]
async fn an_upgraded_connection_passes_bytes_both_ways_and_keeps_its_turn() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig {
        max_connections: 1,
        queue_timeout: LATER,
        total_timeout: Some(LATER),
        ..config(at)
    });
    let request = Request::get("/chat").header("connection", "upgrade").header("upgrade", "echo");
    let (answer, mut peer) = tokio::join!(subject.send(request.body(RequestBody::Empty).unwrap()), async {
        let mut peer = Peer::accept(&listener).await;
        let head = peer.head().await;
        assert!(head.contains("upgrade: echo\r\n"), "{head}");
        peer.say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhello").await;
        peer
    });
    let mut answer = answer.unwrap();
    assert_eq!(answer.status(), 101);
    let mut tunnel = answer.body_mut().take_tunnel().unwrap();
    drop(answer);

    let mut heard = [0; 5];
    tunnel.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    tunnel.write_all(b"goodbye").await.unwrap();
    peer.until("goodbye").await;

    // The tunnel counts as a request under way until it is closed.
    assert_eq!(subject.metrics.in_flight.get(), 1);
    assert_eq!(subject.get().await.unwrap_err(), OriginFault::QueueTimeout);
    drop(tunnel);
    subject.assert_idle_after(&[OriginFault::QueueTimeout]);
    peer.closed().await;
    let (answer, _) = tokio::join!(subject.get(), async { Peer::accept(&listener).await.answer(OK).await });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn an_upgrade_that_nobody_takes_is_closed() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let request = Request::get("/").header("connection", "upgrade").header("upgrade", "echo");
    let (answer, mut peer) = tokio::join!(subject.send(request.body(RequestBody::Empty).unwrap()), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
        peer
    });
    drop(answer.unwrap());
    peer.closed().await;
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_response() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let request = Request::get("/").header("connection", "upgrade").header("upgrade", "echo");
    let (answer, _) = tokio::join!(subject.send(request.body(RequestBody::Empty).unwrap()), async {
        Peer::accept(&listener).await.answer(OK).await
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn f20_a_change_of_protocol_in_the_middle_of_a_request_is_refused() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (_pieces, body) = channel();
    let request = Request::post("/").header("connection", "upgrade").header("upgrade", "echo").body(body).unwrap();
    let (answer, mut peer) = tokio::join!(subject.send(request), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n").await;
        peer
    });
    assert_eq!(answer.unwrap_err(), OriginFault::Protocol);
    peer.closed().await;
    subject.assert_idle_after(&[OriginFault::Protocol]);
}
