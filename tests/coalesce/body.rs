//! The growing body: pace, memory, and honest ends.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A chunk whose bytes count as in memory until the last handle is dropped.
struct Counted(Arc<AtomicUsize>, [u8; CHUNK]);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.1
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(CHUNK, Ordering::SeqCst);
    }
}

fn counted(in_memory: &Arc<AtomicUsize>, fill: u8) -> Bytes {
    in_memory.fetch_add(CHUNK, Ordering::SeqCst);
    Bytes::from_owner(Counted(Arc::clone(in_memory), [fill; CHUNK]))
}

#[test]
fn d12_a_slow_reader_neither_slows_the_others_nor_grows_memory() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let (fast, slow) = (leader.follower(), leader.follower());
    let mut filling = leader.publish("200", TIGHT);
    let (mut fast, mut slow) = (reader(fast), reader(slow));
    let in_memory = Arc::new(AtomicUsize::new(0));
    for fill in 0..100 {
        let pushed = push(&mut filling, counted(&in_memory, fill));
        assert!(pushed.is_some(), "the leader waits for the slow reader");
        assert_eq!(read(&mut fast), Read::SoFar(vec![fill; CHUNK]));
        assert!(in_memory.load(Ordering::SeqCst) <= TIGHT.cap + TIGHT.window);
    }
    assert_eq!(filling.finish(Bytes::new()).body(), None);
    assert_eq!(read(&mut fast), Read::Whole(vec![]));
    assert_eq!(read(&mut slow), Read::Broken(vec![], BodyBroken::Lagged));
}

#[test]
fn d12_beyond_the_cap_the_leader_keeps_pace_with_the_fastest_reader() {
    let leader = lead(&TestFlights::new());
    let own = leader.follower();
    let mut filling = leader.publish("200", TIGHT);
    let mut own = reader(own);
    let in_memory = Arc::new(AtomicUsize::new(0));
    for fill in 0..4 {
        assert_eq!(push(&mut filling, counted(&in_memory, fill)), Some(Pushed::Kept));
    }
    let bell = Arc::new(Bell::default());
    {
        filling.append(counted(&in_memory, 4));
        let mut waiting = pin!(filling.room());
        for fill in 0..4 {
            assert!(bell.poll(waiting.as_mut()).is_pending(), "chunk {fill}");
            assert_eq!(bell.rang(), 0);
            assert!(matches!(bell.poll_chunk(&mut own), Poll::Ready(Some(Ok(chunk))) if chunk[0] == fill));
        }
        assert_eq!(bell.rang(), 1);
        assert_eq!(bell.poll(waiting), Poll::Ready(Pushed::Overflowed));
    }
    push(&mut filling, counted(&in_memory, 5));
    // What the only reader has read is gone, although the cap would hold more.
    assert_eq!(in_memory.load(Ordering::SeqCst), 2 * CHUNK);
}

#[test]
fn d12_readers_that_lag_for_good_do_not_hold_the_leader() {
    let leader = lead(&TestFlights::new());
    let (fast, slow) = (leader.follower(), leader.follower());
    let mut filling = leader.publish("200", TIGHT);
    let (mut fast, _slow) = (reader(fast), reader(slow));
    for _ in 0..10 {
        push(&mut filling, vec![0; CHUNK]);
        read(&mut fast);
    }
    drop(fast);
    assert_eq!(push(&mut filling, vec![0; CHUNK]), Some(Pushed::Deserted));
}

#[test]
fn d12_a_push_cancelled_while_it_waits_leaves_no_hole_in_the_body() {
    let leader = lead(&TestFlights::new());
    let own = leader.follower();
    let mut filling = leader.publish("200", BodyLimits { cap: 0, window: 1 });
    assert_eq!(push(&mut filling, "one "), None);
    assert_eq!(push(&mut filling, "two"), None);
    drop(filling.finish(Bytes::new()));
    assert_eq!(read(&mut reader(own)), Read::Whole(b"one two".to_vec()));
}

#[test]
fn d14_the_first_byte_reaches_followers_before_the_last_one_is_there() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let mut follower = follow(&flights);
    let bell = Arc::new(Bell::default());
    assert!(bell.poll(follower.head()).is_pending());
    let mut filling = leader.publish("200", ROOMY);
    assert_eq!(bell.rang(), 1);
    let mut body = reader(follower);
    assert!(bell.poll_chunk(&mut body).is_pending());
    push(&mut filling, "first byte");
    assert_eq!(bell.rang(), 2);
    assert_eq!(read(&mut body), Read::SoFar(b"first byte".to_vec()));
    assert_eq!(body.remaining(), None);
    push(&mut filling, ", last byte");
    drop(filling.finish(Bytes::new()));
    assert_eq!(body.remaining(), Some(11));
    assert_eq!(read(&mut body), Read::Whole(b", last byte".to_vec()));
}

#[test]
fn d15_a_fetch_that_breaks_mid_body_never_looks_complete() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let own = leader.follower();
    let mut filling = leader.publish("200", ROOMY);
    let mut body = reader(own);
    push(&mut filling, "half");
    filling.abort();
    assert_eq!(read(&mut body), Read::Broken(b"half".to_vec(), BodyBroken::Aborted));
    assert_eq!(read(&mut body), Read::Broken(vec![], BodyBroken::Aborted));
    assert_eq!(body.remaining(), None);
    lead(&flights);
}

#[test]
fn the_whole_body_is_one_buffer_of_its_own_that_readers_share() {
    let read_buffer = Bytes::from(vec![1; 10 * CHUNK]);
    let leader = lead(&TestFlights::new());
    let own = leader.follower();
    let mut filling = leader.publish("200", ROOMY);
    push(&mut filling, read_buffer.slice(..CHUNK));
    let mut landing = filling.finish(Bytes::new());
    let body = landing.body().unwrap();
    drop(landing);
    assert!(read_buffer.is_unique(), "the larger buffer is still pinned");
    let bell = Arc::new(Bell::default());
    let Poll::Ready(Some(Ok(chunk))) = bell.poll_chunk(&mut reader(own)) else { panic!("no chunk") };
    assert_eq!((chunk.len(), chunk.as_ptr()), (CHUNK, body.as_ptr()));
}
