//! POSTs whose response answers later GETs (RFC 9110 section 9.3.3): of what may be stored in the place of
//! what they invalidate, and of purges and writes that come between.

use std::time::Duration;

use crate::support::client::{Answer, Ask};
use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;
use crate::support::soon;

use super::{EXACT, ask, get};

const ON: &str = ", post_fills_get = true";

async fn start(cache: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let cache = format!("{EXACT}{cache}");
    let proxy = Proxy::start(&origin).cache(&cache).route("name = 'everything'").await;
    (origin, proxy)
}

/// A response to POST that says it is what a GET of `/a` would bring.
fn own(reply: Reply) -> Reply {
    reply.header("cache-control", "max-age=60").header("content-location", "/a")
}

/// `/a` answers POST with `posted`, as `dress` has it, and GET with `got`.
fn answering(origin: &Origin, dress: impl Fn(Reply) -> Reply + Send + Sync + 'static) {
    origin.on_request("/a", move |request| match request.method.as_str() {
        "GET" => Reply::ok().header("cache-control", "max-age=60").body("got"),
        _ => dress(Reply::ok().body("posted")),
    });
}

fn post(proxy: &Proxy) -> Ask {
    ask(proxy, "POST", "/a").body("x")
}

/// What a GET is answered with, and whether it came from the store.
async fn gets(proxy: &Proxy) -> (String, bool) {
    let answer = get(proxy, "/a").send().await;
    (answer.text().to_owned(), answer.cache_status().hit)
}

fn hit() -> (String, bool) {
    ("posted".to_owned(), true)
}

fn fetched() -> (String, bool) {
    ("got".to_owned(), false)
}

fn via(answer: &Answer) -> Option<String> {
    answer.header("via")
}

#[tokio::test]
async fn a_post_that_brings_what_a_get_would_takes_the_place_of_what_it_invalidates() {
    for reference in ["/a", "http://api.test/a", "http://API.test:80/a", "a", ""] {
        let (origin, proxy) = start(ON).await;
        answering(&origin, move |r| {
            r.header("cache-control", "max-age=60").header("content-location", reference).header("x-a", "1")
        });
        assert_eq!(gets(&proxy).await, fetched());
        let posted = post(&proxy).send().await;
        assert_eq!((posted.text(), posted.cache_status().hit, posted.age()), ("posted", false, None), "{reference}");
        proxy.pass(Duration::from_secs(7));
        let answer = get(&proxy, "/a").send().await;
        assert_eq!((answer.text(), answer.cache_status().hit, answer.age()), ("posted", true, Some(7)), "{reference}");
        assert_eq!((answer.header("x-a").as_deref(), via(&answer)), (Some("1"), via(&posted)), "{reference}");
        assert!(answer.header("date").is_some());
        assert!(ask(&proxy, "HEAD", "/a").send().await.cache_status().hit);
        assert_eq!(origin.hits("/a"), 2, "{reference}");
        // Another POST is no look-up.
        post(&proxy).send().await;
        assert_eq!(origin.hits("/a"), 3);
        proxy.pass(Duration::from_mins(1));
        assert_eq!(gets(&proxy).await, fetched(), "stale");
    }
}

#[tokio::test]
async fn a_route_that_does_not_say_so_stores_no_post() {
    for cache in ["", ", post_fills_get = false"] {
        let (origin, proxy) = start(cache).await;
        answering(&origin, own);
        post(&proxy).send().await;
        assert_eq!(gets(&proxy).await, fetched());
    }
}

#[tokio::test]
async fn a_post_that_may_not_answer_a_get_only_invalidates() {
    type Dress = fn(Reply) -> Reply;
    let cases: [(&str, Dress); 14] = [
        ("no content-location", |r| r.header("cache-control", "max-age=60")),
        ("another location", |r| r.header("cache-control", "max-age=60").header("content-location", "/b")),
        ("another host", |r| r.header("cache-control", "max-age=60").header("content-location", "http://b.test/a")),
        ("another query", |r| r.header("cache-control", "max-age=60").header("content-location", "/a?x")),
        ("two locations", |r| own(r).header("content-location", "/a")),
        ("the route's lifetime", |r| r.header("content-location", "/a")),
        ("a guess", |r| r.header("content-location", "/a").header("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")),
        ("created", |r| own(r).status(201)),
        ("private", |r| r.header("cache-control", "private, max-age=60").header("content-location", "/a")),
        ("no-store", |r| own(r).header("cache-control", "no-store")),
        ("no-cache", |r| own(r).header("cache-control", "no-cache").header("etag", "\"1\"")),
        ("a cookie", |r| own(r).header("set-cookie", "a=b")),
        ("vary", |r| own(r).header("vary", "*")),
        ("of unknown length", |r| own(r).chunks(&["pos", "ted"])),
    ];
    for (name, dress) in cases {
        let (origin, proxy) = start(&format!("{ON}, ttl = '1m', heuristic = {{ fraction = 0.1, max = '1d' }}")).await;
        answering(&origin, dress);
        gets(&proxy).await;
        let posted = post(&proxy).send().await;
        assert_eq!(posted.text(), "posted", "{name}");
        assert_eq!(gets(&proxy).await, fetched(), "{name}");
    }
}

#[tokio::test]
async fn a_post_that_no_get_would_be_shared_with_is_not_stored() {
    type Dress = fn(Ask) -> Ask;
    let cases: [(&str, Dress); 6] = [
        ("", |a| a.header("authorization", "Basic x")),
        ("", |a| a.header("x-http-method-override", "PATCH")),
        ("", |a| a.header("x-original-url", "/b")),
        (", respect_client_cache_control = true", |a| a.header("cache-control", "no-store")),
        (", bypass = { cookies = ['session'] }", |a| a.header("cookie", "session=1")),
        (", max_object_size = '5B'", |a| a),
    ];
    for (index, (cache, dress)) in cases.into_iter().enumerate() {
        let (origin, proxy) = start(&format!("{ON}{cache}")).await;
        answering(&origin, own);
        assert_eq!(dress(post(&proxy)).send().await.text(), "posted", "case {index}");
        assert_eq!(gets(&proxy).await, fetched(), "case {index}");
    }
    let (origin, proxy) = start(ON).await;
    answering(&origin, own);
    ask(&proxy, "PUT", "/a").body("x").send().await;
    assert_eq!(gets(&proxy).await, fetched(), "another method");
}

#[tokio::test]
async fn a_parameter_that_the_key_leaves_out_shapes_nothing_that_is_stored() {
    let (origin, proxy) = start(&format!("{ON}, key = {{ query = {{ deny = ['utm_*'] }} }}")).await;
    answering(&origin, own);
    origin.on("/a?utm_x=evil", |r| own(r).header("content-location", "/a?utm_x=evil").body("evil"));
    ask(&proxy, "POST", "/a?utm_x=evil").body("x").send().await;
    assert_eq!(gets(&proxy).await, fetched());
}

#[tokio::test]
async fn a_posted_response_is_selected_by_the_fields_of_its_request() {
    let (origin, proxy) = start(ON).await;
    answering(&origin, |r| own(r).header("vary", "x-tenant"));
    post(&proxy).header("x-tenant", "1").send().await;
    let of = |tenant: &str| get(&proxy, "/a").header("x-tenant", tenant).send();
    assert_eq!(of("1").await.text(), "posted");
    assert_eq!(of("2").await.text(), "got");
}

#[tokio::test]
async fn a_purge_while_the_origin_works_on_a_post_keeps_its_response_out() {
    for purge in [
        r#"{"url": "http://api.test/a"}"#,
        r#"{"url": "http://api.test/a", "soft": true}"#,
        r#"{"prefix": "http://api.test/"}"#,
        r#"{"tag": "user:42"}"#,
        r#"{"route": "everything"}"#,
        r#"{"all": true}"#,
    ] {
        let (origin, proxy) = start(ON).await;
        answering(&origin, |r| own(r).header("surrogate-key", "team user:42"));
        let gate = origin.hold("/a");
        let posting = post(&proxy).start().await;
        gate.arrived(1).await;
        proxy.purge(purge).await;
        gate.release();
        assert_eq!(posting.rest().await.unwrap(), "posted");
        assert_eq!(gets(&proxy).await, fetched(), "{purge}");
    }
}

#[tokio::test]
async fn a_purge_of_something_else_meanwhile_does_not_keep_it_out() {
    let (origin, proxy) = start(ON).await;
    answering(&origin, own);
    let gate = origin.hold("/a");
    let posting = post(&proxy).start().await;
    gate.arrived(1).await;
    proxy.purge(r#"{"url": "http://api.test/b"}"#).await;
    gate.release();
    posting.rest().await.unwrap();
    assert_eq!(gets(&proxy).await, hit());
}

#[tokio::test]
async fn a_write_that_ends_while_the_origin_works_on_a_post_keeps_its_response_out() {
    let (origin, proxy) = start(ON).await;
    answering(&origin, own);
    let gate = origin.hold("/a");
    let posting = post(&proxy).start().await;
    gate.arrived(1).await;
    // Which of the two the origin has done last, nobody here can tell.
    let writing = ask(&proxy, "PUT", "/a").body("y").start().await;
    gate.arrived(2).await;
    gate.release();
    let ends = (posting.rest().await.unwrap(), writing.rest().await.unwrap());
    assert_eq!(ends, ("posted".into(), "posted".into()));
    assert_eq!(gets(&proxy).await, fetched());
}

#[tokio::test]
async fn a_purge_while_the_body_of_a_post_arrives_keeps_it_out() {
    for purge in [r#"{"url": "http://api.test/a"}"#, r#"{"tag": "t"}"#, r#"{"all": true}"#] {
        let (origin, proxy) = start(ON).await;
        let stream = origin.stream("/a", |r| own(r).header("surrogate-key", "t").header("content-length", "6"));
        let posting = post(&proxy).start().await;
        stream.requested(1).await;
        stream.send("pos");
        proxy.reaches("invalidation_applied_seq", 1).await;
        proxy.purge(purge).await;
        stream.send("ted");
        stream.finish();
        assert_eq!(posting.rest().await.unwrap(), "posted");
        answering(&origin, own);
        assert_eq!(gets(&proxy).await, fetched(), "{purge}");
    }
}

#[tokio::test]
async fn a_post_whose_body_breaks_off_breaks_off_for_the_client_and_is_not_stored() {
    let (origin, proxy) = start(ON).await;
    let stream = origin.stream("/a", |r| own(r).header("content-length", "6"));
    let breaking = async {
        stream.requested(1).await;
        stream.send("pos");
        proxy.reaches("invalidation_applied_seq", 1).await;
        stream.abort();
    };
    let (answer, ()) =
        Box::pin(soon("the answer to end", async { tokio::join!(post(&proxy).try_send(), breaking) })).await;
    // It depends on the moment whether the client sees a head before the connection breaks.
    assert!(answer.ok().is_none_or(|answer| answer.body.is_err()));
    answering(&origin, own);
    assert_eq!(gets(&proxy).await, fetched());
}

#[tokio::test]
async fn a_posted_response_is_purged_like_any_other() {
    for purge in [r#"{"url": "http://api.test/a"}"#, r#"{"tag": "t"}"#, r#"{"route": "everything"}"#] {
        let (origin, proxy) = start(ON).await;
        answering(&origin, |r| own(r).header("surrogate-key", "t"));
        post(&proxy).send().await;
        assert_eq!(gets(&proxy).await, hit());
        proxy.purge(purge).await;
        assert_eq!(gets(&proxy).await, fetched(), "{purge}");
    }
}

#[tokio::test]
async fn where_bodies_are_coded_a_post_is_stored_without_coding_or_not_at_all() {
    for (coding, stored) in [(None, hit()), (Some("br"), fetched())] {
        let (origin, proxy) = start(&format!("{ON}, compress = ['gzip']")).await;
        answering(&origin, move |r| match coding {
            Some(coding) => own(r).header("content-encoding", coding),
            None => own(r).header("vary", "accept-encoding"),
        });
        post(&proxy).header("accept-encoding", "br").send().await;
        assert_eq!(gets(&proxy).await, stored, "{coding:?}");
    }
}
