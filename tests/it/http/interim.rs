//! Interim responses (RFC 9110 section 15.2, RFC 8297): to the client that waits, and to nobody else.

use crate::support::client::RawConnection;
use crate::support::origin::{Gate, Origin};
use crate::support::proxy::Proxy;

use super::{for_a_minute, start};

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
const RELAYED: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nvia: 1.1 millpond\r\n\r\n";

/// A whole response with this `Cache-Control`.
fn last(cache_control: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nCache-Control: {cache_control}\r\nContent-Length: 5\r\n\r\nhello")
}

/// The origin gives these interim responses to a request for `/a`, and the rest when the gate opens.
fn before(origin: &Origin, interim: &str, rest: &str) -> Gate {
    let gate = Gate::default();
    origin.raw("/a", |s| s.send(interim.to_owned()).wait(&gate).send(rest.to_owned()));
    gate
}

async fn get(proxy: &Proxy) -> RawConnection {
    let mut connection = proxy.client().connect_raw().await;
    connection.send("GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n").await;
    connection
}

#[tokio::test]
async fn early_hints_arrive_while_the_origin_still_works_and_are_not_stored() {
    let (origin, proxy) = start("").await;
    let gate = before(&origin, HINT, &last("max-age=60"));
    let mut connection = get(&proxy).await;
    assert_eq!(connection.until("\r\n\r\n").await, RELAYED);
    gate.release();
    let miss = connection.until("hello").await;
    assert!(miss.starts_with("HTTP/1.1 200 ") && !miss.contains("a.css"), "{miss}");
    connection.send("GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n").await;
    let hit = connection.until("hello").await;
    assert!(hit.starts_with("HTTP/1.1 200 ") && !hit.contains("a.css"), "{hit}");
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn early_hints_arrive_on_every_way_to_the_origin() {
    let (origin, proxy) = start("").await;
    // Led, and then alone: the response was uncacheable a moment ago. The last is passed.
    for request in ["GET /a", "GET /a", "HEAD /a", "POST /a", "OPTIONS /a"] {
        let gate = before(&origin, HINT, "HTTP/1.1 204 No Content\r\nCache-Control: private\r\n\r\n");
        let mut connection = proxy.client().connect_raw().await;
        connection.send(format!("{request} HTTP/1.1\r\nHost: api.test\r\n\r\n")).await;
        assert_eq!(connection.until("\r\n\r\n").await, RELAYED, "{request}");
        gate.release();
        let answer = connection.until("\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 204 "), "{request}: {answer}");
    }
    assert_eq!(origin.hits("/a"), 5);
}

#[tokio::test]
async fn early_hints_precede_what_the_origin_confirms() {
    let (origin, proxy) = start("").await;
    let stale = "max-age=60, stale-if-error=60";
    origin.on("/a", |r| r.header("cache-control", stale).header("age", "60").header("etag", "\"1\"").body("hello"));
    proxy.client().get("/a").header("host", "api.test").send().await;
    let gate = before(&origin, HINT, "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n");
    let mut connection = get(&proxy).await;
    assert_eq!(connection.until("\r\n\r\n").await, RELAYED);
    gate.release();
    assert!(connection.until("hello").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn several_interim_responses_keep_their_order_and_none_is_lost_before_the_last() {
    let (origin, proxy) = start("").await;
    let working = "HTTP/1.1 102 Processing\r\nX-Step: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
    let step = "HTTP/1.1 102 Processing\r\nx-step: 1\r\nvia: 1.1 millpond\r\n\r\n";
    // All in one write, so that each has the next one at its heels.
    let all = format!("{working}{HINT}{working}{HINT}{}", last("no-store"));
    origin.raw("/a", |s| s.send(all.clone()));
    for _ in 0..20 {
        let seen = get(&proxy).await.until("hello").await;
        let relayed = [step, RELAYED, step, RELAYED].concat();
        assert!(seen.strip_prefix(&relayed).is_some_and(|rest| rest.starts_with("HTTP/1.1 200 ")), "{seen}");
    }
}

#[tokio::test]
async fn nothing_of_an_interim_response_gets_into_the_final_one() {
    let (origin, proxy) = start("").await;
    let interim =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\nCache-Control: no-store\r\n\r\n";
    origin.raw("/a", |s| s.send(format!("{interim}{}", last("max-age=60"))));
    for _ in 0..2 {
        let answer = proxy.client().get("/a").send().await;
        assert_eq!((answer.status, answer.text(), answer.header("link")), (200, "hello", None));
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn a_continue_of_the_origin_and_an_interim_response_with_a_body_are_not_relayed() {
    let (origin, proxy) = start("").await;
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n\r\n";
    before(&origin, interim, &last("no-store")).release();
    assert!(get(&proxy).await.until("hello").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_http_1_0_client_gets_no_interim_response() {
    let (origin, proxy) = start("").await;
    before(&origin, HINT, &last("max-age=60")).release();
    let answer = proxy.client().raw("GET /a HTTP/1.0\r\nHost: api.test\r\n\r\n").await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 ") && !answer.contains("103"), "{answer}");
}

#[tokio::test]
async fn early_hints_of_a_pipelined_request_wait_for_the_end_of_the_response_before() {
    let (origin, proxy) = start("").await;
    let stream = origin.stream("/first", |r| r.header("cache-control", "private"));
    let gate = before(&origin, HINT, &last("no-store"));
    let mut connection = proxy.client().connect_raw().await;
    let two = "GET /first HTTP/1.1\r\nHost: api.test\r\n\r\nGET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";
    connection.send(two).await;
    stream.send("one");
    let mut first = connection.until("one\r\n").await;
    stream.send("two");
    stream.finish();
    gate.arrived(1).await;
    first += &connection.until(RELAYED).await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert!(first.ends_with(&format!("3\r\ntwo\r\n0\r\n\r\n{RELAYED}")), "{first}");
    gate.release();
    assert!(connection.until("hello").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn followers_do_not_get_what_may_be_for_the_leader_alone() {
    let (origin, proxy) = start("").await;
    let hint = "HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let gate = before(&origin, hint, &last("max-age=60"));
    let mut leader = get(&proxy).await;
    assert_eq!(leader.until("\r\n\r\n").await, RELAYED, "and no cookie in a fetch that may be shared");
    let mut follower = get(&proxy).await;
    proxy.reaches("coalesce_waiting", 1).await;
    gate.release();
    for connection in [&mut leader, &mut follower] {
        let answer = connection.until("hello").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn a_refresh_in_the_background_tells_nobody() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).cache("stale_while_revalidate = '1h'").route("name = 'main'").await;
    origin.on("/a", |r| for_a_minute(r).header("age", "60").body("hello"));
    proxy.client().get("/a").header("host", "api.test").send().await;
    let gate = before(&origin, HINT, &last("max-age=60"));
    let mut connection = get(&proxy).await;
    assert!(connection.until("hello").await.starts_with("HTTP/1.1 200 "));
    gate.release();
    proxy.reaches(r#"refreshes_total{result="replaced",route="main"}"#, 1).await;
    // Another answer on the same connection is the next thing that is said on it.
    origin.on("/b", |r| for_a_minute(r).body("bye"));
    connection.send("GET /b HTTP/1.1\r\nHost: api.test\r\n\r\n").await;
    let next = connection.until("bye").await;
    assert!(next.starts_with("HTTP/1.1 200 "), "{next}");
}

#[tokio::test]
async fn an_origin_that_fails_after_its_early_hints_is_a_whole_502() {
    let (origin, proxy) = start("").await;
    let no_field = "HTTP/1.1 103 Early Hints\r\nnot a field\r\n\r\n";
    for rest in ["", "HTTP/1.1 200 O", no_field, &format!("{no_field}{}", last("max-age=60"))] {
        let gate = Gate::default();
        origin.raw("/a", |s| s.send(HINT).wait(&gate).send(rest.to_owned()).close());
        let mut connection = get(&proxy).await;
        assert_eq!(connection.until("\r\n\r\n").await, RELAYED);
        gate.release();
        connection.send("GET /ok HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n").await;
        let answers = String::from_utf8(connection.until_closed().await).unwrap();
        assert!(answers.starts_with("HTTP/1.1 502 "), "{rest:?}: {answers}");
        // What follows is in its place.
        assert!(answers.contains("HTTP/1.1 404 ") && answers.ends_with("/ok"), "{rest:?}: {answers}");
    }
}

#[tokio::test]
async fn a_flood_of_interim_responses_is_bounded_and_the_final_one_arrives() {
    let (origin, proxy) = start("").await;
    origin.raw("/a", |s| s.send(HINT.repeat(1000)).send(last("max-age=60")));
    let seen = get(&proxy).await.until("hello").await;
    assert_eq!(seen.matches("103 Early Hints").count(), 64);
    assert_eq!(seen.matches("HTTP/1.1 200 ").count(), 1);
}

#[tokio::test]
async fn early_hints_precede_a_change_of_protocol() {
    let (origin, proxy) = start("").await;
    let gate = Gate::default();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    origin.raw("/a", |s| s.send(HINT).wait(&gate).send(switch).echo());
    let mut connection = proxy.client().connect_raw().await;
    let head = "GET /a HTTP/1.1\r\nHost: api.test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    connection.send(head).await;
    assert_eq!(connection.until("\r\n\r\n").await, RELAYED);
    gate.release();
    assert!(connection.until("\r\n\r\n").await.starts_with("HTTP/1.1 101 "));
    connection.send("to and fro").await;
    assert_eq!(connection.until("to and fro").await, "to and fro");
}
