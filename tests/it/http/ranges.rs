//! Parts of a body (RFC 9110 section 14): from the cache, from a fetch, and around both.

use std::fmt::Write;

use super::{MODIFIED, for_a_minute, start};
use crate::support::client::Answer;
use crate::support::origin::Reply;

const DIGITS: &str = "0123456789";

fn digits(reply: Reply) -> Reply {
    for_a_minute(reply).header("etag", "\"1\"").header("content-type", "text/plain").body(DIGITS)
}

fn part<'a>(answer: &'a Answer, content_range: &str) -> (u16, &'a str, bool) {
    (answer.status, answer.text(), answer.header("content-range").as_deref() == Some(content_range))
}

#[tokio::test]
async fn single_ranges_are_cut_from_the_stored_body() {
    let (origin, proxy) = start("").await;
    origin.on("/a", digits);
    proxy.client().get("/a").send().await;
    for (range, body, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=7-99", "789", "bytes 7-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
        ("bytes=-99", DIGITS, "bytes 0-9/10"),
        ("bytes=0-", DIGITS, "bytes 0-9/10"),
    ] {
        let answer = proxy.client().get("/a").header("range", range).send().await;
        assert_eq!(part(&answer, content_range), (206, body, true), "{range}");
        assert_eq!(answer.header("content-length"), Some(body.len().to_string()), "{range}");
        assert_eq!(answer.header("etag").as_deref(), Some("\"1\""), "{range}");
        assert!(answer.cache_status().hit && answer.header("age").is_some(), "{range}");
    }
    for ignored in ["bytes=4-2", "bytes=x", "lines=0-1", "bytes", "bytes=-"] {
        let answer = proxy.client().get("/a").header("range", ignored).send().await;
        assert_eq!((answer.status, answer.text()), (200, DIGITS), "{ignored}");
    }
    // What the origin says of a range that is none says nothing (RFC 9110 section 14.4), and is not passed on with ours.
    origin.on("/odd", |r| digits(r).header("content-range", "bytes 5-14/99"));
    proxy.client().get("/odd").send().await;
    let odd = proxy.client().get("/odd").header("range", "bytes=2-4").send().await;
    assert_eq!(part(&odd, "bytes 2-4/10"), (206, "234", true), "{:?}", odd.header("content-range"));
    let head = proxy.client().ask("HEAD", "/a").header("range", "bytes=0-1").send().await;
    assert_eq!((head.status, head.header("content-length").as_deref()), (200, Some("10")), "ranges are for GET");
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn a_range_outside_the_body_is_answered_with_416_and_its_length() {
    let (origin, proxy) = start("").await;
    origin.on("/a", digits);
    proxy.client().get("/a").send().await;
    for range in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=20-30,40-50"] {
        let answer = proxy.client().get("/a").header("range", range).send().await;
        assert_eq!((answer.status, answer.header("content-range").as_deref()), (416, Some("bytes */10")), "{range}");
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn several_ranges_are_sent_as_parts_of_one_body() {
    let (origin, proxy) = start("").await;
    origin.on("/a", digits);
    proxy.client().get("/a").send().await;
    let answer = proxy.client().get("/a").header("range", "bytes=0-1, 4-4 ,-2").send().await;
    let content_type = answer.header("content-type").unwrap();
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("a multipart type");
    let mut expected = String::new();
    for (range, body) in [("0-1", "01"), ("4-4", "4"), ("8-9", "89")] {
        let head = format!("Content-Type: text/plain\r\nContent-Range: bytes {range}/10");
        let _ = write!(expected, "--{boundary}\r\n{head}\r\n\r\n{body}\r\n");
    }
    let body = answer.text().trim_start_matches("\r\n").to_lowercase();
    assert_eq!((answer.status, body), (206, format!("{expected}--{boundary}--\r\n").to_lowercase()));
    assert_eq!(answer.header("content-range"), None, "that is for the parts");
    assert_eq!(answer.header("content-length"), Some(answer.text().len().to_string()));
}

#[tokio::test]
async fn f21_a_thousand_overlapping_ranges_cost_no_more_than_the_whole() {
    let (origin, proxy) = start("").await;
    let body = "x".repeat(64 * 1024);
    let stored = body.clone();
    origin.on("/a", |r| for_a_minute(r).body(stored));
    proxy.client().get("/a").send().await;
    let list: Vec<String> = (0..1000).map(|at| format!("{at}-")).collect();
    let answer = proxy.client().get("/a").header("range", &format!("bytes={}", list.join(","))).send().await;
    assert!(answer.text().len() <= 2 * body.len(), "{} bytes with status {}", answer.text().len(), answer.status);
}

#[tokio::test]
async fn if_range_gives_the_part_only_of_the_representation_it_names() {
    let (origin, proxy) = start("").await;
    origin.on("/strong", |r| digits(r).header("last-modified", MODIFIED));
    origin.on("/weak", |r| for_a_minute(r).header("etag", "W/\"1\"").body(DIGITS));
    for path in ["/strong", "/weak"] {
        proxy.client().get(path).send().await;
    }
    for (path, condition, status) in [
        ("/strong", "\"1\"", 206),
        ("/strong", "\"2\"", 200),
        ("/strong", "W/\"1\"", 200),
        ("/strong", MODIFIED, 206),
        ("/strong", super::AFTER, 200),
        ("/weak", "W/\"1\"", 200),
        ("/weak", "\"1\"", 200),
    ] {
        let ask = proxy.client().get(path).header("range", "bytes=0-3").header("if-range", condition);
        let body = if status == 206 { "0123" } else { DIGITS };
        let answer = ask.send().await;
        assert_eq!((answer.status, answer.text()), (status, body), "{path} {condition}");
    }
}

#[tokio::test]
async fn a_range_of_a_cold_object_stores_the_whole_and_answers_with_the_part() {
    let (origin, proxy) = start("").await;
    origin.on("/a", digits);
    let answer = proxy.client().get("/a").header("range", "bytes=2-4").send().await;
    assert_eq!(part(&answer, "bytes 2-4/10"), (206, "234", true));
    assert_eq!(origin.last("/a").header("range"), None);
    let whole = proxy.client().get("/a").send().await;
    assert_eq!((whole.status, whole.text(), origin.hits("/a")), (200, DIGITS, 1));
}

#[tokio::test]
async fn a_range_is_served_as_soon_as_its_bytes_arrive() {
    let (origin, proxy) = start("").await;
    let stream = origin.stream("/a", |r| for_a_minute(r).header("content-length", "10"));
    let mut early = proxy.client().get("/a").header("range", "bytes=2-4").start().await;
    assert_eq!(early.head().await.status, 206);
    let mut other = proxy.client().get("/a").header("range", "bytes=-4").start().await;
    assert_eq!(other.head().await.headers["content-range"], "bytes 6-9/10");
    stream.send("01234");
    // The rest of the body is still at the origin.
    assert_eq!(early.rest().await.unwrap(), "234");
    stream.send("56");
    other.expect("6").await;
    stream.send("789");
    stream.finish();
    assert_eq!(other.rest().await.unwrap(), "789");
    let whole = proxy.client().get("/a").send().await;
    assert_eq!((whole.text(), origin.hits("/a")), (DIGITS, 1));
}

#[tokio::test]
async fn a_part_that_breaks_off_is_not_sent_as_if_it_were_complete() {
    let (origin, proxy) = start("").await;
    let stream = origin.stream("/a", |r| for_a_minute(r).header("content-length", "10"));
    let mut early = proxy.client().get("/a").header("range", "bytes=2-8").start().await;
    stream.send("01234");
    early.expect("234").await;
    stream.abort();
    assert!(early.rest().await.is_err());
    origin.on("/a", digits);
    assert_eq!(proxy.client().get("/a").send().await.text(), DIGITS);
}

#[tokio::test]
async fn the_range_of_an_object_too_large_to_store_goes_to_the_origin_as_it_came() {
    let (origin, proxy) = start(", max_object_size = '8B'").await;
    origin.on_request("/a", |request| match request.header("range").as_deref() {
        Some("bytes=2-4") => Reply::ok().status(206).header("content-range", "bytes 2-4/10").body("234"),
        _ => digits(Reply::ok()),
    });
    for _ in 0..3 {
        let answer = proxy.client().get("/a").header("range", "bytes=2-4").send().await;
        assert_eq!(part(&answer, "bytes 2-4/10"), (206, "234", true));
        assert_eq!(origin.last("/a").header("range").as_deref(), Some("bytes=2-4"));
    }
    let whole = proxy.client().get("/a").send().await;
    assert_eq!((whole.status, whole.text()), (200, DIGITS), "a part is never stored as the whole");
}

#[tokio::test]
async fn a_part_from_the_origin_is_never_stored() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| for_a_minute(r).status(206).header("content-range", "bytes 0-1/10").body("01"));
    let answer = proxy.client().get("/a").send().await;
    assert_eq!(answer.cache_status().detail.as_deref(), Some("partial-content"));
    origin.on("/a", digits);
    assert_eq!(proxy.client().get("/a").send().await.text(), DIGITS);
}

#[tokio::test]
async fn a_part_does_not_show_the_digest_of_the_whole() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| {
        digits(r)
            .header("content-digest", "sha-256=:AA==:")
            .header("content-md5", "AA==")
            .header("repr-digest", "x=:AA==:")
    });
    let whole = proxy.client().get("/a").send().await;
    assert_eq!(whole.header("content-digest").as_deref(), Some("sha-256=:AA==:"));
    for range in ["bytes=0-4", "bytes=0-1,4-5"] {
        let part = proxy.client().get("/a").header("range", range).send().await;
        assert_eq!((part.status, part.cache_status().hit), (206, true), "{range}");
        // RFC 9530 section 2: it is that of the content, which is a part here.
        for name in ["content-digest", "content-md5"] {
            assert_eq!(part.header(name), None, "{range} {name}");
        }
        assert!(part.header("repr-digest").is_some(), "{range}: this one is of the whole by definition");
    }
}
