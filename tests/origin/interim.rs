//! What the origin says before its response.

use std::sync::Arc;
use std::sync::Mutex;

use http::{Method, StatusCode};
use millpond::origin::{OnInterim, RequestBody};
use millpond::reason::OriginFault;

use crate::harness::{OK, Peer, Subject, listen, request, text};

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";

type Seen = Arc<Mutex<Vec<(u16, usize)>>>;

/// A request, and the status and number of fields of each interim response to it.
fn listening() -> (http::Request<RequestBody>, Seen) {
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    let mut request = request(Method::GET, RequestBody::Empty);
    request.extensions_mut().insert(OnInterim::new(move |status: StatusCode, fields| {
        notes.lock().unwrap().push((status.as_u16(), fields.len()));
    }));
    (request, seen)
}

#[tokio::test]
async fn interim_responses_are_handed_over_in_order() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (request, seen) = listening();
    let (answer, _) = tokio::join!(subject.send(request), async {
        let interim = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n{HINT}{OK}");
        Peer::accept(&listener).await.answer(&interim).await
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    assert_eq!(*seen.lock().unwrap(), [(100, 0), (102, 0), (103, 1)]);
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn they_lose_the_fields_of_their_connection_and_one_that_announces_a_body_is_dropped() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (request, seen) = listening();
    let (answer, _) = tokio::join!(subject.send(request), async {
        let hop = "connection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\ntrailer: x-sum\r\n";
        let hint = |fields: &str| format!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n{fields}\r\n");
        let [hop, length, chunked] = [hop, "content-length: 0\r\n", "transfer-encoding: chunked\r\n"].map(hint);
        Peer::accept(&listener).await.answer(&format!("{hop}{length}{chunked}{OK}")).await
    });
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    assert_eq!(*seen.lock().unwrap(), [(103, 1)]);
}

#[tokio::test]
async fn they_are_handed_over_on_a_second_attempt_too_and_not_to_the_next_request() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (answer, mut first) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(OK).await;
        peer
    });
    text(answer.unwrap()).await.unwrap();
    let (request, seen) = listening();
    let (answer, mut second) = tokio::join!(subject.send(request), async {
        first.head().await;
        first.reset();
        let mut second = Peer::accept(&listener).await;
        second.answer(&format!("{HINT}{OK}")).await;
        second
    });
    text(answer.unwrap()).await.unwrap();
    let unheard = format!("{HINT}{OK}");
    let (answer, _) = tokio::join!(subject.get(), second.answer(&unheard));
    text(answer.unwrap()).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [(103, 1)]);
    assert_eq!(subject.metrics.retries.get(), 1);
}

#[tokio::test]
async fn an_origin_that_fails_after_one_is_not_asked_again() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let (answer, mut peer) = tokio::join!(subject.get(), async {
        let mut peer = Peer::accept(&listener).await;
        peer.answer(OK).await;
        peer
    });
    text(answer.unwrap()).await.unwrap();
    // The connection was alive: the origin has seen the request.
    let (request, seen) = listening();
    let (answer, ()) = tokio::join!(subject.send(request), async {
        peer.answer(HINT).await;
        drop(peer);
    });
    assert_eq!(answer.unwrap_err(), OriginFault::Reset);
    assert_eq!(*seen.lock().unwrap(), [(103, 1)]);
    assert_eq!(subject.metrics.retries.get(), 0);
    subject.assert_idle_after(&[OriginFault::Reset]);
}

#[tokio::test]
async fn one_that_is_not_http_or_endless_is_the_origins_fault() {
    let endless = format!("HTTP/1.1 103 Early Hints\r\nlink: {}", "x".repeat(1 << 20));
    for bad in ["HTTP/1.1 103 Early Hints\r\nno field\r\n\r\n", &endless] {
        let (listener, at) = listen().await;
        let subject = Subject::at(at);
        let (request, seen) = listening();
        let (answer, ()) = tokio::join!(subject.send(request), async {
            let mut peer = Peer::accept(&listener).await;
            peer.head().await;
            // The other side may close before it has read all.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.0, bad.as_bytes()).await;
            peer.closed().await;
        });
        assert_eq!(answer.unwrap_err(), OriginFault::Protocol);
        assert_eq!(*seen.lock().unwrap(), []);
    }
}
