//! Responses as they stand on the wire.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, TRAILER, TRANSFER_ENCODING, VIA};
use http::request::Parts;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::listener::connection::{self, Shared};
use crate::listener::tests::{PEER, limits, metrics, seat};
use crate::listener::{Client, Fault, Handler, Payload, RequestBody};

/// A body that gives these frames, and says that it is so long.
#[derive(Clone, Default)]
struct Script {
    frames: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    length: Option<u64>,
    lines: &'static [u8],
    signature: &'static [u8],
}

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = self.frames.pop_front().map(Frame::data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::trailers)).map(Ok))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Payload for Script {
    fn lines(&self) -> &[u8] {
        self.lines
    }

    fn sign(&self, head: &mut Vec<u8>) {
        head.extend_from_slice(self.signature);
    }
}

/// Answers every request alike.
#[derive(Clone)]
struct Same(StatusCode, HeaderMap, Script);

impl Handler for Same {
    type Body = Script;

    async fn handle(&self, _: Box<Parts>, _: RequestBody, _: Client) -> Response<Script> {
        let mut response = Response::new(self.2.clone());
        (*response.status_mut(), *response.headers_mut()) = (self.0, self.1.clone());
        response
    }

    fn reject(&self, _: Fault, _: SocketAddr) -> Response<Script> {
        Response::new(Script::default())
    }
}

fn script(frames: &[&'static str], length: Option<u64>) -> Script {
    let frames = frames.iter().map(|frame| Bytes::from_static(frame.as_bytes())).collect();
    Script { frames, length, ..Script::default() }
}

fn dated() -> HeaderMap {
    HeaderMap::from_iter([(DATE, HeaderValue::from_static("today"))])
}

/// Everything that a client reads who sends this and then waits.
async fn read(handler: Same, sent: &str) -> String {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let shared = Arc::new(Shared::new(handler, limits(), &metrics()));
    let task = tokio::spawn(connection::serve(server, PEER, seat(), shared));
    client.write_all(sent.as_bytes()).await.unwrap();
    let mut read = String::new();
    client.read_to_string(&mut read).await.unwrap();
    task.await.unwrap();
    read
}

async fn answered(status: StatusCode, headers: HeaderMap, body: Script, sent: &str) -> String {
    read(Same(status, headers, body), sent).await
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn a_body_of_unknown_length_is_chunked() {
    let body = script(&["0123456789abcdef", "", "x"], None);
    let answer = answered(StatusCode::OK, dated(), body, &GET.repeat(2)).await;
    let one = "HTTP/1.1 200 OK\r\ndate: today\r\ntransfer-encoding: chunked\r\n\r\n\
               10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n";
    assert_eq!(answer, one.repeat(2));
}

#[tokio::test(start_paused = true)]
async fn to_http_1_0_the_end_of_the_connection_is_the_end_of_the_body() {
    let body = script(&["ab", "c"], None);
    let sent = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let answer = answered(StatusCode::OK, dated(), body, &sent.repeat(2)).await;
    assert_eq!(answer, "HTTP/1.0 200 OK\r\ndate: today\r\nconnection: close\r\n\r\nabc");
    let body = script(&["ab", "c"], Some(3));
    let answer = answered(StatusCode::OK, dated(), body, &sent.repeat(2)).await;
    let one = "HTTP/1.0 200 OK\r\ndate: today\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\nabc";
    assert_eq!(answer, one.repeat(2));
}

#[tokio::test(start_paused = true)]
async fn trailers_follow_where_they_are_announced_and_taken() {
    let trailers = ["x-sum", "x-other", "content-length"].map(|name| (name.parse().unwrap(), HeaderValue::from(1)));
    let body = Script { trailers: Some(trailers.into_iter().collect()), ..script(&["ab"], None) };
    let mut headers = dated();
    headers.insert(TRAILER, HeaderValue::from_static("X-Sum, Content-Length"));
    for (fields, end) in [
        ("TE: trailers\r\n", "0\r\nx-sum: 1\r\n\r\n"),
        ("TE: gzip;q=0.5, Trailers\r\n", "0\r\nx-sum: 1\r\n\r\n"),
        ("TE: gzip\r\n", "0\r\n\r\n"),
        ("", "0\r\n\r\n"),
    ] {
        let ask = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let answer = answered(StatusCode::OK, headers.clone(), body.clone(), &ask).await;
        assert!(answer.ends_with(&format!("\r\n\r\n2\r\nab\r\n{end}")), "{fields}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_keep_to_its_length_harms_no_other_response() {
    for (frames, sent) in [(&["ab"][..], "ab"), (&["ab", "cdef"], "abcd"), (&["abcde"], "abcd")] {
        let answer = answered(StatusCode::OK, dated(), script(frames, Some(4)), &GET.repeat(2)).await;
        assert_eq!(answer, format!("HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 4\r\n\r\n{sent}"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_says_about_framing_is_not_what_is_written() {
    let mut headers = dated();
    for (name, value) in [(CONTENT_LENGTH, "9"), (TRANSFER_ENCODING, "gzip"), (CONNECTION, "close")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let answer = answered(StatusCode::OK, headers, script(&["abc"], Some(3)), &GET.repeat(2)).await;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 3\r\n\r\nabc".repeat(2));
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_body_names_the_length_it_would_have_had() {
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut headers = dated();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("9"));
    for (status, sent, headers, length) in [
        (200, head, dated(), "content-length: 3\r\n"),
        (200, head, headers.clone(), "content-length: 9\r\n"),
        (304, GET, headers.clone(), "content-length: 9\r\n"),
        (304, GET, dated(), ""),
        (204, GET, headers, ""),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let answer = answered(status, headers, script(&["abc"], Some(3)), &sent.repeat(2)).await;
        assert_eq!(answer, format!("HTTP/1.1 {status}\r\ndate: today\r\n{length}\r\n").repeat(2));
    }
}

#[tokio::test(start_paused = true)]
async fn prepared_lines_come_first_with_the_date_and_the_signature_last() {
    let (lines, signature) = (b"date: then\r\nx-a: 1\r\n", b"age: 2\r\n");
    let body = Script { lines, signature, ..script(&["abc"], Some(3)) };
    let headers = HeaderMap::from_iter([(VIA, HeaderValue::from_static("1.1 a"))]);
    let answer = answered(StatusCode::OK, headers, body, GET).await;
    let (own, framing) = ("via: 1.1 a\r\nage: 2\r\n", "content-length: 3\r\n");
    assert_eq!(answer, format!("HTTP/1.1 200 OK\r\ndate: then\r\nx-a: 1\r\n{own}{framing}\r\nabc"));
    let answer = answered(StatusCode::OK, HeaderMap::new(), script(&[], Some(0)), GET).await;
    assert!(answer.contains("\r\ndate: ") && answer.ends_with(" GMT\r\n\r\n"), "{answer}");
}
