//! Each fault is reported for its own cause, and counted once.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use millpond::config::OriginConfig;
use millpond::origin::RequestBody;
use millpond::reason::OriginFault;
use socket2::{Domain, Socket, Type};

use crate::harness::{LATER, NEVER, OK, Peer, SOON, Subject, channel, config, full, listen, request, text};

#[tokio::test]
async fn a_refused_connection_is_a_connect_fault() {
    let (listener, at) = listen().await;
    drop(listener);
    let subject = Subject::at(at);
    assert_eq!(subject.get().await.unwrap_err(), OriginFault::Connect);
    subject.assert_idle_after(&[OriginFault::Connect]);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_a_fault_of_its_own() {
    let mut settings = config(([127, 0, 0, 1], 1).into());
    settings.authority = "millpond.invalid:80".parse().unwrap();
    let subject = Subject::new(settings);
    assert_eq!(subject.get().await.unwrap_err(), OriginFault::Resolve);
}

#[tokio::test]
async fn a_full_backlog_is_a_connect_timeout() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let at = socket.local_addr().unwrap().as_socket().unwrap();
    // Fills the backlog; the kernel drops every further attempt.
    let mut fillers = Vec::new();
    while let Ok(filler) = std::net::TcpStream::connect_timeout(&at, SOON) {
        fillers.push(filler);
    }
    let subject = Subject::new(OriginConfig { connect_timeout: SOON, ..config(at) });
    assert_eq!(subject.get().await.unwrap_err(), OriginFault::ConnectTimeout);
    subject.assert_idle_after(&[OriginFault::ConnectTimeout]);
}

#[tokio::test]
async fn g2_an_origin_hung_before_the_head_is_a_first_byte_timeout() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { first_byte_timeout: SOON, ..config(at) });
    let (answer, ()) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await;
        // D4: the connection is given up, not kept.
        peer.closed().await;
    });
    assert_eq!(answer.unwrap_err(), OriginFault::FirstByteTimeout);
    subject.assert_idle_after(&[OriginFault::FirstByteTimeout]);
}

#[tokio::test]
async fn g2_an_origin_hung_mid_body_is_a_between_bytes_timeout() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { between_bytes_timeout: SOON, ..config(at) });
    let (answer, mut peer) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab").await;
        peer
    });
    let mut body = answer.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
    assert_eq!(body.frame().await.unwrap().unwrap_err(), OriginFault::BetweenBytesTimeout);
    assert!(body.frame().await.is_none(), "a failed body says nothing more");
    peer.closed().await;
    subject.assert_idle_after(&[OriginFault::BetweenBytesTimeout]);
}

#[tokio::test]
async fn a_body_that_trickles_past_the_total_is_a_total_timeout() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { total_timeout: Some(SOON), ..config(at) });
    let (answer, ()) = tokio::join!(async { text(subject.get().await?).await }, trickle(&listener));
    assert_eq!(answer.unwrap_err(), OriginFault::TotalTimeout);
    subject.assert_idle_after(&[OriginFault::TotalTimeout]);
}

#[tokio::test]
async fn the_total_covers_the_wait_for_the_head() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { total_timeout: Some(SOON), ..config(at) });
    let (answer, ()) = tokio::join!(subject.get(), async { Peer::accept(&listener).await.closed().await });
    assert_eq!(answer.unwrap_err(), OriginFault::TotalTimeout);
}

#[tokio::test]
async fn an_exempt_body_may_outlast_the_total() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { total_timeout: Some(LATER), ..config(at) });
    let (answer, mut peer) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
        peer
    });
    let mut body = answer.unwrap().into_body();
    body.exempt_from_total();
    // Nothing arrives for twice the total, and the body does not mind.
    assert!(tokio::time::timeout(LATER * 2, body.frame()).await.is_err());
    peer.say("ok").await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
}

/// Sends one byte of an endless body after the other until the client has enough.
async fn trickle(listener: &tokio::net::TcpListener) {
    use tokio::io::AsyncWriteExt;
    let mut peer = Peer::accept(listener).await;
    peer.answer("HTTP/1.1 200 OK\r\n\r\n").await;
    while peer.0.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn g2_a_byte_at_a_time_within_the_limits_is_fine() {
    let (listener, at) = listen().await;
    let limit = LATER;
    let subject = Subject::new(OriginConfig { between_bytes_timeout: limit, ..config(at) });
    let (answer, ()) = tokio::join!(async { text(subject.get().await?).await }, async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").await;
        // Each gap is well within the limit, all together are beyond it.
        for byte in ["m", "i", "l", "l"] {
            tokio::time::sleep(limit * 3 / 10).await;
            peer.say(byte).await;
        }
    });
    assert_eq!(answer.unwrap(), "mill");
    subject.assert_idle_after(&[]);
}

/// What the body or the head of a response that says `script` and closes ends in.
async fn outcome(script: &str) -> Result<String, OriginFault> {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (answer, ()) = tokio::join!(async { text(subject.get().await?).await }, async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(script).await;
    });
    subject.assert_idle_after(answer.as_ref().err().map_or(&[], std::slice::from_ref));
    answer
}

#[tokio::test]
async fn g2_a_truncated_body_is_a_reset_and_never_a_clean_end() {
    for truncated in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive5",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive5\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfi",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nhal",
        "",
    ] {
        assert_eq!(outcome(truncated).await, Err(OriginFault::Reset), "{truncated:?}");
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_its_connection() {
    assert_eq!(outcome("HTTP/1.1 200 OK\r\n\r\nall").await.unwrap(), "all");
    assert_eq!(outcome("HTTP/1.0 200 OK\r\n\r\nold").await.unwrap(), "old");
}

#[tokio::test]
async fn f2_what_is_not_http_is_a_protocol_fault() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 two-hundred OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nspace : before\r\n\r\n",
        "HTTP/1.1 200 OK\r\nfolded: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nok\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    ] {
        assert_eq!(outcome(garbage).await, Err(OriginFault::Protocol), "{garbage:?}");
    }
}

#[tokio::test]
async fn a_request_body_that_breaks_off_is_not_the_origins_fault() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (pieces, body) = channel();
    let (answer, ()) = tokio::join!(subject.post(body), async {
        let mut peer = Peer::accept(&listener).await;
        pieces.send(Ok("part".into())).unwrap();
        peer.until("part\r\n").await;
        pieces.send(Err("the client went away".into())).unwrap();
        peer.closed().await;
    });
    assert_eq!(answer.unwrap_err(), OriginFault::RequestBody);
    subject.assert_idle_after(&[OriginFault::RequestBody]);
}

#[tokio::test]
async fn a_client_that_stops_sending_is_not_the_origins_fault() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { first_byte_timeout: SOON, ..config(at) });
    let (_pieces, body) = channel();
    let (answer, ()) = tokio::join!(subject.post(body), async { Peer::accept(&listener).await.closed().await });
    assert_eq!(answer.unwrap_err(), OriginFault::RequestBody);
}

#[tokio::test]
async fn a_long_upload_does_not_trip_the_first_byte_timeout() {
    let (listener, at) = listen().await;
    let limit = LATER;
    let subject = Subject::new(OriginConfig { first_byte_timeout: limit, ..config(at) });
    let (pieces, body) = channel();
    let (answer, ()) = tokio::join!(subject.post(body), async {
        let mut peer = Peer::accept(&listener).await;
        // Four gaps, each well within the limit, all together beyond it.
        for _ in 0..4 {
            tokio::time::sleep(limit * 3 / 10).await;
            pieces.send(Ok("piece".into())).unwrap();
            peer.until("piece\r\n").await;
        }
        drop(pieces);
        peer.until("0\r\n\r\n").await;
        peer.say(OK).await;
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn an_upload_that_the_origin_does_not_read_is_a_first_byte_timeout() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { first_byte_timeout: LATER, max_connections: 1, ..config(at) });
    // More than the kernel buffers, so that bytes are left to flush when the connection is closed.
    let (answer, frozen) = tokio::join!(subject.post(full(vec![0; 64 << 20])), Peer::accept(&listener));
    assert_eq!(answer.unwrap_err(), OriginFault::FirstByteTimeout);
    // The only slot is free although the frozen peer still holds its end.
    let (answer, _) = tokio::join!(subject.get(), async { Peer::accept(&listener).await.answer(OK).await });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    drop(frozen);
}

#[tokio::test]
async fn informational_responses_are_not_the_answer() {
    let answer =
        outcome("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert_eq!(answer.await.unwrap(), "ok");
}

#[tokio::test]
async fn a_head_response_has_no_body_whatever_its_length_says() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { between_bytes_timeout: NEVER, ..config(at) });
    let (answer, _) = tokio::join!(subject.send(request(Method::HEAD, RequestBody::Empty)), async {
        Peer::accept(&listener).await.answer("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n").await
    });
    let answer = answer.unwrap();
    assert_eq!(answer.headers()["content-length"], "99");
    assert_eq!(text(answer).await.unwrap(), "");
}
