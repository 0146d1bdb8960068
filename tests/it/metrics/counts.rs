//! The counters and gauges, one subject at a time.

use std::time::Duration;

use super::{main_route, scrape};
use crate::support::origin::Origin;
use crate::support::proxy::Proxy;
use crate::support::scrape::Scrape;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn requests_and_responses_are_counted_by_route_and_outcome() {
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header("Cache-Control", "max-age=60").header("ETag", "\"1\"").body("12345").validates());
    origin.on("/own", |r| r.header("Cache-Control", "no-store").body("own"));
    let proxy = main_route(&origin).await;
    let client = proxy.client();
    for path in ["/a", "/a", "/a", "/own", "/own", "/none"] {
        client.get(path).send().await;
    }
    assert_eq!(client.get("/a").header("if-none-match", "\"1\"").send().await.status, 304);
    assert_eq!(client.ask("POST", "/a").send().await.status, 200);
    assert_eq!(client.get("/a").send().await.text(), "12345");
    proxy.pass(61 * SECOND);
    assert_eq!(client.get("/a").send().await.text(), "12345");
    assert_eq!(client.ask("CONNECT", "h:1").header("host", "h:1").send().await.status, 400);
    let scrape = scrape(&proxy).await;
    assert_eq!(
        scrape.nonzero("requests_total"),
        [
            "outcome=\"hit\",route=\"main\" 3",
            "outcome=\"miss\",route=\"main\" 2",
            "outcome=\"pass\",route=\"main\" 1",
            "outcome=\"rejected\",route=\"-\" 1",
            "outcome=\"revalidated\",route=\"main\" 1",
            "outcome=\"uncacheable\",route=\"main\" 3",
        ]
    );
    assert_eq!(
        scrape.nonzero("responses_total"),
        [
            "class=\"2xx\",route=\"main\" 8",
            "class=\"3xx\",route=\"main\" 1",
            "class=\"4xx\",route=\"-\" 1",
            "class=\"4xx\",route=\"main\" 1",
        ]
    );
    assert_eq!(
        scrape.nonzero("passed_total"),
        ["reason=\"hit-for-miss\",route=\"main\" 1", "reason=\"unsafe-method\",route=\"main\" 1"]
    );
    assert_eq!(
        scrape.nonzero("not_stored_total"),
        ["reason=\"no-lifetime\",route=\"main\" 1", "reason=\"no-store\",route=\"main\" 2"]
    );
    assert_eq!(scrape.nonzero("origin_requests_total"), ["origin=\"scripted\" 7"]);
    assert_eq!(origin.requests().len(), 7);
    let latency = scrape.nonzero("request_duration_seconds_count");
    assert!(latency.contains(&"outcome=\"hit\" 3".to_owned()), "{latency:?}");
    assert_eq!(scrape.value("origin_duration_seconds_count{origin=\"scripted\"}"), 7);
    // The client may have its answer a moment before the connection has done with it.
    proxy.answering(0).await;
}

#[tokio::test]
async fn bytes_of_bodies_are_counted_that_were_sent_and_none_of_an_answer_to_head() {
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header("Cache-Control", "max-age=60").body("12345"));
    origin.on("/own", |r| r.header("Cache-Control", "no-store").body("own"));
    let proxy = main_route(&origin).await;
    let client = proxy.client();
    // The first of these fetches the whole, to see whether it can be stored.
    for path in ["/own", "/a", "/a"] {
        assert_eq!(client.ask("HEAD", path).send().await.status, 200);
    }
    assert!(scrape(&proxy).await.nonzero("response_body_bytes_total").is_empty());
    for path in ["/own", "/a", "/a"] {
        client.get(path).send().await;
    }
    proxy.answering(0).await;
    assert_eq!(scrape(&proxy).await.nonzero("response_body_bytes_total"), ["route=\"main\" 13"]);
}

#[tokio::test]
async fn refreshes_and_stale_answers_are_counted_by_how_they_ended() {
    let origin = Origin::start().await;
    let fields = "max-age=10, stale-while-revalidate=10, stale-if-error=60";
    origin.on("/a", |r| r.header("Cache-Control", fields).header("ETag", "\"1\"").body("a").validates());
    let proxy = main_route(&origin).await;
    let client = proxy.client();
    let refreshed = |result: &str| format!("refreshes_total{{result=\"{result}\",route=\"main\"}}");
    client.get("/a").send().await;
    proxy.pass(11 * SECOND);
    client.get("/a").send().await;
    Scrape::until(proxy.admin(), &refreshed("confirmed"), 1).await;
    origin.on("/a", |r| r.header("Cache-Control", fields).header("ETag", "\"2\"").body("b"));
    proxy.pass(11 * SECOND);
    client.get("/a").send().await;
    Scrape::until(proxy.admin(), &refreshed("replaced"), 1).await;
    origin.fail("/a", 503);
    proxy.pass(11 * SECOND);
    client.get("/a").send().await;
    Scrape::until(proxy.admin(), &refreshed("failed"), 1).await;
    proxy.pass(11 * SECOND);
    assert_eq!(client.get("/a").send().await.text(), "b", "past the refresh window, the stale answer stands in");
    origin.on("/a", |r| r.header("Cache-Control", "private").body("own"));
    let scrape = scrape(&proxy).await;
    assert_eq!(
        scrape.nonzero("refreshes_total"),
        ["confirmed", "failed", "replaced"].map(|result| format!("result=\"{result}\",route=\"main\" 1"))
    );
    assert_eq!(
        scrape.nonzero("requests_total"),
        [
            "outcome=\"miss\",route=\"main\" 1",
            "outcome=\"stale-if-error\",route=\"main\" 1",
            "outcome=\"stale-while-revalidate\",route=\"main\" 3",
        ]
    );
}

#[tokio::test]
async fn origin_faults_are_counted_by_kind_and_the_gauges_return_to_zero() {
    let origin = Origin::start().await;
    origin.raw("/reset", crate::support::origin::RawScript::reset);
    origin.raw("/nonsense", |s| s.send("no HTTP at all\r\n\r\n").close());
    origin.on("/held", |r| r.body("held"));
    let proxy = Proxy::start(&origin).origin("max_connections = 1\nmax_queue = 1").route("name = 'main'").await;
    let client = proxy.client();
    for path in ["/reset", "/nonsense"] {
        assert_eq!(client.get(path).send().await.status, 502, "{path}");
    }
    let gate = origin.hold("/held");
    let first = client.start("/held?1").await;
    gate.arrived(1).await;
    let second = client.start("/held?2").await;
    let busy = Scrape::until(proxy.admin(), "origin_requests_queued{origin=\"scripted\"}", 1).await;
    assert_eq!(busy.value("origin_requests_in_flight{origin=\"scripted\"}"), 1);
    assert_eq!(client.get("/held?3").send().await.status, 503, "the queue is full");
    gate.release();
    assert_eq!((first.rest().await.unwrap(), second.rest().await.unwrap()), ("held".into(), "held".into()));
    origin.refuse().await;
    assert_eq!(client.get("/refused").send().await.status, 502);
    let scrape = scrape(&proxy).await;
    assert_eq!(
        scrape.nonzero("origin_errors_total"),
        ["connect", "protocol", "queue-full", "reset"].map(|kind| format!("kind=\"{kind}\",origin=\"scripted\" 1"))
    );
    assert_eq!(scrape.nonzero("requests_total")[0], "outcome=\"failed\",route=\"main\" 4");
    for gauge in ["origin_requests_in_flight", "origin_requests_queued"] {
        assert_eq!(scrape.nonzero(gauge), Vec::<String>::new(), "{gauge}");
    }
}

#[tokio::test]
async fn coalesced_requests_and_their_wait_are_counted() {
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header("Cache-Control", "max-age=60").body("a"));
    let proxy = main_route(&origin).await;
    let gate = origin.hold("/a");
    let clients: Vec<_> = (0..5).map(|_| tokio::spawn(proxy.client().get("/a").send())).collect();
    Scrape::until(proxy.admin(), "requests_in_flight", 5).await;
    gate.release();
    for client in clients {
        assert_eq!(client.await.unwrap().text(), "a");
    }
    let scrape = scrape(&proxy).await;
    assert_eq!(
        scrape.nonzero("requests_total"),
        ["outcome=\"coalesced\",route=\"main\" 4", "outcome=\"miss\",route=\"main\" 1"]
    );
    assert_eq!(scrape.value("coalesce_wait_seconds_count"), 4);
}

#[tokio::test]
async fn l1_says_what_it_holds_and_what_had_to_leave_for_lack_of_room() {
    const BODY: usize = 4_096;
    let origin = Origin::start().await;
    origin.on("/a", |r| r.header("Cache-Control", "max-age=60").body(vec![b'x'; BODY]));
    let section = "[cache]\nmax_bytes = '64KiB'";
    let proxy = Proxy::start(&origin).section(section).cache("max_object_size = '8KiB'").await;
    let mut connection = proxy.client().connect().await;
    connection.get("/a?0").await;
    let one = scrape(&proxy).await;
    assert_eq!(one.value("l1_entries"), 1);
    assert!(one.value("l1_bytes") > 4_096 && one.value("l1_bytes") < 6_000, "{}", one.value("l1_bytes"));
    for number in 1..50 {
        connection.get(&format!("/a?{number}")).await;
    }
    let full = scrape(&proxy).await;
    assert!(full.value("l1_bytes") <= 65_536, "{}", full.value("l1_bytes"));
    let gone = full.value("l1_evictions_total{cause=\"size\"}");
    assert_eq!(full.value("l1_entries") + gone, 50, "what was stored is there or had to leave");
    assert!(gone > 30, "{gone}");
    proxy.purge("{\"all\": true}").await;
    let empty = scrape(&proxy).await;
    assert_eq!((empty.value("l1_entries"), empty.value("l1_bytes")), (0, 0));
    assert_eq!(empty.value("l1_evictions_total{cause=\"size\"}"), gone, "a purge is no eviction");
}

#[tokio::test]
async fn what_is_of_no_use_any_more_leaves_l1_unasked() {
    const HOUR: Duration = Duration::from_hours(1);
    let origin = Origin::start().await;
    for path in ["/old", "/new"] {
        origin.on(path, |r| r.header("Cache-Control", "max-age=60").body("a"));
    }
    origin.on("/private", |r| r.header("Cache-Control", "private").body("a"));
    let proxy = main_route(&origin).await;
    proxy.client().get("/old").send().await;
    proxy.client().get("/private").send().await;
    proxy.pass(HOUR / 2);
    proxy.client().get("/new").send().await;
    Scrape::until(proxy.admin(), EXPIRED, 1).await;
    let markers = scrape(&proxy).await;
    assert_eq!((markers.value(EXPIRED), markers.value("l1_entries")), (1, 2), "a marker ends soon");
    proxy.pass(HOUR / 2 + Duration::from_mins(1));
    Scrape::until(proxy.admin(), EXPIRED, 2).await;
    let left = scrape(&proxy).await;
    assert_eq!((left.value(EXPIRED), left.value("l1_entries")), (2, 1), "the other can still be validated");
    assert_eq!(left.value("l1_evictions_total{cause=\"size\"}"), 0);
}

const EXPIRED: &str = "l1_evictions_total{cause=\"expired\"}";

#[tokio::test]
async fn purges_are_counted_by_kind_and_the_log_shows_how_far_it_is() {
    let origin = Origin::start().await;
    let proxy = main_route(&origin).await;
    for body in [
        "{\"url\": \"http://h/a\"}",
        "{\"tag\": \"t\"}",
        "{\"tags\": [\"t\", \"u\"]}",
        "{\"prefix\": \"/a/\"}",
        "{\"route\": \"main\"}",
        "{\"all\": true}",
    ] {
        proxy.purge(body).await;
    }
    let scrape = scrape(&proxy).await;
    assert_eq!(
        scrape.nonzero("purges_total"),
        ["kind=\"all\" 1", "kind=\"prefix\" 1", "kind=\"route\" 1", "kind=\"tag\" 2", "kind=\"url\" 1"]
    );
    assert_eq!(scrape.value("invalidation_applied_seq"), 7, "one record for each, and two for the two tags");
}

#[tokio::test]
async fn refused_requests_and_connections_are_counted() {
    let origin = Origin::start().await;
    let proxy = main_route(&origin).await;
    let client = proxy.client();
    let idle = client.connect_raw().await;
    client.raw("GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n").await;
    let scrape = Scrape::until(proxy.admin(), "connections_accepted_total", 2).await;
    assert_eq!(scrape.nonzero("requests_rejected_total").len(), 1, "{:?}", scrape.nonzero("requests_rejected_total"));
    assert!(scrape.value("connections") >= 1);
    drop(idle);
}

#[tokio::test]
async fn the_build_and_the_process_are_described() {
    let origin = Origin::start().await;
    let proxy = main_route(&origin).await;
    let scrape = scrape(&proxy).await;
    assert_eq!(scrape.value(concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}")), 1);
    for series in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_start_time_seconds"]
    {
        assert!(scrape.amount(series) > 0.0, "{series}");
    }
    assert!(scrape.amount("process_cpu_seconds_total") >= 0.0);
}
