//! Which requests share a response.

use crate::support::origin::{Origin, Reply};
use crate::support::proxy::Proxy;

use super::{EXACT, JSON, ask, for_a_minute, hits, post, start};

#[tokio::test]
async fn by_default_no_method_but_get_is_looked_up() {
    let origin = Origin::start().await;
    origin.on("/s", |r| for_a_minute(r).body("v"));
    let proxy = Proxy::start(&origin).cache(&format!("{EXACT}, ttl = '60s'")).await;
    for (round, method) in ["POST", "POST", "QUERY", "QUERY"].into_iter().enumerate() {
        let answer = ask(&proxy, method, JSON, "{}").send().await;
        assert_eq!((answer.text(), answer.cache_status().detail.as_deref()), ("v", Some("unsafe-method")));
        assert_eq!((origin.hits("/s"), origin.last("/s").method.as_str()), (round + 1, method));
    }
}

#[tokio::test]
async fn equal_bodies_share_a_response_and_others_do_not() {
    let (origin, proxy) = start("", "").await;
    let first = post(&proxy, "{\"a\":1}").await;
    assert_eq!((first.cache_status().fwd.as_deref(), first.cache_status().stored), (Some("uri-miss"), true));
    assert!(hits(&proxy, "{\"a\":1}").await);
    for other in ["{\"a\":2}", "{\"a\":1} ", "", "{\"a\":1}{\"a\":1}"] {
        assert!(!hits(&proxy, other).await, "{other:?}");
        assert!(hits(&proxy, other).await, "{other:?}");
    }
    assert_eq!(origin.hits("/s"), 5);
}

#[tokio::test]
async fn the_method_and_what_describes_the_body_are_part_of_the_key() {
    let (origin, proxy) = start("", "").await;
    let plain = || ask(&proxy, "POST", JSON, "x");
    let asks = || {
        [
            plain(),
            ask(&proxy, "QUERY", JSON, "x"),
            ask(&proxy, "POST", "text/plain", "x"),
            plain().header("content-type", "text/plain"),
            plain().header("content-encoding", "gzip"),
            plain().header("content-language", "gzip"),
            ask(&proxy, "GET", JSON, ""),
            ask(&proxy, "POST", JSON, ""),
        ]
    };
    for (number, ask) in asks().into_iter().enumerate() {
        assert!(!ask.send().await.cache_status().hit, "{number}");
    }
    for (number, ask) in asks().into_iter().enumerate() {
        assert!(ask.send().await.cache_status().hit, "{number}");
    }
    assert_eq!(origin.hits("/s"), asks().len());
}

#[tokio::test]
async fn json_that_says_the_same_shares_a_response_where_the_route_says_so() {
    let (one, other) = (r#"{"a":1,"b":[true,"\u00e9"]}"#, "{ \"b\": [ true, \"é\" ],\n \"a\": 1 }");
    for (keys, shared) in [("", false), (", normalise_json = true", true)] {
        let (origin, proxy) = start(keys, "").await;
        assert_eq!(post(&proxy, one).await.text(), one);
        let answer = post(&proxy, other).await;
        assert_eq!((answer.cache_status().hit, origin.hits("/s")), (shared, if shared { 1 } else { 2 }));
        assert_eq!(origin.requests()[0].body, one, "the origin gets what the client wrote");
        // Neither a value that a reader may take for another, nor what is no JSON by its fields.
        for different in [r#"{"a":1.0,"b":[true,"é"]}"#, r#"{"a":1,"a":1,"b":[true,"é"]}"#, r#"{"a":1,"b":["é",true]}"#]
        {
            assert!(!hits(&proxy, different).await, "{different}");
        }
        ask(&proxy, "POST", "text/plain", one).send().await;
        assert!(!ask(&proxy, "POST", "text/plain", other).send().await.cache_status().hit);
        for kind in ["application/vnd.x+json", "Application/JSON; charset=utf-8"] {
            ask(&proxy, "POST", kind, one).send().await;
            assert_eq!(ask(&proxy, "POST", kind, other).send().await.cache_status().hit, shared, "{kind}");
        }
    }
}

#[tokio::test]
async fn d1_a_herd_with_equal_bodies_is_answered_by_one_fetch() {
    let (origin, proxy) = start("", "").await;
    let gate = origin.hold("/s");
    let mut clients = Vec::new();
    for body in ["one", "two", "one", "two", "one"] {
        clients.push((body, ask(&proxy, "POST", JSON, body).start().await));
    }
    gate.arrived(2).await;
    proxy.followers(3).await;
    gate.release();
    for (body, client) in clients {
        assert_eq!(client.rest().await.unwrap(), body);
    }
    assert_eq!(origin.hits("/s"), 2);
}

#[tokio::test]
async fn an_uncacheable_response_is_fetched_for_each_client_with_its_body() {
    let (origin, proxy) = start("", "").await;
    origin.on_request("/s", |request| Reply::ok().header("cache-control", "private").body(request.body.clone()));
    for (round, detail) in [(1, "private"), (2, "private"), (3, "private")] {
        let answer = post(&proxy, "mine").await;
        assert_eq!((answer.text(), answer.cache_status().detail.as_deref()), ("mine", Some(detail)));
        assert_eq!(origin.hits("/s"), round);
    }
    assert_eq!(ask(&proxy, "QUERY", JSON, "q").header("range", "bytes=0-1").send().await.text(), "q");
    assert_eq!(origin.last("/s").header("range").as_deref(), Some("bytes=0-1"));
}

#[tokio::test]
async fn without_a_lifetime_of_the_response_or_of_the_route_nothing_is_stored() {
    let cache = ", heuristic = { fraction = 0.5, max = '1h' }";
    let (origin, proxy) = start("", cache).await;
    origin.on("/s", |r| r.header("last-modified", super::super::MODIFIED).body("v"));
    for _ in 0..2 {
        assert_eq!(post(&proxy, "a").await.cache_status().detail.as_deref(), Some("no-lifetime"));
    }
    let (_origin, proxy) = start("", ", ttl = '60s'").await;
    assert!(!hits(&proxy, "a").await && hits(&proxy, "a").await);
}

#[tokio::test]
async fn f15_members_whose_names_differ_in_case_alone_count_in_the_order_they_came_in() {
    let (_origin, proxy) = start(", normalise_json = true", "").await;
    // A reader that matches names without case, as Go's does, takes the last.
    assert!(!hits(&proxy, r#"{"id":1,"ID":2}"#).await);
    assert!(!hits(&proxy, r#"{"ID":2,"id":1}"#).await);
}

#[tokio::test]
async fn f15_a_charset_that_is_written_in_an_odd_way_is_another_one() {
    let (_origin, proxy) = start(", normalise_json = true", "").await;
    for kind in [
        "application/json; charset =iso-8859-1",
        "application/json; charset= iso-8859-1",
        "application/json; charset*=x''iso-8859-1",
    ] {
        ask(&proxy, "POST", kind, "{\"a\": \"\\u00e9\"}").send().await;
        let other = ask(&proxy, "POST", kind, "{\"a\": \"\u{e9}\"}").send().await;
        assert!(!other.cache_status().hit, "{kind}");
    }
}
