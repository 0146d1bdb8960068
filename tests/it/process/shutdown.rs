//! SIGTERM, and what the process still owes its clients.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::{exit_code, stopped};
use crate::support::binary::{Millpond, millpond};
use crate::support::config::ConfigText;
use crate::support::origin::Origin;
use crate::support::soon;

/// Between two looks at what is to change.
const POLL: Duration = Duration::from_millis(5);

async fn held() -> (Origin, crate::support::origin::Gate, ConfigText) {
    let origin = Origin::start().await;
    origin.on("/held", |r| r.body("whole"));
    let gate = origin.hold("/held");
    let config = ConfigText::for_origin(&origin);
    (origin, gate, config)
}

async fn refuses_connections(millpond: &Millpond) {
    let refused = async {
        while TcpStream::connect(millpond.addr).await.is_ok() {
            tokio::time::sleep(POLL).await;
        }
    };
    soon("new connections to be refused", refused).await;
}

#[tokio::test]
async fn g5_sigterm_turns_readiness_off_stops_accepting_and_finishes_what_is_in_flight() {
    let (_origin, gate, config) = held().await;
    let mut millpond = Millpond::run(&config).await;
    let mut idle = millpond.client().connect().await;
    assert_eq!(idle.get("/none").await.status, 404);
    let mut waiting = millpond.client().start("/held").await;
    gate.arrived(1).await;
    millpond.process.signal(Signal::SIGTERM);
    millpond.process.stderr.says("stopping").await;
    let ready = millpond.admin_client().get("/readyz").send().await;
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert!(ready.text().contains("shutting down"), "{}", ready.text());
    assert_eq!(millpond.admin_client().get("/healthz").send().await.status, 200, "it lives and is not to be killed");
    refuses_connections(&millpond).await;
    assert_eq!(millpond.process.ended(), None, "it waits for the request in flight");
    gate.release();
    let head = waiting.head().await;
    assert_eq!((head.status.as_u16(), head.headers["connection"].to_str().unwrap()), (200, "close"));
    assert_eq!(waiting.rest().await.unwrap(), "whole");
    assert_eq!(exit_code(&mut millpond.process).await, Some(0));
    assert!(millpond.process.stderr.text().contains("cut=0"), "{}", millpond.process.stderr.text());
}

#[tokio::test]
async fn sigint_does_the_same() {
    let (_origin, _gate, config) = held().await;
    let mut millpond = Millpond::run(&config).await;
    millpond.process.signal(Signal::SIGINT);
    assert_eq!(exit_code(&mut millpond.process).await, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let (_origin, gate, config) = held().await;
    let mut millpond = Millpond::run(&config).await;
    let waiting = millpond.client().start("/held").await;
    gate.arrived(1).await;
    millpond.process.signal(Signal::SIGTERM);
    millpond.process.stderr.says("stopping").await;
    // The deadline is 30 s, longer than this test has patience for.
    millpond.process.signal(Signal::SIGTERM);
    assert_eq!(exit_code(&mut millpond.process).await, Some(0), "it was asked to");
    assert!(millpond.process.stderr.text().contains("second signal"), "{}", millpond.process.stderr.text());
    drop(waiting);
}

#[tokio::test]
async fn g5_clients_that_hang_are_cut_at_the_deadline_and_the_exit_is_clean() {
    let (_origin, gate, mut config) = held().await;
    config.section("[limits]\nshutdown_deadline = '300ms'");
    let mut millpond = Millpond::run(&config).await;
    let mut waiting = millpond.client().connect_raw().await;
    waiting.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n").await;
    gate.arrived(1).await;
    // A head and no body: the origin waits for the rest, and so does the proxy.
    let mut uploading = millpond.client().connect_raw().await;
    uploading.send("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc").await;
    crate::support::scrape::Scrape::until(millpond.admin_client(), "requests_in_flight", 2).await;
    stopped(&mut millpond).await;
    assert!(millpond.process.stderr.text().contains("cut=2"), "{}", millpond.process.stderr.text());
    assert_eq!((waiting.until_closed().await.len(), uploading.until_closed().await.len()), (0, 0));
}

#[tokio::test]
async fn g5_sigterm_under_load_fails_no_request() {
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header("Cache-Control", "max-age=60").body("a"));
    let mut millpond = Millpond::run(&ConfigText::for_origin(&origin)).await;
    let client = millpond.client();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut answered = 0;
                let mut connection = client.connect().await;
                // An answer that announces the end of the connection is the last one to come.
                loop {
                    let answer = connection.get("/a").await;
                    assert_eq!((answer.status, answer.text()), (200, "a"));
                    answered += 1;
                    if answer.header("connection").as_deref() == Some("close") {
                        return answered;
                    }
                }
            })
        })
        .collect();
    crate::support::scrape::Scrape::until(
        millpond.admin_client(),
        "requests_total{outcome=\"hit\",route=\"all\"}",
        200,
    )
    .await;
    millpond.process.signal(Signal::SIGTERM);
    for running in clients {
        assert!(soon("a client to be told to leave", running).await.expect("no request failed") > 0);
    }
    assert_eq!(exit_code(&mut millpond.process).await, Some(0));
}

#[tokio::test]
async fn health_follows_the_process() {
    let (_origin, _gate, config) = held().await;
    let mut running = Millpond::run(&config).await;
    let url = running.admin_url();
    assert_eq!(exit_code(&mut millpond(&["health", "--admin", &url])).await, Some(0));
    stopped(&mut running).await;
    let mut health = millpond(&["health", "--admin", &url]);
    assert_eq!(exit_code(&mut health).await, Some(1));
    assert!(health.stdout.text().starts_with("not ready"), "{}", health.stdout.text());
}
