//! Bounds in bytes, connections and time, and the end of the listener.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Admin, read_reply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

const LIMIT: usize = 64 * 1024;

/// A right order of exactly this many bytes.
fn order(length: usize) -> String {
    let order = r#"{"all":true}"#;
    order.to_owned() + &" ".repeat(length - order.len())
}

#[tokio::test]
async fn f14_a_body_over_64_kib_is_413_and_purges_nothing() {
    let admin = Admin::open().await;
    let over = admin.purge(order(LIMIT + 1)).await;
    assert_eq!((over.status, over.error().as_str()), (413, "the body is larger than 64 KiB"));
    let chunk = format!("{:x}\r\n{}\r\n0\r\n\r\n", LIMIT + 1, order(LIMIT + 1));
    let chunked = format!("POST /purge HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
    assert_eq!(admin.raw(chunked).await.status, 413);
    let declared = "POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n";
    assert_eq!(admin.raw(declared).await.status, 413, "answered at the head, before a byte of it came");
    assert_eq!(admin.control.orders(), []);
    assert_eq!(admin.purge(order(LIMIT)).await.status, 200, "the bound itself is allowed");
}

#[tokio::test]
async fn a_head_over_16_kib_is_431() {
    let admin = Admin::open().await;
    assert_eq!(admin.request("GET /healthz", &format!("X-Pad: {}\r\n", "x".repeat(20_000)), "").await.status, 431);
}

#[tokio::test(start_paused = true)]
async fn f12_a_body_that_never_ends_is_408_and_purges_nothing() {
    let admin = Admin::open().await;
    let reply = admin.raw("POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{\"all\":true").await;
    assert_eq!((reply.status, reply.error().as_str()), (408, "the body did not arrive within 10 seconds"));
    assert_eq!(admin.control.orders(), []);
}

#[tokio::test(start_paused = true)]
async fn f12_a_head_that_never_ends_is_cut_off() {
    let admin = Admin::open().await;
    let mut stream = admin.connect().await;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").await.unwrap();
    let (start, mut answer) = (tokio::time::Instant::now(), Vec::new());
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), "");
    assert!((10..20).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn f12_idle_connections_delay_others_only_until_they_time_out() {
    let admin = Admin::open().await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(admin.connect().await);
    }
    let start = tokio::time::Instant::now();
    assert_eq!(admin.get("/healthz").await.status, 200);
    assert!(start.elapsed() >= Duration::from_secs(9), "all 64 places were taken");
}

#[tokio::test(start_paused = true)]
async fn a_connection_carries_requests_in_turn_until_it_is_idle_for_too_long() {
    let admin = Admin::open().await;
    let mut stream = admin.connect().await;
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let reply = read_reply(&mut stream).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "ok\n"));
    }
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn at_shutdown_an_idle_connection_is_closed_at_once() {
    let admin = Admin::open().await;
    let mut idle = admin.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    read_reply(&mut idle).await;
    let start = tokio::time::Instant::now();
    admin.stop().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn at_shutdown_a_request_under_way_is_answered_and_a_hung_one_does_not_hold_the_exit() {
    let admin = Admin::open().await;
    let gate = Arc::new((Notify::new(), Notify::new()));
    *admin.control.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let (mut busy, address) = (admin.connect().await, admin.address);
    busy.write_all(b"POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{\"all\":true}")
        .await
        .unwrap();
    gate.0.notified().await;
    let mut hung = admin.connect().await;
    hung.write_all(b"POST /purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{").await.unwrap();
    // The paused clock moves only when no task can: the listener has taken the hung one.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let start = tokio::time::Instant::now();
    let ended = admin.stop();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "no longer listening");
    gate.1.notify_one();
    assert_eq!(read_reply(busy).await.status, 200);
    ended.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 5);
}
