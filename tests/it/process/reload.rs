//! Reloads of a running proxy, by SIGHUP and by a changed file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::support::binary::Millpond;
use crate::support::client::Client;
use crate::support::config::ConfigText;
use crate::support::origin::Origin;
use crate::support::scrape::Scrape;

const APPLIED: &str = "config_reloads_total{result=\"applied\"}";
const REFUSED: &str = "config_reloads_total{result=\"refused\"}";

/// The value of a counter that may not have been counted yet.
async fn count(admin: Client, series: &str) -> u64 {
    let scrape = Scrape::of(admin).await;
    if scrape.names().contains(&series) { scrape.value(series) } else { 0 }
}

/// Sends SIGHUP and waits until one more reload has ended in this way.
async fn reload(millpond: &Millpond, result: &str, write: impl FnOnce()) {
    let before = count(millpond.admin_client(), result).await;
    write();
    millpond.process.signal(Signal::SIGHUP);
    Scrape::until(millpond.admin_client(), result, before + 1).await;
}

#[tokio::test]
async fn sighup_takes_over_lifetimes_and_routes_and_keeps_cache_and_requests_in_flight() {
    let origin = Origin::start().await;
    origin.on("/stored", |r| r.header("Cache-Control", "max-age=60").body("stored"));
    origin.on("/plain", |r| r.body("plain"));
    origin.on("/static/x", |r| r.header("Cache-Control", "max-age=60").body("x"));
    origin.on("/held", |r| r.body("held"));
    let mut config = ConfigText::for_origin(&origin);
    let millpond = Millpond::run(&config).await;
    let client = millpond.client();
    let mut connection = client.connect().await;
    assert!(connection.get("/stored").await.cache_status().stored);
    assert_eq!(connection.get("/plain").await.cache_status().detail.as_deref(), Some("no-lifetime"));
    assert!(connection.get("/static/x").await.cache_status().stored);
    let gate = origin.hold("/held");
    let waiting = client.start("/held").await;
    gate.arrived(1).await;

    config.cache("ttl = '60s', jitter = 0.0");
    config.section("[[routes]]\nname = 'static'\npath = '/static/*'\norigin = 'scripted'\ncache = false");
    reload(&millpond, APPLIED, || millpond.write(&config)).await;

    assert!(connection.get("/stored").await.cache_status().hit, "the cache and the connection stay");
    // The marker of the uncacheable response lets each request through, and the first that is
    // stored ends it.
    assert_eq!(connection.get("/plain").await.status, 200);
    let answer = connection.get("/plain").await.cache_status();
    assert_eq!((answer.hit, answer.ttl.is_some_and(|ttl| ttl > 50)), (true, true), "the new lifetime: {answer:?}");
    assert_eq!(connection.get("/static/x").await.cache_status().detail.as_deref(), Some("cache-off"));
    gate.release();
    assert_eq!(waiting.rest().await.unwrap(), "held");
    assert_eq!((origin.hits("/stored"), origin.hits("/held")), (1, 1));
}

#[tokio::test]
async fn codings_begin_and_end_with_a_reload_for_what_is_stored_already() {
    let origin = Origin::start().await;
    let text = "0123456789".repeat(1_000);
    let stored = text.clone();
    origin.on("/a", |r| r.header("cache-control", "max-age=60").header("content-type", "text/plain").body(stored));
    let mut config = ConfigText::for_origin(&origin);
    let millpond = Millpond::run(&config).await;
    let ask = async || millpond.client().get("/a").header("accept-encoding", "gzip").send().await;
    for _ in 0..2 {
        assert_eq!(ask().await.header("vary"), None);
    }
    config.cache("compress = ['gzip']");
    reload(&millpond, APPLIED, || millpond.write(&config)).await;
    assert_eq!(ask().await.header("vary").as_deref(), Some("Accept-Encoding"));
    let kept = "codings_total{coding=\"gzip\",result=\"kept\",route=\"all\"}";
    Scrape::until(millpond.admin_client(), kept, 1).await;
    assert_eq!(ask().await.header("content-encoding").as_deref(), Some("gzip"));
    config.cache("");
    reload(&millpond, APPLIED, || millpond.write(&config)).await;
    let plain = ask().await;
    assert_eq!((plain.text(), plain.header("vary"), plain.header("content-encoding")), (&*text, None, None));
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn a_changed_file_is_taken_over_without_a_signal() {
    let origin = Origin::start().await;
    origin.on("/plain", |r| r.body("plain"));
    let mut config = ConfigText::for_origin(&origin);
    let millpond = Millpond::run(&config).await;
    config.no_cache();
    millpond.write(&config);
    Scrape::until(millpond.admin_client(), APPLIED, 1).await;
    let answer = millpond.client().get("/plain").send().await;
    assert_eq!(answer.cache_status().detail.as_deref(), Some("cache-off"));
}

#[tokio::test]
async fn a_bad_file_keeps_the_old_configuration_says_so_and_is_counted() {
    let origin = Origin::start().await;
    origin.on("/plain", |r| r.body("plain"));
    let mut config = ConfigText::for_origin(&origin);
    config.cache("ttl = '60s'");
    let millpond = Millpond::run(&config).await;
    config.cache("tll = '60s'");
    reload(&millpond, REFUSED, || millpond.write(&config)).await;
    let said = millpond.process.stderr.says("the old one stays in force").await;
    assert!(said.contains("tll") && said.contains("millpond.toml"), "what is wrong, and where: {said}");
    assert!(millpond.client().get("/plain").send().await.cache_status().stored, "the old lifetime");
    assert_eq!(count(millpond.admin_client(), APPLIED).await, 0);
    config.cache("ttl = '30s'");
    reload(&millpond, APPLIED, || millpond.write(&config)).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named() {
    let origin = Origin::start().await;
    let mut config = ConfigText::for_origin(&origin);
    let millpond = Millpond::run(&config).await;
    config.section("[cache]\nmax_bytes = '1MiB'");
    reload(&millpond, APPLIED, || millpond.write(&config)).await;
    assert!(millpond.process.stderr.says("after a restart").await.contains("cache"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g6_twenty_reloads_good_and_bad_under_load_fail_no_request() {
    let origin = Origin::start().await;
    origin.on("/hit", |r| r.header("Cache-Control", "max-age=60").body("body"));
    origin.on("/pass", |r| r.header("Cache-Control", "no-store").body("body"));
    let (mut good, mut other, mut bad) =
        (ConfigText::for_origin(&origin), ConfigText::for_origin(&origin), ConfigText::for_origin(&origin));
    good.cache("ttl = '60s'");
    // Another origin configuration as well, so that the pool of connections is replaced.
    other.origin("max_connections = 99");
    bad.cache("ttl = 'soon'");
    let millpond = Millpond::run(&good).await;
    let (client, ended) = (millpond.client(), Arc::new(AtomicBool::new(false)));
    let load: Vec<_> = (0..6)
        .map(|number| {
            let ended = Arc::clone(&ended);
            let path = if number % 2 == 0 { "/hit" } else { "/pass" };
            tokio::spawn(async move {
                let (mut answered, mut connection) = (0_u32, client.connect().await);
                while !ended.load(Ordering::Relaxed) {
                    let answer = connection.get(path).await;
                    assert_eq!((answer.status, answer.text()), (200, "body"));
                    assert_eq!(client.get(path).send().await.status, 200, "on a connection of its own");
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for round in 0..10 {
        reload(&millpond, REFUSED, || millpond.write(&bad)).await;
        reload(&millpond, APPLIED, || millpond.write(if round % 2 == 0 { &other } else { &good })).await;
    }
    ended.store(true, Ordering::Relaxed);
    for running in load {
        assert!(running.await.expect("no request failed") > 0);
    }
    assert_eq!(origin.hits("/hit"), 1, "the cache stays");
}

#[tokio::test]
async fn f15_fields_of_the_key_that_change_places_make_other_keys() {
    let origin = Origin::start().await;
    origin.on_request("/a", |request| {
        let text = ["x-a", "x-b", "cookie"].map(|name| request.header(name).unwrap_or_default()).join("|");
        crate::support::origin::Reply::ok().header("cache-control", "max-age=60").body(text)
    });
    for (before, after, first, second) in [
        (
            "headers = ['x-a', 'x-b']",
            "headers = ['x-b', 'x-a']",
            &[("x-a", "1"), ("x-b", "2")],
            &[("x-a", "2"), ("x-b", "1")],
        ),
        (
            "cookies = ['a', 'b']",
            "cookies = ['b', 'a']",
            &[("cookie", "a=1; b=2"), ("x-c", "1")],
            &[("cookie", "a=2; b=1"), ("x-c", "1")],
        ),
        ("headers = ['x-a']", "headers = ['x-b']", &[("x-a", "1"), ("x-c", "1")], &[("x-b", "1"), ("x-c", "1")]),
    ] {
        let mut config = ConfigText::for_origin(&origin);
        config.cache(&format!("key = {{ {before} }}"));
        let millpond = Millpond::run(&config).await;
        let ask = |fields: &[(&str, &str)]| {
            fields.iter().fold(millpond.client().get("/a"), |ask, (name, value)| ask.header(name, value))
        };
        let one = ask(first).send().await;
        config.cache(&format!("key = {{ {after} }}"));
        reload(&millpond, APPLIED, || millpond.write(&config)).await;
        let other = ask(second).send().await;
        assert_ne!(one.text(), other.text(), "{before} {after}");
    }
}
