//! A coded form lives as long as what it was made of, and is weighed with it.

use std::time::Duration;

use millpond::entry::allocated;

use super::{ALL, coding, decoded, get, json, made, start, stored_in, text};
use crate::support::origin::Reply;

fn reversed() -> String {
    text().chars().rev().collect()
}

fn newer(reply: Reply) -> Reply {
    let reply = reply.header("cache-control", "max-age=60").header("content-type", "application/json");
    reply.header("etag", "\"2\"").body(reversed())
}

#[tokio::test]
async fn a_purge_removes_every_form() {
    let (origin, proxy) = start(ALL).await;
    for purge in [r#"{"all": true}"#, r#"{"route": "all"}"#] {
        origin.on("/a", json);
        stored_in(&proxy, "gzip").await;
        assert_eq!(coding(&get(&proxy, "gzip").send().await).as_deref(), Some("gzip"));
        proxy.purge(purge).await;
        origin.on("/a", newer);
        for _ in 0..3 {
            let answer = get(&proxy, "gzip").send().await;
            assert_eq!(decoded(&answer), reversed(), "{purge}");
        }
        proxy.purge(purge).await;
        assert_eq!(proxy.metric("l1_bytes").await, 0, "{purge}");
    }
}

#[tokio::test]
async fn forms_weigh_what_they_are() {
    let (origin, proxy) = start(ALL).await;
    let body: String = (0..20_000_u32).map(|n| n.to_string() + ",").collect();
    origin.on("/a", |r| r.header("cache-control", "max-age=60").header("content-type", "text/csv").body(body.clone()));
    proxy.client().get("/a").send().await;
    let mut expected = proxy.metric("l1_bytes").await;
    assert!(expected > body.len() as u64);
    for coding in ["gzip", "br"] {
        stored_in(&proxy, coding).await;
        let coded = get(&proxy, coding).send().await.body.unwrap().len() as u64;
        // The allocator takes somewhat more than it is asked for.
        expected += allocated(usize::try_from(coded).unwrap()) as u64;
        let (now, slack) = (proxy.metric("l1_bytes").await, 1024);
        assert!(coded > 5_000 && (expected..expected + slack).contains(&now), "{coding}: {coded} {expected} {now}");
        expected = now;
    }
}

#[tokio::test]
async fn a_form_for_which_memory_has_no_room_is_not_kept() {
    let origin = crate::support::origin::Origin::start().await;
    let noise: String = std::iter::repeat_with(|| char::from(rand::random_range(b'0'..=b'z'))).take(30_000).collect();
    origin
        .on("/a", |r| r.header("cache-control", "max-age=60").header("content-type", "text/plain").body(noise.clone()));
    let cache = format!("{}{ALL}", super::super::EXACT);
    let proxy =
        crate::support::proxy::Proxy::start(&origin).cache(&cache).section("[cache]\nmax_bytes = '64KiB'").await;
    for _ in 0..2 {
        get(&proxy, "gzip").send().await;
    }
    proxy.reaches(&made("gzip", "dropped"), 1).await;
    for _ in 0..5 {
        let answer = get(&proxy, "gzip").send().await;
        assert_eq!((coding(&answer), answer.text()), (None, noise.as_str()));
    }
    assert_eq!(origin.hits("/a"), 1, "it is not evicted for the sake of a form");
}

#[tokio::test]
async fn a_refresh_makes_the_forms_anew_that_were_in_use() {
    let (origin, proxy) = start(&format!("{ALL}, stale_while_revalidate = '1h'")).await;
    origin.on("/a", json);
    stored_in(&proxy, "gzip").await;
    origin.on("/a", newer);
    proxy.pass(Duration::from_secs(61));
    let stale = get(&proxy, "gzip").send().await;
    assert_eq!((coding(&stale).as_deref(), decoded(&stale)), (Some("gzip"), text()));
    proxy.refreshed("replaced", 1).await;
    proxy.reaches(&made("gzip", "kept"), 2).await;
    let fresh = get(&proxy, "gzip").send().await;
    assert_eq!((coding(&fresh).as_deref(), decoded(&fresh)), (Some("gzip"), reversed()));
    assert_eq!(fresh.header("etag").as_deref(), Some("\"2-gzip\""));
    assert_eq!((proxy.metric(&made("br", "kept")).await, origin.hits("/a")), (0, 2));
}
