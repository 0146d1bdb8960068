//! Users who ask for the same URL at the same time each get what was made for them.

use std::time::Duration;

use super::{for_a_minute, hello, start, with};
use crate::support::origin::{Received, Reply};
use crate::support::proxy::Proxy;
use crate::support::soon;

/// What identifies a user, and how the origin marks what it makes for one.
type Personal = (&'static str, fn(Reply) -> Reply);

/// Responses that must never be shared.
const PERSONAL: [Personal; 9] = [
    ("cookie", |r| r.header("cache-control", "private, max-age=60")),
    ("cookie", |r| r.header("cache-control", "no-store")),
    ("cookie", |r| for_a_minute(r).header("set-cookie", "seen=1")),
    ("cookie", |r| for_a_minute(r).header("vary", "*")),
    ("cookie", |r| for_a_minute(r).header("vary", "Cookie")),
    ("authorization", for_a_minute),
    ("authorization", |r| for_a_minute(r).header("vary", "Authorization").header("cache-control", "public")),
    // Errors are shared with those who wait, but not these.
    ("cookie", |r| r.status(500).header("cache-control", "private")),
    ("cookie", |r| r.status(500).header("vary", "Cookie")),
];

#[tokio::test]
async fn d8_a_user_who_joined_the_fetch_of_another_never_sees_its_response() {
    for (index, (field, dress)) in PERSONAL.into_iter().enumerate() {
        let (origin, proxy) = start("").await;
        origin.on_request("/me", move |request| dress(Reply::ok()).body(hello(request, field)));
        let gate = origin.hold("/me");
        let ada = with(&proxy, "/me", field, "ada").start().await;
        gate.arrived(1).await;
        let bob = with(&proxy, "/me", field, "bob").start().await;
        let stranger = proxy.client().get("/me").start().await;
        proxy.followers(2).await;
        assert_eq!(origin.hits("/me"), 1, "case {index}: the others wait for the first");
        gate.release();
        let bodies = (ada.rest().await.unwrap(), bob.rest().await.unwrap(), stranger.rest().await.unwrap());
        assert_eq!(bodies, ("hello ada".into(), "hello bob".into(), "hello stranger".into()), "case {index}");
        for user in ["bob", "ada", "bob"] {
            let again = with(&proxy, "/me", field, user).send().await;
            // What a stranger gets may be stored and shown to anybody (RFC 9111 section 3.5).
            let own = format!("hello {user}");
            assert!(["hello stranger", &own].contains(&again.text()), "case {index}: {user} saw {}", again.text());
        }
    }
}

#[tokio::test]
async fn a_refresh_that_brings_something_personal_shows_it_to_nobody() {
    for (index, (field, dress)) in PERSONAL.into_iter().enumerate() {
        let (origin, proxy) = start(", stale_while_revalidate = '10m', stale_if_error = '10m'").await;
        origin.on("/me", |r| for_a_minute(r).body("public"));
        proxy.client().get("/me").send().await;
        proxy.pass(Duration::from_secs(61));
        origin.on_request("/me", move |request| dress(Reply::ok()).body(hello(request, field)));
        let gate = origin.hold("/me");
        let stale = with(&proxy, "/me", field, "ada").send().await;
        assert_eq!(stale.text(), "public", "case {index}");
        gate.arrived(1).await;
        gate.release();
        for user in ["bob", "ada", "bob"] {
            let shown = with(&proxy, "/me", field, user).send().await;
            let own = format!("hello {user}");
            assert!(["public", &own].contains(&shown.text()), "case {index}: {user} saw {}", shown.text());
        }
    }
}

#[tokio::test]
async fn a_revalidation_that_brings_something_personal_shows_it_to_its_user_alone() {
    for (index, (field, dress)) in PERSONAL.into_iter().enumerate() {
        let (origin, proxy) = start("").await;
        origin.on("/me", |r| for_a_minute(r).header("etag", "\"1\"").body("public"));
        proxy.client().get("/me").send().await;
        proxy.pass(Duration::from_secs(61));
        origin.on_request("/me", move |request| dress(Reply::ok()).body(hello(request, field)));
        let gate = origin.hold("/me");
        let ada = with(&proxy, "/me", field, "ada").start().await;
        gate.arrived(1).await;
        let bob = with(&proxy, "/me", field, "bob").start().await;
        proxy.followers(1).await;
        gate.release();
        let bodies = (ada.rest().await.unwrap(), bob.rest().await.unwrap());
        assert_eq!(bodies, ("hello ada".into(), "hello bob".into()), "case {index}");
    }
}

#[tokio::test]
async fn what_a_304_varies_on_tells_users_apart_although_others_are_not_to_see_it() {
    let (origin, proxy) = start("").await;
    origin.on("/me", |r| for_a_minute(r).header("etag", "\"1\"").body("hello ada"));
    with(&proxy, "/me", "cookie", "ada").send().await;
    proxy.pass(Duration::from_secs(61));
    origin.on_request("/me", |request| {
        let confirmed = request.header("cookie").as_deref() == Some("ada") && request.header("if-none-match").is_some();
        let reply = Reply::ok().header("cache-control", "max-age=60, no-cache=\"vary\"").header("vary", "Cookie");
        if confirmed { reply.status(304) } else { reply.body(hello(request, "cookie")) }
    });
    for user in ["ada", "bob", "ada"] {
        assert_eq!(with(&proxy, "/me", "cookie", user).send().await.text(), format!("hello {user}"));
    }
    assert_eq!(origin.hits("/me"), 3, "the last is served from the cache");
}

#[tokio::test]
async fn a_vary_that_nobody_was_shown_tells_users_apart_after_a_304_or_a_head_without_it() {
    for method in ["GET", "HEAD"] {
        let (origin, proxy) = start(", respect_client_cache_control = true").await;
        origin.on_request("/me", |request| {
            let reply = Reply::ok().header("etag", "\"1\"");
            match (request.method.as_str(), request.header("if-none-match")) {
                ("HEAD", _) => for_a_minute(reply),
                (_, Some(_)) => for_a_minute(reply).status(304),
                _ => {
                    let reply = reply.header("cache-control", "max-age=60, no-cache=\"vary\"").header("vary", "Cookie");
                    reply.body(hello(request, "cookie"))
                }
            }
        });
        with(&proxy, "/me", "cookie", "ada").send().await;
        let control = if method == "HEAD" { "no-store" } else { "no-cache" };
        let confirming = proxy.client().ask(method, "/me").header("cookie", "ada").header("cache-control", control);
        confirming.send().await;
        assert_eq!(origin.hits("/me"), 2, "{method}");
        assert_eq!(with(&proxy, "/me", "cookie", "bob").send().await.text(), "hello bob", "{method}");
    }
}

#[tokio::test]
async fn f9_users_who_hammer_one_url_never_see_each_others_body() {
    const USERS: usize = 8;
    const ROUNDS: usize = 25;
    let (origin, proxy) = start(", ttl = '10ms', stale_while_revalidate = '10ms', stale_if_error = '1s'").await;
    for (index, (field, dress)) in PERSONAL.into_iter().enumerate() {
        let path = format!("/me/{index}");
        origin.on_request(&path, move |request| dress(Reply::ok()).body(hello(request, field)));
        let users = (0..USERS).map(|user| hammer(&proxy, &path, field, format!("user-{user}"), ROUNDS));
        soon("all users to be served", futures_util::future::join_all(users)).await;
    }
}

async fn hammer(proxy: &Proxy, path: &str, field: &str, user: String, rounds: usize) {
    let mut connection = proxy.client().connect().await;
    for round in 0..rounds {
        let answer = connection.send(with(proxy, path, field, &user)).await.expect("an answer");
        assert_eq!(answer.text(), format!("hello {user}"), "{path}, round {round}");
    }
}

#[tokio::test]
async fn what_is_public_is_shared_with_users_who_log_in_and_a_cookie_set_for_one_is_not() {
    let (origin, proxy) = start(", store_set_cookie = true").await;
    origin.on_request("/a", |request: &Received| {
        let cookie = format!("session={}", request.header("cookie").unwrap_or_default());
        for_a_minute(Reply::ok()).header("set-cookie", &cookie).body("public")
    });
    for (field, value, set) in
        [("cookie", "ada", Some("session=ada")), ("cookie", "bob", None), ("authorization", "carol", None)]
    {
        let answer = with(&proxy, "/a", field, value).send().await;
        assert_eq!((answer.text(), answer.header("set-cookie").as_deref()), ("public", set), "{value}");
    }
    assert_eq!(origin.hits("/a"), 1);
}

#[tokio::test]
async fn a_cookie_reaches_the_client_that_asked_and_nobody_who_waits_with_it() {
    let fresh: fn(Reply) -> Reply = for_a_minute;
    let confirmed: fn(Reply) -> Reply = |r| for_a_minute(r).status(304);
    let failed: fn(Reply) -> Reply = |r| r.status(500);
    for (index, dress) in [fresh, confirmed, failed].into_iter().enumerate() {
        let (origin, proxy) = start(", store_set_cookie = true").await;
        origin.on("/me", |r| for_a_minute(r).header("etag", "\"1\"").body("public"));
        proxy.client().get("/me").send().await;
        proxy.pass(Duration::from_secs(61));
        origin.on_request("/me", move |request| {
            let cookie = format!("session={}", request.header("cookie").unwrap_or_default());
            dress(Reply::ok()).header("etag", "\"1\"").header("set-cookie", &cookie)
        });
        let gate = origin.hold("/me");
        let mut ada = with(&proxy, "/me", "cookie", "ada").start().await;
        gate.arrived(1).await;
        let mut bob = with(&proxy, "/me", "cookie", "bob").start().await;
        proxy.followers(1).await;
        gate.release();
        let cookie = |head: &http::response::Parts| head.headers.get("set-cookie").cloned();
        assert_eq!(cookie(ada.head().await).unwrap(), "session=ada", "case {index}");
        assert_eq!(cookie(bob.head().await), None, "case {index}");
        assert_eq!(origin.hits("/me"), 2, "case {index}");
    }
}
