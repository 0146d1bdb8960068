//! Who joins which flight, and when a slot is free.

use super::*;

#[test]
fn d8_a_newcomer_whom_the_head_does_not_suit_never_joins() {
    let flights = TestFlights::new();
    let filling = lead(&flights).publish("vary: gzip", ROOMY);
    let joined = flights.join(&KEY, 1, |info, head| (*info, head) != (0, Some(&"vary: gzip")));
    assert!(matches!(joined, Joined::Lead(_)));
    assert_eq!(filling.readers(), 0);
}

#[test]
fn a_newcomer_during_the_body_reads_it_from_the_first_byte() {
    let flights = TestFlights::new();
    let mut filling = lead(&flights).publish("200", ROOMY);
    for chunk in ["a", "bc", "d", "efg"] {
        push(&mut filling, chunk);
    }
    let mut body = reader(follow(&flights));
    assert_eq!(read(&mut body), Read::SoFar(b"abcdefg".to_vec()));
    push(&mut filling, "h");
    drop(filling.finish(Bytes::new()));
    assert_eq!(read(&mut body), Read::Whole(b"h".to_vec()));
}

#[test]
fn publish_order_nobody_sees_the_end_before_the_body_is_stored_and_the_slot_is_free_only_then() {
    let flights = TestFlights::new();
    let mut filling = lead(&flights).publish("200", ROOMY);
    push(&mut filling, "bo");
    let mut landing = filling.finish("dy".into());
    // The moment between the last byte from the origin and the insertion into the cache.
    let mut body = reader(follow(&flights));
    assert_eq!(read(&mut body), Read::SoFar(b"bo".to_vec()));
    assert!(flights.lead(&KEY, 0, anyone).is_none());
    assert_eq!(landing.body().unwrap(), "body");
    drop(landing);
    assert_eq!(read(&mut body), Read::Whole(b"dy".to_vec()));
    assert!(flights.lead(&KEY, 0, anyone).is_some());
}

#[test]
fn a1_a_doomed_flight_serves_those_attached_and_leaves_its_successor_alone() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let attached = follow(&flights);
    let Joined::Lead(successor) = flights.join(&KEY, 1, nobody) else { panic!("joined a doomed flight") };
    let newcomer = follow(&flights);
    assert_eq!(*newcomer.info(), 1);

    let mut filling = leader.publish("old", ROOMY);
    push(&mut filling, "old body");
    drop(filling.finish(Bytes::new()));
    assert_eq!(read(&mut reader(attached)), Read::Whole(b"old body".to_vec()));

    assert_eq!(flights.len(), 1);
    assert_eq!(*follow(&flights).info(), 1);
    let mut filling = successor.publish("new", ROOMY);
    push(&mut filling, "new body");
    assert_eq!(filling.finish(Bytes::new()).body().unwrap(), "new body");
    assert_eq!(read(&mut reader(newcomer)), Read::Whole(b"new body".to_vec()));
    assert!(flights.is_empty());
}

#[test]
fn a_body_whose_start_has_left_memory_is_not_joined() {
    let flights = TestFlights::new();
    let leader = lead(&flights);
    let mut own = leader.follower();
    let mut filling = leader.publish("200", TIGHT);
    let mut body = own.head().now_or_never().map(|outcome| match outcome {
        Outcome::Filled { body, .. } => body,
        _ => panic!("no head"),
    });
    for _ in 0..5 {
        push(&mut filling, vec![0; CHUNK]);
        read(body.as_mut().unwrap());
    }
    assert!(flights.is_empty());
    let successor = lead(&flights);
    drop(filling);
    assert_eq!(flights.len(), 1, "the late end of the old flight freed the new one's slot");
    drop(successor);
    // A second reader for the same follower is told so, rather than given a body without its start.
    assert_eq!(read(&mut reader(own)), Read::Broken(vec![], BodyBroken::Lagged));
}

#[test]
fn a_background_refresh_starts_only_where_no_flight_of_use_is_under_way() {
    let flights = TestFlights::new();
    let first = flights.lead(&KEY, 0, anyone);
    assert!(first.is_some());
    assert!(flights.lead(&KEY, 1, anyone).is_none());
    assert!(flights.lead(&"/other", 1, anyone).is_some());
    let second = flights.lead(&KEY, 2, nobody);
    assert_eq!(second.as_ref().map(Leader::info), Some(&2));
    drop(first);
    assert!(flights.lead(&KEY, 3, anyone).is_none());
    drop(second);
    assert!(flights.lead(&KEY, 4, anyone).is_some());
}
