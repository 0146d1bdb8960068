//! One origin, several runtimes. A connection belongs to the runtime of the request that opened it, and is of no
//! use once that has ended.
//!
//! A runtime runs only while its thread waits in it. The scripted origin has a thread of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use http_body_util::BodyExt;
use millpond::config::OriginConfig;
use millpond::reason::OriginFault;
use tokio::runtime::{Builder, Runtime};

use crate::harness::{LATER, OK, Subject, config, full, text};

const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab";

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A listener and a subject with room for one connection.
fn single() -> (TcpListener, Subject) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // A test that goes wrong fails instead of waiting for a connection.
    socket2::SockRef::from(&listener).set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let at = listener.local_addr().unwrap();
    let subject = Subject::new(OriginConfig {
        max_connections: 1,
        connect_timeout: LATER,
        first_byte_timeout: LATER * 5,
        ..config(at)
    });
    (listener, subject)
}

/// Accepts one connection and answers the request that ends in `end`.
fn serve(listener: &TcpListener, end: &str, answer: &str) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
    stream.write_all(answer.as_bytes()).unwrap();
    stream
}

/// Runs `client` on `runtime` while the origin serves one connection.
fn exchange<T>(
    runtime: &Runtime,
    client: impl Future<Output = T>,
    serve: impl FnOnce() -> TcpStream + Send,
) -> (T, TcpStream) {
    thread::scope(|threads| {
        let origin = threads.spawn(serve);
        (runtime.block_on(client), origin.join().unwrap())
    })
}

/// One complete exchange on a new connection of `runtime`'s.
fn whole(runtime: &Runtime, listener: &TcpListener, subject: &Subject) -> TcpStream {
    let client = async { text(subject.get().await?).await };
    let (answer, stream) = exchange(runtime, client, || serve(listener, "\r\n\r\n", OK));
    assert_eq!(answer.unwrap(), "ok");
    stream
}

#[test]
fn a_connection_whose_runtime_ended_is_replaced() {
    let (opener, other) = (runtime(), runtime());
    let (listener, subject) = single();
    let _stream = whole(&opener, &listener, &subject);
    drop(opener);
    whole(&other, &listener, &subject);
    assert_eq!(subject.metrics.retries.get(), 0, "nothing was sent on the dead one");
    subject.assert_idle_after(&[]);
}

#[test]
fn a_post_is_not_written_to_a_connection_whose_runtime_has_ended() {
    let (opener, other) = (runtime(), runtime());
    let (listener, subject) = single();
    let _stream = whole(&opener, &listener, &subject);
    opener.shutdown_background();
    let client = async { text(subject.post(full("body")).await?).await };
    let (answer, _stream) = exchange(&other, client, || serve(&listener, "\r\n\r\nbody", OK));
    assert_eq!(answer.unwrap(), "ok");
    assert_eq!(subject.metrics.retries.get(), 0);
    subject.assert_idle_after(&[]);
}

#[test]
fn a_body_that_is_dropped_closes_its_socket_without_the_help_of_a_runtime() {
    let (opener, other) = (runtime(), runtime());
    let (listener, subject) = single();
    let (answer, mut stream) = exchange(&opener, subject.get(), || serve(&listener, "\r\n\r\n", HALF));
    drop(answer.unwrap());
    assert_eq!(subject.metrics.in_flight.get(), 0);
    let end = stream.read(&mut [0]).map_err(|error| error.kind());
    assert!(matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)), "{end:?}");
    // The only slot is free.
    whole(&other, &listener, &subject);
    subject.assert_idle_after(&[]);
}

#[test]
fn a_body_whose_connection_lost_its_runtime_is_a_reset() {
    let (opener, other) = (runtime(), runtime());
    let (listener, subject) = single();
    let (answer, _stream) = exchange(&opener, subject.get(), || serve(&listener, "\r\n\r\n", HALF));
    drop(opener);
    assert_eq!(other.block_on(answer.unwrap().into_body().collect()).unwrap_err(), OriginFault::Reset);
    subject.assert_idle_after(&[OriginFault::Reset]);
}
