//! Parts that are stored as parts (RFC 9111 sections 3.3 and 3.4), from an origin that serves ranges.

use std::time::Duration;

use super::{EXACT, start};
use crate::support::client::{Answer, herd};
use crate::support::origin::{Origin, Received, Reply};
use crate::support::proxy::Proxy;

pub(super) const DIGITS: &str = "0123456789";
const AS_ASKED: &str = ", ranges = 'as-asked'";
const MINUTE: (&str, &str) = ("cache-control", "max-age=60");

/// What an origin says that serves ranges and conditions by the book.
pub(super) fn served(request: &Received, body: &str, fields: &[(&str, &str)]) -> Reply {
    let reply = fields.iter().fold(Reply::ok(), |reply, (name, value)| reply.header(name, value));
    let tag = fields.iter().find(|(name, _)| *name == "etag").map(|(_, tag)| (*tag).to_owned());
    if tag.is_some() && request.header("if-none-match") == tag {
        return reply.status(304);
    }
    let applies = request.header("if-range").is_none_or(|condition| Some(condition) == tag);
    let range = request.header("range").filter(|_| applies);
    let Some(range) = range.as_deref().and_then(|range| range.strip_prefix("bytes=")) else {
        return reply.body(body.to_owned());
    };
    let (first, last) = range.split_once('-').unwrap();
    let length = body.len();
    let (start, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => (first, (last + 1).min(length)),
        (Ok(first), Err(_)) => (first, length),
        (Err(_), Ok(suffix)) => (length.saturating_sub(suffix), length),
        (Err(_), Err(_)) => panic!("{range} is no range"),
    };
    if start >= end {
        return reply.status(416).header("content-range", &format!("bytes */{length}")).body("outside");
    }
    let content_range = format!("bytes {start}-{}/{length}", end - 1);
    reply.status(206).header("content-range", &content_range).body(body[start..end].to_owned())
}

/// An origin whose `/a` is this body with this tag, fresh for a minute.
fn ranged(origin: &Origin, body: &'static str, tag: &'static str) {
    origin.on_request("/a", move |request| served(request, body, &[MINUTE, ("etag", tag), ("x-tag", tag)]));
}

async fn ask(proxy: &Proxy, range: &str) -> Answer {
    proxy.client().get("/a").header("range", range).send().await
}

/// Status, range, body, and whether it came from the store.
fn seen(answer: &Answer) -> (u16, String, &str, bool) {
    let range = answer.header("content-range").unwrap_or_default();
    (answer.status, range, answer.text(), answer.cache_status().hit)
}

fn part(range: &str, body: &'static str, hit: bool) -> (u16, String, &'static str, bool) {
    (206, format!("bytes {range}/10"), body, hit)
}

fn whole(body: &'static str, hit: bool) -> (u16, String, &'static str, bool) {
    (200, String::new(), body, hit)
}

#[tokio::test]
async fn a_range_within_a_stored_part_is_answered_from_it_however_it_is_written() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    let first = ask(&proxy, "bytes=-5").await;
    assert_eq!(seen(&first), part("5-9", "56789", false));
    assert_eq!(origin.last("/a").header("range").as_deref(), Some("bytes=-5"), "as it was asked");
    proxy.pass(Duration::from_secs(7));
    for (range, content_range, body) in [
        ("bytes=-5", "5-9", "56789"),
        ("bytes=5-9", "5-9", "56789"),
        ("bytes=6-8", "6-8", "678"),
        ("bytes=6-", "6-9", "6789"),
        ("bytes=8-99", "8-9", "89"),
        ("bytes=-1", "9-9", "9"),
    ] {
        let hit = ask(&proxy, range).await;
        assert_eq!(seen(&hit), part(content_range, body, true), "{range}");
        assert_eq!(hit.header("content-length"), Some(body.len().to_string()), "{range}");
        assert_eq!((hit.age(), hit.header("etag").as_deref()), (Some(7), Some("\"1\"")), "{range}");
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn a_range_that_no_stored_part_covers_is_asked_for_and_joins_those_that_are() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    ask(&proxy, "bytes=0-2").await;
    ask(&proxy, "bytes=6-7").await;
    for range in ["bytes=2-3", "bytes=3-4", "bytes=4-6", "bytes=7-"] {
        let before = origin.hits("/a");
        let answer = ask(&proxy, range).await;
        assert!(!answer.cache_status().hit && answer.status == 206, "{range}: no hole is served");
        assert_eq!(origin.hits("/a"), before + 1, "{range}");
    }
    assert_eq!(seen(&ask(&proxy, "bytes=0-9").await), part("0-9", DIGITS, true), "all of them together");
    assert_eq!(seen(&proxy.client().get("/a").send().await), whole(DIGITS, true));
}

#[tokio::test]
async fn a_request_for_the_whole_asks_for_what_is_missing_and_stores_the_whole() {
    let (origin, proxy) = start(AS_ASKED).await;
    for (stored, missing) in [
        (&["bytes=0-4"][..], "bytes=5-"),
        (&["bytes=-5"], "bytes=0-4"),
        (&["bytes=0-2", "bytes=7-9"], "bytes=3-6"),
        (&["bytes=0-1", "bytes=4-5"], "bytes=2-"),
    ] {
        ranged(&origin, DIGITS, "\"1\"");
        for range in stored {
            ask(&proxy, range).await;
        }
        origin.on_request("/a", |request| served(request, DIGITS, &[MINUTE, ("etag", "\"1\""), ("x-tag", "new")]));
        let completed = proxy.client().get("/a").send().await;
        assert_eq!(seen(&completed), whole(DIGITS, false), "{stored:?}");
        assert_eq!(completed.header("content-length").as_deref(), Some("10"));
        assert_eq!(completed.header("x-tag").as_deref(), Some("new"), "the newer fields count");
        let asked = origin.last("/a");
        assert_eq!(asked.header("range").as_deref(), Some(missing), "{stored:?}");
        assert_eq!(asked.header("if-range").as_deref(), Some("\"1\""), "{stored:?}");
        let hit = proxy.client().get("/a").send().await;
        assert_eq!(seen(&hit), whole(DIGITS, true), "{stored:?}");
        assert_eq!(hit.header("via").as_deref(), Some("1.1 millpond"));
        proxy.purge(r#"{"all": true}"#).await;
    }
}

#[tokio::test]
async fn what_has_changed_meanwhile_comes_whole_and_takes_the_place_of_the_parts() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    ask(&proxy, "bytes=0-4").await;
    ranged(&origin, "abcdefghij", "\"2\"");
    assert_eq!(seen(&proxy.client().get("/a").send().await), whole("abcdefghij", false));
    assert_eq!(seen(&ask(&proxy, "bytes=0-4").await), part("0-4", "abcde", true), "cut from the whole");
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn parts_of_another_representation_replace_those_stored_and_are_never_combined() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    ask(&proxy, "bytes=0-4").await;
    ranged(&origin, "abcdefghij", "\"2\"");
    assert_eq!(seen(&ask(&proxy, "bytes=5-9").await), part("5-9", "fghij", false));
    assert_eq!(seen(&ask(&proxy, "bytes=0-4").await), part("0-4", "abcde", false), "the old one is gone");
    assert_eq!(seen(&ask(&proxy, "bytes=5-9").await), part("5-9", "fghij", true), "and now they are of one whole");
}

#[tokio::test]
async fn parts_without_a_strong_validator_are_stored_and_neither_joined_nor_completed() {
    const MODIFIED: (&str, &str) = ("last-modified", super::MODIFIED);
    const SAME_SECOND: (&str, &str) = ("date", super::MODIFIED);
    const LATER: (&str, &str) = ("date", super::AFTER);
    for (fields, strong) in [
        (&[MINUTE][..], false),
        (&[MINUTE, ("etag", "W/\"1\"")], false),
        (&[MINUTE, MODIFIED, SAME_SECOND], false),
        (&[MINUTE, ("etag", "W/\"1\""), MODIFIED, LATER], false),
        (&[MINUTE, MODIFIED, LATER], true),
    ] {
        let origin = Origin::start().await;
        // The dates are old.
        let proxy = Proxy::start(&origin).cache(&format!("{EXACT}{AS_ASKED}, force_ttl = '1m'")).await;
        origin.on_request("/a", move |request| served(request, DIGITS, fields));
        ask(&proxy, "bytes=0-4").await;
        assert_eq!(seen(&ask(&proxy, "bytes=1-2").await), part("1-2", "12", true), "{fields:?}");
        ask(&proxy, "bytes=5-8").await;
        assert_eq!(ask(&proxy, "bytes=0-4").await.cache_status().hit, strong, "{fields:?}");
        proxy.client().get("/a").send().await;
        assert_eq!(origin.last("/a").header("range").is_some(), strong, "{fields:?}");
    }
}

#[tokio::test]
async fn a_stale_part_is_confirmed_by_a_304_and_fresh_again() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    ask(&proxy, "bytes=0-4").await;
    proxy.pass(Duration::from_secs(61));
    let confirmed = ask(&proxy, "bytes=1-2").await;
    let asked = origin.last("/a");
    assert_eq!((confirmed.status, confirmed.text()), (206, "12"));
    assert_eq!(confirmed.header("content-range").as_deref(), Some("bytes 1-2/10"));
    assert_eq!(confirmed.cache_status().fwd_status, Some(304));
    assert_eq!(asked.header("if-none-match").as_deref(), Some("\"1\""));
    assert_eq!(asked.header("range").as_deref(), Some("bytes=1-2"));
    assert_eq!(seen(&ask(&proxy, "bytes=0-4").await), part("0-4", "01234", true), "all that was stored");
    assert_eq!(origin.hits("/a"), 2);
    proxy.pass(Duration::from_secs(61));
    ranged(&origin, "abcdefghij", "\"2\"");
    assert_eq!(seen(&ask(&proxy, "bytes=1-2").await), part("1-2", "bc", false), "changed");
    assert_eq!(seen(&ask(&proxy, "bytes=0-4").await), part("0-4", "abcde", false), "and not mixed up");
}

#[tokio::test]
async fn stale_parts_are_served_while_they_are_refreshed_and_when_the_origin_fails() {
    let (origin, proxy) = start(&format!("{AS_ASKED}, stale_while_revalidate = '10s', stale_if_error = '1h'")).await;
    ranged(&origin, DIGITS, "\"1\"");
    ask(&proxy, "bytes=0-4").await;
    proxy.pass(Duration::from_secs(65));
    let stale = ask(&proxy, "bytes=1-2").await;
    assert_eq!((seen(&stale), stale.age()), (part("1-2", "12", true), Some(65)));
    proxy.refreshed("confirmed", 1).await;
    assert_eq!(ask(&proxy, "bytes=1-2").await.age(), Some(0));
    proxy.pass(Duration::from_secs(75));
    origin.fail("/a", 503);
    let stand_in = ask(&proxy, "bytes=1-2").await;
    assert_eq!((stand_in.status, stand_in.text(), stand_in.age()), (206, "12", Some(75)));
    assert_eq!(stand_in.cache_status().detail.as_deref(), Some("stale-if-error"));
    let again = ask(&proxy, "bytes=1-2").await;
    assert_eq!((again.text(), origin.hits("/a")), ("12", 3), "and the origin is left alone for a while");
    assert_eq!(ask(&proxy, "bytes=6-7").await.status, 503, "what is not stored can not stand in");
}

#[tokio::test]
async fn purges_reach_parts_by_url_tag_and_route_and_softly() {
    for (purge, gone) in [
        (r#"{"url": "http://HOST/a"}"#, true),
        (r#"{"tag": "t"}"#, true),
        (r#"{"route": "all"}"#, true),
        (r#"{"all": true}"#, true),
        (r#"{"tag": "other"}"#, false),
    ] {
        let (origin, proxy) = start(AS_ASKED).await;
        origin
            .on_request("/a", |request| served(request, DIGITS, &[MINUTE, ("etag", "\"1\""), ("surrogate-key", "t")]));
        ask(&proxy, "bytes=0-4").await;
        proxy.purge(&purge.replace("HOST", &proxy.addr().to_string())).await;
        assert_eq!(ask(&proxy, "bytes=0-4").await.cache_status().hit, !gone, "{purge}");
        proxy.purge(r#"{"tag": "t", "soft": true}"#).await;
        ask(&proxy, "bytes=0-4").await;
        assert!(origin.last("/a").header("if-none-match").is_some(), "{purge}: a soft purge makes it stale");
    }
}

#[tokio::test]
async fn the_tags_of_every_part_count_for_what_is_made_of_them() {
    let (origin, proxy) = start(AS_ASKED).await;
    for (range, tag) in [("bytes=0-2", "a"), ("bytes=3-5", "b")] {
        let fields = [MINUTE, ("etag", "\"1\""), ("surrogate-key", tag)];
        origin.on_request("/a", move |request| served(request, DIGITS, &fields));
        ask(&proxy, range).await;
    }
    ranged(&origin, DIGITS, "\"1\"");
    assert_eq!(seen(&proxy.client().get("/a").send().await), whole(DIGITS, false));
    assert_eq!(origin.last("/a").header("range").as_deref(), Some("bytes=6-"));
    proxy.purge(r#"{"tag": "a"}"#).await;
    assert!(!proxy.client().get("/a").send().await.cache_status().hit);
}

#[tokio::test]
async fn a_304_for_parts_that_a_purge_overtook_brings_nothing_back() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    ask(&proxy, "bytes=0-4").await;
    proxy.pass(Duration::from_secs(61));
    let gate = origin.hold("/a");
    let pending = proxy.client().get("/a").header("range", "bytes=0-4").start().await;
    gate.arrived(1).await;
    proxy.purge(r#"{"all": true}"#).await;
    gate.release();
    assert_eq!(pending.rest().await.unwrap(), "01234");
    assert!(origin.last("/a").header("if-none-match").is_none(), "asked anew");
    assert!(!ask(&proxy, "bytes=0-4").await.cache_status().hit, "which began before the purge as well");
}

#[tokio::test]
async fn a_part_from_before_a_purge_is_not_joined_by_one_from_after_it() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    ask(&proxy, "bytes=0-4").await;
    proxy.purge(r#"{"all": true}"#).await;
    ask(&proxy, "bytes=5-9").await;
    assert_eq!(seen(&ask(&proxy, "bytes=0-4").await), part("0-4", "01234", false));
}

#[tokio::test]
async fn a_part_that_a_purge_overtakes_is_not_stored() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    let gate = origin.hold("/a");
    let pending = proxy.client().get("/a").header("range", "bytes=0-4").start().await;
    gate.arrived(1).await;
    proxy.purge(r#"{"all": true}"#).await;
    gate.release();
    assert_eq!(pending.rest().await.unwrap(), "01234");
    assert!(!ask(&proxy, "bytes=0-4").await.cache_status().hit);
}

#[tokio::test]
async fn parts_are_selected_by_what_they_vary_on() {
    let (origin, proxy) = start(AS_ASKED).await;
    origin.on_request("/a", |request| {
        let body = if request.header("x-a").as_deref() == Some("1") { DIGITS } else { "abcdefghij" };
        served(request, body, &[MINUTE, ("etag", "\"same\""), ("vary", "x-a")])
    });
    let get = |variant: &str, range: &str| proxy.client().get("/a").header("x-a", variant).header("range", range);
    get("1", "bytes=0-4").send().await;
    let other = get("2", "bytes=5-9").send().await;
    assert_eq!(seen(&other), part("5-9", "fghij", false));
    assert_eq!(seen(&get("1", "bytes=0-1").send().await), part("0-1", "01", true));
    assert_eq!(seen(&get("2", "bytes=0-1").send().await), part("0-1", "ab", false));
    let whole_of = |variant: &'static str| proxy.client().get("/a").header("x-a", variant);
    assert_eq!(seen(&whole_of("2").send().await), whole("abcdefghij", false));
    assert_eq!(seen(&get("1", "bytes=3-4").send().await), part("3-4", "34", true), "the other variant stays");
}

#[tokio::test]
async fn clients_that_ask_for_one_range_share_its_fetch_and_others_do_not_wait_for_it() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    let gate = origin.hold("/a");
    let client = proxy.client();
    let many = tokio::spawn(async move { herd(20, || client.get("/a").header("range", "bytes=0-4")).await });
    proxy.followers(19).await;
    let mut other = proxy.client().get("/a").header("range", "bytes=5-9").start().await;
    gate.arrived(2).await;
    gate.release();
    many.await.unwrap().all_got(206, "01234");
    assert_eq!(other.head().await.headers["content-range"], "bytes 5-9/10");
    assert_eq!(other.rest().await.unwrap(), "56789");
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn the_condition_of_a_client_decides_between_part_and_whole() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    let get = |condition: &str| proxy.client().get("/a").header("range", "bytes=0-4").header("if-range", condition);
    assert_eq!(seen(&get("\"1\"").send().await), part("0-4", "01234", false));
    assert_eq!(origin.last("/a").header("if-range").as_deref(), Some("\"1\""));
    assert_eq!(
        seen(&ask(&proxy, "bytes=0-4").await),
        part("0-4", "01234", false),
        "that answer was for a client who has the fields"
    );
    assert_eq!(seen(&get("\"1\"").send().await), part("0-4", "01234", true));
    let known = proxy.client().get("/a").header("range", "bytes=0-4").header("if-none-match", "\"1\"").send().await;
    assert_eq!((known.status, known.cache_status().hit), (304, true));
    assert_eq!(seen(&get("\"0\"").send().await), whole(DIGITS, false), "the client has something older");
    assert_eq!(origin.hits("/a"), 3);
}

#[tokio::test]
async fn by_default_the_whole_is_fetched_unless_it_is_too_large_to_store() {
    let (origin, proxy) = start(", max_object_size = '8B'").await;
    ranged(&origin, DIGITS, "\"1\"");
    assert_eq!(seen(&ask(&proxy, "bytes=0-3").await), part("0-3", "0123", false));
    assert_eq!(origin.hits("/a"), 2, "the whole, which is too large, and then the range");
    assert_eq!(seen(&ask(&proxy, "bytes=1-2").await), part("1-2", "12", true));
    assert_eq!(seen(&ask(&proxy, "bytes=4-7").await), part("4-7", "4567", false));
    assert_eq!(origin.hits("/a"), 3, "it is known by now");
    assert_eq!(seen(&ask(&proxy, "bytes=0-7").await), part("0-7", "01234567", true));
    assert_eq!(seen(&proxy.client().get("/a").send().await), whole(DIGITS, false));
    assert!(origin.last("/a").header("range").is_none());
    assert_eq!(seen(&ask(&proxy, "bytes=0-7").await), part("0-7", "01234567", true), "the parts are still right");
    proxy.pass(Duration::from_secs(55));
    assert_eq!(seen(&ask(&proxy, "bytes=8-9").await), part("8-9", "89", false));
    assert_eq!(origin.last("/a").header("range").as_deref(), Some("bytes=8-9"), "the parts tell how large it is");
    assert!(!ask(&proxy, "bytes=0-3").await.cache_status().hit, "the oldest gave way: no more than 8 bytes are kept");
}

#[tokio::test]
async fn clients_of_something_too_large_share_the_fetch_of_a_range() {
    let (origin, proxy) = start(", max_object_size = '8B'").await;
    ranged(&origin, DIGITS, "\"1\"");
    proxy.client().get("/a").send().await;
    let gate = origin.hold("/a");
    let client = proxy.client();
    let many = tokio::spawn(async move { herd(10, || client.get("/a").header("range", "bytes=0-4")).await });
    proxy.followers(9).await;
    gate.release();
    many.await.unwrap().all_got(206, "01234");
    assert_eq!(origin.hits("/a"), 2);
}

#[tokio::test]
async fn an_origin_that_knows_no_ranges_sends_the_whole_which_is_stored() {
    let (origin, proxy) = start(AS_ASKED).await;
    origin.on("/a", |r| r.header(MINUTE.0, MINUTE.1).body(DIGITS));
    assert_eq!(seen(&ask(&proxy, "bytes=2-4").await), part("2-4", "234", false));
    assert_eq!(seen(&proxy.client().get("/a").send().await), whole(DIGITS, true));
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn several_ranges_are_cut_from_the_whole_in_either_mode() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    assert_eq!(seen(&ask(&proxy, "bytes=0-1,4-4").await), whole(DIGITS, false), "it may still be arriving");
    let several = ask(&proxy, "bytes=0-1,4-4").await;
    assert!(several.header("content-type").unwrap().starts_with("multipart/byteranges"));
    assert_eq!((several.status, origin.last("/a").header("range")), (206, None));
    assert!(ask(&proxy, "bytes=2-3").await.cache_status().hit);
}

#[tokio::test]
async fn a_range_outside_the_whole_is_told_to_its_client_and_forgotten() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    ask(&proxy, "bytes=0-4").await;
    for _ in 0..2 {
        let outside = ask(&proxy, "bytes=20-").await;
        assert_eq!((outside.status, outside.header("content-range").as_deref()), (416, Some("bytes */10")));
    }
    assert_eq!(seen(&ask(&proxy, "bytes=0-4").await), part("0-4", "01234", true), "the stored part stays");
    assert_eq!(seen(&proxy.client().get("/a").send().await), whole(DIGITS, false), "the 416 is nobody else's");
}

#[tokio::test]
async fn the_fields_for_one_user_are_kept_out_of_parts_as_of_wholes() {
    for fields in [
        &[("cache-control", "private, max-age=60")][..],
        &[("cache-control", "no-store")],
        &[MINUTE, ("set-cookie", "a=b")],
        &[],
    ] {
        let (origin, proxy) = start(AS_ASKED).await;
        let fields = fields.to_vec();
        let shown = format!("{fields:?}");
        origin.on_request("/a", move |request| served(request, DIGITS, &fields));
        for _ in 0..2 {
            assert_eq!(seen(&ask(&proxy, "bytes=0-4").await), part("0-4", "01234", false), "{shown}");
        }
    }
}

#[tokio::test]
async fn the_parts_of_a_url_count_as_one_of_its_variants() {
    let origin = Origin::start().await;
    let section = "[cache]\nmax_variants = 2\n";
    let proxy = Proxy::start(&origin).cache(&format!("{EXACT}{AS_ASKED}")).section(section).await;
    let fields = [MINUTE, ("etag", "\"1\""), ("vary", "x-a")];
    origin.on_request("/a", move |request| served(request, DIGITS, &fields));
    let get =
        |variant: usize| proxy.client().get("/a").header("x-a", &variant.to_string()).header("range", "bytes=0-4");
    for variant in 0..4 {
        get(variant).send().await;
    }
    let mut kept = 0;
    for variant in 0..4 {
        kept += usize::from(get(variant).send().await.cache_status().hit);
    }
    assert_eq!(kept, 2);
}

#[tokio::test]
async fn a_range_is_read_while_it_arrives_and_the_whole_while_it_is_completed() {
    let (origin, proxy) = start(AS_ASKED).await;
    let fields = |r: Reply| r.status(206).header(MINUTE.0, MINUTE.1).header("etag", "\"1\"");
    let stream =
        origin.stream("/a", |r| fields(r).header("content-range", "bytes 0-4/10").header("content-length", "5"));
    let mut early = proxy.client().get("/a").header("range", "bytes=0-4").start().await;
    assert_eq!(early.head().await.headers["content-length"], "5");
    stream.send("01");
    early.expect("01").await;
    stream.send("234");
    stream.finish();
    assert_eq!(early.rest().await.unwrap(), "234");
    let stream =
        origin.stream("/a", |r| fields(r).header("content-range", "bytes 5-9/10").header("content-length", "5"));
    let mut completed = proxy.client().start("/a").await;
    completed.expect("01234").await;
    stream.send("56");
    completed.expect("56").await;
    stream.send("789");
    stream.finish();
    assert_eq!(completed.rest().await.unwrap(), "789");
    assert_eq!(seen(&proxy.client().get("/a").send().await), whole(DIGITS, true));
}

#[tokio::test]
async fn a_304_that_changes_what_parts_vary_on_tells_requests_apart_from_then_on() {
    let (origin, proxy) = start(AS_ASKED).await;
    ranged(&origin, DIGITS, "\"1\"");
    ask(&proxy, "bytes=0-4").await;
    proxy.pass(Duration::from_secs(61));
    let fields = [MINUTE, ("etag", "\"1\""), ("vary", "x-a")];
    origin.on_request("/a", move |request| served(request, DIGITS, &fields));
    let get = |variant: &str| proxy.client().get("/a").header("x-a", variant).header("range", "bytes=0-4");
    assert_eq!(get("1").send().await.cache_status().fwd_status, Some(304));
    assert!(get("1").send().await.cache_status().hit);
    assert!(!get("2").send().await.cache_status().hit);
}

#[tokio::test]
async fn a_head_that_is_passed_on_and_tells_of_something_else_makes_parts_stale() {
    for (tag, stale) in [("\"1\"", false), ("\"2\"", true)] {
        let (origin, proxy) = start(&format!("{AS_ASKED}, respect_client_cache_control = true")).await;
        ranged(&origin, DIGITS, "\"1\"");
        ask(&proxy, "bytes=0-4").await;
        origin.on("/a", |r| r.header(MINUTE.0, MINUTE.1).header("etag", tag).body(DIGITS));
        proxy.client().ask("HEAD", "/a").header("cache-control", "no-store").send().await;
        ranged(&origin, DIGITS, "\"1\"");
        assert_eq!(ask(&proxy, "bytes=0-4").await.cache_status().hit, !stale, "{tag}");
    }
}

#[tokio::test]
async fn the_digest_of_one_part_is_not_shown_with_another_nor_with_the_whole() {
    let (origin, proxy) = start(AS_ASKED).await;
    origin.on_request("/a", |request| {
        let digest = format!("x=:{}:", request.header("range").unwrap_or_default().len());
        served(request, DIGITS, &[MINUTE, ("etag", "\"1\""), ("content-digest", &digest), ("content-md5", "AA==")])
    });
    let own = ask(&proxy, "bytes=0-6").await;
    assert_eq!(own.header("content-digest").as_deref(), Some("x=:9:"), "as the origin sent it");
    let within = ask(&proxy, "bytes=2-3").await;
    let completed = proxy.client().get("/a").send().await;
    let hit = proxy.client().get("/a").send().await;
    assert_eq!((seen(&within), seen(&completed)), (part("2-3", "23", true), whole(DIGITS, false)));
    assert_eq!(seen(&hit), whole(DIGITS, true));
    for answer in [within, completed, hit] {
        for name in ["content-digest", "content-md5"] {
            assert_eq!(answer.header(name), None, "{name} of {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_part_varies_on_what_the_whole_would_vary_on() {
    let (origin, proxy) = start(&format!("{AS_ASKED}, compress = ['gzip'], compress_from = '1B'")).await;
    origin.on_request("/a", |request| {
        served(request, DIGITS, &[MINUTE, ("etag", "\"1\""), ("content-type", "text/plain")])
    });
    // RFC 9110 section 15.3.7: a 206 has the Vary of the 200 that it is a part of.
    for _ in 0..2 {
        let part = ask(&proxy, "bytes=0-4").await;
        assert_eq!((part.status, part.header("vary").as_deref()), (206, Some("Accept-Encoding")));
    }
    proxy.client().get("/a").send().await;
    assert_eq!(ask(&proxy, "bytes=0-4").await.header("vary").as_deref(), Some("Accept-Encoding"));
}
