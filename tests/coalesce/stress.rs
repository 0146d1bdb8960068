//! Random interleavings on several threads and runtimes: leaders that end in every possible way,
//! followers that leave at any point. Nobody hangs, and nobody gets a wrong or partial body as whole.

use std::future::poll_fn;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::{Builder, Handle};

use super::*;

/// Key, serial number of the fetch, head (serial number and length of the body), failure.
type Fetches = Flights<u8, u64, (u64, usize), u64>;

const LIMITS: BodyLimits = BodyLimits { cap: 24_000, window: 5_000 };

/// The body of a fetch: no two fetches, and no two places in one body, look the same for long.
fn expected(serial: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ serial.wrapping_mul(131)).to_le_bytes()[0]).collect()
}

async fn fetch(leader: Leader<u8, u64, (u64, usize), u64>, mut dice: StdRng) {
    let serial = *leader.info();
    tokio::task::yield_now().await;
    match dice.random_range(0..10) {
        0 => return leader.uncacheable(),
        1 => return leader.fail(serial),
        2 => return drop(leader),
        3 => panic!("a fault of the proxy itself"),
        _ => {}
    }
    let body = expected(serial, dice.random_range(0..60_000));
    let breaks_at = if dice.random_ratio(1, 4) { body.len() / 2 } else { usize::MAX };
    let mut filling = leader.publish((serial, body.len()), LIMITS);
    let (mut sent, mut left) = (0, &body[..]);
    while !left.is_empty() {
        if sent >= breaks_at {
            return filling.abort();
        }
        let largest = if dice.random() { 50 } else { 9000 };
        let (chunk, rest) = left.split_at(dice.random_range(1..=largest).min(left.len()));
        filling.append(Bytes::copy_from_slice(chunk));
        let pushed = filling.room().await;
        sent += chunk.len();
        left = rest;
        assert_eq!(pushed == Pushed::Kept, sent <= LIMITS.cap);
        if pushed == Pushed::Deserted {
            return;
        }
    }
    let whole = filling.finish(Bytes::new()).body();
    assert_eq!(whole.map(Vec::from), (body.len() <= LIMITS.cap).then_some(body));
}

async fn client(mut follower: Follower<u64, (u64, usize), u64>, mut dice: StdRng) {
    if dice.random_ratio(1, 8) {
        // Leaves before the head, or with it: time-outs are the caller's.
        let _ = tokio::time::timeout(Duration::ZERO, follower.head()).await;
        return;
    }
    let info = *follower.info();
    let (head, mut body) = match follower.head().await {
        Outcome::Filled { head, body } => (head, body),
        Outcome::Failed(serial) => return assert_eq!(serial, info),
        Outcome::Uncacheable | Outcome::Abandoned => return,
    };
    assert_eq!(head.0, info);
    let expected = expected(head.0, head.1);
    let mut bytes = Vec::new();
    while let Some(chunk) = poll_fn(|cx| body.poll_chunk(cx)).await {
        let Ok(chunk) = chunk else { return assert!(expected.starts_with(&bytes)) };
        bytes.extend_from_slice(&chunk);
        match dice.random_range(0..20) {
            0 => return,
            1..8 => tokio::task::yield_now().await,
            _ => {}
        }
    }
    assert_eq!(bytes, expected);
}

async fn clients(flights: Arc<Fetches>, origin: Handle, seed: u64) -> Vec<tokio::task::JoinHandle<()>> {
    let mut dice = StdRng::seed_from_u64(seed);
    let (mut clients, mut fetches) = (tokio::task::JoinSet::new(), Vec::new());
    for round in 0..250 {
        let serial = seed << 32 | round;
        let admits = !dice.random_ratio(1, 10);
        let follower = match flights.join(&dice.random_range(0..4), serial, |_, _| admits) {
            Joined::Follow(follower) => follower,
            Joined::Lead(leader) => {
                let own = leader.follower();
                fetches.push(origin.spawn(fetch(leader, StdRng::seed_from_u64(serial))));
                own
            }
        };
        clients.spawn(client(follower, StdRng::seed_from_u64(!serial)));
        tokio::task::yield_now().await;
    }
    while let Some(ended) = clients.join_next().await {
        assert!(ended.is_ok(), "a client saw something wrong");
    }
    fetches
}

#[test]
fn random_interleavings_across_threads_and_runtimes_strand_nobody() {
    let fetchers = Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let flights = Arc::new(Fetches::new());
    let threads: Vec<_> = (1..=6)
        .map(|seed| {
            let (flights, origin) = (Arc::clone(&flights), fetchers.handle().clone());
            std::thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_time().build().unwrap();
                let all = clients(flights, origin, seed);
                let within = async { tokio::time::timeout(Duration::from_mins(1), all).await };
                runtime.block_on(within).expect("somebody hangs")
            })
        })
        .collect();
    let mut led = 0;
    for thread in threads {
        for fetch in thread.join().expect("a client saw something wrong") {
            led += 1;
            let Err(ended) = fetchers.block_on(fetch) else { continue };
            let cause = ended.into_panic();
            assert_eq!(cause.downcast_ref(), Some(&"a fault of the proxy itself"), "a leader saw something wrong");
        }
    }
    assert!(led > 0 && led < 6 * 250, "{led} fetches: nobody led, or nobody ever followed");
    assert!(flights.is_empty());
}
