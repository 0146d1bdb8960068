//! The scripted origin.

use std::time::Duration;

use futures_util::future::join_all;

use crate::support::client::Client;
use crate::support::origin::{Gate, Origin, RawScript, Reply};

async fn origin() -> (Origin, Client) {
    let origin = Origin::start().await;
    let client = Client::to(origin.addr());
    (origin, client)
}

#[tokio::test]
async fn a_path_answers_as_scripted_and_its_requests_are_kept_as_received() {
    let (origin, client) = origin().await;
    origin.on("/a", |r| r.status(203).header("Cache-Control", "max-age=60").body("v1"));
    let answer = client.get("/a?x=1").header("X-Twice", "1").header("X-Twice", "2").send().await;
    assert_eq!((answer.status, answer.text()), (203, "v1"));
    assert_eq!(answer.header("cache-control").as_deref(), Some("max-age=60"));
    assert_eq!((origin.hits("/a"), origin.hits("/a?x=1"), origin.hits("/a?x=2")), (1, 1, 0));
    let received = &origin.requests()[0];
    assert_eq!((received.method.as_str(), received.target.as_str()), ("GET", "/a?x=1"));
    assert_eq!(received.header("x-twice").as_deref(), Some("1, 2"));
    assert_eq!(received.header("x-none"), None);
    assert_eq!(received.fields.len(), 3, "host and the two: {:?}", received.fields);
}

#[tokio::test]
async fn a_script_can_be_replaced_and_a_script_with_a_query_wins_over_one_without() {
    let (origin, client) = origin().await;
    origin.on("/a", |r| r.body("v1"));
    origin.on("/a?b", |r| r.body("b"));
    assert_eq!(client.get("/a").send().await.text(), "v1");
    assert_eq!(client.get("/a?b").send().await.text(), "b");
    origin.set("/a", Reply::ok().body("v2"));
    assert_eq!(client.get("/a?c").send().await.text(), "v2");
    origin.fail("/a", 503);
    assert_eq!(client.get("/a").send().await.status, 503);
    assert_eq!(client.get("/other").send().await.status, 404);
}

#[tokio::test]
async fn an_answer_can_depend_on_the_request_and_its_body() {
    let (origin, client) = origin().await;
    origin.on_request("/echo", |request| Reply::ok().body(request.body.clone()));
    assert_eq!(client.ask("POST", "/echo").body("hello").send().await.text(), "hello");
    let chunked =
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n";
    let mut raw = client.connect_raw().await;
    raw.send(chunked).await;
    raw.until("\r\n\r\nhello").await;
    assert_eq!(origin.last("/echo").body, "hello");
}

#[tokio::test]
async fn a_request_that_expects_100_is_told_to_continue() {
    let (origin, client) = origin().await;
    origin.on("/up", |r| r.body("got it"));
    let mut raw = client.connect_raw().await;
    raw.send("PUT /up HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").await;
    raw.until("100 Continue\r\n\r\n").await;
    raw.send("body").await;
    raw.until("got it").await;
    assert_eq!(origin.last("/up").body, "body");
}

#[tokio::test]
async fn chunks_trailers_and_a_body_until_close_arrive_as_such() {
    let (origin, client) = origin().await;
    origin.on("/chunks", |r| r.chunks(&["one ", "two"]).trailer("X-Sum", "7"));
    let answer = client.get("/chunks").send().await;
    assert_eq!((answer.text(), answer.header("transfer-encoding").as_deref()), ("one two", Some("chunked")));
    assert_eq!(answer.trailers["x-sum"], "7");
    origin.on("/end", |r| r.body_until_close("until the end"));
    let answer = client.get("/end").send().await;
    assert_eq!((answer.text(), answer.header("content-length")), ("until the end", None));
}

#[tokio::test]
async fn a_reply_that_validates_gives_304_to_its_own_validators_only() {
    let (origin, client) = origin().await;
    origin.on("/v", |r| r.header("ETag", "\"1\"").header("Last-Modified", "then").body("v1").validates());
    for (name, value, status) in
        [("if-none-match", "\"1\"", 304), ("if-none-match", "\"2\"", 200), ("if-modified-since", "then", 304)]
    {
        assert_eq!(client.get("/v").header(name, value).send().await.status, status, "{name}: {value}");
    }
}

#[tokio::test]
async fn head_and_204_have_no_body_on_the_wire() {
    let (origin, client) = origin().await;
    origin.on("/a", |r| r.body("body").close());
    let head = client.raw("HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("Content-Length: 4\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    origin.on("/a", |r| r.status(204).close());
    let none = String::from_utf8(client.raw("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await).unwrap();
    assert!(!none.contains("Content-Length") && none.ends_with("\r\n\r\n"), "{none}");
}

#[tokio::test]
async fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
    let (origin, client) = origin().await;
    origin.on("/1", |r| r.body("first"));
    origin.on("/2", |r| r.body("second").close());
    let both = client.raw("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let both = String::from_utf8(both).unwrap();
    assert!(both.find("first").unwrap() < both.find("second").unwrap());
    let connections: Vec<usize> = origin.requests().iter().map(|request| request.connection).collect();
    assert_eq!((connections, origin.connections()), (vec![1, 1], 1));
}

#[tokio::test]
async fn what_is_not_http_is_counted_and_the_connection_closed() {
    let (origin, client) = origin().await;
    for (count, bytes) in
        ["nonsense\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
            .iter()
            .enumerate()
    {
        assert!(client.raw(bytes).await.starts_with(b"HTTP/1.1 400 "));
        assert_eq!(origin.malformed(), count + 1);
    }
    assert_eq!(origin.requests().len(), 0);
}

#[tokio::test]
async fn a_gate_holds_requests_until_it_is_released_and_they_get_the_latest_script() {
    let (origin, client) = origin().await;
    origin.on("/a", |r| r.body("v1"));
    let gate = origin.hold("/a");
    let clients: Vec<_> = (0..3).map(|_| tokio::spawn(client.get("/a").send())).collect();
    gate.arrived(3).await;
    assert!(clients.iter().all(|client| !client.is_finished()), "nobody was answered");
    assert_eq!(origin.peak_concurrency(), 3);
    origin.on("/a", |r| r.body("v2"));
    gate.release();
    for answer in join_all(clients).await {
        assert_eq!(answer.unwrap().text(), "v2");
    }
    assert_eq!(client.get("/a").send().await.text(), "v2", "a released gate stays open");
}

#[tokio::test]
async fn a_gate_lets_one_request_through_at_a_time_and_notices_clients_that_leave() {
    let (origin, client) = origin().await;
    let gate = origin.hold("/a");
    origin.on("/a", |r| r.body("v1"));
    let mut first = client.start("/a").await;
    gate.arrived(1).await;
    let second = client.start("/a").await;
    gate.arrived(2).await;
    gate.release_one();
    assert_eq!(first.head().await.status, 200);
    drop(second);
    gate.deserted(1).await;
}

#[tokio::test]
async fn a_stream_arrives_chunk_by_chunk_and_ends_when_the_test_says_so() {
    let (origin, client) = origin().await;
    let stream = origin.stream("/s", |r| r.header("x-a", "1"));
    let mut answer = client.start("/s").await;
    stream.requested(1).await;
    assert_eq!(answer.head().await.headers["x-a"], "1");
    stream.send("one");
    answer.expect("one").await;
    stream.send("two");
    answer.expect("two").await;
    // A second reader gets it from the start.
    let mut other = client.start("/s").await;
    other.expect("onetwo").await;
    assert_eq!(stream.written(), 12);
    stream.finish();
    assert_eq!(answer.rest().await.unwrap(), "");
    assert_eq!(other.rest().await.unwrap(), "");
}

#[tokio::test]
async fn a_stream_with_a_length_is_not_chunked_and_one_that_aborts_is_seen_as_aborted() {
    let (origin, client) = origin().await;
    let stream = origin.stream("/s", |r| r.header("Content-Length", "6"));
    let mut answer = client.start("/s").await;
    assert!(!answer.head().await.headers.contains_key("transfer-encoding"));
    stream.send("abc");
    answer.expect("abc").await;
    stream.abort();
    assert!(answer.rest().await.is_err());
}

#[tokio::test]
async fn a_stream_whose_reader_does_not_read_stops_being_written_and_notices_when_it_leaves() {
    const MUCH: usize = 64 * 1024 * 1024;
    let (origin, client) = origin().await;
    let stream = origin.stream("/s", |r| r);
    let mut reader = client.get("/s").small_buffer().start().await;
    reader.head().await;
    stream.send(vec![b'x'; MUCH]);
    stream.finish();
    reader.next_chunk().await.unwrap().unwrap();
    assert!(stream.stalled().await < MUCH as u64, "the system's buffers are smaller than that");
    drop(reader);
    stream.deserted(1).await;
}

#[tokio::test]
async fn raw_answers_can_be_truncated_reset_silent_or_nonsense() {
    let (origin, client) = origin().await;
    origin.raw("/short", |s| s.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").close());
    let short = client.get("/short").send().await;
    assert_eq!(short.body.unwrap_err().arrived, "abc");
    origin.raw("/reset", RawScript::reset);
    assert!(client.get("/reset").try_send().await.is_err());
    origin.raw("/nonsense", |s| s.send("no HTTP at all\r\n\r\n").close());
    assert!(client.get("/nonsense").try_send().await.is_err());
    origin.raw("/silent", RawScript::hang);
    let silent = client.start("/silent").await;
    origin.received(4).await;
    drop(silent);
    origin.abandoned().await;
}

#[tokio::test]
async fn a_raw_answer_can_wait_pause_and_leave_the_connection_open() {
    let (origin, client) = origin().await;
    let gate = Gate::default();
    let slow = Duration::from_millis(20);
    origin.raw("/r", |s| {
        s.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").wait(&gate).send("a").pause(slow).send("b")
    });
    let mut connection = client.connect().await;
    let first = tokio::spawn(client.get("/r").send());
    gate.arrived(1).await;
    gate.release();
    let first = first.await.unwrap();
    assert_eq!(first.text(), "ab");
    assert!(first.last_byte >= slow);
    for _ in 0..2 {
        assert_eq!(connection.get("/r").await.text(), "ab");
    }
    assert_eq!(origin.last("/r").connection, origin.requests()[1].connection);
}

#[tokio::test]
async fn a_raw_answer_can_echo_as_after_an_upgrade_early_bytes_included() {
    let (origin, client) = origin().await;
    origin.raw("/ws", |s| s.send("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n").echo());
    let mut raw = client.connect_raw().await;
    raw.send("GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nearly").await;
    raw.until("\r\n\r\nearly").await;
    raw.send("late").await;
    raw.until("late").await;
    raw.finish_sending().await;
    assert_eq!(raw.until_closed().await, b"");
}

#[tokio::test]
async fn an_origin_that_refuses_closes_its_connections_and_comes_back_on_the_same_port() {
    let (origin, client) = origin().await;
    origin.on("/a", |r| r.body("v1"));
    let mut kept = client.connect().await;
    kept.get("/a").await;
    origin.refuse().await;
    assert!(kept.send(client.get("/a")).await.is_err());
    let refused = client.get("/a").try_send().await.unwrap_err().to_string();
    assert!(refused.contains("refused"), "{refused}");
    origin.accept_again();
    assert_eq!(client.get("/a").send().await.text(), "v1");
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn a_delay_is_a_real_one() {
    let (origin, client) = origin().await;
    let delay = Duration::from_millis(30);
    origin.on("/a", |r| r.delay(delay));
    assert!(client.get("/a").send().await.first_byte >= delay);
    assert_eq!(origin.url(), format!("http://{}", origin.addr()));
}
