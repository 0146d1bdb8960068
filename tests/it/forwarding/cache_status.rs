//! What an answer says of the cache: `Cache-Status` (RFC 9211), `Proxy-Status` (RFC 9209), `Age`, `Date`.

use std::time::Duration;

use super::for_a_minute;
use crate::support::client::{Answer, Ask};
use crate::support::origin::{Origin, RawScript, Reply};
use crate::support::proxy::Proxy;

const RULES: &str = "jitter = 0.0, early_refresh = 0.0, respect_client_cache_control = true";

async fn start(cache: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).cache(&format!("{RULES}{cache}")).await;
    (origin, proxy)
}

#[track_caller]
fn says(answer: &Answer, status: &str) {
    assert_eq!(answer.header("cache-status").as_deref(), Some(status));
}

#[tokio::test]
async fn hits_misses_and_what_is_in_between_say_so() {
    let (origin, proxy) = start(", stale_while_revalidate = '10s', stale_if_error = '1h'").await;
    origin.on("/a", |r| for_a_minute(r).header("etag", "\"1\"").header("vary", "x-v").body("x").validates());
    let ask = || proxy.client().get("/a");
    says(&ask().send().await, "Millpond; fwd=uri-miss; fwd-status=200; stored; ttl=60");
    says(&ask().send().await, "Millpond; hit; ttl=60");
    says(&ask().header("x-v", "2").send().await, "Millpond; fwd=vary-miss; fwd-status=200; stored; ttl=60");
    says(
        &ask().header("cache-control", "no-cache").send().await,
        "Millpond; fwd=request; fwd-status=304; stored; ttl=60",
    );
    proxy.pass(Duration::from_secs(1));
    says(
        &ask().header("cache-control", "max-age=0").send().await,
        "Millpond; fwd=request; fwd-status=304; stored; ttl=60",
    );
    proxy.pass(Duration::from_secs(62));
    let gate = origin.hold("/a");
    says(&ask().send().await, "Millpond; hit; ttl=-2");
    gate.arrived(1).await;
    gate.release();
    proxy.reaches(r#"refreshes_total{result="confirmed",route="all"}"#, 1).await;
    proxy.pass(Duration::from_secs(71));
    says(&ask().send().await, "Millpond; fwd=stale; fwd-status=304; stored; ttl=60");
    proxy.pass(Duration::from_secs(71));
    origin.fail("/a", 503);
    says(&ask().send().await, "Millpond; fwd=stale; fwd-status=503; detail=stale-if-error");
    says(&ask().send().await, "Millpond; hit; ttl=-11");
    origin.refuse().await;
    proxy.pass(Duration::from_secs(2));
    says(&ask().send().await, "Millpond; fwd=stale; detail=connect");
    proxy.pass(Duration::from_hours(1));
    says(&ask().header("cache-control", "max-stale").send().await, "Millpond; hit; ttl=-3613");
}

#[tokio::test]
async fn a_request_that_joins_a_fetch_says_so() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| for_a_minute(r).body("x"));
    let gate = origin.hold("/a");
    let mut leader = proxy.client().get("/a").start().await;
    gate.arrived(1).await;
    let mut follower = proxy.client().get("/a").start().await;
    proxy.followers(1).await;
    gate.release();
    let status = |head: &http::response::Parts| head.headers["cache-status"].to_str().unwrap().to_owned();
    assert_eq!(status(leader.head().await), "Millpond; fwd=uri-miss; fwd-status=200; stored; ttl=60");
    assert_eq!(status(follower.head().await), "Millpond; fwd=uri-miss; fwd-status=200; collapsed; ttl=60");
}

#[tokio::test]
async fn a_response_that_is_not_stored_says_why() {
    type Dress = fn(Reply) -> Reply;
    let table: [(&str, Dress); 13] = [
        ("200; detail=no-store", |r| r.header("cache-control", "no-store")),
        ("200; detail=private", |r| r.header("cache-control", "private, max-age=60")),
        ("200; detail=set-cookie", |r| for_a_minute(r).header("set-cookie", "a=b")),
        ("200; detail=vary-star", |r| for_a_minute(r).header("vary", "*")),
        ("200; detail=no-lifetime", |r| r),
        ("500; detail=no-lifetime", |r| r.status(500)),
        ("200; detail=zero-lifetime", |r| r.header("cache-control", "max-age=0")),
        ("206; detail=partial-content", |r| for_a_minute(r).status(206).header("content-range", "bytes 0-0/9")),
        ("299; detail=must-understand", |r| r.status(299).header("cache-control", "max-age=60, must-understand")),
        ("200; detail=too-large", |r| for_a_minute(r).body("more than ten bytes")),
        ("200; detail=event-stream", |r| for_a_minute(r).header("content-type", "text/event-stream")),
        ("304; detail=status-not-cacheable", |r| for_a_minute(r).status(304)),
        ("404; detail=private", |r| r.status(404).header("cache-control", "private")),
    ];
    for (status, dress) in table {
        let (origin, proxy) = start(", max_object_size = '10B'").await;
        origin.on("/a", dress);
        let first = proxy.client().get("/a").send().await;
        says(&first, &format!("Millpond; fwd=uri-miss; fwd-status={status}"));
    }
    let (origin, proxy) = start("").await;
    origin.on("/a", for_a_minute);
    let first = proxy.client().get("/a").header("authorization", "Bearer x").send().await;
    says(&first, "Millpond; fwd=uri-miss; fwd-status=200; detail=authorization");
    // Known by now, so that this request did not wait for anyone.
    let next = proxy.client().get("/a").header("authorization", "Bearer x").send().await;
    says(&next, "Millpond; fwd=bypass; fwd-status=200; detail=authorization");
}

#[tokio::test]
async fn a_request_that_is_passed_says_why() {
    let (origin, proxy) = start("").await;
    origin.on("/a", for_a_minute);
    let ask = |method: &str| proxy.client().ask(method, "/a");
    let table: [(Ask, &str); 6] = [
        (ask("POST"), "fwd=method; fwd-status=200; detail=unsafe-method"),
        (ask("BREW"), "fwd=method; fwd-status=200; detail=unsafe-method"),
        (ask("OPTIONS"), "fwd=method; fwd-status=200; detail=method-not-cached"),
        (ask("GET").body("x"), "fwd=method; fwd-status=200; detail=request-body"),
        (ask("GET").header("cache-control", "no-store"), "fwd=request; fwd-status=200; detail=request-no-store"),
        (
            ask("GET").header("connection", "upgrade").header("upgrade", "h2c"),
            "fwd=method; fwd-status=200; detail=upgrade",
        ),
    ];
    for (ask, status) in table {
        says(&ask.send().await, &format!("Millpond; {status}"));
    }
    let uncached = Proxy::start(&origin).no_cache().await;
    says(&uncached.client().get("/a").send().await, "Millpond; fwd=bypass; fwd-status=200; detail=cache-off");
}

#[tokio::test]
async fn a_failure_of_the_origin_says_what_failed() {
    let origin = Origin::start().await;
    let limits = "first_byte_timeout = '150ms'\nmax_connections = 1\nmax_queue = 0";
    let proxy = Proxy::start(&origin).origin(limits).await;
    origin.raw("/hang", RawScript::hang);
    origin.raw("/reset", RawScript::reset);
    origin.raw("/nonsense", |s| s.send("this is not HTTP\r\n\r\n").close());
    let failed = async |path: &str| {
        let answer = proxy.client().get(path).send().await;
        let says = |name| answer.header(name).unwrap_or_default();
        (answer.status, says("cache-status"), says("proxy-status"), answer.header("retry-after").is_some())
    };
    let expected = |status: u16, fault: &str, error: &str| {
        let proxy_status = format!("Millpond; error={error}; details=\"{fault}\"");
        (status, format!("Millpond; fwd=uri-miss; detail={fault}"), proxy_status, status == 503)
    };
    assert_eq!(failed("/hang").await, expected(504, "first-byte-timeout", "http_response_timeout"));
    assert_eq!(failed("/reset").await, expected(502, "reset", "connection_terminated"));
    assert_eq!(failed("/nonsense").await, expected(502, "protocol", "http_protocol_error"));
    let stream = origin.stream("/busy", |r| r.header("cache-control", "private"));
    let mut busy = proxy.client().get("/busy").start().await;
    busy.head().await;
    assert_eq!(failed("/a").await, expected(503, "queue-full", "connection_limit_reached"));
    stream.finish();
    busy.rest().await.unwrap();
    origin.refuse().await;
    assert_eq!(failed("/a").await, expected(502, "connect", "connection_refused"));
    let post = proxy.client().ask("POST", "/a").send().await;
    says(&post, "Millpond; fwd=method; detail=connect");
}

#[tokio::test]
async fn only_if_cached_never_asks_the_origin() {
    let (origin, proxy) = start(", stale_while_revalidate = '1h'").await;
    origin.on("/a", |r| for_a_minute(r).body("x"));
    let ask = || proxy.client().get("/a").header("cache-control", "only-if-cached");
    let cold = ask().send().await;
    assert_eq!((cold.status, origin.hits("/a")), (504, 0));
    says(&cold, "Millpond; detail=rejected");
    assert_eq!(cold.header("proxy-status").as_deref(), Some("Millpond; error=proxy_internal_response"));
    proxy.client().get("/a").send().await;
    says(&ask().send().await, "Millpond; hit; ttl=60");
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn what_a_cache_behind_us_says_comes_first() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| for_a_minute(r).header("cache-status", "Inner; hit"));
    for own in ["Millpond; fwd=uri-miss; fwd-status=200; stored; ttl=60", "Millpond; hit; ttl=60"] {
        says(&proxy.client().get("/a").send().await, &format!("Inner; hit, {own}"));
    }
}

#[tokio::test]
async fn age_counts_from_the_origin_and_date_stays_the_origins() {
    let (origin, proxy) = start("").await;
    let date = httpdate::fmt_http_date(proxy.clock.wall() - Duration::from_secs(20));
    let sent = date.clone();
    origin.on("/dated", |r| for_a_minute(r).header("date", &sent));
    origin.on("/aged", |r| for_a_minute(r).header("age", "30"));
    origin.on("/plain", for_a_minute);
    let age = async |path: &str| proxy.client().get(path).send().await.age();
    assert_eq!(age("/dated").await, Some(20), "the time since it was made");
    assert_eq!((age("/aged").await, age("/plain").await), (Some(30), Some(0)));
    let first = proxy.client().get("/plain").send().await.header("date").expect("a date is added");
    proxy.pass(Duration::from_secs(9));
    assert_eq!((age("/aged").await, age("/plain").await), (Some(39), Some(9)));
    assert_eq!(proxy.client().get("/dated").send().await.header("date"), Some(date));
    assert_eq!(proxy.client().get("/plain").send().await.header("date"), Some(first));
    says(&proxy.client().get("/aged").send().await, "Millpond; hit; ttl=21");
}

#[tokio::test]
async fn an_error_or_a_confirmation_that_is_not_stored_has_one_age() {
    let (origin, proxy) = start("").await;
    let age = async || proxy.client().get("/a").send().await.age();
    origin.on("/a", |r| r.status(503).header("age", "30"));
    assert_eq!(age().await, Some(0));
    origin.on("/a", |r| r.header("cache-control", "max-age=60, stale-while-revalidate=0").header("etag", "\"1\""));
    assert_eq!(age().await, Some(0));
    proxy.pass(Duration::from_secs(61));
    origin.on("/a", |r| r.status(304).header("cache-control", "public").header("age", "30").header("etag", "\"1\""));
    assert_eq!(age().await, Some(0));
}

#[tokio::test]
async fn whoever_is_refused_learns_that_it_was_by_this_proxy() {
    let origin = Origin::start().await;
    let proxy = Proxy::start(&origin).route("hosts = ['known']").await;
    let says = async |request: &str| {
        let answer = String::from_utf8_lossy(&proxy.client().raw(request.as_bytes()).await).into_owned();
        answer.lines().find_map(|line| line.strip_prefix("proxy-status: ")).unwrap_or_default().trim().to_owned()
    };
    let refused = says("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n").await;
    assert!(refused.starts_with("Millpond; error=http_request_error; details="), "{refused}");
    let nowhere = says("GET / HTTP/1.1\r\nHost: unknown\r\nConnection: close\r\n\r\n").await;
    assert_eq!(nowhere, "Millpond; error=destination_not_found");
    let tunnel = says("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\n\r\n").await;
    assert_eq!(tunnel, "Millpond; error=http_request_denied; details=\"connect\"");
}

#[tokio::test]
async fn the_key_is_named_where_the_route_says_so_and_no_value_of_a_field() {
    let origin = Origin::start().await;
    let rules =
        "jitter = 0.0, key = { show = true, headers = ['x-tenant'], cookies = ['region'], query = { deny = ['utm'] } }";
    let proxy = Proxy::start(&origin).cache(rules).await;
    origin.on("/a", |r| for_a_minute(r).header("cache-status", "Inner; hit"));
    let ask = || proxy.client().get("/a?q=%22&utm=1").header("host", "h").header("x-tenant", "secret");
    let key = "key=\"http://h/a?q=%22 field:x-tenant cookie:region\"";
    says(&ask().send().await, &format!("Inner; hit, Millpond; fwd=uri-miss; fwd-status=200; stored; ttl=60; {key}"));
    let hit = ask().send().await.header("cache-status").unwrap();
    assert!(hit.ends_with(&format!("hit; ttl=60; {key}")), "{hit}");
    let unsafe_method = proxy.client().ask("POST", "/a").header("host", "h").send().await;
    assert!(!unsafe_method.header("cache-status").unwrap().contains("key="));
}
