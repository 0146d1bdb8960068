//! Connections in memory, on paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::UPGRADE;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::connection::{self, Shared};
use super::seat::Seat;
use super::*;
use crate::config::Limits;
use crate::telemetry::metrics::{ListenerMetrics, Metrics};

pub(super) const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// Longer than every time-out, so that a test which waits in vain fails at once on paused time.
pub(super) const PATIENCE: Duration = Duration::from_hours(1);

pub(super) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

pub(super) fn limits() -> Limits {
    Limits {
        connections: 2,
        head_bytes: 1024,
        head_fields: 16,
        target_bytes: 256,
        head_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(30),
        body_timeout: Duration::from_secs(10),
        write_timeout: Duration::from_secs(20),
        request_body: Some(1000),
        shutdown_deadline: Duration::from_secs(15),
    }
}

pub(super) fn metrics() -> ListenerMetrics {
    Metrics::new().unwrap().listener
}

pub(super) fn seat() -> Seat {
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    Seat::take(permit, TaskTracker::new().token(), metrics().connections.clone())
}

/// Answers what the paths ask for, and notes what reached it.
#[derive(Clone, Default)]
pub(super) struct Answers {
    pub(super) seen: Arc<Mutex<Vec<String>>>,
    /// Ends `/slow`.
    pub(super) go: Arc<Notify>,
    /// What each request could be told by.
    pub(super) interim: Arc<Mutex<Vec<Option<Interim>>>>,
}

impl Answers {
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Handler for Answers {
    type Body = Full<Bytes>;

    async fn handle(&self, head: Box<Parts>, body: RequestBody, client: Client) -> Response<Self::Body> {
        let request = Request::from_parts(*head, body);
        self.interim.lock().unwrap().push(client.interim);
        self.seen.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        let text = |status, text: String| Response::builder().status(status).body(Full::from(text)).unwrap();
        match request.uri().path() {
            "/slow" => self.go.notified().await,
            "/early" => {
                tokio::spawn(request.into_body().collect());
                return Response::builder().header("large", "x".repeat(1 << 16)).body(Full::default()).unwrap();
            }
            "/large" => return text(StatusCode::OK, "x".repeat(1 << 20)),
            "/switch" => {
                let offer = client.upgrade.expect("an offer");
                self.go.notified().await;
                tokio::spawn(async move {
                    let (mut read, mut write) = tokio::io::split(offer.accepted().await.unwrap());
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
                let switch = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
                return switch.header(UPGRADE, "echo").body(Full::default()).unwrap();
            }
            _ => {}
        }
        if request.method() != Method::POST {
            return text(StatusCode::OK, "ok".into());
        }
        match request.into_body().collect().await {
            Ok(body) => {
                let trailers = body.trailers().map_or(0, http::HeaderMap::len);
                text(StatusCode::OK, format!("{trailers} trailers, {} bytes", body.to_bytes().len()))
            }
            Err(error) => {
                let fault = Fault::behind(&error).expect("the client's fault");
                text(fault.status(), fault.as_str().into())
            }
        }
    }

    fn reject(&self, fault: Fault, _: SocketAddr) -> Response<Self::Body> {
        Response::builder().status(fault.status()).body(Full::from(fault.as_str())).unwrap()
    }
}

/// One connection and what serves it.
pub(super) struct Served {
    pub(super) client: DuplexStream,
    pub(super) task: JoinHandle<()>,
    pub(super) answers: Answers,
    shared: Arc<Shared<Answers>>,
    pub(super) metrics: ListenerMetrics,
}

impl Served {
    /// A connection whose kernel buffers hold `room` bytes per direction.
    pub(super) fn with_room(room: usize) -> Self {
        let (client, server) = tokio::io::duplex(room);
        let (answers, metrics) = (Answers::default(), metrics());
        let shared = Arc::new(Shared::new(answers.clone(), limits(), &metrics));
        let task = tokio::spawn(connection::serve(server, PEER, seat(), shared.clone()));
        Self { client, task, answers, shared, metrics }
    }

    pub(super) fn new() -> Self {
        Self::with_room(1 << 16)
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `end` was seen.
    pub(super) async fn read_to(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = timeout(PATIENCE, self.client.read_u8()).await.expect("an answer in time");
            read.push(byte.expect("the connection is open"));
        }
        String::from_utf8(read).unwrap()
    }

    /// Reads to the end of the stream.
    pub(super) async fn rest(&mut self) -> String {
        let mut read = String::new();
        let end = timeout(PATIENCE, self.client.read_to_string(&mut read)).await;
        end.expect("the connection is closed in time").unwrap();
        read
    }

    /// Nothing more can happen before time passes.
    pub(super) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn f12_an_idle_connection_is_closed_without_a_word() {
    let start = Instant::now();
    let mut served = Served::new();
    assert_eq!(served.rest().await, "");
    assert_eq!(start.elapsed().as_secs(), 30);
    served.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn f12_the_idle_time_starts_again_after_each_response() {
    let mut served = Served::new();
    for _ in 0..3 {
        served.send(GET).await;
        served.read_to("ok").await;
        tokio::time::sleep(Duration::from_secs(29)).await;
    }
    served.send(GET).await;
    served.read_to("ok").await;
    let start = Instant::now();
    assert_eq!(served.rest().await, "");
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_slow_response_is_not_an_idle_connection() {
    let mut served = Served::new();
    served.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    served.answers.go.notify_one();
    served.read_to("ok").await;
    let start = Instant::now();
    assert_eq!(served.rest().await, "");
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn f12_a_slow_head_is_answered_408_however_often_a_byte_arrives() {
    let start = Instant::now();
    let mut served = Served::new();
    for byte in GET.chars().take(9) {
        served.send(&byte.to_string()).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let answer = served.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("head-timeout"), "{answer}");
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(served.answers.seen(), [""; 0]);
    assert_eq!(served.metrics.rejected.with_label_values(&["head-timeout"]).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_arrives_byte_by_byte_in_time_is_served() {
    let mut served = Served::new();
    for byte in "\r\nPOST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".chars() {
        served.send(&byte.to_string()).await;
        served.settle().await;
    }
    served.read_to("3 bytes").await;
    assert_eq!(served.answers.seen(), ["POST /a"]);
}

#[tokio::test(start_paused = true)]
async fn trailers_of_a_request_reach_the_handler_and_a_large_body_arrives_piece_by_piece() {
    let mut served = Served::with_room(64);
    served.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for _ in 0..9 {
        served.send(&format!("64\r\n{}\r\n", "x".repeat(100))).await;
    }
    served.send("0\r\nX-Sum: 1\r\n\r\n").await;
    served.read_to("1 trailers, 900 bytes").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_behind_a_body_that_nobody_reads_is_served_if_the_body_is_all_there() {
    let mut served = Served::new();
    served.send(&format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody{GET}")).await;
    served.read_to("ok").await;
    served.read_to("ok").await;
    assert_eq!(served.answers.seen(), ["PUT /", "GET /"]);
}

#[tokio::test(start_paused = true)]
async fn f12_a_body_that_stops_is_a_408_of_its_request() {
    let mut served = Served::new();
    served.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n").await;
    for _ in 0..3 {
        served.send("x").await;
        tokio::time::sleep(Duration::from_secs(9)).await;
    }
    served.send("x").await;
    let start = Instant::now();
    let answer = served.read_to("body-timeout").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(served.rest().await, "");
}

#[tokio::test(start_paused = true)]
async fn f12_a_client_that_does_not_read_is_cut_off() {
    let start = Instant::now();
    let mut served = Served::with_room(1024);
    served.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // Reading one byte now and then is reading.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(19)).await;
        served.client.read_u8().await.unwrap();
    }
    (&mut served.task).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 3 * 19 + 20);
    assert_eq!(served.metrics.in_flight.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fault_waits_for_its_turn_behind_a_request_under_way() {
    let mut served = Served::new();
    served.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n").await;
    served.settle().await;
    served.answers.go.notify_one();
    let answers = served.rest().await;
    let (first, second) = answers.split_once("ok").expect("the first is answered");
    assert!(first.starts_with("HTTP/1.1 200 "), "{answers}");
    assert!(second.starts_with("HTTP/1.1 400 ") && second.ends_with("host-missing"), "{answers}");
    assert_eq!(served.answers.seen(), ["GET /slow"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_goes_on_sending_still_reads_its_answer() {
    let start = Instant::now();
    let mut served = Served::new();
    served.send("GET / HTTP/1.1\r\n\r\n").await;
    let answer = served.read_to("host-missing").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // The connection lingers: it takes more bytes, but not for ever.
    served.send("more").await;
    served.task.await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn f20_a_connection_is_not_reused_after_an_early_response_to_an_upload() {
    let mut served = Served::new();
    served.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nthe first").await;
    served.read_to("ok").await;
    served.send(GET).await;
    assert_eq!(served.rest().await, "");
    assert_eq!(served.answers.seen(), ["PUT /"]);
}

#[tokio::test(start_paused = true)]
async fn d16_a_client_that_leaves_ends_the_work_for_it_at_once() {
    let start = Instant::now();
    let mut served = Served::new();
    served.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    served.settle().await;
    assert_eq!(served.metrics.in_flight.get(), 1);
    drop(served.client);
    served.task.await.unwrap();
    assert_eq!(served.metrics.in_flight.get(), 0);
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn g5_a_drain_closes_idle_connections_at_once_and_lets_requests_finish() {
    let start = Instant::now();
    let mut idle = Served::new();
    idle.send(GET).await;
    idle.read_to("ok").await;
    let mut busy = Served::new();
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    busy.settle().await;
    idle.shared.drain();
    busy.shared.drain();
    assert_eq!(idle.rest().await, "");
    assert_eq!(start.elapsed().as_secs(), 0);
    assert!(timeout(Duration::from_secs(3), &mut busy.task).await.is_err());
    busy.answers.go.notify_one();
    let answer = busy.rest().await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("ok"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn g5_a_request_that_has_arrived_before_the_drain_is_served() {
    let mut served = Served::new();
    served.send(GET).await;
    served.read_to("ok").await;
    // Both happen before the connection's task runs again.
    served.send(GET).await;
    served.shared.drain();
    let answer = served.rest().await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("ok"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn f12_a_client_that_has_sent_very_much_at_once_is_cut_off_like_any_other() {
    let mut served = Served::new();
    // So many requests that the task has to let others run in the middle of them.
    served.send(&GET.repeat(500)).await;
    for _ in 0..500 {
        served.read_to("ok").await;
    }
    let start = Instant::now();
    served.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    timeout(PATIENCE, &mut served.task).await.expect("an end in time").unwrap();
    assert_eq!(start.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn f12_a_refused_client_that_has_sent_very_much_at_once_is_not_heard_out_for_ever() {
    // Wherever in the requests the fault is, and so the end of what the task may do at once.
    for count in 20..140 {
        let start = Instant::now();
        let mut served = Served::new();
        served.send(&[&GET.repeat(count), "GET / HTTP/1.1\r\n\r\n"].concat()).await;
        assert!(served.rest().await.ends_with("host-missing"));
        timeout(PATIENCE, &mut served.task).await.expect("an end in time").unwrap();
        assert_eq!(start.elapsed().as_secs(), 1, "{count}");
    }
}

#[tokio::test(start_paused = true)]
async fn f20_what_follows_an_answer_to_a_client_that_was_not_told_to_continue_is_not_read() {
    let mut served = Served::with_room(256);
    // Its body would be as long as a request, behind which the next would be read.
    served
        .send(&format!(
            "PUT /large HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            GET.len()
        ))
        .await;
    served.settle().await;
    // Whoever shares the connection among clients takes the request for done.
    served.send(&GET.repeat(2)).await;
    let answer = served.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("connection: close\r\n"), "{answer:.200}");
    assert!(answer.ends_with('x'));
    assert_eq!(served.answers.seen(), ["PUT /large"]);
}

#[tokio::test(start_paused = true)]
async fn an_early_response_says_that_it_is_the_last() {
    let mut served = Served::new();
    served.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nthe first").await;
    let answer = served.rest().await;
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}
