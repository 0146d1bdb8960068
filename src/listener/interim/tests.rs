//! Interim responses on connections in memory: when they are written, and to whom.

use std::time::Duration;

use http::header::LINK;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::{Instant, timeout};

use super::{Interim, MOST, MOST_BYTES};
use crate::listener::tests::{PATIENCE, Served};

const SLOW: &str = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";

impl Served {
    /// What the request after the first `index` can be told by.
    fn interim(&self, index: usize) -> Option<Interim> {
        self.answers.interim.lock().unwrap().get(index).cloned().flatten()
    }

    /// A hint for the request after the first `index`.
    fn hint(&self, index: usize, link: &str) {
        let fields = HeaderMap::from_iter([(LINK, HeaderValue::from_str(link).unwrap())]);
        self.interim(index).expect("a client that can be told").send(StatusCode::EARLY_HINTS, &fields);
    }
}

fn hint(link: &str) -> String {
    format!("HTTP/1.1 103 Early Hints\r\nlink: {link}\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_hint_arrives_while_the_response_is_awaited() {
    let mut served = Served::new();
    served.send(SLOW).await;
    served.settle().await;
    for link in ["</a>", "</b>"] {
        served.hint(0, link);
        assert_eq!(served.read_to("\r\n\r\n").await, hint(link));
    }
    served.answers.go.notify_one();
    let answer = served.read_to("ok").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_hint_just_before_the_response_is_not_lost() {
    let mut served = Served::new();
    served.send(SLOW).await;
    served.settle().await;
    // Both before the connection's task runs again.
    served.hint(0, "</a>");
    served.hint(0, "</b>");
    served.answers.go.notify_one();
    let answer = served.read_to("ok").await;
    let hints = [hint("</a>"), hint("</b>")].concat();
    assert!(answer.strip_prefix(&hints).is_some_and(|rest| rest.starts_with("HTTP/1.1 200 ")), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_comes_after_the_response_is_dropped_and_the_next_request_is_served() {
    let mut served = Served::new();
    served.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.read_to("ok").await;
    served.hint(0, "</late>");
    assert!(!served.interim(0).unwrap().outbox.is_filled());
    served.send(SLOW).await;
    served.settle().await;
    served.hint(0, "</later>");
    served.hint(1, "</a>");
    assert_eq!(served.read_to("\r\n\r\n").await, hint("</a>"));
    served.answers.go.notify_one();
    assert!(served.read_to("ok").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn what_the_response_has_overtaken_does_not_hold_up_the_next_one() {
    let mut served = Served::new();
    served.send(SLOW).await;
    served.settle().await;
    let overtaken = served.interim(0).unwrap();
    served.answers.go.notify_one();
    served.read_to("ok").await;
    // As if the response had begun after the check of `send` and before this.
    overtaken.outbox.put(1, || "never".into());
    served.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = served.read_to("ok").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!overtaken.outbox.is_filled());
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_the_end_of_the_response_before_it() {
    // Far less than the response, which is a head and nothing else. The rest of its request's body arrives
    // while it is written, with the next request behind it.
    let mut served = Served::with_room(1024);
    served.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n12").await;
    served.settle().await;
    served.send(&format!("34{SLOW}")).await;
    served.settle().await;
    assert_eq!(served.answers.seen(), ["POST /early"]);
    let first = served.read_to("\r\n\r\n").await;
    assert!(first.starts_with("HTTP/1.1 200 ") && first.len() > 1 << 16, "{first}");
    served.settle().await;
    assert_eq!(served.answers.seen(), ["POST /early", "GET /slow"]);
    served.hint(1, "</a>");
    assert_eq!(served.read_to("\r\n\r\n").await, hint("</a>"));
    served.answers.go.notify_one();
    served.read_to("ok").await;
}

#[tokio::test(start_paused = true)]
async fn f20_a_body_that_awaits_100_continue_is_asked_for() {
    let mut served = Served::new();
    served.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(served.read_to("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    served.send("hi").await;
    served.read_to("2 bytes").await;
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_is_half_written_is_finished_before_100_continue() {
    let mut served = Served::with_room(150);
    let head = "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    served.send(head).await;
    served.settle().await;
    let link = "x".repeat(1000);
    served.hint(0, &link);
    served.settle().await;
    served.answers.go.notify_one();
    served.settle().await;
    assert_eq!(served.read_to("\r\n\r\n").await, hint(&link));
    assert_eq!(served.read_to("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    served.send("hi").await;
    served.read_to("2 bytes").await;
}

#[tokio::test(start_paused = true)]
async fn an_http_1_0_client_can_not_be_told() {
    let mut served = Served::new();
    served.send("GET /slow HTTP/1.0\r\nHost: a\r\n\r\n").await;
    served.settle().await;
    assert_eq!(served.answers.seen(), ["GET /slow"]);
    assert!(served.interim(0).is_none());
    served.answers.go.notify_one();
    assert!(served.rest().await.starts_with("HTTP/1.0 200 "));
}

#[tokio::test(start_paused = true)]
async fn only_102_to_199_are_the_handlers_to_send() {
    let mut served = Served::new();
    served.send(SLOW).await;
    served.settle().await;
    let interim = served.interim(0).unwrap();
    for status in [100, 101, 200, 304, 102, 199] {
        interim.send(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
    }
    served.answers.go.notify_one();
    let answer = served.read_to("ok").await;
    assert!(answer.starts_with("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 \r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn hints_are_bounded_in_number_and_in_size() {
    let mut served = Served::new();
    for (link, at_most) in [("</a>".to_owned(), MOST), ("x".repeat(MOST_BYTES / 4), 3), ("x".repeat(MOST_BYTES), 0)] {
        served.send(SLOW).await;
        served.settle().await;
        let index = served.answers.seen().len() - 1;
        for _ in 0..1000 {
            served.hint(index, &link);
        }
        served.answers.go.notify_one();
        let answer = served.read_to("ok").await;
        assert_eq!(answer.matches("103 Early Hints").count(), at_most, "{} bytes each", link.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_its_hints_is_cut_off() {
    let mut served = Served::with_room(150);
    served.send(SLOW).await;
    served.settle().await;
    let start = Instant::now();
    served.hint(0, &"x".repeat(1000));
    timeout(PATIENCE, &mut served.task).await.expect("an end in time").unwrap();
    assert_eq!(start.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_no_sign_of_an_idle_connection() {
    let mut served = Served::new();
    served.send(SLOW).await;
    served.settle().await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_mins(1)).await;
        served.hint(0, "</a>");
        served.read_to("\r\n\r\n").await;
    }
    served.answers.go.notify_one();
    served.read_to("ok").await;
    let start = Instant::now();
    assert_eq!(served.rest().await, "");
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_its_own_response_has_overtaken_does_not_reach_a_later_http_1_0_request() {
    let mut served = Served::new();
    served.send(SLOW).await;
    served.settle().await;
    let late = served.interim(0).unwrap();
    served.answers.go.notify_one();
    served.read_to("ok").await;
    served.send("GET /slow HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    served.settle().await;
    // Whoever sends it looked just before the response whether it was still awaited.
    late.outbox.put(late.index, || "HTTP/1.1 103 Early Hints\r\n\r\n".into());
    served.settle().await;
    served.answers.go.notify_one();
    let answer = served.read_to("ok").await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
}
