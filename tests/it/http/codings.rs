//! Content codings of our own (RFC 9110 sections 8.4 and 12.5.3): one stored body, every client.

mod conditions;
mod exempt;
mod lifetime;
mod negotiating;

use std::io::Read;

use super::{for_a_minute, start};
use crate::support::client::{Answer, Ask, herd};
use crate::support::origin::Reply;
use crate::support::proxy::Proxy;
use crate::support::soon;

const ALL: &str = ", compress = ['zstd', 'br', 'gzip']";

/// A body of 2.6 kB that shrinks well.
fn text() -> String {
    "abcdefghijklmnopqrstuvwxyz".repeat(100)
}

fn json(reply: Reply) -> Reply {
    for_a_minute(reply).header("content-type", "application/json").header("etag", "\"1\"").body(text())
}

fn get(proxy: &Proxy, codings: &str) -> Ask {
    proxy.client().get("/a").header("accept-encoding", codings)
}

/// The body without its coding.
fn decoded(answer: &Answer) -> String {
    let body = answer.body.as_ref().unwrap();
    let mut plain = Vec::new();
    match answer.header("content-encoding").as_deref() {
        None => plain = body.to_vec(),
        Some("gzip") => drop(flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap()),
        Some("br") => drop(brotli::Decompressor::new(&body[..], 4096).read_to_end(&mut plain).unwrap()),
        Some("zstd") => plain = zstd::stream::decode_all(&body[..]).unwrap(),
        Some(other) => panic!("nobody asked for {other}"),
    }
    String::from_utf8(plain).unwrap()
}

fn coding(answer: &Answer) -> Option<String> {
    answer.header("content-encoding")
}

/// The series that counts bodies by coding and by what became of the result.
fn made(coding: &str, result: &str) -> String {
    format!("codings_total{{coding=\"{coding}\",result=\"{result}\",route=\"all\"}}")
}

/// Stores `/a` and waits until it is there in this coding.
async fn stored_in(proxy: &Proxy, wanted: &str) {
    let asked_until_coded = async {
        // A hit that would rather have had the coding has it made, unless all coders are at work.
        while coding(&get(proxy, wanted).send().await).is_none() {
            tokio::task::yield_now().await;
        }
    };
    soon(&format!("/a to be there in {wanted}"), asked_until_coded).await;
    proxy.reaches(&made(wanted, "kept"), 1).await;
}

#[tokio::test]
async fn one_stored_body_serves_clients_with_and_without_codings() {
    let (origin, proxy) = start(ALL).await;
    origin.on("/a", json);
    let first = get(&proxy, "gzip").send().await;
    assert_eq!((first.text(), coding(&first)), (text().as_str(), None), "as it streams");
    assert_eq!(first.header("vary").as_deref(), Some("Accept-Encoding"));
    assert_eq!(origin.last("/a").header("accept-encoding").as_deref(), Some("identity"));
    for coding in ["gzip", "br", "zstd"] {
        stored_in(&proxy, coding).await;
    }
    for (accept, expected, tag) in [
        ("gzip", Some("gzip"), "\"1-gzip\""),
        ("x-gzip;q=0.5, br;q=0.4", Some("gzip"), "\"1-gzip\""),
        ("gzip, br", Some("br"), "\"1-br\""),
        ("gzip, deflate, br, zstd", Some("zstd"), "\"1-zstd\""),
        ("*", Some("zstd"), "\"1-zstd\""),
        ("", None, "\"1\""),
        ("deflate", None, "\"1\""),
        ("gzip;q=0", None, "\"1\""),
        ("identity;q=0, gzip", Some("gzip"), "\"1-gzip\""),
    ] {
        let answer = get(&proxy, accept).send().await;
        assert_eq!((coding(&answer).as_deref(), decoded(&answer)), (expected, text()), "{accept}");
        assert_eq!(answer.header("etag").as_deref(), Some(tag), "{accept}");
        assert_eq!(answer.header("vary").as_deref(), Some("Accept-Encoding"), "{accept}");
        assert_eq!(answer.header("content-length"), Some(answer.body.as_ref().unwrap().len().to_string()), "{accept}");
        assert!(answer.cache_status().hit && answer.age() == Some(0), "{accept}");
    }
    let silent = proxy.client().get("/a").send().await;
    assert_eq!((silent.text(), coding(&silent)), (text().as_str(), None));
    assert_eq!(silent.header("vary").as_deref(), Some("Accept-Encoding"));
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn a_body_is_coded_once_however_many_want_it_at_the_same_time() {
    let (origin, proxy) = start(ALL).await;
    origin.on("/a", json);
    proxy.client().get("/a").send().await;
    let first = herd(50, || get(&proxy, "gzip, br")).await;
    proxy.reaches(&made("br", "kept"), 1).await;
    let second = herd(100, || get(&proxy, "gzip, br")).await;
    for answer in first.answers.iter().chain(&second.answers) {
        assert_eq!(decoded(answer), text());
    }
    assert_eq!((first.answers.len(), second.answers.len()), (50, 100));
    assert!(second.answers.iter().all(|answer| coding(answer).as_deref() == Some("br")));
    for (coding, count) in [("br", 1), ("gzip", 0), ("zstd", 0)] {
        assert_eq!(proxy.metric(&made(coding, "kept")).await, count, "{coding}");
    }
    let coded = first.answers.iter().chain(&second.answers).filter(|answer| coding(answer).is_some());
    let (sent, bytes) = coded.fold((0, 0), |(sent, bytes), a| (sent + 1, bytes + a.body.as_ref().unwrap().len()));
    let series = |name: &str| format!("{name}{{coding=\"br\",route=\"all\"}}");
    assert_eq!(proxy.metric(&series("coded_responses_total")).await, sent);
    let saved = sent * text().len() as u64 - bytes as u64;
    assert_eq!(proxy.metric(&series("coded_saved_bytes_total")).await, saved);
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn an_origin_that_varies_on_codings_is_asked_once_for_all_of_them() {
    let (origin, proxy) = start(ALL).await;
    origin.on("/a", |r| json(r).header("vary", "Accept-Encoding, X-Tenant"));
    for accept in ["gzip", "br", "zstd, gzip;q=0.1"] {
        let answer = get(&proxy, accept).send().await;
        assert_eq!(answer.header("vary").as_deref(), Some("Accept-Encoding, X-Tenant"), "{accept}");
    }
    assert_eq!(origin.hits("/a"), 1);
    get(&proxy, "gzip").header("x-tenant", "2").send().await;
    assert_eq!(origin.hits("/a"), 2, "the other field still selects");
}

#[tokio::test]
async fn what_the_origin_has_coded_serves_every_client_that_likes_the_coding_as_well_as_any() {
    let (origin, proxy) = start("").await;
    origin.on("/a", |r| json(r).header("vary", "Accept-Encoding").header("content-encoding", "gzip"));
    get(&proxy, "gzip, deflate, br").send().await;
    for accept in ["gzip", "br, gzip", "gzip;q=0.8, identity;q=0.5"] {
        assert!(get(&proxy, accept).send().await.cache_status().hit, "{accept}");
    }
    assert_eq!(origin.hits("/a"), 1);
    for accept in ["br", "br, gzip;q=0.5", "identity", ""] {
        assert!(!get(&proxy, accept).send().await.cache_status().hit, "{accept}");
    }
    assert!(!proxy.client().get("/a").send().await.cache_status().hit);
    assert_eq!(origin.hits("/a"), 6);
}

#[tokio::test]
async fn head_is_answered_like_get() {
    let (origin, proxy) = start(ALL).await;
    origin.on("/a", |r| json(r).header("accept-ranges", "bytes"));
    stored_in(&proxy, "gzip").await;
    let sent = "coded_responses_total{coding=\"gzip\",route=\"all\"}";
    let before = proxy.metric(sent).await;
    for accept in ["gzip", "deflate"] {
        let get = get(&proxy, accept).send().await;
        let head = proxy.client().ask("HEAD", "/a").header("accept-encoding", accept).send().await;
        let fields = |answer: &Answer| {
            let mut headers = answer.headers.clone();
            headers.remove("date");
            headers
        };
        assert_eq!((head.status, fields(&head)), (200, fields(&get)), "{accept}");
        assert!(head.text().is_empty());
        assert_eq!(head.header("accept-ranges").is_some(), accept == "deflate", "parts are cut from what is stored");
    }
    assert_eq!(proxy.metric(sent).await, before + 1, "a HEAD saves nothing");
}

#[tokio::test]
async fn a_part_is_cut_from_the_stored_body_whatever_codings_the_client_takes() {
    let (origin, proxy) = start(ALL).await;
    origin.on("/a", json);
    stored_in(&proxy, "gzip").await;
    let part = get(&proxy, "gzip").header("range", "bytes=0-2").send().await;
    assert_eq!((part.status, part.text(), coding(&part)), (206, "abc", None));
    assert_eq!(part.header("etag").as_deref(), Some("\"1\""));
    assert_eq!(part.header("vary").as_deref(), Some("Accept-Encoding"));
    for (condition, status) in [("\"1\"", 206), ("\"1-gzip\"", 200)] {
        let ask = get(&proxy, "gzip").header("range", "bytes=0-2").header("if-range", condition);
        let answer = ask.send().await;
        assert_eq!((answer.status, coding(&answer)), (status, None), "{condition}");
    }
    let refused = get(&proxy, "gzip, identity;q=0").header("range", "bytes=0-2").send().await;
    assert_eq!((refused.status, coding(&refused).as_deref(), decoded(&refused)), (200, Some("gzip"), text()));
}
