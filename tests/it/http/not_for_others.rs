//! What one client sends or gets shapes nothing that others get.

use std::time::Duration;

use super::start;
use super::stored_parts::{DIGITS, served};
use crate::support::client::{Ask, herd};
use crate::support::origin::{Origin, Received, Reply};
use crate::support::proxy::Proxy;

const AS_ASKED: &str = ", ranges = 'as-asked'";
const MINUTE: (&str, &str) = ("cache-control", "max-age=60");

/// How many of five clients that share one fetch of `/a` see this field, and what each of them got.
async fn shown(origin: &Origin, proxy: &Proxy, ask: Ask, name: &str) -> (usize, Vec<String>) {
    let gate = origin.hold("/a");
    let many = tokio::spawn(herd(5, move || ask.clone()));
    proxy.followers(4).await;
    gate.release();
    let got = many.await.unwrap();
    let count = got.answers.iter().filter(|answer| answer.header(name).is_some()).count();
    (count, got.answers.iter().map(|answer| format!("{} {:?}", answer.status, answer.headers)).collect())
}

#[tokio::test]
async fn f9_a_304_for_one_client_alone_is_asked_for_again_as_a_200_and_shown_to_nobody() {
    for (range, name, value) in [
        (None, "set-cookie", "session=leader"),
        (Some("bytes=0-4"), "set-cookie", "session=leader"),
        (None, "cache-control", "private"),
        (None, "vary", "*"),
    ] {
        let (origin, proxy) = start(if range.is_some() { AS_ASKED } else { "" }).await;
        origin.on_request("/a", move |r| {
            let reply = served(r, DIGITS, &[MINUTE, ("etag", "\"1\"")]);
            let confirms = r.header("if-none-match").is_some();
            if confirms { reply.header(name, value).header("x-user", "leader") } else { reply }
        });
        let plain = proxy.client().get("/a");
        let ask = range.map_or_else(|| plain.clone(), |range| plain.clone().header("range", range));
        ask.clone().send().await;
        proxy.pass(Duration::from_secs(61));
        let (count, seen) = shown(&origin, &proxy, ask, "x-user").await;
        assert_eq!((count, origin.hits("/a")), (0, 3), "{name}: {value} {range:?}: {seen:#?}");
    }
}

#[tokio::test]
async fn f6_what_a_head_was_asked_with_does_not_shape_the_stored_get() {
    for (target, field) in [("/a", Some(("x-host", "evil.example"))), ("/a?utm_x=evil", None)] {
        let origin = Origin::start().await;
        origin.on_request("/a", |r| {
            let reflected = r.header("x-host").unwrap_or_default() + r.target.split_once('?').map_or("", |(_, q)| q);
            Reply::ok()
                .header("cache-control", "max-age=60")
                .header("etag", "\"1\"")
                .header("link", &format!("<//{reflected}/a.css>; rel=preload"))
                .body("hello")
        });
        let proxy = Proxy::start(&origin).cache("jitter = 0.0, early_refresh = 0.0, respect_client_cache_control = true, key = { query = { deny = ['utm_*'] } }").await;
        proxy.client().get("/a").send().await;
        let mut head = proxy.client().ask("HEAD", target).header("cache-control", "no-store");
        if let Some((n, v)) = field {
            head = head.header(n, v);
        }
        let head = head.send().await;
        let victim = proxy.client().get("/a").send().await;
        assert!(victim.cache_status().hit);
        assert!(
            !victim.header("link").unwrap_or_default().contains("evil"),
            "{target} {field:?}: {:?} after {:?}",
            victim.headers,
            head.headers
        );
    }
}

/// RFC 9110 15.3.7: a 206 to If-Range leaves out the other representation fields.
fn sparing(r: &Received) -> Reply {
    let mut reply = served(r, DIGITS, &[MINUTE, ("etag", "\"1\"")]);
    if r.header("if-range").is_none() {
        reply = reply
            .header("content-type", "text/css")
            .header("content-encoding", "x-foo")
            .header("x-frame-options", "DENY");
    }
    reply
}

#[tokio::test]
async fn f7_the_if_range_of_one_client_takes_no_fields_from_others() {
    let (origin, proxy) = start(AS_ASKED).await;
    origin.on_request("/a", sparing);
    proxy.client().get("/a").header("range", "bytes=0-").header("if-range", "\"1\"").send().await;
    let victim = proxy.client().get("/a").send().await;
    assert_eq!(victim.text(), DIGITS);
    assert!(victim.header("content-type").is_some(), "{:?} {} hits", victim.headers, origin.hits("/a"));
}

#[tokio::test]
async fn f7_nor_where_another_part_is_joined() {
    let (origin, proxy) = start(AS_ASKED).await;
    origin.on_request("/a", sparing);
    proxy.client().get("/a").header("range", "bytes=0-4").header("if-range", "\"1\"").send().await;
    let own = proxy.client().get("/a").header("range", "bytes=5-9").send().await;
    assert_eq!(own.header("content-encoding").as_deref(), Some("x-foo"));
    let victim = proxy.client().get("/a").send().await;
    assert!(victim.header("content-encoding").is_some(), "{:?} {} hits", victim.headers, origin.hits("/a"));
}

#[tokio::test]
async fn f7_nor_while_the_url_counts_as_uncacheable() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| r.header("cache-control", "no-store").body("x"));
    proxy.client().get("/a").send().await;
    origin.on_request("/a", sparing);
    proxy.client().get("/a").header("range", "bytes=0-").header("if-range", "\"1\"").send().await;
    let victim = proxy.client().get("/a").send().await;
    assert_eq!(victim.text(), DIGITS);
    assert!(victim.header("content-type").is_some(), "{:?} {} hits", victim.headers, origin.hits("/a"));
}

/// nginx: gzip_vary adds Vary: Accept-Encoding to the 200 and not to the 304; the application says Vary: Origin.
#[tokio::test]
async fn f9_a_304_or_head_that_varies_on_less_does_not_widen_the_audience() {
    for head in [false, true] {
        let (origin, proxy) = start(if head { ", respect_client_cache_control = true" } else { "" }).await;
        origin.on_request("/a", |r| {
            let reply =
                Reply::ok().header("cache-control", "max-age=60").header("etag", "W/\"1\"").header("vary", "Origin");
            if r.header("if-none-match").as_deref() == Some("W/\"1\"") {
                return reply.status(304);
            }
            if r.method == "HEAD" {
                return reply;
            }
            let reply = reply.header("vary", "Accept-Encoding");
            if r.header("accept-encoding").is_some_and(|a| a.contains("gzip")) {
                reply.header("content-encoding", "gzip").body("GZIPPED")
            } else {
                reply.body("plain")
            }
        });
        let gz = || proxy.client().get("/a").header("accept-encoding", "gzip");
        gz().send().await;
        if head {
            proxy
                .client()
                .ask("HEAD", "/a")
                .header("accept-encoding", "gzip")
                .header("cache-control", "no-store")
                .send()
                .await;
        } else {
            proxy.pass(Duration::from_secs(61));
            gz().send().await;
        }
        let victim = proxy.client().get("/a").send().await;
        assert_eq!(victim.text(), "plain", "head {head}: {:?}", victim.headers);
    }
}

#[tokio::test]
async fn f7_a_slow_condition_or_range_of_one_client_drops_nothing_that_was_stored_meanwhile() {
    for (name, value) in [("if-none-match", "\"1\""), ("range", "bytes=0-0,2-2")] {
        let (origin, proxy) = start("").await;
        origin.on("/a", |r| r.header("cache-control", "no-store").body("x"));
        proxy.client().get("/a").send().await;
        origin.on_request("/a", move |r| {
            if r.header("range").is_some() {
                return Reply::ok()
                    .status(206)
                    .header("content-type", "multipart/byteranges; boundary=x")
                    .body("--x--")
                    .delay(Duration::from_millis(400));
            }
            let reply = served(r, DIGITS, &[MINUTE, ("etag", "\"1\"")]);
            if r.header("if-none-match").is_some() { reply.delay(Duration::from_millis(400)) } else { reply }
        });
        let mut slow = proxy.client().get("/a").header(name, value).start().await;
        origin.received(2).await;
        proxy.client().get("/a").send().await;
        let before = proxy.client().get("/a").send().await.cache_status().hit;
        slow.head().await;
        let after = proxy.client().get("/a").send().await;
        assert!(before && after.cache_status().hit, "{name}: {before} then {:?}", after.header("cache-status"));
    }
}

#[tokio::test]
async fn f23_a_post_is_not_sent_twice_after_a_broken_answer() {
    let origin = Origin::start().await;
    origin.raw("/s", |raw| raw.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\nContent-Length: 10\r\n\r\n01234").close());
    let proxy =
        Proxy::start(&origin).cache("jitter = 0.0, early_refresh = 0.0, key = { body = { methods = ['POST'] } }").await;
    let ask = || proxy.client().ask("POST", "/s").header("content-type", "application/json").body("{}");
    let _ = ask().try_send().await;
    assert_eq!(origin.hits("/s"), 1);
    origin.on("/s", |r| r.status(412).body("no"));
    ask().send().await;
    assert_eq!(origin.hits("/s"), 2, "one for each request");
}

#[tokio::test]
async fn f6_what_one_client_writes_into_accept_language_is_not_shown_to_another() {
    let (origin, proxy) = start("").await;
    origin.on_request("/a", |r| {
        let language = r.header("accept-language").unwrap_or_default();
        Reply::ok()
            .header("cache-control", "max-age=60")
            .header("vary", "Accept-Language")
            .header("content-language", "en")
            .body(format!("you said {language}"))
    });
    proxy.client().get("/a").header("accept-language", "en, <script>;q=0.5").send().await;
    let victim = proxy.client().get("/a").header("accept-language", "en").send().await;
    assert_eq!(victim.text(), "you said en");
}

#[tokio::test]
async fn a10_tags_of_a_whole_made_of_parts_survive_a_304() {
    let (origin, proxy) = start(AS_ASKED).await;
    for (range, tag) in [("bytes=0-4", "a"), ("bytes=5-9", "b")] {
        let fields = [MINUTE, ("etag", "\"1\""), ("surrogate-key", tag)];
        origin.on_request("/a", move |request| served(request, DIGITS, &fields));
        proxy.client().get("/a").header("range", range).send().await;
    }
    proxy.pass(Duration::from_secs(61));
    origin.on_request("/a", move |request| served(request, DIGITS, &[MINUTE, ("etag", "\"1\"")]));
    proxy.client().get("/a").send().await;
    assert!(proxy.client().get("/a").send().await.cache_status().hit);
    proxy.purge(r#"{"tag": "a"}"#).await;
    assert!(!proxy.client().get("/a").send().await.cache_status().hit, "tag a");
}

async fn head_learns(cache: &str, target: &str, field: Option<(&str, &str)>) -> (bool, String) {
    let origin = Origin::start().await;
    origin.on_request("/a", |r| {
        let reflected = r.header("x-host").unwrap_or_default()
            + &r.header("cookie").unwrap_or_default()
            + r.target.split_once('?').map_or("", |(_, q)| q);
        Reply::ok()
            .header("cache-control", "max-age=60")
            .header("etag", "\"1\"")
            .header("link", &format!("<//{reflected}/a.css>; rel=preload"))
            .body("hello")
    });
    let proxy = Proxy::start(&origin)
        .cache(&format!("jitter = 0.0, early_refresh = 0.0, respect_client_cache_control = true{cache}"))
        .await;
    proxy.client().get("/a").send().await;
    let mut head = proxy.client().ask("HEAD", target).header("cache-control", "no-store");
    if let Some((n, v)) = field {
        head = head.header(n, v);
    }
    head.send().await;
    let victim = proxy.client().get("/a").send().await;
    (victim.cache_status().hit, victim.header("link").unwrap_or_default())
}

#[tokio::test]
async fn f9_a_head_that_a_bypass_rule_lets_through_teaches_nothing() {
    let (hit, link) = head_learns(", bypass = { cookies = ['session'] }", "/a", Some(("cookie", "session=evil"))).await;
    assert!(hit && !link.contains("evil"), "{link}");
}

#[tokio::test]
async fn f9_a_withheld_cookie_of_a_shared_error_goes_to_nobody_else() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| {
        r.status(500)
            .header("cache-control", "no-cache=\"set-cookie\"")
            .header("set-cookie", "session=leader")
            .body("oops")
    });
    let (count, seen) = shown(&origin, &proxy, proxy.client().get("/a"), "set-cookie").await;
    assert_eq!(count, 1, "{} hits {seen:#?}", origin.hits("/a"));
}

#[tokio::test]
async fn f15_json_in_another_charset_is_not_normalised() {
    let origin = Origin::start().await;
    origin.on_request("/s", |r| Reply::ok().header("cache-control", "max-age=60").body(r.body.clone()));
    let proxy = Proxy::start(&origin)
        .cache("jitter = 0.0, early_refresh = 0.0, key = { body = { methods = ['POST'], normalise_json = true } }")
        .await;
    let ask = |body: &'static str| {
        proxy.client().ask("POST", "/s").header("content-type", "application/json; charset=iso-8859-1").body(body)
    };
    ask("{\"q\": \"\\u00e9\"}").send().await;
    let other = ask("{\"q\": \"\u{e9}\"}").send().await;
    assert!(!other.cache_status().hit, "in that charset the second says two characters");
}

#[tokio::test]
async fn a_graphql_request_whose_url_names_a_document_is_passed() {
    let origin = Origin::start().await;
    origin.on_request("/graphql", |_| Reply::ok().header("cache-control", "max-age=60").body("{}"));
    let proxy = Proxy::start(&origin)
        .cache("jitter = 0.0, early_refresh = 0.0, key = { body = { methods = ['POST'], graphql = true } }")
        .await;
    for body in [
        "{\"query\": \"{a}\"}",
        "{\"query\": \"{a}\", \"id\": \"pay\"}",
        "{\"query\": \"{a}\", \"documentId\": \"pay\"}",
    ] {
        let ask = || {
            proxy
                .client()
                .ask("POST", "/graphql?query=mutation%7Bpay%7D")
                .header("content-type", "application/json")
                .body(body)
        };
        ask().send().await;
        assert!(!ask().send().await.cache_status().hit, "{body}");
    }
    let ask = || {
        proxy
            .client()
            .ask("POST", "/graphql?query=mutation%7Bpay%7D")
            .header("content-type", "application/json")
            .body("{\"query\": \"{a}\"}")
    };
    assert!(!ask().send().await.cache_status().hit);
}

#[tokio::test]
async fn a_part_that_comes_late_does_not_outlive_the_newer_whole() {
    let (origin, proxy) = start(AS_ASKED).await;
    origin.on_request("/a", |r| {
        served(r, DIGITS, &[("cache-control", "max-age=3600"), ("etag", "\"1\"")]).delay(Duration::from_millis(300))
    });
    let mut late = proxy.client().get("/a").header("range", "bytes=0-4").start().await;
    origin.received(1).await;
    origin.on_request("/a", |r| served(r, "abcdefghij", &[MINUTE, ("etag", "\"2\"")]));
    assert_eq!(proxy.client().get("/a").send().await.text(), "abcdefghij");
    late.head().await;
    let _ = late.rest().await;
    assert_eq!(proxy.client().get("/a").header("range", "bytes=0-4").send().await.text(), "abcde");
    proxy.pass(Duration::from_secs(61));
    let later = proxy.client().get("/a").header("range", "bytes=0-4").send().await;
    assert_eq!(later.text(), "abcde", "{:?}", later.headers);
}

#[tokio::test]
async fn f6_a_head_for_another_resource_makes_nothing_stale() {
    let (origin, proxy) = start(", respect_client_cache_control = true").await;
    origin.on_request("/a", |r| {
        served(r, if r.header("x-original-url").is_some() { "other" } else { DIGITS }, &[MINUTE])
    });
    proxy.client().get("/a").send().await;
    proxy.client().ask("HEAD", "/a").header("cache-control", "no-store").header("x-original-url", "/b").send().await;
    let victim = proxy.client().get("/a").send().await;
    assert!(victim.cache_status().hit, "{:?}", victim.header("cache-status"));
}

#[tokio::test]
async fn f9_a_withheld_cookie_of_a_304_goes_to_nobody_else() {
    let (origin, proxy) = start("").await;
    origin.on_request("/a", move |r| served(r, DIGITS, &[MINUTE, ("etag", "\"1\"")]));
    proxy.client().get("/a").send().await;
    proxy.pass(Duration::from_secs(61));
    origin.on_request("/a", move |r| {
        served(
            r,
            DIGITS,
            &[("cache-control", "no-cache=\"set-cookie\""), ("etag", "\"1\""), ("set-cookie", "session=leader")],
        )
    });
    let (count, seen) = shown(&origin, &proxy, proxy.client().get("/a"), "set-cookie").await;
    assert_eq!(count, 1, "{} hits {seen:#?}", origin.hits("/a"));
}

#[tokio::test]
async fn f9_a_304_without_vary_cookie_does_not_share_a_page() {
    let (origin, proxy) = start("").await;
    origin.on_request("/a", |r| {
        let reply = Reply::ok().header("cache-control", "max-age=60").header("etag", "\"1\"");
        if r.header("if-none-match").is_some() && r.header("cookie").as_deref() == Some("u=A") {
            return reply.status(304).header("vary", "Origin");
        }
        reply.header("vary", "Origin, Cookie").body(format!("page of {}", r.header("cookie").unwrap_or_default()))
    });
    let get = |u: &str| proxy.client().get("/a").header("cookie", u);
    get("u=A").send().await;
    assert_eq!(get("u=B").send().await.text(), "page of u=B");
    proxy.pass(Duration::from_secs(61));
    get("u=A").send().await;
    let b = get("u=B").send().await;
    assert_eq!(b.text(), "page of u=B", "{:?}", b.header("cache-status"));
}

#[tokio::test]
async fn f6_a_head_that_gave_up_waiting_teaches_nothing_that_was_not_asked_like_a_fetch() {
    let (origin, proxy) = start(", coalesce_wait = '200ms'").await;
    origin.on_request("/a", |r| {
        let host = r.header("x-host").unwrap_or_else(|| "good".into());
        Reply::ok()
            .header("cache-control", "max-age=60")
            .header("etag", "\"1\"")
            .header("link", &format!("<//{host}/a.css>; rel=preload"))
            .body("hello")
    });
    let gate = origin.hold("/a");
    let first = proxy.client().get("/a").start().await;
    gate.arrived(1).await;
    let head = proxy.client().ask("HEAD", "/a").header("x-host", "evil").start().await;
    crate::support::soon("the HEAD to give up waiting", async {
        while origin.hits("/a") < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    gate.release_one();
    assert_eq!(first.rest().await.unwrap(), "hello");
    gate.release();
    let mut head = head;
    head.head().await;
    let victim = proxy.client().get("/a").send().await;
    assert!(victim.cache_status().hit);
    assert!(!victim.header("link").unwrap().contains("evil"), "{:?}", victim.headers);
}
