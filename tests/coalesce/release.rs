//! However a flight ends, everybody is released at once, and places are free at once.

use std::pin::pin;

use super::*;

#[test]
fn d5_leaders_client_leaves_mid_body_and_fifty_followers_get_it_whole() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let own = leader.follower();
    let followers: Vec<_> = (0..50).map(|_| follow(&flights)).collect();
    let mut filling = leader.publish("200", ROOMY);
    let mut own = reader(own);
    let mut readers: Vec<_> = followers.into_iter().map(reader).collect();
    push(&mut filling, "first ");
    assert_eq!(read(&mut own), Read::SoFar(b"first ".to_vec()));
    assert_eq!(filling.readers(), 51);
    drop(own);
    assert_eq!(filling.readers(), 50);
    assert_eq!(push(&mut filling, "second"), Some(Pushed::Kept));
    assert_eq!(filling.finish(Bytes::new()).body().unwrap(), "first second");
    for reader in &mut readers {
        assert_eq!(read(reader), Read::Whole(b"first second".to_vec()));
    }
}

#[test]
fn d5_everybody_leaves_and_a_storable_body_still_fills_the_cache() {
    let mut filling = lead(&TestFlights::new()).publish("200", ROOMY);
    assert_eq!(filling.readers(), 0);
    assert_eq!(push(&mut filling, "body"), Some(Pushed::Kept));
    assert_eq!(filling.finish(Bytes::new()).body().unwrap(), "body");
}

#[test]
fn d5_everybody_leaves_and_a_body_that_cannot_be_stored_is_deserted() {
    let leader = lead(&TestFlights::new());
    let own = leader.follower();
    let mut filling = leader.publish("200", BodyLimits { cap: 0, window: 100 });
    assert_eq!(push(&mut filling, "body"), Some(Pushed::Overflowed));
    drop(own);
    assert_eq!(push(&mut filling, "more"), Some(Pushed::Deserted));
    assert_eq!(filling.finish(Bytes::new()).body(), None);
}

#[test]
fn d6_leader_panics_and_followers_are_released_at_once() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let mut follower = follow(&flights);
    let bell = Arc::new(Bell::default());
    assert!(bell.poll(follower.head()).is_pending());
    let fetch = std::thread::spawn(move || {
        let _leader = leader;
        panic!("a fault of the proxy itself");
    });
    assert!(fetch.join().is_err());
    assert_eq!(bell.rang(), 1);
    assert!(matches!(follower.head().now_or_never(), Some(Outcome::Abandoned)));
    assert!(flights.is_empty());
}

#[test]
fn d6_leader_panics_mid_body_and_readers_see_an_aborted_body() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let own = leader.follower();
    let mut filling = leader.publish("200", ROOMY);
    let mut own = reader(own);
    let bell = Arc::new(Bell::default());
    assert!(bell.poll_chunk(&mut own).is_pending());
    let fetch = std::thread::spawn(move || {
        push(&mut filling, "half");
        panic!("a fault of the proxy itself");
    });
    assert!(fetch.join().is_err());
    assert!(bell.rang() >= 1);
    assert_eq!(read(&mut own), Read::Broken(b"half".to_vec(), BodyBroken::Aborted));
    assert!(flights.is_empty());
}

#[test]
fn d7_an_uncacheable_head_releases_all_followers_at_once() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let mut followers: Vec<_> = (0..100).map(|_| follow(&flights)).collect();
    let bell = Arc::new(Bell::default());
    for follower in &mut followers {
        assert!(bell.poll(follower.head()).is_pending());
    }
    leader.uncacheable();
    assert_eq!(bell.rang(), 100);
    for follower in &mut followers {
        assert!(matches!(follower.head().now_or_never(), Some(Outcome::Uncacheable)));
    }
    assert!(flights.is_empty());
}

#[test]
fn d9_one_failed_attempt_answers_all_hundred_followers() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let mut followers: Vec<_> = (0..100).map(|_| follow(&flights)).collect();
    let bell = Arc::new(Bell::default());
    for follower in &mut followers {
        assert!(bell.poll(follower.head()).is_pending());
    }
    leader.fail("connect");
    assert_eq!(bell.rang(), 100);
    assert!(followers.iter_mut().all(|follower| failure(follower) == Some("connect")));
    assert!(flights.is_empty());
}

#[test]
fn d16_a_follower_that_gives_up_frees_its_place_at_once() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let mut impatient = follow(&flights);
    let _patient = follow(&flights);
    assert!(impatient.head().now_or_never().is_none());
    drop(impatient);
    assert_eq!(leader.publish("200", ROOMY).readers(), 1);
}

#[test]
fn d16_the_last_reader_leaves_and_the_waiting_leader_learns_it_at_once() {
    let leader = lead(&TestFlights::new());
    let own = leader.follower();
    let mut filling = leader.publish("200", BodyLimits { cap: 0, window: 1 });
    let bell = Arc::new(Bell::default());
    filling.append(Bytes::from_static(b"body"));
    let mut waiting = pin!(filling.room());
    assert!(bell.poll(waiting.as_mut()).is_pending());
    drop(own);
    assert_eq!(bell.rang(), 1);
    assert_eq!(bell.poll(waiting), Poll::Ready(Pushed::Deserted));
}
