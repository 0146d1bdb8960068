//! The queue and the number of connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use millpond::config::OriginConfig;
use millpond::reason::OriginFault;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{LATER, OK, Peer, SOON, Subject, config, listen, soon, text};

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { max_connections: 1, max_queue: 1, ..config(at) });
    let under_way = subject.spawn_get();
    let mut peer = Peer::accept(&listener).await;
    peer.head().await;
    let mut queued = std::pin::pin!(subject.get());
    assert!(futures_util::poll!(queued.as_mut()).is_pending());
    assert_eq!((subject.metrics.in_flight.get(), subject.metrics.queued.get()), (1, 1));

    let refused = futures_util::FutureExt::now_or_never(subject.get()).expect("it does not wait");
    assert_eq!(refused.unwrap_err(), OriginFault::QueueFull);

    // The one that waits goes next, on the same connection.
    peer.say(OK).await;
    assert_eq!(text(under_way.await.unwrap().unwrap()).await.unwrap(), "ok");
    let (answer, _) = tokio::join!(queued, peer.answer(OK));
    assert_eq!(text(answer.unwrap()).await.unwrap(), "ok");
    subject.assert_idle_after(&[OriginFault::QueueFull]);
    assert_eq!(subject.metrics.requests.get(), 2);
}

#[tokio::test]
async fn a_request_waits_in_the_queue_for_so_long_and_no_longer() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { max_connections: 1, queue_timeout: SOON, ..config(at) });
    let under_way = subject.spawn_get();
    let mut peer = Peer::accept(&listener).await;
    peer.head().await;
    assert_eq!(subject.get().await.unwrap_err(), OriginFault::QueueTimeout);
    assert_eq!(subject.metrics.queued.get(), 0);
    peer.say(OK).await;
    text(under_way.await.unwrap().unwrap()).await.unwrap();
    subject.assert_idle_after(&[OriginFault::QueueTimeout]);
}

#[tokio::test]
async fn a_request_that_leaves_the_queue_frees_its_place() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { max_connections: 1, max_queue: 1, ..config(at) });
    let _under_way = subject.spawn_get();
    let _peer = Peer::accept(&listener).await;
    for _ in 0..3 {
        let mut queued = Box::pin(subject.get());
        assert!(futures_util::poll!(queued.as_mut()).is_pending());
        assert_eq!(subject.metrics.queued.get(), 1);
        drop(queued);
        assert_eq!(subject.metrics.queued.get(), 0);
    }
}

#[tokio::test]
async fn a_body_that_came_with_its_head_holds_neither_a_turn_nor_a_connection() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { max_connections: 1, ..config(at) });
    let first = subject.spawn_get();
    let mut peer = Peer::accept(&listener).await;
    peer.head().await;
    peer.say(OK).await;
    let unread = first.await.unwrap().unwrap();
    assert_eq!(subject.metrics.in_flight.get(), 0);
    let (second, _) = tokio::join!(subject.get(), peer.answer(OK));
    for answer in [second.unwrap(), unread] {
        assert_eq!(text(answer).await.unwrap(), "ok");
    }
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn a_connection_that_is_not_kept_is_closed_before_anybody_reads_a_body_that_came_with_its_head() {
    let (listener, at) = listen().await;
    let subject = Subject::at(at);
    let first = subject.spawn_get();
    let mut peer = Peer::accept(&listener).await;
    peer.head().await;
    peer.say("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
    let unread = first.await.unwrap().unwrap();
    soon("the end of the connection", peer.closed()).await;
    assert_eq!(text(unread).await.unwrap(), "ok");
    subject.assert_idle_after(&[]);
}

#[tokio::test]
async fn queueing_does_not_count_towards_the_first_byte() {
    let (listener, at) = listen().await;
    let limit = LATER;
    let subject = Subject::new(OriginConfig { max_connections: 1, first_byte_timeout: limit, ..config(at) });
    let first = subject.spawn_get();
    let mut peer = Peer::accept(&listener).await;
    peer.head().await;
    let second = subject.spawn_get();
    // Each answer takes most of the limit, so that the second request waits longer than it in all.
    for request in [first, second] {
        tokio::time::sleep(limit * 7 / 10).await;
        peer.say(OK).await;
        assert_eq!(text(request.await.unwrap().unwrap()).await.unwrap(), "ok");
    }
}

/// The connections to `at` that the kernel counts as open at the client's end. The test runs on
/// one thread, so nothing changes while it looks.
fn open_connections(at: SocketAddr) -> usize {
    let SocketAddr::V4(at) = at else { panic!("an IPv4 origin") };
    let remote = format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[2] == remote && row[3] == "01").count()
}

/// Answers on each connection; now and then late, or not at all, or with an early close.
async fn serve_unreliably(listener: TcpListener, most: Arc<AtomicUsize>) {
    let at = listener.local_addr().unwrap();
    for seed in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        most.fetch_max(open_connections(at), Ordering::SeqCst);
        tokio::spawn(serve_one(stream, StdRng::seed_from_u64(seed)));
    }
}

async fn serve_one(mut stream: TcpStream, mut random: StdRng) {
    let mut seen = Vec::new();
    while stream.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {
        if !seen.ends_with(b"\r\n\r\n") {
            continue;
        }
        seen.clear();
        match random.random_range(0..10) {
            0 => return,
            1 => tokio::time::sleep(Duration::from_millis(random.random_range(1..20))).await,
            _ => {}
        }
        let half = random.random_range(0..OK.len());
        for part in [&OK[..half], &OK[half..]] {
            if stream.write_all(part.as_bytes()).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_origin_never_sees_more_connections_than_allowed() {
    let (listener, at) = listen().await;
    let most = Arc::new(AtomicUsize::new(0));
    let server = tokio::spawn(serve_unreliably(listener, Arc::clone(&most)));
    let subject = Subject::new(OriginConfig { max_connections: 7, max_queue: 1000, ..config(at) });
    let mut random = StdRng::seed_from_u64(42);
    let requests: Vec<_> = (0..200)
        .map(|_| {
            let patience = random.random_bool(0.3).then(|| Duration::from_millis(random.random_range(0..60)));
            let origin = Arc::clone(&subject.origin);
            tokio::spawn(async move {
                let exchange = async {
                    let request = crate::harness::request(http::Method::GET, millpond::origin::RequestBody::Empty);
                    text(origin.send(crate::harness::outgoing(request)).await?.into_response()).await
                };
                // Dropped in the queue, while connecting, before the head or within the body.
                match patience {
                    Some(patience) => tokio::time::timeout(patience, exchange).await.ok(),
                    None => Some(exchange.await),
                }
            })
        })
        .collect();
    let mut answered = 0;
    for request in requests {
        match request.await.unwrap() {
            Some(Ok(body)) => {
                assert_eq!(body, "ok");
                answered += 1;
            }
            Some(Err(fault)) => assert_eq!(fault, OriginFault::Reset),
            None => {}
        }
    }
    assert_eq!(most.load(Ordering::SeqCst), 7, "the limit is reached and never exceeded");
    assert!(answered > 100, "only {answered} of 200 were answered");
    assert_eq!((subject.metrics.in_flight.get(), subject.metrics.queued.get()), (0, 0));
    // Every slot is usable again.
    let last: Vec<_> = (0..7).map(|_| subject.spawn_get()).collect();
    for request in last {
        assert!(matches!(request.await.unwrap(), Ok(_) | Err(OriginFault::Reset)));
    }
    server.abort();
}

#[tokio::test]
async fn a_replacement_finds_a_slot_while_the_others_are_idle() {
    let (listener, at) = listen().await;
    let subject = Subject::new(OriginConfig { max_connections: 2, ..config(at) });
    // Two idle connections: every slot is taken.
    let (one, two) = (subject.spawn_get(), subject.spawn_get());
    let (mut a, mut b) = (Peer::accept(&listener).await, Peer::accept(&listener).await);
    a.answer(OK).await;
    b.answer(OK).await;
    for request in [one, two] {
        text(request.await.unwrap().unwrap()).await.unwrap();
    }
    // The one that was used last is dead, and its replacement needs a slot.
    let answer = subject.spawn_get();
    let (dead, mut other) = tokio::select! { _ = a.head() => (a, b), _ = b.head() => (b, a) };
    dead.reset();
    let mut fresh = Peer::accept(&listener).await;
    fresh.answer(OK).await;
    assert_eq!(text(answer.await.unwrap().unwrap()).await.unwrap(), "ok");
    // Two slots, so the second connection did not have to go.
    let (held, answer) = (subject.spawn_get(), subject.spawn_get());
    let (_, _) = tokio::join!(fresh.answer(OK), other.answer(OK));
    for request in [held, answer] {
        text(request.await.unwrap().unwrap()).await.unwrap();
    }
    subject.assert_idle_after(&[]);
}
