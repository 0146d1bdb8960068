//! When a connection is reused, and when it is closed.

use http_body_util::BodyExt;
use millpond::config::OriginConfig;

use crate::harness::{OK, Peer, SOON, Subject, channel, config, full, let_the_runtime_look, listen, soon, text};

#[tokio::test]
async fn one_connection_serves_many_requests_in_turn() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let client = async {
        for _ in 0..5 {
            assert_eq!(text(subject.get().await.unwrap()).await.unwrap(), "ok");
            assert_eq!(text(subject.post(full("x")).await.unwrap()).await.unwrap(), "ok");
        }
    };
    tokio::join!(client, async {
        let mut only = Peer::accept(&listener).await;
        for _ in 0..5 {
            only.answer(OK).await;
            only.until("\r\n\r\nx").await;
            only.say(OK).await;
        }
    });
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { idle_timeout: SOON, ..config(at) });
    let (answer, mut peer) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(OK).await;
        peer
    });
    text(answer.unwrap()).await.unwrap();
    // Without any further request.
    peer.closed().await;
}

#[tokio::test]
async fn idle_connections_end_with_their_origin() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (answer, mut peer) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(OK).await;
        peer
    });
    text(answer.unwrap()).await.unwrap();
    drop(subject);
    peer.closed().await;
}

#[tokio::test]
async fn a_body_dropped_before_its_end_closes_the_connection_and_frees_the_turn() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { max_connections: 1, ..config(at) });
    let (answer, mut peer) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab").await;
        peer
    });
    let mut body = answer.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(subject.metrics.in_flight.get(), 1);
    drop(body);
    subject.assert_idle_after(&[]);
    peer.closed().await;
    let (answer, _) = tokio::join!(subject.get(), async { Peer::accept(&listener).await.answer(OK).await });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_request_dropped_before_the_head_closes_the_connection_and_frees_the_turn() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { max_connections: 1, ..config(at) });
    let waiting = subject.spawn_get();
    let mut peer = Peer::accept(&listener).await;
    peer.head().await;
    waiting.abort();
    peer.closed().await;
    let (answer, _) = tokio::join!(subject.get(), async { Peer::accept(&listener).await.answer(OK).await });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn f20_an_early_response_to_an_upload_ends_the_connection() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (pieces, body) = channel();
    let (answer, mut peer) = tokio::join!(subject.post(body), async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await;
        pieces.send(Ok("part".into())).unwrap();
        peer.until("part\r\n").await;
        peer.say("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno").await;
        peer
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "no");
    peer.closed().await;
    // Nobody reads the upload any more.
    soon("end of the upload", pieces.closed()).await;
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn f3_bytes_that_nobody_asked_for_reach_no_request() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (answer, mut talkative) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(&format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")).await;
        peer
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    talkative.closed().await;
    let (answer, _) = tokio::join!(subject.get(), async { Peer::accept(&listener).await.answer(OK).await });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn f3_a_response_sent_on_an_idle_connection_reaches_no_request() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (answer, mut talkative) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    talkative.say("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n").await;
    let_the_runtime_look().await;
    let (answer, _) = tokio::join!(subject.get(), async { Peer::accept(&listener).await.answer(OK).await });
    assert_eq!(answer.unwrap().status(), 200);
}
