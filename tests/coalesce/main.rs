//! The single flight, seen from outside. Time is no part of it: each test polls by hand, so that
//! "at once" means "without anything else happening first".
#![allow(clippy::panic, reason = "helpers of tests give up as tests do")]
#![allow(clippy::trivially_copy_pass_by_ref, reason = "the signature of `admit`")]

mod body;
mod release;
mod slots;
mod stress;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::FutureExt;
use millpond::coalesce::{BodyBroken, BodyLimits, Filling, Flights, Follower, Joined, Leader, Outcome, Pushed, Reader};

type TestFlights = Flights<&'static str, u64, &'static str, &'static str>;
type TestLeader = Leader<&'static str, u64, &'static str, &'static str>;
type TestFilling = Filling<&'static str, u64, &'static str, &'static str>;
type TestFollower = Follower<u64, &'static str, &'static str>;

const KEY: &str = "/popular";
const ROOMY: BodyLimits = BodyLimits { cap: 1 << 20, window: 1 << 16 };
/// Large enough to be kept as it is, so that a test can count what is in memory.
const CHUNK: usize = 8192;
const TIGHT: BodyLimits = BodyLimits { cap: 4 * CHUNK, window: 2 * CHUNK };

fn anyone(_: &u64, _: Option<&&'static str>) -> bool {
    true
}

fn nobody(_: &u64, _: Option<&&'static str>) -> bool {
    false
}

fn lead(flights: &TestFlights) -> TestLeader {
    match flights.join(&KEY, 0, anyone) {
        Joined::Lead(leader) => leader,
        Joined::Follow(_) => panic!("a flight is under way already"),
    }
}

fn follow(flights: &TestFlights) -> TestFollower {
    match flights.join(&KEY, 0, anyone) {
        Joined::Follow(follower) => follower,
        Joined::Lead(_) => panic!("there is no flight to follow"),
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rang(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn poll<F: Future>(self: &Arc<Self>, future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }

    fn poll_chunk(self: &Arc<Self>, reader: &mut Reader) -> Poll<Option<Result<Bytes, BodyBroken>>> {
        reader.poll_chunk(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }
}

#[derive(Debug, PartialEq)]
enum Read {
    SoFar(Vec<u8>),
    Whole(Vec<u8>),
    Broken(Vec<u8>, BodyBroken),
}

/// Reads all there is at the moment.
fn read(reader: &mut Reader) -> Read {
    let mut bytes = Vec::new();
    loop {
        match reader.poll_chunk(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(chunk))) => bytes.extend_from_slice(&chunk),
            Poll::Ready(Some(Err(broken))) => return Read::Broken(bytes, broken),
            Poll::Ready(None) => return Read::Whole(bytes),
            Poll::Pending => return Read::SoFar(bytes),
        }
    }
}

fn reader(mut follower: TestFollower) -> Reader {
    match follower.head().now_or_never() {
        Some(Outcome::Filled { body, .. }) => body,
        _ => panic!("no head has been published"),
    }
}

fn failure(follower: &mut TestFollower) -> Option<&'static str> {
    match follower.head().now_or_never() {
        Some(Outcome::Failed(failure)) => Some(failure),
        _ => None,
    }
}

/// Pushes a chunk; none if the leader has to wait, with the chunk in place.
fn push(filling: &mut TestFilling, chunk: impl Into<Bytes>) -> Option<Pushed> {
    filling.append(chunk.into());
    filling.room().now_or_never()
}
