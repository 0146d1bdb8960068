//! Streams of requests, whole and in pieces, against another parser: what both take must mean the same to both.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::listener::connection::{self, Shared};
use crate::listener::tests::{PEER, limits, metrics, seat};
use crate::listener::{Client, Fault, Handler, RequestBody};

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A connection on which these pieces arrive one by one, and nothing after them.
struct Pieces(VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut piece) = self.0.pop_front() else { return Poll::Pending };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !rest.is_empty() {
            self.0.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(future)
}

/// A request as it was understood: its first line, and its body or what was wrong with it.
type Understood = (String, Result<Vec<u8>, Option<Fault>>);

/// Notes what it is asked.
#[derive(Clone, Default)]
struct Notes {
    seen: Arc<Mutex<Vec<Understood>>>,
    refused: Arc<Mutex<Option<Fault>>>,
}

impl Handler for Notes {
    type Body = Empty<Bytes>;

    async fn handle(&self, head: Box<Parts>, body: RequestBody, _: Client) -> Response<Self::Body> {
        let line = format!("{} {}", head.method, head.uri);
        let body = body.collect().await;
        let body = body.map(|body| body.to_bytes().to_vec()).map_err(|error| Fault::behind(&error));
        self.seen.lock().unwrap().push((line, body));
        Response::new(Empty::new())
    }

    fn reject(&self, fault: Fault, _: std::net::SocketAddr) -> Response<Self::Body> {
        *self.refused.lock().unwrap() = Some(fault);
        Response::new(Empty::new())
    }
}

/// What the listener understands of `pieces`, and what it refuses.
fn understood(pieces: Vec<Vec<u8>>) -> (Vec<Understood>, Option<Fault>) {
    let notes = Notes::default();
    block_on(async {
        let shared = Arc::new(Shared::new(notes.clone(), limits(), &metrics()));
        // Nothing comes behind the pieces: the connection ends when its time has run out.
        connection::serve(Pieces(pieces.into()), PEER, seat(), shared).await;
    });
    (notes.seen.lock().unwrap().clone(), *notes.refused.lock().unwrap())
}

/// The requests and bodies that another parser reads from `stream`.
fn others_read(stream: &[u8]) -> Vec<Understood> {
    let seen = Mutex::new(Vec::new());
    block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(stream).await.unwrap();
        let service = service_fn(async |request: Request<Incoming>| {
            let line = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect().await?.to_bytes().to_vec();
            seen.lock().unwrap().push((line, Ok(body)));
            Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
        let _ = tokio::time::timeout(Duration::from_secs(1), connection).await;
    });
    seen.into_inner().unwrap()
}

fn chunk() -> impl Strategy<Value = (Vec<u8>, &'static str)> {
    (prop::collection::vec(any::<u8>(), 1..40), prop::sample::select(vec!["", ";a", ";a=b;c", ";q=\"x y\""]))
}

prop_compose! {
    /// A chunked body as sent, and its data.
    fn chunked_body()(
        chunks in prop::collection::vec(chunk(), 0..5),
        trailers in prop::sample::select(vec!["", "X-Sum: 1\r\n", "A:\r\nB: \u{e9}\r\n"]),
    ) -> (Vec<u8>, Vec<u8>) {
        let mut sent = Vec::new();
        for (data, extension) in &chunks {
            sent.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
            sent.extend_from_slice(data);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(format!("0\r\n{trailers}\r\n").as_bytes());
        (sent, chunks.into_iter().flat_map(|(data, _)| data).collect())
    }
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let plain = prop::sample::select(vec![
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET /a?b=c HTTP/1.1\r\nHost:a:81\r\nAccept: */*\r\nCookie: \t x=y\r\n\r\n",
        "GET http://A/x HTTP/1.1\r\nhost: a:80\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHOST: [::1]\r\nConnection: keep-alive, te\r\n\r\n",
        "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ]);
    prop_oneof![
        plain.prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(|body| {
            let head = format!("POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), &body].concat()
        }),
        chunked_body().prop_map(|(body, _)| {
            [&b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"[..], &body].concat()
        }),
    ]
}

/// Cuts `bytes` at these places.
fn cut(bytes: &[u8], places: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(bytes.len())).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.dedup();
    places.windows(2).map(|ends| bytes[ends[0]..ends[1]].to_vec()).collect()
}

/// One edit of a kind that finds leniencies in parsers.
fn edit(bytes: &mut Vec<u8>, place: prop::sample::Index, kind: u8, with: &str) {
    let at = place.index(bytes.len());
    match kind {
        0 => drop(bytes.splice(at..at, with.bytes())),
        1 => drop(bytes.splice(at..=at, with.bytes())),
        _ => drop(bytes.remove(at)),
    }
}

fn tricky() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\r",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\0",
        ":",
        ";",
        "/",
        "?",
        "#",
        "*",
        "@",
        "0",
        "5",
        "x",
        "\u{7f}",
        "\u{e9}",
        "\r\n ",
        "\r\n\r\n",
        "Host: b\r\n",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "0\r\n\r\n",
        "http://",
        "HTTP/1.0",
        "HTTP/1.1",
        "%",
        "\"",
        "<",
        "|",
        "`",
        "[",
        ",",
        "+",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_valid_requests_means_the_same(
        requests in prop::collection::vec(request(), 1..6),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let stream = requests.concat();
        let (whole, fault) = understood(vec![stream.clone()]);
        prop_assert_eq!(fault, None);
        prop_assert_eq!(whole.len(), requests.len());
        prop_assert_eq!(&understood(cut(&stream, &places)).0, &whole);
        prop_assert_eq!(others_read(&stream), whole);
    }

    #[test]
    fn any_split_of_any_stream_means_the_same(
        request in request(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3, tricky()), 1..4),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = [request, NEXT.into()].concat();
        for (place, kind, with) in &edits {
            edit(&mut stream, *place, *kind, with);
        }
        // Which of two faults shows first may depend on the split; that there is one, and where, may not.
        let [whole, split] = [vec![stream.clone()], cut(&stream, &places)].map(|pieces| {
            let (seen, refused) = understood(pieces);
            let seen: Vec<_> = seen.into_iter().map(|(line, body)| (line, body.map_err(|fault| fault.is_some()))).collect();
            (seen, refused.is_some())
        });
        prop_assert_eq!(whole, split);
    }

    #[test]
    fn chunked_bodies_are_read_as_others_read_them((sent, data) in chunked_body()) {
        let head = b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let stream = [&head[..], &sent, NEXT.as_bytes()].concat();
        let expected = vec![("PUT /c".into(), Ok(data)), ("GET /next".into(), Ok(vec![]))];
        prop_assert_eq!(others_read(&stream), &expected[..]);
        prop_assert_eq!(understood(vec![stream]), (expected, None));
    }

    #[test]
    fn f1_what_is_taken_means_the_same_to_others(
        request in request(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3, tricky()), 1..3),
    ) {
        let mut stream = request;
        for (place, kind, with) in &edits {
            edit(&mut stream, *place, *kind, with);
        }
        stream.extend_from_slice(NEXT.as_bytes());
        let (ours, fault) = understood(vec![stream.clone()]);
        if fault.is_none() && ours.len() == 2 && ours.iter().all(|(_, body)| body.is_ok()) {
            prop_assert_eq!(others_read(&stream), ours, "{:?}", String::from_utf8_lossy(&stream));
        }
    }
}
