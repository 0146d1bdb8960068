//! What is sent twice, and what never is.

use http::Method;
use millpond::origin::RequestBody;
use millpond::reason::OriginFault;
use tokio::net::TcpListener;

use crate::harness::{OK, Peer, Subject, channel, full, let_the_runtime_look, listen, request, text};

/// A subject with one idle connection, and the origin's end of it.
async fn warmed(listener: &TcpListener) -> (Subject, Peer) {
    let subject = Subject::at(listener.local_addr().unwrap());
    let (answer, peer) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(listener).await;
        peer.answer(OK).await;
        peer
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    (subject, peer)
}

/// No connection waits to be accepted.
async fn assert_no_other_connection(listener: &TcpListener) {
    let_the_runtime_look().await;
    assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none(), "a second attempt was made");
}

#[tokio::test]
async fn a_reused_connection_that_was_reset_is_replaced_once() {
    for reset in [true, false] {
        let (listener, _) = listen().await;
        let (subject, mut first) = warmed(&listener).await;
        let (answer, (one, two)) = tokio::join!(subject.get(), async {
            let one = first.head().await;
            if reset {
                first.reset();
            } else {
                drop(first);
            }
            (one, Peer::accept(&listener).await.answer(OK).await)
        });
        assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
        assert_eq!(one, two, "the second attempt is the same request");
        assert_eq!((subject.metrics.retries.get(), subject.metrics.requests.get()), (1, 2));
        subject.assert_idle_after(&[]);
    }
}

#[tokio::test]
async fn the_second_attempt_is_the_last() {
    let (listener, _) = listen().await;
    let (subject, mut first) = warmed(&listener).await;
    let (answer, ()) = tokio::join!(subject.get(), async {
        first.head().await;
        first.reset();
        let mut second = Peer::accept(&listener).await;
        second.head().await;
        second.reset();
    });
    assert_eq!(answer.unwrap_err(), OriginFault::Reset);
    assert_no_other_connection(&listener).await;
    subject.assert_idle_after(&[OriginFault::Reset]);
}

#[tokio::test]
async fn f23_a_post_is_never_sent_twice_once_a_byte_was_sent() {
    for body in [RequestBody::Empty, full("once"), RequestBody::Whole("once".into())] {
        let (listener, _) = listen().await;
        let (subject, mut first) = warmed(&listener).await;
        let (answer, ()) = tokio::join!(subject.post(body), async {
            first.head().await;
            first.reset();
        });
        assert_eq!(answer.unwrap_err(), OriginFault::Reset);
        assert_no_other_connection(&listener).await;
        assert_eq!(subject.metrics.retries.get(), 0);
    }
}

#[tokio::test]
async fn a_query_whose_body_is_at_hand_is_sent_again_as_it_was() {
    let query = || Method::from_bytes(b"QUERY").unwrap();
    let (listener, _) = listen().await;
    let (subject, mut first) = warmed(&listener).await;
    let body = RequestBody::Whole("which".into());
    let (answer, (one, two)) = tokio::join!(subject.send(request(query(), body)), async {
        let one = first.until("which").await;
        first.reset();
        let mut second = Peer::accept(&listener).await;
        let two = second.until("which").await;
        second.say(OK).await;
        (one, two)
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    assert_eq!(one, two);
    assert!(one.starts_with("QUERY /path?query ") && one.contains("content-length: 5\r\n"), "{one}");
    // One that the client sends once cannot be.
    let (listener, _) = listen().await;
    let (subject, mut first) = warmed(&listener).await;
    let (answer, ()) = tokio::join!(subject.send(request(query(), full("which"))), async {
        first.until("which").await;
        first.reset();
    });
    assert_eq!(answer.unwrap_err(), OriginFault::Reset);
    assert_no_other_connection(&listener).await;
}

#[tokio::test]
async fn a_put_whose_body_was_begun_is_not_sent_twice() {
    let (listener, _) = listen().await;
    let (subject, mut first) = warmed(&listener).await;
    let (_pieces, body) = channel();
    let (answer, ()) = tokio::join!(subject.send(request(Method::PUT, body)), async {
        first.head().await;
        first.reset();
    });
    assert_eq!(answer.unwrap_err(), OriginFault::Reset);
    assert_no_other_connection(&listener).await;
}

#[tokio::test]
async fn a_reset_of_a_fresh_connection_is_final() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (answer, ()) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await;
        peer.reset();
    });
    assert_eq!(answer.unwrap_err(), OriginFault::Reset);
    assert_no_other_connection(&listener).await;
}

#[tokio::test]
async fn a_response_that_had_begun_is_not_asked_for_again() {
    let (listener, _) = listen().await;
    let (subject, mut first) = warmed(&listener).await;
    let (answer, ()) = tokio::join!(subject.get(), async {
        first.answer("HTTP/1.1 2").await;
        drop(first);
    });
    assert_eq!(answer.unwrap_err(), OriginFault::Reset);
    assert_no_other_connection(&listener).await;
}

#[tokio::test]
async fn a_post_finds_a_new_connection_when_the_idle_one_was_closed_before() {
    let (listener, _) = listen().await;
    let (subject, first) = warmed(&listener).await;
    drop(first);
    let_the_runtime_look().await;
    let (answer, ()) = tokio::join!(subject.post(full("body")), async {
        let mut second = Peer::accept(&listener).await;
        assert!(second.until("body").await.contains("content-length: 4\r\n"));
        second.say(OK).await;
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
}
