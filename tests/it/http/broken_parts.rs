//! Parts from an origin that contradicts itself, or that breaks off: never stored wrongly.

use super::start;
use super::stored_parts::{DIGITS, served};
use crate::support::client::Answer;
use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;

const AS_ASKED: &str = ", ranges = 'as-asked'";

fn fields(reply: Reply) -> Reply {
    reply.header("cache-control", "max-age=60").header("etag", "\"1\"")
}

/// The origin answers every request with this part of something.
fn always(origin: &Origin, content_range: &'static str, body: &'static str) {
    origin.on("/a", |r| fields(r).status(206).header("content-range", content_range).body(body));
}

/// The origin serves ranges by the book.
fn by_the_book(origin: &Origin, body: &'static str) {
    let fields = [("cache-control", "max-age=60"), ("etag", "\"1\"")];
    origin.on_request("/a", move |request| served(request, body, &fields));
}

async fn ask(proxy: &Proxy, range: &str) -> Answer {
    proxy.client().get("/a").header("range", range).send().await
}

#[tokio::test]
async fn a_part_that_contradicts_itself_is_passed_and_not_stored() {
    for (content_range, body) in [
        ("bytes 5-9/10", "012345"),
        ("bytes 5-4/10", "01234"),
        ("bytes 5-9/9", "01234"),
        ("bytes 5-9", "01234"),
        ("lines 5-9/10", "01234"),
        ("bytes */10", "01234"),
    ] {
        let (origin, proxy) = start(AS_ASKED).await;
        always(&origin, content_range, body);
        let passed = ask(&proxy, "bytes=-5").await;
        assert_eq!((passed.status, passed.text()), (206, body), "{content_range}");
        assert_eq!(passed.cache_status().detail.as_deref(), Some("partial-content"), "{content_range}");
        by_the_book(&origin, DIGITS);
        let next = ask(&proxy, "bytes=-5").await;
        assert_eq!((next.text(), next.cache_status().hit), ("56789", false), "{content_range}");
    }
}

#[tokio::test]
async fn a_part_that_is_shorter_than_announced_is_passed_as_it_came_and_stored_from_its_first_byte() {
    let (origin, proxy) = start(AS_ASKED).await;
    always(&origin, "bytes 4-9/10", "01234");
    for hit in [false, true] {
        let answer = ask(&proxy, "bytes=-5").await;
        assert_eq!((answer.status, answer.text(), answer.cache_status().hit), (206, "01234", hit));
        assert_eq!(answer.header("content-range").as_deref(), Some("bytes 4-9/10"), "the same answer, hit: {hit}");
        assert_eq!(answer.header("content-length").as_deref(), Some("5"));
    }
    by_the_book(&origin, "abcdefghij");
    for (range, content_range, body) in [("bytes=6-8", "bytes 6-8/10", "234"), ("bytes=4-8", "bytes 4-8/10", "01234")] {
        let within = ask(&proxy, range).await;
        assert_eq!((within.status, within.text(), within.cache_status().hit), (206, body, true), "{range}");
        assert_eq!(within.header("content-range").as_deref(), Some(content_range), "{range}");
    }
}

#[tokio::test]
async fn what_a_part_that_is_shorter_than_announced_lacks_is_asked_for() {
    for (range, body) in [("bytes=6-", "ghij"), ("bytes=-1", "j"), ("bytes=-6", "efghij"), ("bytes=4-9", "efghij")] {
        let (origin, proxy) = start(AS_ASKED).await;
        always(&origin, "bytes 4-9/10", "01234");
        ask(&proxy, "bytes=-5").await;
        by_the_book(&origin, "abcdefghij");
        let answer = ask(&proxy, range).await;
        assert_eq!((answer.status, answer.text(), answer.cache_status().hit), (206, body, false), "{range}");
    }
}

#[tokio::test]
async fn a_part_that_is_shorter_than_announced_is_combined_with_nothing_and_expires_like_any_other() {
    let (origin, proxy) = start(AS_ASKED).await;
    always(&origin, "bytes 5-9/10", "5678");
    ask(&proxy, "bytes=5-9").await;
    by_the_book(&origin, DIGITS);
    let whole = proxy.client().get("/a").send().await;
    assert_eq!((whole.text(), origin.last("/a").header("range")), (DIGITS, None), "the rest is not asked for");
    let (origin, proxy) = start(AS_ASKED).await;
    always(&origin, "bytes 5-9/10", "5678");
    ask(&proxy, "bytes=5-9").await;
    proxy.pass(std::time::Duration::from_secs(61));
    by_the_book(&origin, DIGITS);
    assert_eq!(ask(&proxy, "bytes=5-9").await.text(), "56789", "stale");
    always(&origin, "bytes 0-5/10", "01234");
    ask(&proxy, "bytes=0-5").await;
    by_the_book(&origin, DIGITS);
    let both = ask(&proxy, "bytes=4-6").await;
    assert_eq!((both.text(), both.cache_status().hit), ("456", false), "not joined, whatever the tags say");
}

#[tokio::test]
async fn a_part_that_is_shorter_than_announced_answers_no_other_condition() {
    let (origin, proxy) = start(AS_ASKED).await;
    always(&origin, "bytes 4-9/10", "01234");
    ask(&proxy, "bytes=-5").await;
    by_the_book(&origin, "abcdefghij");
    let with = |tag: &'static str| proxy.client().get("/a").header("range", "bytes=-5").header("if-range", tag).send();
    assert_eq!(with("\"1\"").await.text(), "01234");
    let other = with("\"2\"").await;
    assert_eq!((other.status, other.text()), (200, "abcdefghij"));
}

#[tokio::test]
async fn several_parts_in_one_body_are_passed_and_not_stored() {
    let (origin, proxy) = start(AS_ASKED).await;
    let body = "--x\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--x--\r\n";
    origin.on("/a", |r| fields(r).status(206).header("content-type", "multipart/byteranges; boundary=x").body(body));
    let passed = ask(&proxy, "bytes=0-1").await;
    assert_eq!((passed.text(), passed.cache_status().detail.as_deref()), (body, Some("partial-content")));
    by_the_book(&origin, DIGITS);
    assert!(!ask(&proxy, "bytes=0-1").await.cache_status().hit);
}

#[tokio::test]
async fn a_part_of_unknown_length_that_ends_early_or_late_is_not_stored() {
    for chunks in [&["01"][..], &["0123", "456"]] {
        let (origin, proxy) = start(AS_ASKED).await;
        origin.on("/a", |r| fields(r).status(206).header("content-range", "bytes 0-4/10").chunks(chunks));
        // It depends on the moment whether the client sees a head before the connection breaks.
        let answer = proxy.client().get("/a").header("range", "bytes=0-4").try_send().await;
        let body = answer.ok().and_then(|answer| answer.body.ok());
        assert!(body.is_none_or(|body| body == "01234"), "{chunks:?}: cut to what was announced, or broken off");
        by_the_book(&origin, "abcdefghij");
        let next = ask(&proxy, "bytes=0-4").await;
        assert_eq!((next.text(), next.cache_status().hit), ("abcde", false), "{chunks:?}");
    }
}

#[tokio::test]
async fn parts_of_wholes_of_different_length_are_not_combined_whatever_their_tags_say() {
    let (origin, proxy) = start(AS_ASKED).await;
    always(&origin, "bytes 0-4/10", "01234");
    ask(&proxy, "bytes=0-4").await;
    always(&origin, "bytes 5-9/11", "56789");
    ask(&proxy, "bytes=5-9").await;
    by_the_book(&origin, "abcdefghij");
    let whole = proxy.client().get("/a").send().await;
    assert_eq!((whole.text().len(), whole.text().contains("01234")), (10, false), "{}", whole.text());
}

#[tokio::test]
async fn an_answer_that_is_not_what_was_missing_is_dropped_and_the_whole_is_asked_for() {
    for (content_range, body, tag) in [
        ("bytes 5-9/10", "56789", "\"2\""),
        ("bytes 5-9/10", "56789", "W/\"1\""),
        ("bytes 6-9/10", "6789", "\"1\""),
        ("bytes 5-8/10", "5678", "\"1\""),
        ("bytes 5-9/11", "56789", "\"1\""),
        ("bytes 5-9/*", "56789", "\"1\""),
        ("bytes 5-9/10", "5678", "\"1\""),
    ] {
        let (origin, proxy) = start(AS_ASKED).await;
        always(&origin, "bytes 0-4/10", "01234");
        ask(&proxy, "bytes=0-4").await;
        origin.on_request("/a", move |request| {
            let reply = Reply::ok().header("cache-control", "max-age=60").header("etag", tag);
            match request.header("range") {
                Some(_) => reply.status(206).header("content-range", content_range).body(body),
                None => reply.body("abcdefghij"),
            }
        });
        for hit in [false, true] {
            let whole = proxy.client().get("/a").send().await;
            assert_eq!((whole.status, whole.text()), (200, "abcdefghij"), "{content_range} {tag}");
            assert_eq!(whole.cache_status().hit, hit, "{content_range} {tag}");
        }
    }
}

#[tokio::test]
async fn a_refusal_to_send_the_rest_leads_to_a_fetch_of_the_whole() {
    for status in [416, 412, 304] {
        let (origin, proxy) = start(AS_ASKED).await;
        always(&origin, "bytes 0-4/10", "01234");
        ask(&proxy, "bytes=0-4").await;
        origin.on_request("/a", move |request| match request.header("range") {
            Some(_) => Reply::ok().status(status),
            None => fields(Reply::ok()).body(DIGITS),
        });
        let whole = proxy.client().get("/a").send().await;
        assert_eq!((whole.status, whole.text()), (200, DIGITS), "{status}");
    }
}

#[tokio::test]
async fn a_rest_that_breaks_off_breaks_the_answer_off_and_is_not_stored() {
    let (origin, proxy) = start(AS_ASKED).await;
    always(&origin, "bytes 0-4/10", "01234");
    ask(&proxy, "bytes=0-4").await;
    let stream = origin
        .stream("/a", |r| fields(r).status(206).header("content-range", "bytes 5-9/10").header("content-length", "5"));
    let mut broken = proxy.client().start("/a").await;
    stream.send("56");
    broken.expect("0123456").await;
    stream.abort();
    assert!(broken.rest().await.is_err());
    by_the_book(&origin, DIGITS);
    let whole = proxy.client().get("/a").send().await;
    assert_eq!((whole.text(), whole.cache_status().hit), (DIGITS, false));
}

#[tokio::test]
async fn a_part_that_nobody_asked_for_is_not_stored() {
    let (origin, proxy) = start("").await;
    always(&origin, "bytes 0-4/10", "01234");
    let answer = ask(&proxy, "bytes=0-4").await;
    assert_eq!(answer.cache_status().detail.as_deref(), Some("partial-content"));
    by_the_book(&origin, DIGITS);
    assert!(!ask(&proxy, "bytes=0-4").await.cache_status().hit);
}

#[tokio::test]
async fn a_416_that_claims_to_be_fresh_is_not_shown_to_others() {
    for cache in ["", AS_ASKED] {
        let (origin, proxy) = start(cache).await;
        origin.on("/a", |r| fields(r).status(416).header("content-range", "bytes */10").body("outside"));
        assert_eq!(ask(&proxy, "bytes=20-").await.status, 416);
        by_the_book(&origin, DIGITS);
        assert_eq!(proxy.client().get("/a").send().await.text(), DIGITS, "{cache}");
    }
}

/// `/a` breaks off after half of its ten bytes; returns when a client has seen that.
async fn break_off(origin: &Origin, proxy: &Proxy, make: impl FnOnce(Reply) -> Reply) {
    let stream = origin.stream("/a", |r| make(fields(r).header("content-length", "10")));
    let mut broken = proxy.client().start("/a").await;
    stream.send("01234");
    broken.expect("01234").await;
    stream.abort();
    assert!(broken.rest().await.is_err());
}

#[tokio::test]
async fn a_response_that_broke_off_is_completed_if_its_origin_serves_ranges() {
    let (origin, proxy) = start("").await;
    break_off(&origin, &proxy, |r| r.header("accept-ranges", "bytes")).await;
    by_the_book(&origin, DIGITS);
    let part = ask(&proxy, "bytes=1-3").await;
    assert_eq!((part.status, part.text(), part.cache_status().hit), (206, "123", true));
    let whole = proxy.client().get("/a").send().await;
    assert_eq!((whole.status, whole.text(), whole.cache_status().hit), (200, DIGITS, false));
    let asked = origin.last("/a");
    assert_eq!(asked.header("range").as_deref(), Some("bytes=5-"));
    assert_eq!(asked.header("if-range").as_deref(), Some("\"1\""));
    assert!(proxy.client().get("/a").send().await.cache_status().hit);
}

#[tokio::test]
async fn a_response_that_broke_off_is_dropped_where_its_rest_could_not_be_asked_for() {
    for (name, value, status) in [
        ("accept-ranges", "none", 200),
        ("x-a", "nothing said of ranges", 200),
        ("accept-ranges", "bytes", 404),
        ("last-modified", "a weak tag is all there is", 200),
    ] {
        let (origin, proxy) = start("").await;
        let stream = origin.stream("/a", |r| {
            let tag = if name == "last-modified" { "W/\"1\"" } else { "\"1\"" };
            let reply = r.status(status).header("cache-control", "max-age=60").header("etag", tag);
            let reply = if name == "last-modified" { reply.header("accept-ranges", "bytes") } else { reply };
            reply.header(name, value).header("content-length", "10")
        });
        let mut broken = proxy.client().start("/a").await;
        stream.send("01234");
        broken.expect("01234").await;
        stream.abort();
        assert!(broken.rest().await.is_err());
        by_the_book(&origin, "abcdefghij");
        assert_eq!(proxy.client().get("/a").send().await.text(), "abcdefghij", "{value}");
        assert_eq!(origin.last("/a").header("range"), None, "{value}");
    }
}

#[tokio::test]
async fn what_arrived_of_a_part_or_of_a_rest_is_kept_as_well() {
    let (origin, proxy) = start(AS_ASKED).await;
    let stream = origin
        .stream("/a", |r| fields(r).status(206).header("content-range", "bytes 2-8/10").header("content-length", "7"));
    let mut broken = proxy.client().get("/a").header("range", "bytes=2-8").start().await;
    stream.send("234");
    broken.expect("234").await;
    stream.abort();
    assert!(broken.rest().await.is_err());
    by_the_book(&origin, DIGITS);
    ask(&proxy, "bytes=0-1").await;
    let kept = ask(&proxy, "bytes=0-4").await;
    assert_eq!((kept.text(), kept.cache_status().hit), ("01234", true));
    let stream = origin
        .stream("/a", |r| fields(r).status(206).header("content-range", "bytes 5-9/10").header("content-length", "5"));
    let mut broken = proxy.client().start("/a").await;
    stream.send("56");
    broken.expect("0123456").await;
    stream.abort();
    assert!(broken.rest().await.is_err());
    by_the_book(&origin, DIGITS);
    assert_eq!(proxy.client().get("/a").send().await.text(), DIGITS);
    assert_eq!(origin.last("/a").header("range").as_deref(), Some("bytes=7-"));
}
