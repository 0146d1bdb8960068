//! What purges responses that were looked up by a body, and what does not.

use crate::support::origin::Origin;
use crate::support::proxy::Proxy;

use super::{EXACT, JSON, ask, for_a_minute, hits, post, start};

async fn with_two_bodies() -> (Origin, Proxy) {
    let (origin, proxy) = start("", "").await;
    for body in ["one", "two"] {
        assert!(!hits(&proxy, body).await && hits(&proxy, body).await);
    }
    (origin, proxy)
}

#[tokio::test]
async fn a_purge_by_url_removes_all_bodies_of_the_url() {
    for order in ["{\"url\": \"http://api.test/s\"}", "{\"prefix\": \"http://api.test/\"}", "{\"route\": \"all\"}"] {
        let (_origin, proxy) = with_two_bodies().await;
        let report = proxy.purge(order).await;
        assert_eq!(report["entries"], 2, "{order}: {report}");
        assert!(!hits(&proxy, "one").await && !hits(&proxy, "two").await, "{order}");
    }
}

#[tokio::test]
async fn a13_a_write_to_the_url_invalidates_all_bodies() {
    for method in ["PUT", "DELETE", "PATCH", "BREW"] {
        let (_origin, proxy) = with_two_bodies().await;
        ask(&proxy, method, JSON, "x").send().await;
        assert!(!hits(&proxy, "one").await && !hits(&proxy, "two").await, "{method}");
    }
}

#[tokio::test]
async fn a13_a_post_that_was_looked_up_invalidates_nothing() {
    let (origin, proxy) = with_two_bodies().await;
    let get = || ask(&proxy, "GET", JSON, "");
    get().send().await;
    // A miss, a hit, an uncacheable one, and one that fails.
    post(&proxy, "three").await;
    post(&proxy, "three").await;
    origin.on("/s", |r| r.header("cache-control", "no-store"));
    post(&proxy, "four").await;
    post(&proxy, "four").await;
    ask(&proxy, "QUERY", JSON, &"x".repeat(2000)).send().await;
    origin.on_request("/s", |r| for_a_minute(crate::support::origin::Reply::ok()).body(r.body.clone()));
    assert!(hits(&proxy, "one").await && hits(&proxy, "three").await && get().send().await.cache_status().hit);
}

#[tokio::test]
async fn a13_a_post_that_was_not_looked_up_invalidates_where_posts_may_be_mutations() {
    let (_origin, proxy) = start(", graphql = true", "").await;
    let query = "{\"query\": \"{a}\"}";
    let large = format!("{{\"query\": \"mutation {{ a }} # {}\"}}", "x".repeat(2000));
    for (name, value, body) in [("x-a", "1", large.as_str()), ("range", "bytes=0-0", query), ("if-match", "*", query)] {
        post(&proxy, query).await;
        assert!(hits(&proxy, query).await);
        ask(&proxy, "POST", JSON, body).header(name, value).send().await;
        assert!(!hits(&proxy, query).await, "{name}");
    }
}

#[tokio::test]
async fn a_purge_finds_the_url_as_the_route_of_the_method_writes_it() {
    let origin = Origin::start().await;
    origin.on("/s", |r| for_a_minute(r).body("v"));
    let posts = "[[routes]]\npath = '/s'\nmethods = ['POST']\norigin = 'scripted'\n\
                 cache = { key = { sort_query = true, body = { methods = ['POST'] } } }\n";
    let proxy = Proxy::start(&origin).cache(EXACT).section(posts).await;
    let ask = |method| proxy.client().ask(method, "/s?b=1&a=2").header("host", "api.test");
    for write in ["purge", "PUT"] {
        for method in ["GET", "POST"] {
            ask(method).send().await;
            assert!(ask(method).send().await.cache_status().hit, "{method}");
        }
        match write {
            "purge" => drop(proxy.purge("{\"url\": \"http://api.test/s?b=1&a=2\"}").await),
            method => drop(ask(method).send().await),
        }
        for method in ["GET", "POST"] {
            assert!(!ask(method).send().await.cache_status().hit, "{method} after {write}");
        }
    }
}

#[tokio::test]
async fn f9_what_one_user_is_shown_is_not_for_others() {
    let (origin, proxy) = start("", "").await;
    for fields in [&[("authorization", "Basic YTpi")][..], &[("x-user", "a")]] {
        origin.on_request("/s", |request| {
            let reply = for_a_minute(crate::support::origin::Reply::ok()).body(request.body.clone());
            if request.header("x-user").is_some() { reply.header("set-cookie", "session=a") } else { reply }
        });
        for round in 0..2 {
            let ask = fields.iter().fold(ask(&proxy, "POST", JSON, "mine"), |ask, (n, v)| ask.header(n, v));
            assert!(!ask.send().await.cache_status().hit, "{fields:?} {round}");
        }
    }
}

#[tokio::test]
async fn f10_a_post_that_only_asks_costs_nobody_else_their_answer_for_not_being_looked_up() {
    let (origin, proxy) = with_two_bodies().await;
    for fields in [("range", "bytes=0-0"), ("if-none-match", "\"x\""), ("if-range", "\"x\"")] {
        ask(&proxy, "POST", JSON, "one").header(fields.0, fields.1).send().await;
        assert!(hits(&proxy, "one").await && hits(&proxy, "two").await, "{fields:?}");
    }
    post(&proxy, &"x".repeat(2000)).await;
    assert!(hits(&proxy, "one").await && hits(&proxy, "two").await, "a large one");
    assert_eq!(origin.hits("/s"), 6);
    // One that says that it is another method is no question.
    ask(&proxy, "POST", JSON, "one").header("x-http-method-override", "DELETE").send().await;
    assert!(!hits(&proxy, "one").await && !hits(&proxy, "two").await);
}
